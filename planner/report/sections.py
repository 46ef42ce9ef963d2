"""The sections of the report, from the four numbers to the assumptions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from planner.report import figures
from planner.report.caching import cache_sentence, caches
from planner.report.drafting import drafts
from planner.report.fragments import (
    Cell,
    chart,
    legend,
    notes,
    number,
    panel,
    section,
    table,
    tier_cell,
    tools,
)
from planner.report.money import class_cost_table, ledger_table, margin_table
from planner.report.page import card
from planner.report.risk_wording import headline_intervals
from planner.report.step_time import step_figure
from planner.report.wording import (
    FATE_TITLES,
    METRIC_SHORT,
    handover_words,
    headline_cards,
    light_sentence,
    other_margins,
    promise_found,
    promise_limit,
    promise_title,
    rate_limit_sentence,
    run_facts,
    shown_metrics,
    task_money,
    task_sentence,
    trouble_title,
    unknown_promises,
)
from planner.results import columns
from planner.results.formatting import (
    MISSING,
    count,
    duration,
    money,
    percent,
    percentile,
    quantity,
    share,
)
from planner.results.pool_table import RESOURCE_TITLES
from planner.results.result import Assumption, Result

if TYPE_CHECKING:
    from planner.search.risk import Risk

_VERDICTS: Final = {
    columns.KEPT: ("", "✓"),
    columns.BROKEN: (" broken", "✗"),
    columns.NO_SAMPLE: ("", MISSING),
}
"""How a verdict on a promise is shown: its style, and its mark."""
_UNSURE: Final = (
    "No intervals: run planner risk. It draws what is not known exactly and says how sure these "
    "numbers are."
)
_WORDS: Final = (
    ("TTFT", "time from a request's arrival to its first token, queueing included"),
    ("TTFAT", "time from a request's arrival to the first token of its answer, after the "
     "reasoning, which is billed but not shown"),
    ("TPOT", "(finish - first token) / (output tokens - 1): one value per request"),
    ("ITL", "gap between two tokens, counted per token"),
    ("E2E", "time from arrival to the last token"),
    ("task", "a session: from the first arrival to the end of the last turn, with the time that "
     "tools or people take between"),
    ("SLO kept", "share of requests that keep all promises per request; requests that "
     "their visitor's own rate limit refused are left out"),
    ("goodput", "such requests per second"),
    ("percentiles", "run over served requests that arrived after the warm-up; the table of fates "
     "counts all others"),
    ("busiest resource", "what is nearest to its limit in a pool's busiest tenth of the time: KV "
     "capacity if 90% of its blocks are in use or requests are preempted; queueing if requests "
     "wait for a sequence slot; else the hardware term that takes more of a step"),
)  # fmt: skip


def lead(result: Result, risk: Risk | None = None) -> str:
    """Return name, facts, the four numbers with their intervals, and the verdict.

    Args:
        result: what the page is about.
        risk: of the same scenario; None: nothing is known of intervals, and it says so.
    """
    shown = headline_cards(result)
    intervals = ("",) * len(shown) if risk is None else headline_intervals(risk)
    beside = [(), (), (), other_margins(result)]
    cards = "".join(
        card(each.label, each.value, each.note, "alarm" if each.alarm else "", sure, others)
        for each, sure, others in zip(shown, intervals, beside, strict=True)
    )
    unsure = "" if risk is not None else f'<p class="unsure">{escape(_UNSURE)}</p>'
    description = f"<p>{escape(result.description)}</p>" if result.description else ""
    return (
        f'<div class="lead"><h1>{escape(result.name)}</h1>{description}'
        f'<p class="facts">{escape(run_facts(result))}</p>'
        f'<dl class="cards">{cards}</dl>{unsure}{_status(result)}</div>'
    )


def _status(result: Result) -> str:
    if not result.has_evidence:
        text = "No request was measured: nothing is known about any promise."
        return f'<div class="status bad" role="alert"><b>✗ No data</b><span>{text}</span></div>'
    objectives = result.frames.objectives
    broken = objectives[objectives["verdict"] == columns.BROKEN].to_dict("records")
    sentences = list(result.stability)
    if broken and not sentences:
        sentences = [
            f"{row['class']}: {promise_title(row)} is {promise_found(row)}, "
            f"{promise_limit(row)} promised."
            for row in broken
        ]
    if not sentences and (unknown := unknown_promises(result)):
        text = f"<b>✗ No sample</b><span>{escape(unknown)}</span>"
        return f'<div class="status bad" role="alert">{text}</div>'
    if not sentences:
        text = (
            f"The fleet keeps up: no queue grows, and all {len(objectives)} promises are kept."
            if len(objectives)
            else "The fleet keeps up: no queue grows."
        )
        return f'<div class="status good"><b>✓ Stable</b><span>{text}</span></div>'
    title = f"⚠ {trouble_title(result).capitalize()}" if result.stability else "✗ Promises broken"
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<div class="status bad" role="alert"><b>{title}</b><ul>{items}</ul></div>'


def promises(result: Result) -> str:
    """Return one panel per class: share of requests kept, and each promise as a meter."""
    objectives = result.frames.objectives.to_dict("records")
    cached = caches(result)
    panels = "".join(
        _class_panel(
            row,
            [each for each in objectives if each["class"] == row["class"]],
            f"{share(row['prefix_hit_rate'])} of input tokens cached" if cached else "",
        )
        for row in result.frames.classes.to_dict("records")
    )
    return section(
        "promises",
        "Promises",
        "Each class against what it was promised. A bar shows how much of the limit is used up.",
        f'<div class="grid three">{panels}</div>',
    )


def _class_panel(row: dict[Any, Any], objectives: Sequence[dict[Any, Any]], cached: str) -> str:
    items = "".join(_promise(each) for each in objectives)
    sentences = filter(None, (rate_limit_sentence(row), light_sentence(row), cached))
    limited = "".join(f'<p class="limited">{escape(sentence)}</p>' for sentence in sentences)
    return (
        f'<div class="panel class"><header><h3>{escape(row["class"])}</h3>'
        f"<span>{count(row['arrival_rps'])} requests/s</span></header>"
        f'<div class="kept"><b>{percent(row["slo_attainment_rate"])}</b>'
        f"<span>of requests keep all promises · goodput {count(row['goodput_rps'])}/s</span></div>"
        f"{limited}{items}</div>"
    )


def _promise(row: dict[Any, Any]) -> str:
    used = row["value"] / row["limit"] if row["limit"] else float(row["value"] > 0)
    width = 0.0 if pd.isna(used) else min(1.0, used)
    word = row["verdict"]
    state, mark = _VERDICTS[word]
    return (
        f'<div class="promise{state}"><div>'
        f'<span><span class="mark" role="img" aria-label="{word}">{mark}</span>'
        f"{escape(promise_title(row))}</span>"
        f'<span class="found"><b>{promise_found(row)}</b> '
        f"<em>of {promise_limit(row)}</em></span></div>"
        f'<div class="meter" aria-hidden="true"><i style="width:{width:.1%}"></i></div></div>'
    )


def demand(result: Result) -> str:
    """Return demand against capacity over time."""
    return section(
        "demand",
        "Demand and capacity",
        "What arrives, what is served well, and what the fleet has in service to do it.",
        chart(figures.demand_figure(result)),
    )


def latency(result: Result) -> str:
    """Return the latency distributions and the table of quantiles."""
    charts = figures.latency_figures(result)
    names = [str(name) for name in result.frames.classes["class"]]
    marks = [(figures.series_colour(at), "line", name) for at, name in enumerate(names)]
    marks.append(("var:ink", "diamond", "promise"))
    return section(
        "latency",
        "Latency",
        "Served requests that arrived after the warm-up (ITL: their token gaps), on a scale that "
        "spreads the tail. A diamond is a promise; it is kept where the curve passes above it.",
        legend(marks),
        f'<div class="grid">{"".join(chart(figure) for figure in charts)}</div>',
        panel(tools("Quantiles by class", "classes"), _quantile_table(result.frames.classes)),
    )


def _quantile_table(classes: pd.DataFrame) -> str:
    rows = []
    for row in classes.to_dict("records"):
        for at, metric in enumerate(shown_metrics(row["reasoning_tokens"])):
            values = [row[columns.quantile_column(metric, p)] for p in columns.PERCENTILES]
            name = Cell(row["class"], "repeat" if at else "")
            cells = [number(duration(value)) for value in (row[f"{metric}_mean_s"], *values)]
            rows.append([name, Cell(METRIC_SHORT[metric]), *cells])
    head = ["class", "metric", "#mean", *(f"#{percentile(p)}" for p in columns.PERCENTILES)]
    return table("Latency quantiles by class", head, rows)


def tasks(result: Result) -> str:
    """Return how long tasks take and what they cost; empty without sessions."""
    frame = result.frames.tasks
    if frame.empty:
        return ""
    head = [
        "class", "#begun", "#finished", "#abandoned", "#under way", "#calls", "#tokens",
        "#reusable input", *(f"#{percentile(p)}" for p in columns.PERCENTILES), "#cost", "#revenue",
    ]  # fmt: skip
    left_out = [task_sentence(row) for row in frame.to_dict("records")]
    rows = [
        [
            Cell(row["class"]),
            *(number(f"{row[name]:,}") for name in ("begun", "finished", "abandoned", "under_way")),
            number(count(row["calls_per_task"])),
            number(count(row["tokens_per_task"])),
            number(percent(row["reusable_input_rate"])),
            *(
                number(duration(row[columns.quantile_column(columns.TASK_METRIC, p)]))
                for p in columns.PERCENTILES
            ),
            *(number(money(usd)) for usd in task_money(result, row["class"])),
        ]
        for row in frame.to_dict("records")
    ]
    return section(
        "tasks",
        "Tasks",
        "A task is a session: its calls, one after the other, and the time of tools or people "
        "between them. Times, calls and tokens are means and quantiles of tasks that began after "
        "the warm-up and finished; cost and revenue are those of so many tokens of the class.",
        panel(tools("Tasks by class", "tasks"), table("Tasks by class", head, rows)),
        "".join(f"<p>{escape(sentence)}</p>" for sentence in left_out if sentence),
    )


def requests(result: Result) -> str:
    """Return how every request ended."""
    fates, objectives = result.frames.fates, result.frames.objectives
    losses = figures.losses_figure(result)
    broken = objectives[
        (objectives["metric"] == "loss") & (objectives["verdict"] == columns.BROKEN)
    ]
    too_many = set(broken["class"])
    head = ["class", "#arrived", *(f"#{FATE_TITLES[fate]}" for fate in columns.FATES)]
    total = {name: fates[name].sum() for name in ("arrived", *columns.FATES)}
    return section(
        "requests",
        "What became of each request",
        "Every request that arrived has exactly one fate; each row sums to its arrivals. Warm-up "
        "included.",
        panel(
            tools("Fates by class", "fates"),
            table(
                "Fates by class",
                head,
                [
                    _fate_cells(row["class"], row, alarm=row["class"] in too_many)
                    for row in fates.to_dict("records")
                ],
                total=_fate_cells("all", total, alarm=False) if len(fates) > 1 else None,
            ),
        ),
        chart(losses) if losses else "",
    )


def _fate_cells(name: str, row: dict[Any, Any], *, alarm: bool) -> list[Cell]:
    cells = [Cell(name), number(f"{int(row['arrived']):,}")]
    for fate in columns.FATES:
        value = int(row[fate])
        lost = alarm and fate in columns.LOST_FATES
        kind = "zero" if value == 0 else "loss" if lost else ""
        cells.append(number(f"{value:,}", kind))
    return cells


def pools(result: Result) -> str:
    """Return what the pools are, how they are used, and what binds them."""
    cached, drafted = caches(result), drafts(result)
    rows = [_pool_cells(row, cached, drafted) for row in result.frames.pools.to_dict("records")]
    charts = "".join(chart(figure) for figure in figures.pool_figures(result))
    steps = step_figure(result)
    head = [
        "pool", "hardware", "step times", "#nodes", "#accelerators", "#busy", "#compute",
        "#bandwidth", "#KV memory", "#running", "#waiting",
        "#tokens/s per accelerator", *(["#tokens per draft step"] if drafted else []),
        *(["#prompt cached"] if cached else []), "busiest resource",
    ]  # fmt: skip
    return section(
        "pools",
        "Pools",
        "Sizes are those at peak; shares are means over the measured time. Tokens per second and "
        "accelerator are tokens decoded, over the accelerators in service.",
        panel(tools("Pools at a glance", "pools"), table("Pools", head, rows)),
        legend(figures.POOL_LEGEND),
        f'<div class="grid">{charts}</div>',
        chart(steps) if steps else "",
    )


def _pool_cells(row: dict[Any, Any], cached: bool, drafted: bool) -> list[Cell]:
    shape = " · ".join(part for part in (row["parallelism"], row["weight_dtype"]) if part)
    rates = (row["busy_rate"], row["compute_rate"], row["memory_rate"], row["kv_usage_rate"])
    growing = f"queue grows by {count(row['queue_growth_rps'])}/s"
    return [
        Cell(row["pool"], small=" · ".join(filter(None, (row["model"], handover_words(row))))),
        Cell(row["node"], "w", small=shape),
        tier_cell(row["tier"]),
        number(count(row["nodes_at_peak"])),
        number(count(row["accelerators_at_peak"])),
        *(number(share(rate)) for rate in rates),
        number(count(row["running"])),
        number(count(row["waiting"]), "" if row["stable"] else "loss"),
        number(count(row["decode_tokens_per_s_per_accelerator"])),
        *([number(count(row["acceptance_length"]))] if drafted else []),
        *([_cache_cell(row)] if cached else []),
        Cell(
            RESOURCE_TITLES[row["busiest_resource"]],
            tag="plain" if row["stable"] else "bad",
            small="" if row["stable"] else growing,
        ),
    ]


def _cache_cell(row: dict[Any, Any]) -> Cell:
    if not row["prefix_cache"]:
        return number(MISSING)
    rate = row["prefix_hit_rate"] + row["tier_hit_rate"]
    return Cell(share(rate), "n", small=cache_sentence(row))


def money_section(result: Result) -> str:
    """Return revenue, cost and margin; empty for a run without prices."""
    finance = result.finance
    if finance is None:
        return ""
    drawn = (figures.waterfall_figure(finance), figures.cost_figure(finance))
    charts = "".join(map(chart, drawn))
    energy = f"{count(finance.energy_kwh)} kWh at the meter"
    return section(
        "money",
        "Money",
        f"For the simulated {duration(finance.hours * 3600)}: {money(finance.cost_usd)} of cost, "
        f"{money(finance.revenue_usd)} of revenue, {energy}. Rates are per hour of it.",
        f'<div class="grid">{charts}</div>',
        panel(tools("By class, per hour", "class_costs"), class_cost_table(finance)),
        panel(tools("Gross margin by definition, per hour", "margins"), margin_table(finance)),
        panel(
            tools("The ledger: every line, for all of the simulated time", "ledger"),
            ledger_table(finance.ledger),
        ),
    )


def assumption_table(caption: str, first: str, stated: Iterable[Assumption]) -> str:
    """Return a table of figures with their sources; `first` is the title of the first column."""
    rows = [
        [
            Cell(each.name, small=each.note),
            number(quantity(each.value, each.unit)),
            tier_cell(each.tier),
            Cell(each.source),
            Cell(each.date or MISSING, "w"),
        ]
        for each in stated
    ]
    return table(caption, [first, "#value", "tier", "source", "date"], rows, stacked=True)


def assumptions(result: Result) -> str:
    """Return what the numbers stand on, with sources; weak tiers are flagged."""
    words = "".join(f"<dt>{term}</dt><dd>{escape(text)}</dd>" for term, text in _WORDS)
    parts = [notes(result.notes)] if result.notes else []
    if result.assumptions:
        shown = assumption_table("Assumptions", "what", result.assumptions)
        parts.insert(0, panel(tools("Figures and their sources", "assumptions"), shown))
    parts.append(panel("<h3>Words</h3>", f'<dl class="words">{words}</dl>'))
    return section("assumptions", "Assumptions", _tier_summary(result), *parts)


def _tier_summary(result: Result) -> str:
    tiers = Counter(each.tier for each in result.assumptions)
    kinds = (
        (("official", "measured", "fitted"), "official, measured or fitted"),
        (("analyst",), "from analysts"),
        (("scenario",), "the scenario's own"),
        (("estimated", "claimed"), "estimated or claimed, and marked"),
    )
    counted = [(sum(tiers[tier] for tier in names), title) for names, title in kinds]
    parts = "; ".join(f"{number} {title}" for number, title in counted if number)
    return "What the numbers stand on." + (
        f" Of {len(result.assumptions)} figures: {parts}." if result.assumptions else ""
    )


def footer(result: Result) -> str:
    """Return what identifies the run."""
    counters = " · ".join(f"{name} {value:,}" for name, value in sorted(result.counters.items()))
    facts = [
        f"planner {result.version}",
        f"scenario {result.scenario_sha256[:16]}",
        f"seed {result.seed}",
        counters,
    ]
    return " · ".join(fact for fact in facts if fact)
