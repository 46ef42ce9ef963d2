"""`planner size`: the fewest nodes that keep every promise, and what they run out of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options import ForceFolder, MaxNodes, Named, Overrides, Sets

WIDTH = 100
"""Columns of the output where it is piped."""

if TYPE_CHECKING:
    from rich.console import Console

    from planner.scenario.site_power import PowerNeed
    from planner.search import Sizing, Trial
    from planner.search.ratio import Ratio


def size(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Scenario file.")],
    sets: Sets = None,
    overrides: Overrides = None,
    scenario: Named = None,
    max_nodes: MaxNodes = 4096,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write the answer's result folder."),
    ] = None,
    force: ForceFolder = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Find the fewest nodes per pool that keep every class's objectives at peak.

    Starts from the scenario's own numbers, doubles pools that fail, then bisects each.
    Every fleet sees the same requests; schedules are left out: it is sized for the peak.
    The fleet that is one step too small is then tried with one limit lifted at a time,
    which names the bottleneck.

    For example:

        planner size scenarios/quickstart.yaml

        planner size scenarios/quickstart.yaml --set pools.chat.weight_dtype=bf16
    """
    from planner.cli.progress import LateBar, announce_compilation
    from planner.results.storage import check_output_folder
    from planner.search import size as search
    from planner.simulation import load_scenario

    loaded = load_scenario(file, sets=sets or (), overrides=overrides or (), named=scenario)
    if output is not None:
        check_output_folder(output, force=force)
    announce_compilation()
    typer.echo(f"sizing {loaded.scenario.name}", err=True)
    for klass in loaded.scenario.workload.classes:
        if not klass.objectives:
            text = f"note: {klass.name} has no objectives; only its losses are limited"
            typer.echo(text, err=True)
    with LateBar("simulating") as bar:

        def show(trial: Trial) -> None:
            bar.restart()
            _print_trial(trial)

        sizing = search(loaded, maximum_nodes=max_nodes, on_trial=show, progress=bar)
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
    nodes += f" ({trial.lifted})" if trial.lifted else ""
    verdict = "keeps every promise" if trial.passed else trial.failures[0]
    more = f" (and {len(trial.failures) - 1} more)" if len(trial.failures) > 1 else ""
    typer.echo(f"{trial.number:>4}  {nodes}: {verdict}{more}", err=True)


def _print_sizing(sizing: Sizing) -> None:
    from rich.console import Console
    from rich.table import Table

    from planner.results.pool_table import RESOURCE_TITLES

    table = Table(title="Smallest fleet", title_justify="left", title_style="bold", box=None)
    table.add_column("pool", overflow="fold")
    table.add_column("nodes", justify="right")
    table.add_column("accelerators", justify="right")
    table.add_column("bottleneck")
    table.add_column("one step fewer", overflow="fold")
    for name, nodes in sizing.nodes.items():
        bottleneck = RESOURCE_TITLES[sizing.bottlenecks[name]]
        accelerators = f"{sizing.accelerators[name]:,}"
        table.add_row(name, f"{nodes:,}", accelerators, bottleneck, sizing.limits[name])
    console = Console(highlight=False)
    if not console.is_terminal:  # a pipe has no width of its own
        console = Console(highlight=False, width=WIDTH)
    console.print(table)
    for ratio in sizing.ratios:
        _print_ratio(console, ratio)
    headline = sizing.result.headline
    parts = [
        f"{headline['accelerators_at_peak']} accelerators in {headline['nodes_at_peak']} nodes"
    ]
    if headline["cost_per_hour_usd"] is not None:
        parts.append(f"{headline['cost_per_hour_usd']:,.2f} USD/h")
    if headline["cost_per_million_output_tokens_usd"] is not None:
        parts.append(f"{headline['cost_per_million_output_tokens_usd']:.3f} USD per Mtok output")
    if headline["gross_margin_rate"] is not None:
        margin, definition = headline["gross_margin_rate"], headline["gross_margin_definition"]
        parts.append(f"gross margin {margin:.1%} ({definition})")
    console.print("; ".join(parts))
    if sizing.power is not None and sizing.power.limit_w is not None:
        sentence = sizing.power.sentence()
        verdict = f"too much power: {sentence}" if sentence else _fits(sizing.power)
        console.print(verdict, style="bold red" if sentence else "")


def _fits(power: PowerNeed) -> str:
    from planner.scenario.site_power import megawatts

    limit = power.limit_w or power.needed_w
    return f"{megawatts(power.needed_w)} at the meter, of the site's {megawatts(limit)}"


def _print_ratio(console: Console, ratio: Ratio) -> None:
    from rich.table import Table

    best = [ratio.best.nodes[name] for name in (ratio.prefill, ratio.decode)]
    console.print(
        f"{ratio.prefill} : {ratio.decode} = {best[0]:,} : {best[1]:,} nodes", style="bold"
    )
    table = Table(box=None)
    for name in (ratio.prefill, ratio.decode, "USD/h"):
        table.add_column(name, justify="right")
    table.add_column("")
    for trial in ratio.tried:
        cost = "–" if trial.cost_per_hour_usd is None else f"{trial.cost_per_hour_usd:,.2f}"
        verdict = "keeps every promise" if trial.passed else trial.failures[0]
        verdict += " (neither pool can give back a step)" if trial in ratio.frontier else ""
        counts = [f"{trial.nodes[name]:,}" for name in (ratio.prefill, ratio.decode)]
        table.add_row(*counts, cost, verdict, style="bold" if trial == ratio.best else "")
    console.print(table)


def _json(sizing: Sizing) -> str:
    import json

    content = {
        "nodes": sizing.nodes,
        "accelerators": sizing.accelerators,
        "bottlenecks": sizing.bottlenecks,
        "limits": sizing.limits,
        "ratios": [
            {
                "prefill": ratio.prefill,
                "decode": ratio.decode,
                "nodes": ratio.best.nodes,
                "frontier": [trial.nodes for trial in ratio.frontier],
            }
            for ratio in sizing.ratios
        ],
        "power": None
        if sizing.power is None
        else {
            "needed_w": sizing.power.needed_w,
            "limit_w": sizing.power.limit_w,
            "excess_nodes": sizing.power.excess_nodes,
        },
        "headline": sizing.result.headline,
        "trials": [
            {
                "nodes": trial.nodes,
                "lifted": trial.lifted,
                "passed": trial.passed,
                "failures": list(trial.failures),
                "cost_per_hour_usd": trial.cost_per_hour_usd,
            }
            for trial in sizing.trials
        ],
    }
    return json.dumps(content, indent=1, sort_keys=True)
