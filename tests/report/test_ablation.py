"""The report of an ablation: one file, sound HTML, the same bytes each time; and its words."""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import replace

import pytest
from rich.console import Console

from planner.report.ablation import render_ablation_html
from planner.report.ablation_terminal import print_ablation
from planner.report.ablation_wording import headline, held_sentences, scale_of
from planner.report.page import plotly_script
from planner.search.ablation import Ablation, Decomposition, Effect
from planner.search.quantities import Quantity
from planner.search.subsets import Measured
from planner.search.switches import Switch
from planner.search.techniques import TECHNIQUES
from tests.report.test_html import Page

HOSTILE = "</script><script>alert(1)</script>\u2028<b>&\"'"
WEIGHTS, CACHE = TECHNIQUES[0], TECHNIQUES[1]
NAMES = (WEIGHTS.name, CACHE.name)


def decomposition(
    name: str = "accelerators",
    unit: str = "accelerators",
    none: float = 64.0,
    alone: tuple[float, float] = (-24.0, -8.0),
    both: float = -40.0,
    **changes: object,
) -> Decomposition:
    """Return a quantity of a game of two players."""
    removed = (alone[1] - both, alone[0] - both)
    shares = [(one - other) / 2 for one, other in zip(alone, removed, strict=True)]
    effects = tuple(
        Effect(*row) for row in zip(NAMES, alone, removed, shares, (None, None), strict=True)
    )
    title = {"accelerators": "accelerators needed"}.get(name, name)
    fleet = "smallest" if unit == "accelerators" else "own"
    quantity = Quantity(name, title, unit, fleet, unit != "rate")  # type: ignore[arg-type]
    return replace(Decomposition(quantity, none, none + both, effects), **changes)  # type: ignore[arg-type]


def ablation(text: str = "plain", **changes: object) -> Ablation:
    every = frozenset(NAMES)
    subsets = [
        Measured(on, {("accelerators", ""): 64.0}, {"chat": 8}, "", (text,), None, 3)
        for on in (every, every - {NAMES[1]}, every - {NAMES[0]}, frozenset())
    ]
    latency = decomposition("ttft_p99_s", "s", 2.0, (-0.5, 0.1), -0.75)
    by_class = [
        replace(latency, quantity=replace(latency.quantity, request_class=f"{text} {number}"))
        for number in range(2)
    ]
    found = Ablation(
        name=text,
        seed=3,
        part="all 1 h of arrivals",
        whole=True,
        start="19:00",
        weekday="mon",
        duration_s=3600.0,
        switches=(Switch(WEIGHTS, {text: f"{text}: it does not fit"}), Switch(CACHE, {})),
        fixed={},
        decompositions=(
            decomposition(),
            decomposition("gross_margin_rate", "rate", 0.5, (0.1, 0.0), 0.1),
            latency,
            *by_class,
        ),
        subsets=tuple(subsets),
        orders=None,
        sized=True,
        notes=(f"note {text}",),
    )
    return replace(found, **changes)  # type: ignore[arg-type]


def without_plotly(text: str) -> str:
    return text.replace(plotly_script(), "")


def printed(found: Ablation) -> list[str]:
    out = io.StringIO()
    print_ablation(found, Console(file=out, width=100))
    return out.getvalue().splitlines()


# --- the page ------------------------------------------------------------------------------------


def test_the_page_is_whole_and_alone() -> None:
    html = render_ablation_html(ablation())
    Page(html)
    assert not re.search(r'(?:src|href)="(?!#|data:)', without_plotly(html))
    for title in ("Worth", "Effects", "Techniques", "Subsets", "Assumptions"):
        assert title in html
    assert "note plain" in html


def test_the_same_input_gives_the_same_bytes() -> None:
    assert render_ablation_html(ablation()) == render_ablation_html(ablation())


def test_hostile_texts_stay_texts() -> None:
    html = without_plotly(render_ablation_html(ablation(HOSTILE)))
    assert "<script>alert" not in html
    assert "\u2028" not in html.split('<script type="application/json"', 1)[1]


def test_a_waterfall_leads_from_none_to_all() -> None:
    html = render_ablation_html(ablation())
    block = re.search(r'id="figures">(.*?)</script>', html, re.DOTALL)
    assert block
    figures = json.loads(block[1])
    assert set(figures) == {
        "waterfall-accelerators",
        "waterfall-gross-margin-rate",
        "waterfall-ttft-p99-s",
    }
    bars, _, alone, undone = figures["waterfall-accelerators"]["data"]
    assert bars["base"] == [0, 36, 24, 0]
    assert bars["x"] == [64, 28, 12, 24]
    assert bars["text"] == ["64", "−28", "−12", "24"]
    assert alone["x"] == [40, 28]  # 64 − 24, 36 − 8
    assert undone["x"] == [32, 20]  # 64 − 32, 36 − 16
    tables = json.loads(re.search(r'id="tables">(.*?)</script>', html, re.DOTALL)[1])  # type: ignore[index]
    assert len(tables["effects"]["rows"]) == 2 * 5
    assert len(tables["subsets"]["rows"]) == 4


def test_an_axis_of_small_changes_does_not_start_at_zero() -> None:
    small = decomposition("ttft_p99_s", "s", 2.0, (-0.01, -0.01), -0.02)
    html = without_plotly(render_ablation_html(ablation(decompositions=(small,))))
    assert "The axis does not start at zero." in html
    large = ablation(decompositions=(decomposition(),))
    assert "The axis does not start at zero." not in without_plotly(render_ablation_html(large))


def test_what_cannot_be_known_is_left_open() -> None:
    lost = Effect(NAMES[0], None, None, None)
    rest = Effect(NAMES[1], -16.0, 16.0, -16.0, 0.5)
    needed = decomposition(effects=(lost, rest), none=40.0, all=24.0, needed=(NAMES[0],))
    found = ablation(decompositions=(needed,), fixed={"overflow between pools": "it is: so"})
    html = render_ablation_html(found)
    assert "stays on" in html
    assert "cannot be switched off" in html
    lines = printed(found)
    assert "only weight quantization" in "\n".join(lines)
    assert re.search(r"weight quantization +– +– +–$", "\n".join(lines), re.MULTILINE)
    assert re.search(
        r"KV quantization +−16.0 +\+16.0 +−16.0 ± 0.5$", "\n".join(lines), re.MULTILINE
    )


def test_a_subset_without_a_fleet_says_why() -> None:
    lost = Measured(frozenset(), {}, obstacle="not even 8 nodes keep the promises")
    html = render_ablation_html(ablation(subsets=(*ablation().subsets[:3], lost)))
    assert "<li>none of them: not even 8 nodes keep the promises</li>" in html
    assert "Without a fleet" not in render_ablation_html(ablation())


# --- words ---------------------------------------------------------------------------------------


def test_the_headline() -> None:
    assert headline(ablation()) == [
        "With all 2 techniques on, 24 accelerators keep every promise; with none, 64.",
        "Their shares: weight quantization −28, KV quantization −12.",
    ]
    assert headline(ablation(decompositions=())) == []


def test_why_a_technique_stays_on() -> None:
    assert held_sentences(ablation(fixed={"KV quantization": "no room: 3 GB are missing"})) == [
        "KV quantization cannot be switched off: no room.",
        "weight quantization stays on in pool plain, where it cannot be switched off: plain.",
    ]


@pytest.mark.parametrize(
    ("unit", "none", "both", "texts"),
    [
        ("accelerators", 64.0, -40.0, ("64", "−40")),
        ("accelerators", 64.0, -40.5, ("64.0", "−40.5")),
        ("usd/h", 284.328, 20.68, ("$284.33", "+$20.68")),
        ("usd/h", 54_000.0, -1_000.0, ("$54,000", "−$1,000")),
        ("usd/Mtok", 0.512, -0.0001, ("$0.5120", "−$0.0001")),
        ("rate", 0.446, 0.164, ("44.6%", "+16.4 pp")),
        ("rate", 0.446, 0.0001, ("44.6%", "≈ 0")),
        ("rate", -0.446, 0.0, ("−44.6%", "0")),
        ("s", 0.0907, -0.0389, ("90.7 ms", "−38.9 ms")),
        ("s", 0.9, 0.05, ("900 ms", "+50 ms")),
        ("s", 2.2, -0.905, ("2.20 s", "−0.91 s")),
        ("s", 1272.0, -1200.0, ("21.2 min", "−20.0 min")),
    ],
)
def test_amounts(unit: str, none: float, both: float, texts: tuple[str, str]) -> None:
    found = decomposition("quantity", unit, none, (both / 2, both / 2), both)
    if unit == "accelerators":
        found = replace(found, effects=(Effect(NAMES[0], both, -both, both),))
    scale = scale_of([found])
    assert (scale.level(found.none), scale.change(both)) == texts
    assert scale.level(None) == scale.change(None) == "–"


def test_an_unknown_error_is_not_shown() -> None:
    scale = scale_of([decomposition()])
    assert scale.share(Effect("x", 0.0, 0.0, -3.0, math.nan)) == "−3"


# --- terminal ------------------------------------------------------------------------------------


def test_tables_fit_and_name_the_way_up() -> None:
    lines = printed(ablation())
    assert max(map(len, lines)) <= 100
    assert "Accelerators needed  smallest fleet that keeps every promise; fewer is better" in lines
    assert "Gross_margin_rate  the scenario's own fleet; more is better" in lines
    assert any(line.startswith("Ttft_p99_s, by class  shares; ") for line in lines)


def test_many_classes_are_left_to_the_files() -> None:
    found = ablation()
    one = found.decompositions[-1]
    more = [replace(one, quantity=replace(one.quantity, request_class=f"c{n}")) for n in range(9)]
    lines = printed(replace(found, decompositions=(*found.decompositions[:3], *more)))
    assert not any("by class" in line for line in lines)


def test_plain_text_where_the_terminal_knows_ascii_only() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_ablation(ablation(), Console(file=out, width=100))
    out.flush()
    assert b"-28" in out.buffer.getvalue()  # type: ignore[attr-defined]
