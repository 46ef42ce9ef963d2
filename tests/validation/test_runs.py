"""Which points are replayed, with what overhead; and the targets they are held against."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.catalog import load_catalog
from planner.curves.engines import EngineOverhead, EngineTable
from planner.curves.layout import Parallelism
from planner.measurements import Disaggregated, Fixed, Flood, StaticBatch
from planner.validation.record import HoldOut
from planner.validation.runs import (
    NO_ROOM_REASON,
    SPLIT_REASON,
    Prepared,
    choose_sets,
    host_of,
    prepare,
    replay_all,
    with_output_rate,
)
from planner.validation.score import THROUGHPUT, Score, ValidationError, score
from planner.validation.serving import Capacity, Regime
from planner.validation.targets import targets
from tests.measurements.samples import point

CATALOG = load_catalog()
TABLE = EngineTable({})


def test_points_that_cannot_be_replayed_are_counted_with_their_reason() -> None:
    split = Disaggregated(Parallelism(), Parallelism())
    points = [
        point(),
        point(id="full"),
        point(id="split", disaggregated=split),
        point(id="other", chip="no-such-chip"),
    ]
    prepared = prepare(points, CATALOG)
    assert [each.point.id for each in prepared.deployments] == ["p1", "full"]
    first, full = prepared.deployments
    prepared = Prepared((first, replace(full, kv_blocks=1)), prepared.unusable)
    scores, prepared = replay_all(prepared, lambda each: host_of(TABLE, each))
    assert [each.point.id for each in scores] == ["p1"]
    assert [each.point.id for each in prepared.deployments] == ["p1"]
    reasons = prepared.reasons()
    assert sum(reasons.values()) == 3
    assert f"invented: {SPLIT_REASON}" in reasons
    assert f"invented: {NO_ROOM_REASON}" in reasons
    assert any("no-such-chip" in reason for reason in reasons)


def test_progress_is_told() -> None:
    told: list[tuple[float, float]] = []
    prepare([point(), point(id="p2")], CATALOG, progress=lambda *step: told.append(step))
    assert told == [(0, 2), (1, 2)]


def test_an_engine_without_a_name_uses_the_generic_overhead() -> None:
    generic = EngineOverhead("generic", step_s=0.5)
    table = EngineTable({("generic", ""): generic})
    assert host_of(table, point(engine="other")) is generic


def test_sets_are_chosen_by_name() -> None:
    points = [point(), point(id="p2", source="elsewhere")]
    assert choose_sets(points, []) == points
    assert choose_sets(points, ["elsewhere"]) == points[1:]
    with pytest.raises(ValidationError, match=r"unknown set 'elsewhre'.*elsewhere"):
        choose_sets(points, ["elsewhre"])


def test_the_output_rate_of_a_static_batch_follows_from_its_total() -> None:
    batch = point(
        protocol=StaticBatch(4), prompt=Fixed(300), output=Fixed(100), metrics={"total_tps": 800.0}
    )
    (deployment,) = prepare([batch], CATALOG).deployments
    assert with_output_rate(deployment).point.metrics["output_tps"] == pytest.approx(200.0)
    (closed,) = prepare([point()], CATALOG).deployments
    assert with_output_rate(closed) is closed


# --- targets --------------------------------------------------------------------------------------


def off(source: str, error: float, **changes: object) -> Score:
    measured = point(source=source, **changes)
    predicted = {name: value * (1 + error) for name, value in measured.metrics.items()}
    return score(measured, predicted)


def verdicts(found: object) -> dict[tuple[str, str], str]:
    return {(row.on, row.measure): row.verdict for row in found}  # type: ignore[attr-defined]


def test_nothing_is_claimed_without_data() -> None:
    found = targets([], None, [], [], [])
    assert not [row for row in found if row.verdict in ("reached", "short")]
    assert all(row.found is None and row.points == 0 for row in found)


def test_targets_count_groups_unseen_only() -> None:
    good = off("inferencex", 0.01)
    assert verdicts(targets([good], None, [], [], []))[
        ("closed loops, group unseen", "TPOT mean")
    ] == ("needs --hold-out")
    bad = off("inferencex", 0.5)
    found = verdicts(targets([good], HoldOut(unseen=(bad,)), [], [], []))
    assert found[("closed loops, group unseen", "TPOT mean")] == "short"


def test_points_set_aside_do_not_count_for_a_target() -> None:
    aside = off("inferencex", 0.9, flags=("multi-token prediction suspected",))
    held = HoldOut(unseen=(aside, off("inferencex", 0.01)))
    rows = [r for r in targets([], held, [], [], []) if r.on == "closed loops, group unseen"]
    assert {row.points for row in rows} == {1}
    assert {row.verdict for row in rows} == {"reached"}


def test_the_other_targets() -> None:
    flood = off("mlperf", 0.05, protocol=Flood(8), metrics={"output_tps": 100.0})
    over = Regime(point(), 10.0, 5.0, 9.0, None, None)
    most = Capacity(point(source="mlperf"), 10.0, 8.0, "ttft_p99_s", 9)
    found = verdicts(targets([flood], None, [over], [most], [0.03, 0.05, 0.3]))
    assert found[("MLPerf Offline", "tokens/s per chip")] == "reached"
    assert found[("MLPerf Server", "most tokens/s within the objectives")] == "short"
    assert found[("overload", "rows with the wrong regime")] == "short"
    curves = ("operator curves", "error on shapes left out, median curve")
    assert found[curves] == "reached"


def test_a_regime_called_right_reaches_its_target() -> None:
    over = Regime(point(), 10.0, 5.0, 5.1, True, True)
    found = verdicts(targets([], None, [over, replace(over, predicted_rps=5.2)], [], []))
    assert found[("overload", "rows with the wrong regime")] == "reached"


def test_throughput_is_a_metric_of_its_own() -> None:
    assert off("x", 0.5).error(THROUGHPUT) == pytest.approx(1 / 1.5 - 1)
