"""`planner trace`: import, describe and synthesise request traces."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options import Force

if TYPE_CHECKING:
    import numpy as np
    from rich.progress import Progress
    from rich.table import Table

    from planner.trace import ClassWorkload, RequestBlock, TraceSource
    from planner.trace.stats import TraceStats

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_PARTS = ("input", "output", "reasoning")
_MAXIMUM_ROWS = 1_000_000_000
_COARSE_RATE = 0.5
"""Fewer distinct arrival times per arrival than this call for jitter."""

_Trace = Annotated[Path, typer.Argument(help="Trace: a file, or a folder of ServeGen clients.")]
_Format = Annotated[
    str,
    typer.Option(
        "--format",
        help="planner, azure-2023, azure-2024, burstgpt, mooncake or servegen; auto: by content.",
    ),
]
_Jitter = Annotated[
    str, typer.Option(help='Move arrivals later by up to this, as "3 s": for coarse time stamps.')
]
_Scale = Annotated[float, typer.Option(help="2 makes the trace twice as fast.")]
_Sort = Annotated[bool, typer.Option("--sort", help="Sort a file that is out of order, in memory.")]
_Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]


@app.callback()
def trace() -> None:
    """Import, describe and synthesise request traces.

    Known are Azure LLM inference 2023 and 2024, BurstGPT, Mooncake, ServeGen, and
    CSV, JSON Lines and Parquet with the project's own columns.

    For example:

        planner trace stats traces/sample-mixed-10min.csv

        planner trace synth --list
    """


@app.command("import")
def import_trace(
    file: _Trace,
    out: Annotated[Path, typer.Argument(help="Output: .parquet, .csv or .jsonl (also .gz).")],
    format: _Format = "auto",
    jitter: _Jitter = "0 s",
    rate_scale: _Scale = 1.0,
    sort: _Sort = False,
    seed: _Seed = 0,
    force: Force = False,
) -> None:
    r"""Convert a trace of any known format to the planner format, checking every row.

    The output's name says the format: .parquet, .csv or .jsonl.

    For example:

        planner trace import traces/sample-mixed-10min.csv sample.parquet

        planner trace import AzureLLMInferenceTrace_conv.csv azure.parquet \
          --format azure-2023 --rate-scale 2
    """
    from planner.trace.writers import write_trace

    source = _open(file, format, jitter, rate_scale, sort, seed)
    with _progress(f"reading {source.format}") as progress:
        blocks = _counted(progress, source)
        rows = write_trace(out, blocks, source.class_names, overwrite=force)
    for note in source.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"{out}: {rows:,} requests from {file} ({source.format})")


@app.command()
def stats(
    file: _Trace,
    format: _Format = "auto",
    jitter: _Jitter = "0 s",
    rate_scale: _Scale = 1.0,
    sort: _Sort = False,
    seed: _Seed = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the statistics of a trace that matter for planning.

    Rates and how much they vary, lengths, sessions, repeated prefixes.

    For example:

        planner trace stats traces/sample-mixed-10min.csv

        planner trace stats conversation_trace.jsonl --jitter "3 s" --json
    """
    from json import dumps

    from planner.trace.stats import trace_stats

    source = _open(file, format, jitter, rate_scale, sort, seed)
    with _progress(f"reading {source.format}") as progress:
        found = trace_stats(_counted(progress, source), source.class_names)
    if json:
        head = {"file": str(file), "format": source.format, "notes": list(source.notes)}
        typer.echo(dumps(head | found.to_dict(), indent=2))
        return
    _print_stats(source, found)


@app.command()
def synth(
    out: Annotated[Path | None, typer.Argument(help="Output: .parquet, .csv or .jsonl.")] = None,
    scenario: Annotated[
        Path | None, typer.Option(help="Take the open-loop classes of this scenario.")
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="NAME:FIELDS",
            help='A class, as "chat:rate=3 /s,input=512,output=100..900". Fields: rate, shape, '
            "gaps, cv, input, output, reasoning, turns, think, think_sigma, visitors, context. "
            "Lengths: a number, a range or a preset. Repeat for more classes.",
        ),
    ] = None,
    duration: Annotated[str | None, typer.Option(help='Length of the trace, as "10 min".')] = None,
    start: Annotated[str, typer.Option(help="Time of day at which it starts.")] = "00:00",
    weekday: Annotated[str, typer.Option(help="Day of the week at which it starts.")] = "mon",
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random.")] = None,
    listing: Annotated[
        bool, typer.Option("--list", help="List the shipped shapes and length presets.")
    ] = False,
    force: Force = False,
) -> None:
    r"""Write a synthetic trace, from a scenario or from classes given here.

    Same seed, same trace.

    For example:

        planner trace synth peak.parquet --scenario scenarios/quickstart.yaml

        planner trace synth chat.csv --duration "10 min" \
          --class "chat:rate=3 /s,input=512,output=100..900"

        planner trace synth --list
    """
    import numpy as np

    from planner.errors import TraceError

    if listing:
        _print_library()
        return
    if out is None:
        raise TraceError("name the output, as OUT.parquet, OUT.csv or OUT.jsonl")
    if (scenario is None) == (not classes):
        raise TraceError("give either --scenario FILE or one --class or more")
    if scenario is not None:
        names, workloads, duration_s, default_seed = _from_scenario(scenario)
    else:
        names, workloads = _from_flags(classes or [], start, weekday)
        duration_s, default_seed = 0.0, 0
    if duration is not None:
        duration_s = _duration(duration)
    if not duration_s:
        raise TraceError('give a --duration, as "10 min"')
    root = np.random.SeedSequence(default_seed if seed is None else seed)
    rows = _write_synthetic(out, names, workloads, duration_s, root, force)
    typer.echo(f"{out}: {rows:,} requests of {len(workloads)} classes over {duration_s:g} s")


def _write_synthetic(
    out: Path,
    names: list[str],
    workloads: list[ClassWorkload],
    duration_s: float,
    root: np.random.SeedSequence,
    force: bool,
) -> int:
    from planner.cli.progress import LateBar
    from planner.trace import RequestBlock, synthesize
    from planner.trace.writers import write_trace

    expected = _expected_rows(workloads, duration_s)
    with LateBar(f"drawing about {expected:,.0f} requests") as bar:

        def blocks() -> Iterator[RequestBlock]:
            drawn = 0
            for rows in synthesize(workloads, duration_s, root):
                yield RequestBlock(rows)
                drawn += len(rows)
                bar(drawn, expected)

        return write_trace(out, blocks(), names, overwrite=force)


def _expected_rows(workloads: list[ClassWorkload], duration_s: float) -> float:
    """Return the mean number of rows to come, refusing more than a file should hold."""
    from planner.errors import TraceError

    expected = duration_s * sum(
        workload.arrivals.rate_rps * (workload.turns.mean() if workload.turns else 1.0)
        for workload in workloads
        if workload.arrivals is not None
    )
    if expected > _MAXIMUM_ROWS:
        raise TraceError(
            f"about {expected:.3g} requests would be written; at most {_MAXIMUM_ROWS:,} are: lower "
            f"the rate or the duration, or simulate the classes as they are with `planner run`"
        )
    return expected


def _open(
    file: Path, format_name: str, jitter: str, rate_scale: float, sort: bool, seed: int
) -> TraceSource:
    from planner.trace import open_trace

    return open_trace(
        file,
        format_name,
        time_jitter_s=_duration(jitter),
        rate_scale=rate_scale,
        seed=seed,
        sort=sort,
    )


def _duration(text: str) -> float:
    from planner.errors import TraceError
    from planner.units import parse_quantity

    try:
        value = parse_quantity(text, "duration")
    except ValueError as error:
        raise TraceError(str(error)) from None
    if value < 0:
        raise TraceError(f"{text!r} is negative; a duration is at least 0 s")
    return value


def _from_scenario(path: Path) -> tuple[list[str], list[ClassWorkload], float, int]:
    """Return class names, open-loop workloads, duration and seed of a scenario."""
    from planner.errors import TraceError
    from planner.lowering.workload import class_workloads
    from planner.scenario import load_scenario

    scenario = load_scenario(path).scenario
    names = [request_class.name for request_class in scenario.workload.classes]
    drawn = class_workloads(scenario.workload)
    if not drawn:
        raise TraceError(f"{path}: no class has open-loop arrivals (`open`); nothing to draw")
    left_out = sorted(set(range(len(names))) - {w.class_index for w in drawn})
    if left_out:
        listed = ", ".join(names[i] for i in left_out)
        typer.echo(f"note: classes without open-loop arrivals are left out: {listed}", err=True)
    return names, drawn, scenario.workload.duration, scenario.seed


def _from_flags(
    classes: list[str], start: str, weekday: str
) -> tuple[list[str], list[ClassWorkload]]:
    from planner.errors import TraceError
    from planner.trace.flags import parse_class

    hours, _, minutes = start.partition(":")
    if not (hours.isdigit() and minutes.isdigit() and int(hours) < 24 and int(minutes) < 60):
        raise TraceError(f"--start {start!r} is not a time of day; write 19:30")
    if weekday not in _WEEKDAYS:
        raise TraceError(f"--weekday {weekday!r} is not one of {', '.join(_WEEKDAYS)}")
    start_s = _WEEKDAYS.index(weekday) * 86400.0 + int(hours) * 3600.0 + int(minutes) * 60.0
    parsed = [parse_class(text, index, start_s) for index, text in enumerate(classes)]
    names = [name for name, _ in parsed]
    if len(set(names)) < len(names):
        raise TraceError(f"two classes have the same name; found {', '.join(names)}")
    return names, [workload for _, workload in parsed]


def _progress(title: str) -> Progress:
    """Return a progress display on stderr, shown on terminals only."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    progress.add_task(title, total=None)
    return progress


def _counted(progress: Progress, blocks: Iterable[RequestBlock]) -> Iterator[RequestBlock]:
    rows = 0
    title = progress.tasks[0].description
    for block in blocks:
        rows += len(block.rows)
        progress.update(progress.task_ids[0], description=f"{title}: {rows:,} requests")
        yield block


# --- printing ------------------------------------------------------------------------------------


def _print_stats(source: TraceSource, found: TraceStats) -> None:
    from rich.console import Console

    console = Console()
    title = f"{source.path} ({source.format})"
    console.print(f"[bold]{title}[/bold]: {found.requests:,} requests", highlight=False)
    console.print(_arrivals_table(found))
    console.print(_lengths_table(found))
    if found.sessions:
        reuse = f", {found.session_reuse_rate:.1%} of their prompt tokens said before"
        console.print(
            f"sessions: {found.sessions:,} of {found.turns_per_session:.2f} turns"
            + (reuse if found.later_turns else ""),
            highlight=False,
        )
    if found.prefix is not None:
        console.print(
            f"prefix reuse, infinite cache: {found.prefix.hit_rate:.1%} of prompt tokens; "
            f"{found.prefix.requests_with_hit_rate:.1%} of requests reuse more than one block; "
            f"{found.prefix.unique_blocks:,} blocks",
            highlight=False,
        )
    if found.classes:
        console.print(_classes_table(found))
    for note in source.notes:
        console.print(f"note: {note}", highlight=False)
    if found.distinct_arrivals_rate < _COARSE_RATE:
        console.print(
            f"note: only {found.distinct_arrivals_rate:.0%} of arrival times are distinct: time "
            f"stamps are coarse. Gap CV and short windows show that, not the traffic; replay with "
            f"time_jitter.",
            highlight=False,
        )


def _arrivals_table(found: TraceStats) -> Table:
    table = _table("arrivals", "", numbers=False)
    span_s = found.last_arrival_s - found.first_arrival_s
    table.add_row("span", f"{_figure(span_s)} s")
    table.add_row("mean rate", f"{_figure(found.rate_rps)} /s")
    table.add_row("CV of gaps", _figure(found.gap_cv))
    for window in found.windows:
        table.add_row(
            f"{window.window_s:g} s windows",
            f"peak/mean {_figure(window.peak_to_mean)}, dispersion {_figure(window.dispersion)}",
        )
    return table


def _lengths_table(found: TraceStats) -> Table:
    parts = {part: getattr(found, f"{part}_tokens") for part in _PARTS}
    if not found.reasoning_tokens.maximum:
        del parts["reasoning"]
    table = _table("tokens", *parts)
    table.add_row("mean", *(f"{lengths.mean:,.1f}" for lengths in parts.values()))
    table.add_row("CV", *(_figure(lengths.cv) for lengths in parts.values()))
    for quantile in found.input_tokens.quantiles:
        table.add_row(quantile, *(f"{part.quantiles[quantile]:,}" for part in parts.values()))
    table.add_row("maximum", *(f"{lengths.maximum:,}" for lengths in parts.values()))
    return table


def _classes_table(found: TraceStats) -> Table:
    table = _table("class", "requests", "rate /s", "CV", "in p50", "p99", "out p50", "p99")
    for name, of_class in found.classes.items():
        tokens = [
            f"{lengths.quantiles[quantile]:,}"
            for lengths in (of_class.input_tokens, of_class.output_tokens)
            for quantile in ("p50", "p99")
        ]
        rate = _figure(of_class.rate_rps)
        cv = _figure(of_class.gap_cv, digits=3)
        table.add_row(name, f"{of_class.requests:,}", rate, cv, *tokens)
    return table


def _print_library() -> None:
    from rich.console import Console

    from planner.trace.library import (
        length_preset_names,
        load_length_preset,
        load_shape,
        shape_names,
    )

    console = Console()
    shapes = _table("shape", "hours", "peak/mean", "zone", "licence")
    for name in shape_names():
        shape = load_shape(name)
        peak = f"{shape.peak_to_mean:.2f}"
        shapes.add_row(name, str(len(shape.hourly)), peak, shape.time_zone, shape.licence)
    lengths = _table("length preset", "mean", "p50", "p90", "p99", "licence")
    for name in length_preset_names():
        preset = load_length_preset(name)
        marks = [f"{n:,}" for n in preset.distribution.quantile([0.5, 0.9, 0.99]).tolist()]
        lengths.add_row(name, f"{preset.mean:,.1f}", *marks, preset.licence.partition(" (")[0])
    console.print(shapes, lengths)
    console.print("Origins and notes: planner/trace/data/README.md", highlight=False)


def _table(first: str, *others: str, numbers: bool = True) -> Table:
    """Return an empty table; the first column is never cut, the others hold numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    for title in others:
        table.add_column(title, justify="right" if numbers else "left", no_wrap=True)
    return table


def _figure(value: float, digits: int = 4) -> str:
    return f"{value:,.{digits}g}" if math.isfinite(value) else "–"
