"""What each serving technique is worth, as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

from planner.report.ablation_figures import LEGEND, waterfalls
from planner.report.ablation_wording import (
    COLUMN_WORDS,
    COLUMNS,
    fleet_of,
    headline,
    held_sentences,
    is_better,
    none_words,
    run_words,
    scale_of,
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
from planner.report.page import Chapter, Data, data_table, lead, render_page, rounded
from planner.results.formatting import MISSING
from planner.version import VERSION

if TYPE_CHECKING:
    from planner.search.ablation import Ablation, Decomposition, Effect
    from planner.search.subsets import Measured

_CARDS: Final = 4


def render_ablation_html(found: Ablation) -> str:
    """Return the report: no network, plotly.js inline once, the same bytes for the same input."""
    figures = waterfalls(found)
    titles = [("worth", "Worth"), ("effects", "Effects"), ("techniques", "Techniques")]
    titles += [("subsets", "Subsets"), ("assumptions", "Assumptions")]
    parts = [
        _lead(found),
        _worth(figures),
        _effects(found),
        _techniques(found),
        _subsets(found),
        _assumptions(found),
    ]
    return render_page(
        f"{found.name}: what each technique is worth · planner",
        titles,
        parts,
        figures,
        _tables(found),
        f"planner {VERSION} · seed {found.seed}",
    )


def ablation_chapter(found: Ablation) -> Chapter:
    """Return what a page of several answers shows of an ablation."""
    figures = waterfalls(found)
    said = f"{' '.join(headline(found))} {run_words(found)}."
    return Chapter(
        sections=(("worth", "Techniques"),),
        body=(_worth(figures, said),),
        figures=tuple(figures),
        tables=_tables(found),
    )


# --- sections -------------------------------------------------------------------------------------


def _lead(found: Ablation) -> str:
    cards = []
    for each in found.decompositions[:_CARDS]:
        scale = scale_of([each])
        before = scale.level(each.none) if each.needed else f"{scale.level(each.none)} with none"
        note = f"{before}: {scale.change(each.change)}"
        if each.needed:
            note = f"{note} without {' and '.join(_free(found, each))}"
        cards.append((title_of(each.quantity), scale.level(each.all), note))
    title = f"{found.name}: what each technique is worth"
    return lead(title, " ".join(headline(found)), [run_words(found)], cards)


def _worth(figures: Sequence[Figure], said: str = "") -> str:
    text = (
        "Each bar is a technique's Shapley share, one after another from none of the techniques to "
        "all of them; the shares add up exactly. Diamonds show how far the bar would reach if the "
        "technique were judged on its own, or by what its removal from the full stack undoes."
    )
    grid = f'<div class="grid">{"".join(chart(figure) for figure in figures)}</div>'
    answer = f"<p>{escape(said)}</p>" if said else ""
    title = "What each technique is worth"
    return section("worth", title, text, answer, legend(LEGEND), grid)


def _free(found: Ablation, each: Decomposition) -> list[str]:
    return [name for name in found.techniques if name not in each.needed]


def _effects(found: Ablation) -> str:
    words = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in COLUMN_WORDS
    )
    parts = [panel(tools("Words", "effects"), f'<dl class="words">{words}</dl>')]
    grid = "".join(
        panel(f"<h3>{escape(title_of(each.quantity))}</h3>", _note(each), _effect_table(each))
        for each in found.decompositions
        if not each.quantity.request_class
    )
    parts.append(f'<div class="grid">{grid}</div>')
    parts += _class_panels(found)
    text = "Each change of a quantity in its own unit; minus where there is less of it."
    return section("effects", "Effects", text, *parts)


def _note(each: Decomposition) -> str:
    text = fleet_of(each.quantity)
    return f'<p class="caption">{escape(text[0].upper() + text[1:])}.</p>'


def _effect_table(each: Decomposition) -> str:
    scale = scale_of([each])
    blank = number("")
    rows = [[Cell(none_words(each)), blank, blank, number(scale.level(each.none))]]
    rows += [
        [
            Cell(effect.technique),
            number(scale.change(effect.alone)),
            number(scale.change(effect.removed)),
            _share(each, effect),
        ]
        for effect in each.effects
    ]
    total = [Cell("all of them"), blank, blank, number(scale.level(each.all))]
    head = ["technique", *(f"#{name}" for name in COLUMNS)]
    return table(f"Effects on {each.quantity.title}", head, rows, total=total)


def _share(each: Decomposition, effect: Effect) -> Cell:
    scale = scale_of([each])
    worse = is_better(each.quantity, effect.share) is False
    return number(
        scale.share(effect), "loss" if worse and not scale.is_negligible(effect.share) else ""
    )


def _class_panels(found: Ablation) -> list[str]:
    """Return the latencies of single classes: one panel per latency, one row per class."""
    own = [each for each in found.decompositions if each.quantity.request_class]
    panels = []
    for name in dict.fromkeys(each.quantity.name for each in own):
        classes = [each for each in own if each.quantity.name == name]
        scale, title = scale_of(classes), classes[0].quantity.title
        rows = [
            [
                Cell(each.quantity.request_class, small=_only(each)),
                number(scale.level(each.none)),
                *(number(scale.share(effect)) for effect in each.effects),
                number(scale.level(each.all)),
            ]
            for each in classes
        ]
        head = ["class", "#none", *(f"#{technique}" for technique in found.techniques), "#all"]
        shown = table(f"Shares of {title} by class", head, rows, stacked=True)
        heading = f"<h3>{escape(title[0].upper() + title[1:])}, by class</h3>"
        caption = f"Shares; {fleet_of(classes[0].quantity)}."
        panels.append(panel(heading, f'<p class="caption">{escape(caption)}</p>', shown))
    return panels


def _only(each: Decomposition) -> str:
    return f"from {none_words(each)}" if each.needed else ""


def _techniques(found: Ablation) -> str:
    rows = []
    for switch in found.switches:
        technique = switch.technique
        held = "; ".join(f"{pool}: {reason}" for pool, reason in switch.held.items())
        rows.append(
            [
                Cell(technique.name),
                Cell(technique.meaning),
                Cell(technique.instead),
                Cell(held or MISSING),
            ]
        )
    rows += [
        [Cell(name), Cell(""), Cell("cannot be switched off", tag="warn"), Cell(reason)]
        for name, reason in found.fixed.items()
    ]
    shown = table(
        "Techniques", ["technique", "meaning", "without it", "stays on in"], rows, stacked=True
    )
    text = "What was switched off and on, as found in the scenario."
    return section("techniques", "Techniques", text, panel(shown))


def _subsets(found: Ablation) -> str:
    listed = [each for each in found.decompositions if not each.quantity.request_class]
    scales = [scale_of([each]) for each in listed]
    rows = []
    for subset in found.subsets:
        values = [
            number(scale.level(subset.values.get((each.quantity.name, ""))))
            for each, scale in zip(listed, scales, strict=True)
        ]
        rows.append([Cell(_on(found, subset), small="; ".join(subset.broken)), *values])
    head = ["techniques on", *(f"#{_brief(each)}" for each in listed)]
    text = (
        f"{len(found.subsets):,} of {2 ** len(found.techniques):,} subsets. In small print: "
        "what the scenario's own fleet does not keep."
    )
    shown = table("Subsets", head, rows)
    parts = [panel(tools("Every subset", "subsets"), shown)]
    obstacles = [f"{_on(found, each)}: {each.obstacle}" for each in found.subsets if each.obstacle]
    if obstacles:
        parts.append(panel("<h3>Without a fleet</h3>", notes(obstacles)))
    return section("subsets", "Subsets", text, *parts)


def _on(found: Ablation, subset: Measured) -> str:
    on = ", ".join(name for name in found.techniques if name in subset.on)
    return on or "none of them"


def _brief(each: Decomposition) -> str:
    return {
        "accelerators": "accelerators",
        "cost_per_hour_usd": "USD/h",
        "cost_per_million_output_tokens_usd": "USD/Mtok",
        "gross_margin_rate": "margin",
        "ttft_p99_s": "TTFT p99",
        "tpot_p99_s": "TPOT p99",
        "slo_attainment_rate": "in promise",
    }.get(each.quantity.name, each.quantity.title)


def _assumptions(found: Ablation) -> str:
    text = "What qualifies the numbers."
    listed = notes([*held_sentences(found), *found.notes])
    return section("assumptions", "Assumptions", text, listed)


# --- tables behind the page -----------------------------------------------------------------------


def _tables(found: Ablation) -> dict[str, Data]:
    rows: list[list[Any]] = []
    for each in found.decompositions:
        quantity = each.quantity
        for effect in each.effects:
            values = [effect.alone, effect.removed, effect.share, effect.error]
            labels = [quantity.name, quantity.request_class, quantity.unit, effect.technique]
            rows.append([*labels, *rounded([each.none, *values, each.all])])
    names = ("quantity", "class", "unit", "technique", "none", "alone", "removed", "share")
    subsets = found.rows()
    columns = list(subsets[0]) if subsets else []
    return {
        "effects": data_table([*names, "standard_error", "all"], rows),
        "subsets": data_table(columns, [rounded(row[name] for name in columns) for row in subsets]),
    }
