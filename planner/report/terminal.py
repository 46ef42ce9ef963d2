"""A result in the terminal: the four numbers, what went wrong, then one table per question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from planner.report.caching import cache_sentence, caches
from planner.report.console import print_parts
from planner.report.drafting import acceptance_sentence
from planner.report.energy import energy_sentence
from planner.report.wording import (
    FATE_TITLES,
    METRIC_SHORT,
    cost_per_request,
    handover_words,
    headline_cards,
    light_sentence,
    margin_sentence,
    promise_found,
    promise_limit,
    rate_limit_sentence,
    run_facts,
    shown_metrics,
    task_money,
    task_sentence,
    trouble_title,
)
from planner.results import columns
from planner.results.formatting import count, duration, money, percent, percentile, share
from planner.results.pool_table import RESOURCE_TITLES
from planner.results.result import Result

_VERDICTS: Final = {
    columns.KEPT: ("✓ ", "green", "≤"),
    columns.BROKEN: ("✗ ", "bold red", ">"),
    columns.NO_SAMPLE: ("", "dim", "for ≤"),
}
"""How a verdict on a promise is shown: mark, style, and the sign between value and limit."""


def print_result(result: Result, console: Console | None = None) -> None:
    """Print `result` as tables that fit 100 columns; plain text where the output is piped.

    Args:
        result: what to print.
        console: where to; standard output if None.
    """
    print_parts(_parts(result), console)


def _parts(result: Result) -> list[RenderableType]:
    parts: list[RenderableType] = [_title(result), _headline(result)]
    if result.stability:
        parts.append(_warnings(result.stability, trouble_title(result)))
    parts += [_traffic(result), _latency(result), *_tasks(result), _pools(result)]
    return [*parts, *_money(result), *_energy(result), _footer(result)]


def _title(result: Result) -> RenderableType:
    title = Text(result.name, style="bold")
    if result.description:
        title.append(f"  {result.description}", style="not bold")
    return Padding(Group(title, Text(run_facts(result), style="dim")), (1, 0, 1, 0))


def _headline(result: Result) -> RenderableType:
    grid = Table.grid(expand=True, padding=(0, 2, 0, 0))
    cells = []
    for card in headline_cards(result):
        grid.add_column(ratio=1)
        style = "bold red" if card.alarm else "bold"
        cells.append(Group(Text(card.value, style=style), Text(card.label), Text(card.note, "dim")))
    grid.add_row(*cells)
    return _spaced(grid)


def _warnings(sentences: Sequence[str], title: str) -> RenderableType:
    text = Text("\n").join(Text(f"⚠ {sentence}") for sentence in sentences)
    return Padding(Panel(text, border_style="red", title=title), (0, 0, 1, 0))


def _table(title: str, note: str = "") -> Table:
    heading = Text(title, style="bold")
    if note:
        heading.append(f"  {note}", style="dim not bold")
    return Table(
        title=heading,
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        header_style="dim",
        pad_edge=False,
        padding=(0, 1, 0, 0),
        show_edge=False,
        expand=True,
    )


def _spaced(table: Table) -> RenderableType:
    return Padding(table, (0, 0, 1, 0))


def _numbers(table: Table, *names: str) -> None:
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)


def _name_column(table: Table, title: str, names: Iterable[str]) -> None:
    """Add a column that keeps ordinary names whole and folds the longest."""
    longest = max((len(name) for name in names), default=0)
    table.add_column(title, overflow="fold", min_width=min(24, longest))


def _traffic(result: Result) -> RenderableType:
    fates = result.frames.fates
    shown = [f for f in columns.FATES if f == "served" or int(fates[f].sum())]
    table = _table("Traffic", "every request that arrived has one fate")
    _name_column(table, "class", fates["class"])
    _numbers(table, "arrived", *(FATE_TITLES[f] for f in shown), "goodput", "SLO kept")
    if cached := caches(result):
        _numbers(table, "cached input")
    rows = zip(fates.to_dict("records"), result.frames.classes.to_dict("records"), strict=True)
    for fate, row in rows:
        table.add_row(*_traffic_cells(row["class"], fate, row, shown, cached))
    if len(fates) > 1:
        table.add_section()
        total = {name: int(fates[name].sum()) for name in ("arrived", *columns.FATES)}
        row = result.frames.total.to_dict("records")[0]
        table.add_row(*_traffic_cells("all", total, row, shown, cached))
    limited = [
        f"{row['class']}: {sentence}."
        for row in result.frames.classes.to_dict("records")
        for sentence in (rate_limit_sentence(row), light_sentence(row))
        if sentence
    ]
    notes = [Padding(Text("\n".join(limited), style="dim"), (0, 0, 1, 0))] if limited else []
    return Group(table, *notes) if notes else _spaced(table)


def _traffic_cells(
    name: str, fate: dict[Any, Any], row: dict[Any, Any], shown: Iterable[str], cached: bool
) -> list[str]:
    counts = [count(fate[f]) for f in ("arrived", *shown)]
    rates = [f"{count(row['goodput_rps'])}/s", percent(row["slo_attainment_rate"])]
    return [name, *counts, *rates, *([share(row["prefix_hit_rate"])] if cached else [])]


def _latency(result: Result) -> RenderableType:
    frames = result.frames
    table = _table("Latency", "served requests after the warm-up; ITL over their token gaps")
    _name_column(table, "class", frames.classes["class"])
    table.add_column("")
    _numbers(table, *(percentile(p) for p in columns.PERCENTILES))
    table.add_column("promise", min_width=24)
    promises = frames.objectives.to_dict("records")
    for row in frames.classes.to_dict("records"):
        table.add_section()
        own = [promise for promise in promises if promise["class"] == row["class"]]
        for number, metric in enumerate(shown_metrics(row["reasoning_tokens"])[:-1]):
            quantiles = [row[columns.quantile_column(metric, p)] for p in columns.PERCENTILES]
            table.add_row(
                row["class"] if number == 0 else "",
                METRIC_SHORT[metric],
                *(duration(value) for value in quantiles),
                _promises(own, metric),
            )
        table.add_row("", "lost", *[""] * len(columns.PERCENTILES), _promises(own, "loss"))
    return _spaced(table)


def _tasks(result: Result) -> list[RenderableType]:
    frame = result.frames.tasks
    if frame.empty:
        return []
    table = _table("Tasks", "sessions, from the first arrival to the last end, tools included")
    _name_column(table, "class", frame["class"])
    shown = columns.PERCENTILES[:3]
    quantiles = [percentile(p) for p in shown]
    _numbers(table, "begun", "finished", "calls", "tokens", "reusable", *quantiles, "cost")
    table.add_column("promise", min_width=20)
    promises = result.frames.objectives.to_dict("records")
    rows = frame.to_dict("records")
    for row in rows:
        own = [promise for promise in promises if promise["class"] == row["class"]]
        table.add_row(
            row["class"],
            count(row["begun"]),
            count(row["finished"]),
            count(row["calls_per_task"]),
            count(row["tokens_per_task"]),
            percent(row["reusable_input_rate"]),
            *(duration(row[columns.quantile_column(columns.TASK_METRIC, p)]) for p in shown),
            money(task_money(result, row["class"])[0]),
            _promises(own, columns.TASK_METRIC),
        )
    left_out = "\n".join(filter(None, map(task_sentence, rows)))
    return [table, Padding(Text(left_out, style="dim"), (0, 0, 1, 0))]


def _promises(promises: Iterable[dict[Any, Any]], metric: str) -> Text:
    texts = []
    for promise in promises:
        if promise["metric"] == metric:
            mark, style, sign = _VERDICTS[promise["verdict"]]
            found = promise_found(promise)
            name = "" if metric == "loss" else f"{percentile(promise['percentile'])} "
            texts.append(Text(f"{mark}{name}{found} {sign} {promise_limit(promise)}", style=style))
    return Text("\n").join(texts)


def _pools(result: Result) -> RenderableType:
    pools = result.frames.pools
    table = _table("Pools", "means over the measured time; busiest resource in the peak windows")
    served = [f"{row['model']} on {row['chip']}" for row in pools.to_dict("records")]
    _name_column(table, "pool", served)
    _numbers(table, "nodes", "accel.", "busy", "compute", "bandwidth", "KV", "queue")
    table.add_column("busiest resource", min_width=16)
    for row, what in zip(pools.to_dict("records"), served, strict=True):
        names = ("busy", "compute", "memory", "kv_usage")
        grows = "" if row["stable"] else "\n✗ queue grows"
        tokens = count(row["decode_tokens_per_s_per_accelerator"])
        cached, drafted = cache_sentence(row), acceptance_sentence(row)
        shape = f"{row['parallelism']} {row['weight_dtype']}".strip()
        table.add_row(
            Text.assemble(
                row["pool"],
                (f"\n{what}\n{shape}".rstrip(), "dim"),
                (f"\n{row['tier']} step times", "dim"),
                (f"\n{tokens} tok/s per accel.", "dim"),
                (f"\n{drafted}" if drafted else "", "dim"),
                (f"\n{cached}" if cached else "", "dim"),
                (f"\n{handover_words(row)}".rstrip(), "dim"),
            ),
            count(row["nodes_at_peak"]),
            count(row["accelerators_at_peak"]),
            *(share(row[f"{name}_rate"]) for name in names),
            count(row["waiting"]),
            Text(RESOURCE_TITLES[row["busiest_resource"]] + grows, style="red" if grows else ""),
        )
    return _spaced(table)


def _money(result: Result) -> list[RenderableType]:
    finance = result.finance
    if finance is None:
        return []
    table = _table("Money", "per hour of the simulated time")
    _name_column(table, "class", finance.class_costs["class"])
    table.add_column("plan", overflow="fold")
    _numbers(table, "cost", "revenue", "per Mtok out", "per request", "margin")
    for row in finance.class_costs.to_dict("records"):
        table.add_row(
            row["class"],
            row["plan"],
            money(row["cost_usd"] / finance.hours),
            money(row["revenue_usd"] / finance.hours),
            money(row["cost_per_million_output_tokens_usd"]),
            money(row["cost_per_request_usd"]),
            percent(row["margin_rate"]),
        )
    table.add_section()
    table.add_row(
        "all",
        "",
        money(finance.cost_per_hour_usd),
        money(finance.revenue_per_hour_usd),
        money(finance.cost_per_million_output_tokens_usd),
        money(cost_per_request(finance)),
        percent(finance.gross_margin_rate),
    )
    return [table, Padding(Text(margin_sentence(result), style="dim"), (0, 0, 1, 0))]


def _energy(result: Result) -> list[RenderableType]:
    if result.impact is None:
        return []
    heading = Text("Energy and carbon", style="bold")
    return [Padding(Group(heading, Text(energy_sentence(result.impact))), (0, 0, 1, 0))]


def _footer(result: Result) -> RenderableType:
    return Text("\n".join(result.notes), style="dim")
