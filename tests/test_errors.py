from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner import errors
from planner.errors import Fault, PlannerError, ScenarioError, did_you_mean, shown


def test_every_error_is_a_planner_error() -> None:
    names = ("ScenarioError", "TraceError", "CatalogError", "SimulationError", "OutputError")
    assert all(issubclass(getattr(errors, name), PlannerError) for name in names)


def test_a_fault_reads_as_place_path_message_line_caret() -> None:
    fault = Fault("q3.yaml", 9, 5, "pools[0].nodez", "unknown field", "    nodez: 3")
    assert str(fault).splitlines() == [
        "q3.yaml:9:5: pools[0].nodez: unknown field",
        "     9 |     nodez: 3",
        "       |     ^",
    ]


def test_a_fault_without_a_place_names_the_file_only() -> None:
    assert str(Fault("q3.yaml", 0, 0, "", "no such file")) == "q3.yaml: no such file"


def test_the_caret_follows_tabs_and_wide_characters() -> None:
    fault = Fault("f", 1, 6, "", "m", "\ta: 例x")
    assert str(fault).splitlines()[2] == "       | \t     ^"


def test_a_long_line_is_cut_around_the_caret() -> None:
    line = "a" * 5000 + "!" + "b" * 5000
    _, excerpt, caret = str(Fault("f", 1, 5001, "", "m", line)).splitlines()
    assert len(excerpt) < 140
    assert excerpt[caret.index("^")] == "!"


def test_control_characters_do_not_reach_the_terminal() -> None:
    fault = Fault("f\x1b", 1, 1, "a[\x1b]", "m\x1b", "a: \x1b[31m")
    assert "\x1b" not in str(fault)


def test_faults_come_in_file_order_and_once() -> None:
    late, early = Fault("f", 12, 1, "", "late"), Fault("f", 3, 9, "", "early")
    error = ScenarioError([late, early, late])
    assert error.faults == (early, late)
    assert str(error) == "f:3:9: early\nf:12:1: late"


@pytest.mark.parametrize(
    ("name", "choices", "advice"),
    [
        ("tensor_paralel", ["tensor_parallel", "nodes"], "did you mean tensor_parallel?"),
        ("Tensor-Parallel", ["tensor_parallel"], "did you mean tensor_parallel?"),
        ("zzz", ["a", "b"], "choose one of a, b"),
        ("zzz", [str(number) for number in range(50)], ""),
        ("zzz", [], ""),
    ],
)
def test_did_you_mean(name: str, choices: list[str], advice: str) -> None:
    assert did_you_mean(name, choices) == advice


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing"), (True, "true"), (3, "3"), (2.5, "2.5"), ("a", "'a'"), ([1], "[1]"),
        ({"a": 1}, "a mapping of 1"), (list(range(9)), "a list of 9"),
        (10**200, "a whole number of 665 bits"),
    ],
)  # fmt: skip
def test_shown(value: object, text: str) -> None:
    assert shown(value) == text


@given(st.recursive(st.text() | st.integers() | st.floats(), st.lists))
def test_shown_is_short(value: object) -> None:
    assert len(shown(value)) <= 61


@given(st.text(), st.integers(-5, 200))
def test_a_fault_prints_whatever_the_line_holds(line: str, column: int) -> None:
    assert str(Fault("f", 1, column, "", "m", line)).startswith(f"f:1:{column}: m")
