"""The report of a risk analysis: one file, sound HTML, the same bytes each time; and its words."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import pytest
from rich.console import Console

from planner.report.page import plotly_script
from planner.report.risk import render_risk_html
from planner.report.risk_figures import distribution_figures, tornado_figures
from planner.report.risk_terminal import print_risk
from planner.report.risk_wording import explained_words, headline, index_words
from planner.scenario.schema.uncertainty import UncertainInput
from planner.scenario.uncertain import ResolvedInput
from planner.search.quantities import Quantity
from planner.search.risk import Answer, Driver, Risk
from planner.search.sampled import Sample
from planner.search.sensitivity import Estimate, Index, Interval
from tests.report.test_html import Page

HOSTILE = "</script><script>alert(1)</script>\u2028<b>&\"'"


def estimate(value: float, width: float = 0.0) -> Estimate:
    return Estimate(value, value - width, value + width)


def answer(name: str, title: str, unit: str, low: float, middle: float, high: float) -> Answer:
    fleet = "own" if unit == "s" else "smallest"
    quantity = Quantity(name, title, unit, fleet, True)  # type: ignore[arg-type]
    index = Index(estimate(0.6, 0.1), estimate(0.7, 0.1))
    small = Index(estimate(-0.01, 0.05), estimate(0.05, 0.05))
    return Answer(
        quantity,
        middle,
        Interval(estimate(low), estimate(middle), estimate(high), middle, high - low),
        64,
        (Driver("traffic", low, high, index), Driver("rent", middle, middle, small)),
    )


def risk(text: str = "plain", **changes: object) -> Risk:
    inputs = [
        UncertainInput.model_validate(
            {"name": name, "source": source, "factor": {"lognormal": {"median": 1, "sigma": 0.1}}}
            | {"basis": text}
        )
        for name, source in (("traffic", "demand"), ("rent", "machine_prices"))
    ]
    answers = (
        answer("accelerators", "accelerators needed", "accelerators", 296, 312, 331),
        answer("ttft_p99_s", "time to first token, p99", "s", 0.8, 0.9, 1.2),
        answer("cost_per_million_output_tokens_usd", "cost per 1M output tokens", "usd/Mtok",
               0.4, 0.5, 0.7),
        answer("gross_margin_rate", "gross margin", "rate", -0.1, 0.3, 0.5),
    )  # fmt: skip
    samples = [
        Sample(
            (at / 64, 1 - at / 64),
            {each.key: (each.centre or 0.0) * (0.9 + at / 320) for each in answers}
            | {("accelerators", ""): 296.0 + 8 * (at // 13)},
            {"chat": 39 + at // 13},
            at % 5 > 0,
        )
        for at in range(64)
    ]
    found = Risk(
        name="small",
        seed=7,
        part="all of it",
        confidence=0.9,
        method="sobol",
        inputs=tuple(ResolvedInput(each.name, each, (), (), ("chat",)) for each in inputs),
        columns=("traffic", "rent"),
        answers=answers,
        kept=Estimate(0.8, 0.7, 0.87),
        nodes={"chat": 40},
        centre=samples[32],
        samples=tuple(samples),
        simulations=441,
        sized=True,
        notes=(text,),
    )
    return replace(found, **changes)  # type: ignore[arg-type]


def printed(found: Risk) -> list[str]:
    out = io.StringIO()
    print_risk(found, Console(file=out, width=100))
    return out.getvalue().splitlines()


def test_the_page_is_whole_and_alone() -> None:
    text = render_risk_html(risk()).replace(plotly_script(), "")
    Page(text).close()
    assert "://" not in text
    assert text.count('id="chart-') == 8
    for key in ("answers", "drivers", "inputs", "assumptions"):
        assert f'href="#{key}"' in text
        assert f'id="{key}"' in text
    tables = json.loads(re.search(r'id="tables">(.*?)</script>', text)[1])  # type: ignore[index]
    assert len(tables["draws"]["rows"]) == 64
    assert {row[2] for row in tables["drivers"]["rows"]} == {"traffic", "rent"}
    for table in tables.values():
        assert {len(row) for row in table["rows"]} == {len(table["columns"])}


def test_the_same_input_gives_the_same_bytes() -> None:
    assert render_risk_html(risk()) == render_risk_html(risk())


def test_hostile_texts_stay_texts() -> None:
    text = render_risk_html(risk(HOSTILE)).replace(plotly_script(), "")
    assert "alert(1)</script>" not in text
    assert "<b>&" not in text


def test_the_headline_says_number_and_interval() -> None:
    first, money, own, driver = headline(risk())
    assert first == "312 accelerators keep every promise, 90% interval 296 to 331."
    assert money == (
        "1M output tokens cost $0.500 (90% interval $0.400 to $0.700); the gross margin is 30.0% "
        "(90% interval −10.0% to 50.0%)."
    )
    assert own.startswith(
        "The scenario's own fleet (chat 40 nodes) keeps every promise in 80% of the draws (70% to "
        "87%); its p99 TTFT is 900 ms"
    )
    assert driver.startswith("Accelerators needed: moved most by traffic, 296 to 331 from its p10")


def test_the_share_that_single_inputs_leave_open_is_said() -> None:
    needed = risk().answers[0]
    assert needed.explained == pytest.approx(0.59)
    assert explained_words(needed).startswith("Inputs one by one explain 59% of the variance; the")
    bare = replace(needed, drivers=(Driver("traffic", 1.0, 2.0, None),))
    assert explained_words(bare) == ""
    assert index_words(Estimate(-0.02, -0.1, 0.05)) == "0.00 (0.00 to 0.05)"


def test_answers_are_a_table() -> None:
    found = risk()
    table = found.to_pandas().set_index("answer")
    assert table.loc["accelerators", ["low", "median", "high"]].tolist() == [296, 312, 331]
    assert list(table["fleet"]) == ["smallest", "own", "smallest", "smallest"]
    gone = replace(found, answers=(replace(found.answers[0], interval=None),))
    assert "median" not in gone.to_pandas()


def test_tables_fit_the_terminal() -> None:
    lines = printed(risk())
    assert max(map(len, lines)) <= 100
    assert any(line.startswith("Accelerators needed") and "296 to 331" in line for line in lines)
    assert any(line.startswith("traffic") and "0.70 (0.60 to 0.80)" in line for line in lines)


def test_whole_numbers_have_a_bar_each() -> None:
    figure = distribution_figures(risk())[0]
    bars = figure.spec["data"][0]
    assert bars["x"] == [296, 304, 312, 320, 328]
    assert sum(bars["y"]) == 64


def test_a_tornado_goes_from_the_medians_to_both_ends() -> None:
    figure = tornado_figures(risk())[0]
    low, high = figure.spec["data"]
    assert low["base"] == high["base"] == [312, 312]
    assert (low["x"], high["x"]) == ([-16, 0], [19, 0])
    assert figure.spec["layout"]["yaxis"]["ticktext"][0].startswith("traffic<br>")


def test_an_answer_that_few_draws_have_is_left_open() -> None:
    found = risk()
    gone = replace(found.answers[0], interval=None, known=0, centre=None)
    lines = printed(replace(found, answers=(gone, *found.answers[1:])))
    assert any(re.match(r"Accelerators needed\s+–\s+–", line) for line in lines)
    render_risk_html(replace(found, answers=(gone, *found.answers[1:])))
