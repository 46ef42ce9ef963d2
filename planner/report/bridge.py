"""Why cost and margin changed, as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Final

from planner.report.bridge_figures import LEGEND, table_of, waterfalls
from planner.report.bridge_wording import (
    brief_title_of,
    group_words,
    headline,
    is_better,
    margin_rows,
    run_words,
    scale_of,
    shown,
    title_of,
)
from planner.report.figures import Figure
from planner.report.fragments import (
    Cell,
    chart,
    legend,
    notes,
    number,
    panel,
    section,
    table,
    tools,
)
from planner.report.page import Chapter, Data, data_table, lead, render_page
from planner.results.formatting import MISSING, quantity
from planner.version import VERSION

if TYPE_CHECKING:
    from planner.results.result import Assumption, Result
    from planner.search.account import Account
    from planner.search.bridge_techniques import Fleet, Techniques
    from planner.search.bridged import Bridge

_POLICY: Final = ("partner's share of revenue", "node overhead of rented nodes")


def render_bridge_html(found: Bridge, per: str = "hour") -> str:
    """Return the report: no network, plotly.js inline once, the same bytes for the same input.

    Args:
        found: what to show.
        per: what money is stated for, hour or month.
    """
    figures = waterfalls(found, per)
    first, others = figures[: len(shown(found))], figures[len(shown(found)) :]
    parts = [
        _lead(found, per),
        _bridge(first),
        _parts(found, per),
        _margins(found, "".join(chart(figure) for figure in others)),
    ]
    titles = [("bridge", "Bridge"), ("parts", "Parts"), ("margins", "Margins")]
    if found.techniques is not None and found.techniques.players:
        parts.append(_techniques(found, found.techniques, per))
        titles.append(("techniques", "Techniques"))
    parts += [_prices(found), _assumptions(found)]
    titles += [("prices", "Prices"), ("assumptions", "Assumptions")]
    name = f"{found.before.label} → {found.after.label}"
    return render_page(
        f"{name}: why cost and margin changed · planner",
        titles,
        parts,
        figures,
        _tables(found, per),
        f"planner {VERSION} · {_identity(found)}",
    )


def account_chapter(found: Account, per: str = "hour") -> Chapter:
    """Return what a page of several answers shows of a bridge that was kept."""
    figures = waterfalls(found, per)[: len(shown(found))]
    said = f"{found.labels[0]} → {found.labels[1]}. {' '.join(headline(found, per))}"
    tables = {name: data for name, data in _part_tables(found).items() if name in _drawn(figures)}
    tables["bridge_parts"] = data_table(
        ["quantity", "definition", "kind", "part", "change", "standard_error", "meaning"],
        [
            (*key, row.group, row.label, row.amount, row.error, row.meaning)
            for key in found.ends
            for row in found.rows(*key, every=True)
        ],
    )
    return Chapter(
        sections=(("bridge", "Bridge"),),
        body=(_bridge(figures, said), _parts(found, per, "bridge_parts")),
        figures=tuple(figures),
        tables=tables,
    )


def _drawn(figures: Sequence[Figure]) -> set[str]:
    return {figure.table for figure in figures}


def _bridge(figures: Sequence[Figure], said: str = "") -> str:
    text = (
        "Each bar is a part of the change, one after another; their order means nothing, and "
        "they add up exactly."
    )
    answer = f"<p>{escape(said)}</p>" if said else ""
    grid = f'<div class="grid">{"".join(chart(figure) for figure in figures)}</div>'
    return section("bridge", "Why cost and margin changed", text, answer, legend(LEGEND), grid)


def _identity(found: Bridge) -> str:
    sides = (found.before, found.after)
    return " · ".join(f"{side.label} {side.result.scenario_sha256[:16]}" for side in sides)


# --- sections -------------------------------------------------------------------------------------


def _lead(found: Bridge, per: str) -> str:
    cards = []
    for key in shown(found):
        scale = scale_of(found, *key, per)
        before, after = found.ends[key]
        note = f"{scale.change(after - before)}, from {scale.level(before)}"
        cards.append((title_of(*key, per), scale.level(after), note))
    title = f"{found.before.label} → {found.after.label}: why cost and margin changed"
    return lead(title, " ".join(headline(found, per)), [run_words(found, per)], cards)


def _parts(found: Bridge | Account, per: str, listed: str = "parts") -> str:
    keys = shown(found)
    scales = [scale_of(found, *key, per) for key in keys]
    columns = [{(r.group, r.label): r for r in found.rows(*key, every=True)} for key in keys]
    rows, kept = [], []
    for name, any_row in columns[0].items():
        own = [column[name] for column in columns]
        if not any(row.amount for row in own):
            continue
        kept.append(any_row)
        cells = [
            number(
                scale.part(row),
                "zero"
                if scale.is_negligible(row.amount)
                else ""
                if is_better(key[0], row.amount)
                else "loss",
            )
            for key, scale, row in zip(keys, scales, own, strict=True)
        ]
        rows.append([Cell(any_row.label, small=any_row.group), Cell(any_row.meaning), *cells])
    total = [
        Cell("all of it"),
        Cell(""),
        *(
            number(scale.change(found.change(*key)))
            for key, scale in zip(keys, scales, strict=True)
        ),
    ]
    head = ["part", "what it is", *(f"#{brief_title_of(key[0], per)}" for key in keys)]
    words = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in group_words(kept)
    )
    text = (
        "What changing that alone does, averaged over all orders (Shapley). Swap the sides and "
        "every sign turns; what did not change has no part."
    )
    shown_table = table("Parts of the change", head, rows, total=total)
    return section(
        "parts",
        "Parts of the change",
        text,
        panel(tools("Every part", listed), shown_table),
        panel("<h3>Kinds</h3>", f'<dl class="words">{words}</dl>'),
    )


def _margins(found: Bridge, charts: str) -> str:
    rows = [
        [Cell(name, small=meaning), number(before), number(after), number(change)]
        for name, before, after, change, meaning in margin_rows(found)
    ]
    head = ["definition", f"#{found.before.label}", f"#{found.after.label}", "#change"]
    text = (
        "Public figures mix definitions of gross margin, so each is shown; "
        f"the headline's is {found.definition}."
    )
    grid = f'<div class="grid">{charts}</div>' if charts else ""
    shown_table = table("Gross margin by definition", head, rows)
    return section("margins", "Margins by definition", text, panel(shown_table), grid)


def _techniques(found: Bridge, techniques: Techniques, per: str) -> str:
    scale = scale_of(found, "cost", "", per)
    rows = []
    for name in techniques.players:
        own = {p.factor: p.amounts["cost", ""] for p in found.parts if p.cause == name}
        changes = [scale.change(own[f]) if own else MISSING for f in _behaviour(found)]
        total = scale.change(sum(own.values())) if own else "not divided off"
        meaning = techniques.meanings.get(name, "")
        rows.append([Cell(name), Cell(meaning), *map(number, changes), number(total)])
    head = ["technique", "what it is", *(f"#{factor}" for factor in _behaviour(found)), "#cost"]
    fleets = [
        [
            Cell((found.before.label, found.after.label)[fleet.side]),
            Cell(", ".join(sorted(fleet.on)) or "none of them", small=fleet.obstacle),
            Cell(_nodes(fleet)),
            number(scale.level(round((fleet.cost_per_hour_usd or 0) * 1e6)))
            if fleet.nodes
            else number(MISSING),
        ]
        for fleet in techniques.fleets
    ]
    kind = (
        "smallest fleets that keep every promise" if techniques.sized else "scenarios' own fleets"
    )
    text = f"What each technique did to the cost per {per}, by subsets of them; {kind}."
    effects = table("Techniques", head, rows)
    subsets = table("Fleets", ["side", "techniques on", "nodes", f"#cost per {per}"], fleets)
    return section(
        "techniques",
        "Techniques",
        text,
        panel(effects),
        panel(tools("Every fleet", "fleets"), subsets),
    )


def _behaviour(found: Bridge) -> list[str]:
    return list(dict.fromkeys(part.factor for part in found.parts if part.cause))


def _nodes(fleet: Fleet) -> str:
    return ", ".join(f"{name} {count}" for name, count in (fleet.nodes or {}).items()) or MISSING


def _prices(found: Bridge) -> str:
    first, second = _money(found.before.result), _money(found.after.result)
    names = dict.fromkeys([*first, *second])
    rows = [
        [
            Cell(name),
            _value(first.get(name)),
            _origin(first.get(name)),
            _value(second.get(name)),
            _origin(second.get(name)),
        ]
        for name in names
    ]
    before, after = found.before.label, found.after.label
    head = ["price", f"#{before}", "source", f"#{after}", "source"]
    parts = [panel(tools("Prices on both sides", "prices"), table("Prices", head, rows))]
    others = [figure for figure in found.figures if figure.name not in names]
    if others:
        listed = [
            [
                Cell(f.name),
                number(f.before),
                Cell(f.source_before),
                number(f.after),
                Cell(f.source_after),
            ]
            for f in others
        ]
        title = "<h3>Other figures that differ</h3>"
        parts.append(panel(title, table("Other figures", ["figure", *head[1:]], listed)))
    text = "What both sides were priced with, each figure with its source, date and tier."
    return section("prices", "Prices on both sides", text, *parts)


def _money(result: Result) -> dict[str, Assumption]:
    return {a.name: a for a in result.assumptions if "USD" in a.unit or a.name in _POLICY}


def _value(figure: Assumption | None) -> Cell:
    return number(MISSING if figure is None else quantity(figure.value, figure.unit))


def _origin(figure: Assumption | None) -> Cell:
    if figure is None:
        return Cell(MISSING)
    small = ", ".join(text for text in (figure.date, figure.tier) if text)
    return Cell(figure.source, small=small)


def _assumptions(found: Bridge) -> str:
    text = "What qualifies the numbers."
    return section("assumptions", "Assumptions", text, notes(found.notes))


# --- tables behind the page -----------------------------------------------------------------------


def _tables(found: Bridge, per: str) -> dict[str, Data]:
    tables = _part_tables(found)
    frame = found.to_pandas().astype(object)
    parts = frame.where(frame.notna(), None).to_numpy().tolist()
    tables["parts"] = data_table(map(str, frame.columns), parts)
    fleets = () if found.techniques is None else found.techniques.fleets
    tables["fleets"] = data_table(
        ["side", "on", "nodes", ("cost", "USD/h", "")],
        [
            (
                ("before", "after")[fleet.side],
                ", ".join(sorted(fleet.on)),
                _nodes(fleet),
                fleet.cost_per_hour_usd,
            )
            for fleet in fleets
        ],
    )
    first, second = _money(found.before.result), _money(found.after.result)
    tables["prices"] = data_table(
        ["side", "price", "value", "unit", "source", "date", "tier"],
        [
            (label, a.name, a.value, a.unit, a.source, a.date, a.tier)
            for label, side in ((found.before.label, first), (found.after.label, second))
            for a in side.values()
        ],
    )
    return tables


def _part_tables(found: Bridge | Account) -> dict[str, Data]:
    return {
        table_of(*key): data_table(
            [
                "kind",
                "part",
                ("change", "1e-9" if key[0] == "margin" else "µUSD/h", "exact"),
                "standard_error",
                "meaning",
            ],
            [
                (row.group, row.label, row.amount, row.error, row.meaning)
                for row in found.rows(*key)
            ],
        )
        for key in found.ends
    }
