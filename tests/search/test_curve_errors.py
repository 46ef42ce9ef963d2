"""Errors of curves, overheads and acceptance, drawn: against sampling what was linearised."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from planner.catalog import load_catalog
from planner.curves.curve import Curve
from planner.curves.engines import shipped_engines
from planner.curves.library import CurveSet
from planner.curves.survival import multiplied, survival_of
from planner.lowering.pools import Basis, LoweredPool, lower_pool
from planner.scenario.schema.pools import Pool, Speculation
from planner.scenario.schema.workload import RequestClass
from planner.search.curve_errors import DrawnBasis, DrawnCurve, drawn_overhead, log_deviation

SHAPE = {"m": np.array([16.0, 512.0, 8192.0]), "n": np.full(3, 8192.0), "k": np.full(3, 8192.0)}


@pytest.fixture(scope="module")
def gemm() -> Curve:
    found = CurveSet("h100-sxm").find("gemm", "fp8", engine="vllm")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def pool() -> Pool:
    return Pool.model_validate(
        {
            **{"name": "chat", "model": "llama-3.1-70b", "node": "hgx-h100", "nodes": 2},
            **{"tensor_parallel": 4, "weight_dtype": "fp8"},
        }
    )


@pytest.fixture(scope="module")
def basis() -> Basis:
    return Basis(shipped_engines())


@pytest.fixture(scope="module")
def lowered(pool: Pool, basis: Basis) -> LoweredPool:
    return lower_pool(pool, load_catalog(), basis)


def test_the_spread_is_that_of_sampled_parameters(gemm: Curve) -> None:
    """The delta method against 4,000 draws of all parameters from their covariance."""
    small = replace(gemm, covariance=gemm.covariance / 100, mape_out=0.0, correction=None)
    # variances span thirty orders of magnitude, so draws are made of the correlations
    errors = np.sqrt(np.diag(small.covariance))
    root = np.linalg.cholesky(small.covariance / np.outer(errors, errors))
    normals = np.random.default_rng(1).standard_normal((4000, len(errors)))
    draws = small.values + errors * (normals @ root.T)
    seconds = np.array([small.form.seconds(each, SHAPE, small.peaks) for each in draws])
    sampled = np.log(seconds).std(axis=0)
    assert log_deviation(small, SHAPE) == pytest.approx(sampled, rel=0.1)


def test_the_error_on_shapes_left_out_adds_in_squares(gemm: Curve) -> None:
    inside = log_deviation(replace(gemm, mape_out=0.0), SHAPE)
    expected = np.hypot(inside, gemm.mape_out * math.sqrt(math.pi / 2))
    assert log_deviation(gemm, SHAPE) == pytest.approx(expected)
    assert np.all(expected >= gemm.mape_out)


def test_parameters_without_covariance_count_with_none(gemm: Curve) -> None:
    unknown = replace(gemm, covariance=np.full_like(gemm.covariance, np.nan), mape_out=math.nan)
    assert log_deviation(unknown, SHAPE).tolist() == [0.0, 0.0, 0.0]


def test_a_drawn_curve_is_slower_by_its_deviation(gemm: Curve) -> None:
    fields = {name: getattr(gemm, name) for name in Curve.__dataclass_fields__}
    for z in (-1.0, 0.0, 2.0):
        ratio = DrawnCurve(**fields, z=z).seconds(SHAPE) / gemm.seconds(SHAPE)
        assert np.log(ratio) == pytest.approx(z * log_deviation(gemm, SHAPE))


def test_a_basis_draws_the_operators_it_is_told(
    pool: Pool, basis: Basis, lowered: LoweredPool
) -> None:
    catalog = load_catalog()

    def plan(**z: float) -> LoweredPool:
        return lower_pool(pool, catalog, DrawnBasis.of(basis, z))

    same = plan()
    assert np.array_equal(same.plan.linear_s, lowered.plan.linear_s)
    slow, quick = plan(gemm=1.0), plan(gemm=-1.0)
    budget = lowered.plan.token_budget
    at = [each.plan.linear_s[budget] for each in (quick, lowered, slow)]
    assert at[0] < at[1] < at[2]
    assert slow.plan.prefill_s == lowered.plan.prefill_s
    assert plan(prefill_attention=1.0).plan.prefill_s > lowered.plan.prefill_s


def test_overheads_are_drawn_along_the_likeliest_way(lowered: LoweredPool) -> None:
    host = lowered.curve.host
    assert drawn_overhead(lowered.curve, 0.0) == host
    slow, quick = (drawn_overhead(lowered.curve, z) for z in (1.0, -1.0))
    moved = [
        (getattr(slow, name) - getattr(host, name)) / error for name, error in host.errors.items()
    ]
    assert math.hypot(*moved) == pytest.approx(1.0)  # one standard deviation of independent errors
    assert slow.bandwidth_rate <= host.bandwidth_rate <= quick.bandwidth_rate
    unfitted = replace(lowered.curve, host=replace(host, errors={}))
    assert drawn_overhead(unfitted, 2.0) == unfitted.host


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.0, 1.1])
def test_acceptance_changes_in_the_mean(factor: float) -> None:
    shares = (0.7, 0.65, 0.55)
    drawn = multiplied(shares, factor)
    assert sum(survival_of(drawn)) == pytest.approx(factor * sum(survival_of(shares)))


def test_no_more_than_all_drafts_are_accepted() -> None:
    assert multiplied((0.9, 0.9), 5.0) == pytest.approx((1.0, 1.0), abs=1e-4)


def drafting(pool: Pool, speculation: dict[str, object], factor: float) -> LoweredPool:
    """Return a pool with a factor on what is accepted of its drafts."""
    klass = RequestClass.model_validate(
        {
            **{"name": "chat", "task": "chat", "pool": "chat", "open": {"rate": "10 /s"}},
            **{"input": {"fixed": 1000}, "output": {"fixed": 200}},
        }
    )
    stated = Speculation.model_validate({"method": "eagle3", "draft_tokens": 3, **speculation})
    basis = Basis(shipped_engines(), classes=(klass,), acceptance_factors={"chat": factor})
    changed = pool.model_copy(update={"speculation": stated})
    return lower_pool(changed, load_catalog(), basis)


def test_pools_draft_with_what_is_drawn(pool: Pool) -> None:
    usual, drawn = (drafting(pool, {}, factor) for factor in (1.0, 0.8))
    length = drawn.meta.acceptance["chat"]
    assert length - 1.0 == pytest.approx(0.8 * (usual.meta.acceptance["chat"] - 1.0))
    assert drawn.plan.draft is not None
    assert drawn.plan.draft.pace(0) == pytest.approx(length)


def test_with_too_little_accepted_pools_do_not_draft(pool: Pool) -> None:
    stated: dict[str, object] = {"acceptance": [0.8, 0.7, 0.6], "minimum_length": 2}
    assert drafting(pool, stated, 1.0).plan.draft is not None
    assert drafting(pool, stated, 0.5).plan.draft is None
