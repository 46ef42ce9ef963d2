"""Gates, noise, prices and acknowledged changes, on numbers made by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.regress.baseline import Baseline
from planner.regress.compare import Comparison, Rules, Verdict, compare
from planner.regress.gates import default_limits, limits_of
from planner.regress.noise import independent_band
from planner.regress.row import Mark
from planner.regress.wording import headline, remark
from planner.scenario.schema.regress import Acknowledged, Gate
from planner.scenario.watched import watched
from tests.regress.forecasts import COST, NODES, SLO, TAIL, compared, forecast, outcome, spread


def mark(comparison: Comparison, name: str) -> Mark:
    return next(row.mark for row in comparison.rows if row.name == name)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (COST, 100.0, Mark.SAME),
        (COST, 100.0005, Mark.SAME),  # the sixth digit, rounded the other way
        (COST, 101.5, Mark.NOISE),
        (COST, 104.9, Mark.WORSE),
        (COST, 105.0, Mark.WORSE),  # a gate of 5% lets 5% pass
        (COST, 105.1, Mark.FAILED),
        (COST, 80.0, Mark.BETTER),
        (TAIL, 1.099, Mark.WORSE),
        (TAIL, 1.11, Mark.FAILED),
        (NODES, 15, Mark.FAILED),
        (NODES, 13, Mark.BETTER),
        (SLO, 0.998, Mark.NOISE),
        (SLO, 0.99, Mark.WORSE),
        (SLO, 0.985, Mark.FAILED),
        (SLO, 1.0, Mark.NOISE),
    ],
)
def test_default_gates(name: str, value: float, expected: Mark) -> None:
    assert mark(compared(forecast(**{name.replace(".", "__"): value})), name) == expected


def test_a_whole_node_of_many_is_within_the_gate() -> None:
    found = compared(
        forecast(pools__chat__nodes_at_peak=101), forecast(pools__chat__nodes_at_peak=100)
    )
    assert mark(found, NODES) == Mark.WORSE
    assert found.verdict == Verdict.PASSED


def test_a_breach_must_exceed_the_noise_of_seeds() -> None:
    # t(97.5%, 4) · √2 · 3 = 11.8
    noisy = forecast(sd=3.0)
    within = compared(single(forecast(cost_per_hour_usd=111.0)), noisy)
    assert mark(within, COST) == Mark.NOISE
    assert within.in_doubt
    beyond = compared(single(forecast(cost_per_hour_usd=112.0)), noisy)
    assert mark(beyond, COST) == Mark.FAILED
    band = independent_band(spread(1.0, 3.0))
    assert band == pytest.approx(2.776445 * math.sqrt(2) * 3)
    assert independent_band((1.0, None)) == 0.0


def single(found: Baseline) -> Baseline:
    """Return what is known before the other seeds were simulated."""
    metrics = {name: replace(m, values=m.values[:1]) for name, m in found.metrics.items()}
    return replace(found, metrics=metrics, seeds=found.seeds[:1])


def test_differences_by_seed_show_what_the_spread_of_seeds_hides() -> None:
    """Seeds differ by 30%, and every one of them got 8% dearer: the same random numbers cancel."""
    before = forecast(sd=30.0)
    after = forecast(sd=32.4, cost_per_hour_usd=108.0)
    hidden = compared(single(after), before)
    assert (mark(hidden, COST), hidden.verdict) == (Mark.NOISE, Verdict.PASSED)
    assert hidden.in_doubt
    seen = compared(after, before)
    row = next(row for row in seen.rows if row.name == COST)
    assert (row.mark, row.before, row.after, row.seeds) == (Mark.FAILED, 100, 108, 5)
    # 8 + 2.4 · (0, 1, -1, 1, -1): t(97.5%, 4) · 2.4 / √5
    assert row.noise == pytest.approx(2.776445 * 2.4 / math.sqrt(5))
    assert remark(row) == "gate 5%; mean of 5 seeds, ±$2.98/h"


def test_seeds_that_disagree_stay_noise_and_the_headline_says_so() -> None:
    before = forecast(sd=30.0)
    values = dict(before.metrics)
    values[COST] = replace(values[COST], values=(110.0, 90.0, 110.0, 120.0, 110.0))
    found = compared(replace(before, metrics=values), before)
    assert (mark(found, COST), found.verdict) == (Mark.NOISE, Verdict.PASSED)
    assert headline([outcome(found)]) == (
        "The forecast stays within the gates; 1 beyond its gate, but no further than seeds differ."
    )


def test_prices_are_told_apart_by_seed_too() -> None:
    before = forecast(sd=30.0)
    after = forecast(sd=60.0, cost_per_hour_usd=216.0)
    old = [{COST: value} for value in spread(108.0, 32.4)]
    row = compare(before, after, Rules(), old).rows[0]
    assert (row.mark, row.price_share, row.behaviour) == (Mark.FAILED, 108.0, 8.0)


def test_a_breach_must_exceed_both_tolerances() -> None:
    gate = Gate(metric=COST, fail="5%", fail_absolute="10 USD/h")
    dearer = forecast(cost_per_hour_usd=109.0)
    assert mark(compared(dearer), COST) == Mark.FAILED
    assert mark(compared(dearer, gates=(gate,)), COST) == Mark.WORSE
    assert mark(compared(forecast(cost_per_hour_usd=110.0), gates=(gate,)), COST) == Mark.FAILED


def test_a_later_gate_wins_field_by_field() -> None:
    known = watched(TAIL)
    assert known is not None
    gates = (
        Gate(metric="classes.*", fail="50%", warn="20%"),
        Gate(metric="classes.chat.ttft_*", fail="30%"),
        Gate(metric="pools.*", fail="1%"),
    )
    limits = limits_of(TAIL, known, gates)
    assert (limits.warn, limits.fail) == (0.2, 0.3)
    assert limits.fail_absolute == default_limits(known).fail_absolute


def test_direction_of_a_gate() -> None:
    cheaper = forecast(cost_per_hour_usd=80.0)
    either = Gate(metric=COST, better="neither")
    assert mark(compared(cheaper, gates=(either,)), COST) == Mark.FAILED
    higher = Gate(metric=COST, better="higher")
    assert mark(compared(cheaper, gates=(higher,)), COST) == Mark.FAILED
    ignored = Gate(metric=COST, ignore=True)
    assert mark(compared(forecast(cost_per_hour_usd=300.0), gates=(ignored,)), COST) == Mark.NEITHER


def test_a_neutral_metric_is_gated_only_if_a_gate_says_which_way_is_better() -> None:
    before, more = forecast(arrival_rps=10.0), forecast(arrival_rps=13.0)
    every = Gate(metric="*", fail="20%")
    assert mark(compared(more, before, gates=(every,)), "arrival_rps") == Mark.NEITHER
    steady = Gate(metric="arrival_rps", better="neither")
    assert mark(compared(more, before, gates=(every, steady)), "arrival_rps") == Mark.FAILED


def test_every_promise_that_breaks_fails() -> None:
    before = forecast(promises_broken=40)
    found = compared(forecast(promises_broken=41), before)
    assert mark(found, "promises_broken") == Mark.FAILED


def test_from_zero_the_absolute_tolerance_decides() -> None:
    before = forecast(loss_rate=0.0)
    assert mark(compared(forecast(loss_rate=0.005), before), "loss_rate") == Mark.WORSE
    assert mark(compared(forecast(loss_rate=0.02), before), "loss_rate") == Mark.FAILED


# --- prices --------------------------------------------------------------------------------------


def test_a_change_of_prices_is_no_false_alarm() -> None:
    found = compared(forecast(cost_per_hour_usd=150.0), at_old_prices={COST: 100.0})
    row = found.rows[0]
    assert (row.mark, row.price_share, row.behaviour) == (Mark.NOT_COMPARABLE, 50.0, 0.0)
    assert found.verdict == Verdict.PASSED


def test_falling_prices_hide_no_regression() -> None:
    found = compared(forecast(cost_per_hour_usd=90.0), at_old_prices={COST: 120.0})
    row = found.rows[0]
    assert (row.mark, row.price_share, row.behaviour) == (Mark.FAILED, -30.0, 20.0)
    assert found.verdict == Verdict.FAILED


# --- what cannot be compared ---------------------------------------------------------------------


def test_another_seed_is_not_comparable() -> None:
    found = compared(forecast(seed=2))
    assert found.verdict == Verdict.NOT_COMPARABLE
    assert found.obstacles == (
        "the baseline is of seed 1, this forecast of seed 2: other random numbers, another result; "
        "set the seed back, or run planner baseline update on its scenario",
    )


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("a", "b", "workload.trace replays another trace than the baseline"),
        ("a", "", "workload.trace replays no trace any more"),
        ("", "b", "workload.trace replays a trace, and the baseline knows none there"),
    ],
)
def test_another_trace_is_not_comparable(old: str, new: str, says: str) -> None:
    def side(content: str) -> tuple[tuple[str, str], ...]:
        return (("workload.trace", content),) if content else ()

    found = compared(forecast(traces=side(new)), forecast(traces=side(old)))
    assert found.verdict == Verdict.NOT_COMPARABLE
    assert found.obstacles == (
        f"{says}: other requests; bring it back, or run planner baseline update on its scenario",
    )


def test_another_scenario_is_compared_and_said() -> None:
    found = compared(forecast(scenario="other"))
    assert found.changed == ("the scenario",)
    assert found.verdict == Verdict.PASSED


@pytest.mark.parametrize(("before", "after"), [(None, 3.0), (3.0, None)])
def test_a_metric_of_one_side_is_not_comparable(before: float | None, after: float | None) -> None:
    found = compared(forecast(goodput_rps=after), forecast(goodput_rps=before))
    assert mark(found, "goodput_rps") == Mark.NOT_COMPARABLE
    assert found.verdict == Verdict.NOT_COMPARABLE


def test_a_failure_outweighs_what_is_not_comparable() -> None:
    found = compared(forecast(goodput_rps=3.0, cost_per_hour_usd=200.0))
    assert found.verdict == Verdict.FAILED


# --- acknowledged --------------------------------------------------------------------------------

KNOWN = Acknowledged(metric="cost_*", until="2027-01-31", reason="two spare nodes for the launch")


@pytest.mark.parametrize(("today", "verdict"), [("2027-01-31", "passed"), ("2027-02-01", "failed")])
def test_an_acknowledged_change_is_excused_until_its_day(today: str, verdict: str) -> None:
    found = compared(forecast(cost_per_hour_usd=120.0), acknowledged=(KNOWN,), today=today)
    assert found.verdict == verdict
    assert found.rows[0].note == (
        "acknowledged until 2027-01-31: two spare nodes for the launch"
        if verdict == "passed"
        else "its acknowledgement expired on 2027-01-31: two spare nodes for the launch"
    )


@pytest.mark.parametrize(("cost", "expected"), [(120.0, Mark.WORSE), (121.0, Mark.FAILED)])
def test_an_acknowledged_change_is_excused_up_to_its_bound(cost: float, expected: Mark) -> None:
    bounded = KNOWN.model_copy(update={"up_to": 0.2})
    found = compared(forecast(cost_per_hour_usd=cost), acknowledged=(bounded,))
    assert mark(found, COST) == expected
    assert found.rows[0].note.endswith("two spare nodes for the launch")
    assert ("only up to 20%" in found.rows[0].note) == (expected == Mark.FAILED)


def test_an_acknowledgement_that_excuses_nothing_is_named() -> None:
    found = compared(forecast(), acknowledged=(KNOWN,))
    assert found.notes == ("acknowledged cost_* until 2027-01-31 excuses nothing; delete it",)


# --- of any numbers ------------------------------------------------------------------------------


@given(before=st.floats(1e-3, 1e6), factor=st.floats(0.01, 100.0), sd=st.floats(0.0, 1e6))
def test_better_and_worse_are_opposite(before: float, factor: float, sd: float) -> None:
    def side(value: float) -> Mark:
        new = forecast(cost_per_hour_usd=value)
        return mark(compared(single(new), forecast(sd, cost_per_hour_usd=before)), COST)

    there = side(before * factor)
    if there in (Mark.WORSE, Mark.FAILED):
        assert factor > 1
    if there == Mark.BETTER:
        assert factor < 1
    if there == Mark.FAILED:
        assert before * (factor - 1) > independent_band(spread(before, sd))
        assert side(before * factor * 2) == Mark.FAILED  # what is worse still fails, too
