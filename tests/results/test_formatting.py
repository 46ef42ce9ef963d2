"""Numbers as a person reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.results.formatting import MISSING, count, duration, money, percent, percentile, span


@given(st.floats(0.0, 1.0))
def test_only_a_whole_share_is_shown_as_100_percent(rate: float) -> None:
    assert (percent(rate) == "100%") == (rate == 1.0)
    assert (percent(rate) == "0%") == (rate == 0.0)


@given(st.floats(0.9, 1.0, exclude_max=True))
def test_a_share_near_one_is_never_overstated(rate: float) -> None:
    shown = float(percent(rate).removesuffix("%").removeprefix(">"))
    assert shown <= rate * 100 + 0.05
    assert shown < 100


@given(st.floats(1e-6, 1e7))
def test_durations_keep_three_digits(seconds: float) -> None:
    number, unit = duration(seconds).split(" ")
    scale = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}[unit]
    assert float(number.replace(",", "")) * scale == pytest.approx(seconds, rel=0.0051)


@given(st.floats(1e-3, 1e11))
def test_money_keeps_its_size(usd: float) -> None:
    text = money(usd).removeprefix("$")
    scale = {"M": 1e6, "B": 1e9}.get(text[-1], 1.0)
    shown = float(text.rstrip("MB").replace(",", "")) * scale
    assert shown == pytest.approx(usd, rel=0.006)


def test_missing_values() -> None:
    for show in (duration, money, percent, count):
        assert show(None) == MISSING
        assert show(float("nan")) == MISSING


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (duration(0.9999), "1.00 s"),
        (duration(999.9), "16.7 min"),
        (money(999.999), "$1,000"),
        (money(0.9999), "$1.00"),
        (count(999_999), "1.00M"),
        (count(0.5), "0.500"),
        (percent(0.99996), "99.996%"),
        (percentile(99.99), "p99.99"),
        (span(0.0005), "0.5 ms"),
    ],
)
def test_edges(shown: str, expected: str) -> None:
    assert shown == expected
