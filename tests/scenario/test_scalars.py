"""The table of YAML 1.2.2, section 10.3.2, and where YAML 1.1 differs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.scenario.scalars import kind_of, resolve_scalar

CORE_SCHEMA = [
    ("", None), ("~", None), ("null", None), ("Null", None), ("NULL", None),
    ("true", True), ("True", True), ("TRUE", True),
    ("false", False), ("False", False), ("FALSE", False),
    ("0", 0), ("12", 12), ("-12", -12), ("+12", 12), ("010", 10), ("007", 7),
    ("0o17", 15), ("0x1F", 31), ("0xdeadBEEF", 0xDEADBEEF),
    ("1.", 1.0), (".5", 0.5), ("-.5", -0.5), ("1.5", 1.5), ("1e9", 1e9), ("1E-3", 1e-3),
    ("12e03", 12000.0), ("-2E+05", -200000.0), ("+1.5e3", 1500.0),
    (".inf", math.inf), ("+.Inf", math.inf), ("-.INF", -math.inf),
]  # fmt: skip
TEXT = [
    "yes", "Yes", "NO", "no", "on", "Off", "y", "n", "nULL", "tRUE", "12:30", "1:2:3", "1_000",
    "0b101", "-0o17", "+0x1F", "0o8", "0xG", "1e", "e9", ".", "-", "+", "1.2.3", "1,5", "NaN",
    "inf",
    "2026-11-01", "2026-11-01T10:00:00Z", "=", "<<", "500 ms", "3.20 USD/h", "15%", "٣", " 1", "1 ",
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), CORE_SCHEMA)
def test_core_schema(text: str, value: object) -> None:
    found = resolve_scalar(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", [".nan", ".NaN", ".NAN"])
def test_not_a_number(text: str) -> None:
    found = resolve_scalar(text)
    assert isinstance(found, float)
    assert math.isnan(found)


@pytest.mark.parametrize("text", TEXT)
def test_everything_else_is_text(text: str) -> None:
    assert resolve_scalar(text) == text


@given(st.integers())
def test_integers_round_trip(number: int) -> None:
    assert resolve_scalar(str(number)) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_round_trip(number: float) -> None:
    assert resolve_scalar(repr(number)) == number


@pytest.mark.parametrize(
    ("value", "kind"),
    [(None, "null"), (True, "truth value"), (1, "whole number"), (1.5, "number"), ("", "text")],
)
def test_kind_of(value: object, kind: str) -> None:
    assert kind_of(value) == kind  # type: ignore[arg-type]
