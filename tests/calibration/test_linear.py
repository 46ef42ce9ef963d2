"""The linearised fit: the same answer as the fit with replays, and it stays where it must."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from planner.calibration.fit import calibrate, log_errors
from planner.calibration.linear import (
    INDEPENDENT,
    Centre,
    Linear,
    descend,
    group_weights,
    limits,
    logs_of,
    objective,
    solve,
    whitened,
    with_logs,
)
from planner.catalog import load_catalog
from planner.curves.engines import SCALARS, EngineOverhead
from planner.validation.deployment import Deployment
from tests.validation.simulated import TRUE, measured

START = EngineOverhead("vllm")
WIDTH = len(SCALARS)


@pytest.fixture(scope="module")
def deployments() -> list[Deployment]:
    return measured(load_catalog(), noise=0.01)


def test_it_agrees_with_the_fit_that_replays_at_every_trial(
    deployments: Sequence[Deployment],
) -> None:
    full = calibrate(deployments, START)
    linear = descend(deployments, START, Centre.around(START))
    here = objective(linear, Centre.around(START))
    there_logs = logs_of(full.overhead)
    values, _ = whitened(deployments, full.overhead)
    there = objective(linear.moved(there_logs, values), Centre.around(START))
    assert here <= there * 1.05 + 0.05
    errors = log_errors(deployments, with_logs(START, linear.logs))
    assert np.nanmedian(np.abs(errors["tpot_mean_s"])) < 0.02


def test_the_truth_comes_back(deployments: Sequence[Deployment]) -> None:
    linear = descend(deployments, START, Centre.around(START))
    found = with_logs(START, linear.logs)
    firmness = np.diag(Centre.around(START).spread ** -2)
    covariance = np.linalg.inv(linear.jacobian.T @ linear.jacobian + firmness)
    spread = np.sqrt(np.diag(covariance))
    for name, sigma in zip(SCALARS, spread, strict=True):
        off = abs(np.log(getattr(found, name) / getattr(TRUE, name)))
        assert off < 3 * sigma + 0.05, name


def random_problem(residuals: np.ndarray, jacobian: np.ndarray) -> Linear:
    owners = np.arange(len(residuals))
    return Linear(logs_of(START), residuals, jacobian, owners, np.ones(len(residuals)))


ROWS = arrays(np.float64, 9, elements=st.floats(-50, 50))
SLOPES = arrays(np.float64, (9, WIDTH), elements=st.floats(-30, 30))


@settings(max_examples=60)
@given(ROWS, SLOPES)
def test_a_solution_is_within_bounds_and_no_worse(
    residuals: np.ndarray, jacobian: np.ndarray
) -> None:
    linear = random_problem(residuals, jacobian)
    centre = Centre.around(START)
    logs = solve(linear, centre)
    lower, upper = limits()
    assert np.all(logs >= lower - 1e-9)
    assert np.all(logs <= upper + 1e-9)
    moved = linear.moved(logs, residuals + jacobian @ (logs - linear.logs))
    assert objective(moved, centre) <= objective(linear, centre) + 1e-6


@settings(max_examples=30)
@given(ROWS, SLOPES)
def test_rows_left_out_have_no_say(residuals: np.ndarray, jacobian: np.ndarray) -> None:
    linear = random_problem(residuals, jacobian)
    centre = Centre.around(START)
    kept = linear.rows(range(5))
    other = residuals.copy()
    other[5:] = 1e3
    changed = random_problem(other, jacobian)
    np.testing.assert_array_equal(solve(linear, centre, kept), solve(changed, centre, kept))


def test_without_rows_the_prior_stands() -> None:
    linear = random_problem(np.ones(4), np.ones((4, WIDTH)))
    centre = Centre.around(START)
    np.testing.assert_allclose(solve(linear, centre, linear.rows([])), centre.logs)


def test_a_group_weighs_no_more_than_another() -> None:
    weights = group_weights([[0, 1, 2, 3], [4, 5]], 6)
    assert weights[:4].sum() == pytest.approx(INDEPENDENT)
    assert weights[4:].sum() == pytest.approx(INDEPENDENT)
