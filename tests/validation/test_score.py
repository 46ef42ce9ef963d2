"""Errors of predictions: their signs, their statistics, and what is kept apart."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.measurements import Fixed, StaticBatch
from planner.validation.score import (
    BASES,
    KEYS,
    THROUGHPUT,
    ValidationError,
    aside_of,
    errors_of,
    grouped,
    headline,
    parse_by,
    score,
    statistics,
)
from tests.measurements.samples import point

ERRORS = st.lists(st.floats(-0.99, 50.0) | st.just(math.nan), max_size=40)


def test_a_perfect_prediction_has_no_error() -> None:
    measured = point()
    found = score(measured, measured.metrics)
    assert {metric: pair.error for metric, pair in found.pairs.items()} == {
        "ttft_mean_s": 0.0,
        "tpot_mean_s": 0.0,
        THROUGHPUT: 0.0,
    }


def test_errors_are_signed_and_relative() -> None:
    found = score(point(), {"ttft_mean_s": 0.15, "tpot_mean_s": 0.0045})
    assert found.error("ttft_mean_s") == pytest.approx(0.5)
    assert found.error("tpot_mean_s") == pytest.approx(-0.5)
    assert math.isnan(found.error("e2e_mean_s"))


def test_implied_throughput_takes_the_same_formula_on_both_sides() -> None:
    measured = point()
    found = score(measured, {"ttft_mean_s": 0.2, "tpot_mean_s": 0.018})
    assert found.basis == BASES[2]
    pair = found.pairs[THROUGHPUT]
    assert pair.measured == measured.implied_output_tps
    assert pair.measured == pytest.approx(8 * 101 / (0.1 + 100 * 0.009))
    assert found.error(THROUGHPUT) == pytest.approx(-0.5)


@pytest.mark.parametrize(("name", "basis"), [("output_tps", BASES[0]), ("total_tps", BASES[1])])
def test_measured_throughput_goes_before_implied(name: str, basis: str) -> None:
    metrics = {"ttft_mean_s": 0.1, "tpot_mean_s": 0.009, name: 900.0}
    found = score(point(metrics=metrics), metrics | {name: 990.0})
    assert found.basis == basis
    assert found.error(THROUGHPUT) == pytest.approx(0.1)


def test_nothing_is_implied_without_latencies_or_a_closed_loop() -> None:
    batch = point(protocol=StaticBatch(4), metrics={"e2e_mean_s": 2.0}, output=Fixed(8))
    found = score(batch, {"e2e_mean_s": 1.0, "ttft_mean_s": 0.1, "tpot_mean_s": 0.1})
    assert THROUGHPUT not in found.pairs
    assert found.basis == ""


@pytest.mark.parametrize(
    "flag",
    ["multi-token prediction suspected", "numbers of workers unknown", "engine not modelled"],
)
def test_doubtful_points_are_no_part_of_the_headline(flag: str) -> None:
    doubtful = point(flags=("protocol assumed", flag))
    assert aside_of(doubtful) == flag
    scores = [score(each, each.metrics) for each in (doubtful, point())]
    assert headline(scores) == scores[1:]


def test_other_flags_stay_in_the_headline() -> None:
    assert aside_of(point(flags=("protocol assumed",))) == ""


@given(ERRORS)
def test_statistics_hold_their_order(errors: list[float]) -> None:
    found = statistics(errors)
    known = [error for error in errors if not math.isnan(error)]
    if not known:
        assert found is None
        return
    assert found is not None
    assert found.points == len(known)
    assert min(known) - 1e-6 <= found.bias <= max(known) + 1e-6
    assert 0 <= found.median <= found.p90 + 1e-9 <= max(map(abs, known)) + 1e-6
    assert abs(found.bias) <= max(map(abs, known)) + 1e-6


@given(ERRORS, st.randoms())
def test_statistics_do_not_depend_on_the_order(errors: list[float], random: object) -> None:
    mixed = sorted(errors, key=lambda _: random.random())  # type: ignore[attr-defined]
    assert statistics(errors) == statistics(mixed)


def test_groups_partition_the_scores() -> None:
    scores = [
        score(each, each.metrics)
        for each in (point(), point(model="llama-3.1-70b"), point(weight_dtype="fp8"))
    ]
    groups = grouped(scores, ("model", "precision"))
    assert list(groups) == [
        ("llama-3.1-70b", "bf16"),
        ("llama-3.1-8b", "bf16"),
        ("llama-3.1-8b", "fp8"),
    ]
    assert sum(map(len, groups.values())) == len(scores)
    assert errors_of(scores, "ttft_mean_s") is not None


def test_every_key_names_every_point() -> None:
    assert all(isinstance(value(point()), str) for value in KEYS.values())


@pytest.mark.parametrize(
    ("text", "message"),
    [("modle", "did you mean model"), ("", "nothing to group by"), ("chip,,x y", "unknown key")],
)
def test_wrong_keys_are_refused_with_advice(text: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        parse_by(text)
