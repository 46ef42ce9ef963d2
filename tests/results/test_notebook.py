"""How answers show themselves in a notebook: all in one way, tables by the units of columns."""

from __future__ import annotations

import pandas as pd
import pytest

import planner
from planner.results.notebook import MOST_ROWS, Shown, Summary, summary_html, summary_text
from planner.results.result import Result
from planner.search.ablation import Ablation
from planner.search.breakeven import OwnChipCase
from planner.search.mix import Optimum
from planner.search.prospect import Prospect
from planner.search.risk import Risk
from planner.search.size import Sizing
from tests.conftest import ROOT
from tests.report.test_ablation import ablation
from tests.report.test_risk import risk

SHORT = ["workload.duration=2 min", "workload.warmup=20 s"]


def summary(frame: pd.DataFrame) -> Summary:
    return Summary("one <b>", "detail", (("$1.00 → $2.00", "cost"),), frame, ("broken",))


def test_values_are_written_by_the_unit_of_their_column() -> None:
    frame = pd.DataFrame(
        {
            "class": ["a<b"], "ttft_p99_s": [0.25], "cost_usd": [12.5], "margin_rate": [0.5],
            "goodput_rps": [3.0], "nodes": [1200], "met": [True], "value": [None],
        }
    )  # fmt: skip
    html = summary_html(summary(frame))
    for text in ("a&lt;b", "250 ms", "<span>$</span>12.50", "50.0%", "1,200", "yes", "–"):
        assert f">{text}</td>" in html
    for title in ("TTFT p99", "cost", "margin", "goodput [1/s]"):
        assert f">{title}</th>" in html
    assert "one &lt;b&gt;" in html
    assert "⚠ broken" in html


def test_no_two_dollar_signs_make_a_formula() -> None:
    html = summary_html(summary(pd.DataFrame({"a": ["$1 and $2"]})))
    assert html.count("$") == html.count("<span>$</span>") == 4


def test_long_tables_are_cut_and_say_so() -> None:
    html = summary_html(summary(pd.DataFrame({"a": range(MOST_ROWS + 3)})))
    assert html.count("<tr>") == 1 + MOST_ROWS
    assert "and 3 more rows" in html


def test_a_terminal_gets_a_few_lines() -> None:
    text = summary_text(summary(pd.DataFrame({"a": [1]})))
    assert text == "one <b> · detail\n  $1.00 → $2.00  cost\n  ⚠ broken"


@pytest.mark.compiled
def test_answers_of_simulations_show_themselves() -> None:
    result = planner.run(ROOT / "scenarios" / "quickstart.yaml", sets=SHORT)
    fewer = planner.run(ROOT / "scenarios" / "quickstart.yaml", sets=[*SHORT, "pools.chat.nodes=9"])
    for answer, said in (
        (result, "accelerators at peak"),
        (planner.cost(result), "cost per hour"),
        (planner.bridge(result, fewer), "gross margin (all_users_in_cogs)"),
        (Sizing({"chat": 9}, {"chat": 72}, {"chat": "compute"}, {"chat": "why"}, fewer, ()), "why"),
    ):
        assert said in answer._repr_html_()
        assert repr(answer).count("\n") <= 5
        assert isinstance(answer.to_pandas(), pd.DataFrame)
    assert "$" not in result._repr_html_().replace("<span>$</span>", "")


@pytest.mark.parametrize("answer", [ablation(), risk()], ids=["ablation", "risk"])
def test_answers_of_searches_show_themselves(answer: Ablation | Risk) -> None:
    html = answer._repr_html_()
    assert html.startswith("<div><p><b>")
    assert "<tbody><tr>" in html
    assert repr(answer).startswith(f"{answer.name} · ")
    assert len(answer.to_pandas())


@pytest.mark.parametrize("kind", [Ablation, Optimum, OwnChipCase, Prospect, Result, Risk, Sizing])
def test_every_answer_is_shown_in_this_way(kind: type) -> None:
    assert issubclass(kind, Shown)
    assert kind._repr_html_ is Shown._repr_html_
    assert kind.__repr__ is Shown.__repr__
    assert callable(kind.to_pandas)  # type: ignore[attr-defined]
