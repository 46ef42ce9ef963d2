"""Scores on points that a fit has not seen: nothing of them leaks into their prediction."""

from __future__ import annotations

import numpy as np
import pytest

from planner.calibration.hold_out import hold_out, is_trained_on
from planner.catalog import load_catalog
from planner.curves.engines import SCALARS, EngineOverhead
from planner.curves.layout import Parallelism
from planner.measurements import Fixed, StaticBatch
from planner.validation.deployment import Deployment, deployment_of
from planner.validation.record import HoldOut
from planner.validation.replay import replay
from planner.validation.score import THROUGHPUT, errors_of
from tests.measurements.samples import point
from tests.validation.simulated import TRUE, measured, scaled, with_metrics

CATALOG = load_catalog()
LOADS = ((1, 256), (4, 256), (16, 256), (1, 1024), (4, 1024), (16, 1024))
MODELS = ("llama-3.1-8b", "qwen3-32b", "llama-3.1-70b")
LEFT_OUT = "llama-3.1-8b × h100-sxm × vllm"


@pytest.fixture(scope="module")
def deployments() -> list[Deployment]:
    return [
        each
        for model in MODELS
        for each in measured(
            CATALOG, noise=0.01, loads=LOADS, model=model, parallelism=Parallelism(tensor=4)
        )
    ]


@pytest.fixture(scope="module")
def plain(deployments: list[Deployment]) -> HoldOut:
    return hold_out(deployments, CATALOG)


def test_a_group_unseen_is_predicted_from_the_others(
    deployments: list[Deployment], plain: HoldOut
) -> None:
    found = plain
    assert len(found.unseen) == len(deployments)
    assert set(found.overheads) == {each.point.group for each in deployments}
    before = [
        replay(each, EngineOverhead("vllm")).metrics["tpot_mean_s"]
        / each.point.metrics["tpot_mean_s"]
        - 1
        for each in deployments
    ]
    unseen = errors_of(found.unseen, "tpot_mean_s")
    calibrated = errors_of(found.calibrated, "tpot_mean_s")
    assert unseen is not None
    assert calibrated is not None
    assert unseen.median < 0.06 < np.median(np.abs(before))
    assert calibrated.median < 0.06
    assert 0 < len(found.calibrated) < len(deployments)


def test_measurements_of_a_group_do_not_reach_its_own_prediction(
    deployments: list[Deployment], plain: HoldOut
) -> None:
    changed = [scaled(each, 3.0) if each.point.group == LEFT_OUT else each for each in deployments]
    other = hold_out(changed, CATALOG)
    before, after = (found.overheads[LEFT_OUT] for found in (plain, other))
    assert after == before
    predicted = [
        [score.pairs for score in found.unseen if score.point.group == LEFT_OUT]
        for found in (plain, other)
    ]
    for old, new in zip(*predicted, strict=True):
        assert old["tpot_mean_s"].predicted == new["tpot_mean_s"].predicted
    assert any(plain.overheads[group] != other.overheads[group] for group in plain.overheads)


def test_two_runs_agree_to_the_last_digit(deployments: list[Deployment]) -> None:
    few = deployments[:6]
    told: list[float] = []
    again = hold_out(few, CATALOG, progress=lambda done, _total: told.append(done))
    assert hold_out(few, CATALOG) == again
    assert told == sorted(told)
    assert told


def test_doubtful_and_small_groups_are_scored_but_not_fitted(
    deployments: list[Deployment],
) -> None:
    doubtful = measured(
        CATALOG, loads=((1, 256),), model="qwen3-14b", flags=("speculative decoding",)
    )
    assert not is_trained_on(doubtful[0].point)
    single = measured(CATALOG, loads=((2, 256),), model="qwen3-14b")
    found = hold_out([*deployments[:6], *doubtful, *single], CATALOG)
    assert len(found.unseen) == 8
    assert "6 points of 1 groups" in " ".join(found.notes)


def test_nothing_to_fit_is_no_error() -> None:
    batch = point(protocol=StaticBatch(2), output=Fixed(8), metrics={"total_tps": 10.0})
    found = hold_out([deployment_of(batch, CATALOG)], CATALOG)
    assert found.unseen == ()
    assert "nothing to fit" in found.notes[0]
    assert hold_out([], CATALOG).unseen == ()


def test_other_vendors_are_calibrated_on_each_model_and_scored_on_the_others() -> None:
    truth = EngineOverhead("vllm", step_s=6e-3, compute_rate=0.5, bandwidth_rate=0.5)
    found = []
    several, few = (1, 2, 4, 8, 16, 64), (1, 16)  # too few to be fitted to
    loads = (("llama-2-7b", several), ("llama-3-8b", several), ("mistral-7b", few))
    for model, batches in loads:
        for batch in batches:
            blank = point(
                id=f"{model} {batch}",
                chip="mi300x",
                model=model,
                parallelism=Parallelism(),
                protocol=StaticBatch(batch),
                prompt=Fixed(256),
                output=Fixed(64),
                metrics={"total_tps": 1.0},
            )
            deployment = deployment_of(blank, CATALOG)
            total = replay(deployment, truth).metrics["total_tps"]
            found.append(with_metrics(deployment, {"total_tps": total}))
    scores = hold_out(found, CATALOG).one_model
    assert {(score.host, score.point.model) for score in scores} == {
        ("fitted to llama-2-7b on mi300x", "llama-3-8b"),
        ("fitted to llama-2-7b on mi300x", "mistral-7b"),
        ("fitted to llama-3-8b on mi300x", "llama-2-7b"),
        ("fitted to llama-3-8b on mi300x", "mistral-7b"),
    }
    errors = errors_of(scores, THROUGHPUT)
    assert errors is not None
    assert errors.median < 0.1


def test_the_truth_of_the_simulated_points_is_no_default() -> None:
    assert any(getattr(TRUE, name) != getattr(EngineOverhead("vllm"), name) for name in SCALARS)
