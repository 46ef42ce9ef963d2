"""The report of a validation: one file, sound HTML, the same bytes each time."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from planner.measurements import Poisson
from planner.report.page import plotly_script
from planner.report.validation import render_validation_html
from planner.validation.record import HoldOut, Target, Validation
from planner.validation.score import score
from planner.validation.serving import Capacity, Regime
from planner.validation.wording import error_text, load_words, signed, words
from tests.measurements.samples import point
from tests.report.test_html import Page

HOSTILE = "</script><script>alert(1)</script>\u2028<b>&\"'"


def validation(text: str = "plain", **changes: object) -> Validation:
    measured = [
        point(id=f"{text} {number}", source=source, engine_version=text, engine="other")
        for number, source in enumerate(("one", "two"))
    ]
    measured.append(point(id="odd", flags=("multi-token prediction suspected",)))
    scores = [
        score(each, {"ttft_mean_s": 0.11, "tpot_mean_s": 0.1 * 10**number})
        for number, each in enumerate(measured)
    ]
    stream = point(id=f"{text} stream", protocol=Poisson(2.0, 10), metrics={"request_rps": 2.0})
    return replace(
        Validation(
            scores=tuple(scores),
            by=("model", "engine"),
            unusable={f"one: {text}": 3},
            skipped={"two: no model": 4},
            regimes=(Regime(stream, 2.0, 2.0, 1.5, None, None),),
            capacities=(Capacity(stream, 2.0, 1.8, "ttft_p99_s", 7),),
            held=HoldOut(unseen=tuple(scores[:1]), notes=(f"note {text}",)),
            targets=(
                Target("closed loops", "TPOT mean", 0.08, 0.07, 12, "reached"),
                Target("MLPerf", "TTFT p99", 0.3, 41.0, 3, "short"),
                Target("apart", "TPOT mean", 0.15, None, 0, "not replayed yet"),
            ),
            notes=(f"assumed {text}",),
            source=f"a table {text}",
        ),
        **changes,
    )


def without_plotly(text: str) -> str:
    return text.replace(plotly_script(), "")


def test_the_page_is_whole_and_alone() -> None:
    html = render_validation_html(validation())
    page = Page(html)
    assert not re.search(r'(?:src|href)="(?!#|data:)', without_plotly(html))
    assert "Accuracy to reach" in html
    for title in ("Points", "Groups", "Open loops", "Assumptions", "Unseen"):
        assert title in html
    assert page is not None


def test_the_same_input_gives_the_same_bytes() -> None:
    assert render_validation_html(validation()) == render_validation_html(validation())


def test_hostile_texts_stay_texts() -> None:
    html = without_plotly(render_validation_html(validation(HOSTILE)))
    assert "<script>alert" not in html
    assert "\u2028" not in html.split('<script type="application/json"', 1)[1]


def test_figures_hold_every_point_of_the_headline() -> None:
    html = render_validation_html(validation())
    block = re.search(r'id="figures">(.*?)</script>', html, re.DOTALL)
    assert block
    figures = json.loads(block[1])
    assert {name for name in figures if name.startswith("scatter")} == {
        "scatter-ttft-mean-s",
        "scatter-tpot-mean-s",
        "scatter-throughput",
    }
    dots = [trace for trace in figures["scatter-tpot-mean-s"]["data"] if trace.get("text")]
    assert [trace["name"] for trace in dots] == ["one", "two"]
    assert dots[0]["x"] == [9]
    assert dots[0]["y"] == [100]
    assert len(figures["bars-tpot-mean-s"]["data"][0]["x"]) == 1
    tables = json.loads(re.search(r'id="tables">(.*?)</script>', html, re.DOTALL)[1])  # type: ignore[index]
    assert len(tables["points"]["rows"]) == 6


def test_an_empty_validation_is_a_page_too() -> None:
    html = render_validation_html(Validation((), ("model",), {"one: why": 2}))
    assert "one: why" in html
    assert 'id="loops"' not in html


@pytest.mark.parametrize(
    ("value", "text"), [(0.05, "+5.0%"), (-0.5, "−50.0%"), (99.0, "× 100"), (0.0, "0%")]
)
def test_signed_errors(value: float, text: str) -> None:
    assert signed(value) == text


def test_words() -> None:
    assert words("tpot_p99_s") == "TPOT p99"
    assert load_words(point()) == "closed loop of 8"
    assert load_words(point(protocol=Poisson(2.5, 10))) == "Poisson, 2.5/s"
    assert error_text(None) == signed(None) == "–"
