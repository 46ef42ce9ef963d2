"""`planner report`: stored results, and what other commands found, on one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from planner.cli.options import Force


def report(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULT…", help="Folders that planner run wrote; the first leads."),
    ],
    ablation: Annotated[
        Path | None,
        typer.Option("--ablation", metavar="FILE", help="What planner ablate --json printed."),
    ] = None,
    risk: Annotated[
        Path | None,
        typer.Option("--risk", metavar="FILE", help="What planner risk --json printed."),
    ] = None,
    bridge: Annotated[
        Path | None,
        typer.Option("--bridge", metavar="FILE", help="What planner bridge --json printed."),
    ] = None,
    forecast: Annotated[
        Path | None,
        typer.Option("--forecast", metavar="FILE", help="What planner forecast --json printed."),
    ] = None,
    html: Annotated[
        Path, typer.Option("--html", "-o", metavar="FILE", help="The page to write.")
    ] = Path("report.html"),
    force: Force = False,
) -> None:
    """Put stored results and what other commands found on one HTML page.

    Nothing is simulated. The first result is shown in full; others stand beside it, with their
    differences. Intervals of planner risk stand under the four numbers. A FILE is what the
    command prints with --json. The page is one file that loads nothing.
    Exit codes: 0 written; 2 bad input.

    For example:

        planner report results/quickstart results/eight-nodes --html compared.html

        planner report results/quickstart --risk risk.json -o plan.html
    """
    from planner.cli.outputs import check_outputs, write_report
    from planner.errors import OutputError
    from planner.report.html import Beside, render_html
    from planner.results.result import Result
    from planner.search.stored import ablation_of, bridge_of, forecast_of, risk_of

    named = [path for path in (ablation, risk, bridge, forecast) if path is not None]
    check_outputs([html], force=force, inputs=named)
    first, *others = [Result.read(folder) for folder in results]
    labels = _labels(results)
    known = None if risk is None else risk_of(risk)
    if known is not None and known.name != first.name:
        raise OutputError(
            f"{risk}: is about {known.name}, and {results[0]} about {first.name}; intervals stand "
            "under the numbers of their own scenario: name a result of that, or leave --risk out"
        )
    beside = Beside(
        label=labels[0],
        others=tuple(zip(labels[1:], others, strict=True)),
        ablation=None if ablation is None else ablation_of(ablation),
        risk=known,
        bridge=None if bridge is None else bridge_of(bridge),
        forecast=None if forecast is None else forecast_of(forecast),
    )
    write_report(html, lambda: render_html(first, beside))


def _labels(folders: list[Path]) -> list[str]:
    """Return what results are called: their folders' names, or their paths where these are alike.

    Raises:
        OutputError: a folder is named twice.
    """
    from planner.errors import OutputError

    whole = [folder.resolve() for folder in folders]
    for at, folder in enumerate(whole):
        if folder in whole[:at]:
            raise OutputError(f"{folders[at]}: is named twice; name each result once")
    names = [folder.name for folder in whole]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]
