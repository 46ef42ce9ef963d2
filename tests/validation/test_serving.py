"""Open loops: regimes, and the most that is served within objectives."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from planner.catalog import load_catalog
from planner.curves.engines import EngineOverhead
from planner.measurements import Empirical, Fixed, Poisson, Replay
from planner.validation.deployment import deployment_of
from planner.validation.replay import replay
from planner.validation.serving import capacity, missed, offered_rps, regime_of
from tests.measurements.samples import point

HOST = EngineOverhead("vllm")
OBJECTIVES = {"ttft_p99_s": 0.5, "tpot_p99_s": 0.02}


def stream(rate_rps: float = 4.0, **changes: object) -> object:
    return point(
        **{
            "protocol": Poisson(rate_rps, 200),
            "prompt": Fixed(512),
            "output": Fixed(64),
            "objectives": OBJECTIVES,
            "metrics": {"request_rps": rate_rps, "ttft_p99_s": 0.3, "tpot_p99_s": 0.01},
            **changes,
        }
    )


@pytest.mark.parametrize(
    ("measured", "predicted", "right"),
    [
        (10.0, 9.9, True),  # kept up, and predicted to
        (10.0, 8.0, False),
        (6.0, 6.2, True),  # overloaded, and by how much
        (6.0, 6.6, False),
        (6.0, 10.0, False),
    ],
)
def test_regimes(measured: float, predicted: float, right: bool) -> None:
    late = {"ttft_p99_s": 60.0, "tpot_p99_s": 0.01}
    kept = {"ttft_p99_s": 0.1, "tpot_p99_s": 0.01}
    metrics = {"request_rps": measured, **(late if measured < 9 else kept)}
    found = regime_of(
        stream(10.0, metrics=metrics),
        {"request_rps": predicted, **(late if predicted < 9 else kept)},
    )
    assert found is not None
    assert found.overloaded == (measured < 9)
    assert found.right == right


def test_an_overload_has_to_be_reported_as_a_missed_objective() -> None:
    measured = {"request_rps": 6.0, "ttft_p99_s": 60.0, "tpot_p99_s": 0.01}
    on_time = measured | {"ttft_p99_s": 0.1}
    found = regime_of(stream(10.0, metrics=measured), on_time)
    assert found is not None
    assert (found.measured_missed, found.predicted_missed) == (True, False)
    assert not found.right


def test_a_metric_that_is_not_known_counts_as_missed() -> None:
    assert missed(OBJECTIVES, {"tpot_p99_s": 0.01}) == ["ttft_p99_s"]
    assert missed(OBJECTIVES, {"ttft_p99_s": math.nan, "tpot_p99_s": 0.01}) == ["ttft_p99_s"]


def test_only_open_loops_have_a_regime() -> None:
    assert offered_rps(point()) is None
    assert regime_of(point(), {"request_rps": 1.0}) is None
    arrivals = point(
        protocol=Replay((0.0, 1.0, 2.0)),
        paired=True,
        prompt=Empirical("a", (8, 8, 8)),
        output=Empirical("b", (8, 8, 8)),
        metrics={"request_rps": 1.0},
    )
    assert offered_rps(arrivals) == pytest.approx(1.0)


def test_the_capacity_is_the_rate_at_which_objectives_are_just_kept() -> None:
    deployment = deployment_of(stream(), load_catalog())
    found = capacity(deployment, HOST)
    assert found is not None
    assert found.limit in OBJECTIVES

    def broken(rate_rps: float) -> list[str]:
        changed = replace(deployment.point, protocol=Poisson(rate_rps, 200))
        return missed(OBJECTIVES, replay(replace(deployment, point=changed), HOST).metrics)

    assert not broken(found.predicted_rps)
    assert broken(found.predicted_rps * 1.03)


def test_objectives_out_of_reach_and_without_effect() -> None:
    catalog = load_catalog()
    hard = deployment_of(stream(objectives={"tpot_p99_s": 1e-6}), catalog)
    found = capacity(hard, HOST)
    assert found is not None
    assert found.predicted_rps == 0.0
    easy = deployment_of(stream(objectives={"ttft_p99_s": 1e9}), catalog)
    found = capacity(easy, HOST)
    assert found is not None
    assert math.isinf(found.predicted_rps)
    assert capacity(deployment_of(point(), catalog), HOST) is None


def test_replicas_share_the_load_evenly() -> None:
    catalog = load_catalog()
    one = deployment_of(stream(2.0), catalog)
    four = deployment_of(stream(8.0, replicas=4, protocol=Poisson(8.0, 800)), catalog)
    alone, shared = (replay(each, HOST).metrics for each in (one, four))
    assert shared["ttft_mean_s"] == pytest.approx(alone["ttft_mean_s"], rel=0.05)
    assert shared["request_rps"] == pytest.approx(4 * alone["request_rps"], rel=0.05)
