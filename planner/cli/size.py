"""`planner size`: the fewest nodes that keep every promise, and what they run out of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options import Named, Overrides, Sets

if TYPE_CHECKING:
    from planner.search.size import Sizing, Trial


def size(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Scenario file.")],
    sets: Sets = None,
    overrides: Overrides = None,
    scenario: Named = None,
    max_nodes: Annotated[
        int, typer.Option("--max-nodes", min=1, help="Most nodes of a pool that are tried.")
    ] = 4096,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write the answer's result folder."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace DIR even if it holds something else.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Find the fewest nodes per pool that keep every class's objectives at peak.

    Starts from the scenario's own numbers, doubles the pools that fail, then bisects each pool. Every fleet sees the
    same requests. Schedules are left out: the fleet is sized for the peak.

    Examples:

        planner size scenarios/quickstart.yaml

        planner size scenarios/quickstart.yaml --set pools.chat.weight_dtype=bf16
    """
    from planner.cli.progress import announce_compilation
    from planner.search.size import size as search
    from planner.simulation import load_scenario

    loaded = load_scenario(file, sets=sets or (), overrides=overrides or (), named=scenario)
    announce_compilation()
    typer.echo(f"sizing {loaded.scenario.name}", err=True)
    sizing = search(loaded, maximum_nodes=max_nodes, on_trial=_print_trial)
    if json_output:
        typer.echo(_json(sizing))
    else:
        _print_sizing(sizing)
    if output is not None:
        from planner.report.html import render_html

        written = sizing.result.write(output, html=render_html(sizing.result), force=force)
        typer.echo(f"written to {written}", err=True)


def _print_trial(trial: Trial) -> None:
    nodes = ", ".join(f"{name} {count}" for name, count in trial.nodes.items())
    verdict = "keeps every promise" if trial.passed else trial.failures[0]
    more = f" (and {len(trial.failures) - 1} more)" if len(trial.failures) > 1 else ""
    typer.echo(f"{trial.number:>4}  {nodes}: {verdict}{more}", err=True)


def _print_sizing(sizing: Sizing) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="smallest fleet", title_justify="left", box=None, pad_edge=False)
    table.add_column("pool")
    table.add_column("nodes", justify="right")
    table.add_column("accelerators", justify="right")
    table.add_column("limited by", overflow="fold")
    for name, nodes in sizing.nodes.items():
        table.add_row(name, str(nodes), str(sizing.accelerators[name]), sizing.limits[name])
    console = Console(highlight=False)
    console.print(table)
    headline = sizing.result.headline
    parts = [f"{headline['accelerators_at_peak']} accelerators in {headline['nodes_at_peak']} nodes"]
    if headline["cost_per_hour_usd"] is not None:
        parts.append(f"{headline['cost_per_hour_usd']:,.2f} USD/h")
    if headline["cost_per_million_output_tokens_usd"] is not None:
        parts.append(f"{headline['cost_per_million_output_tokens_usd']:.3f} USD per Mtok output")
    if headline["gross_margin_rate"] is not None:
        margin, definition = headline["gross_margin_rate"], headline["gross_margin_definition"]
        parts.append(f"gross margin {margin:.1%} ({definition})")
    console.print("; ".join(parts))


def _json(sizing: Sizing) -> str:
    import json

    content = {
        "nodes": sizing.nodes,
        "accelerators": sizing.accelerators,
        "limits": sizing.limits,
        "headline": sizing.result.headline,
        "trials": [
            {
                "nodes": trial.nodes,
                "passed": trial.passed,
                "failures": list(trial.failures),
                "bottlenecks": trial.bottlenecks,
                "cost_per_hour_usd": trial.cost_per_hour_usd,
            }
            for trial in sizing.trials
        ],
    }
    return json.dumps(content, indent=1, sort_keys=True)
