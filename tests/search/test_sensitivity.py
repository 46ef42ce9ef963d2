"""Intervals and Sobol indices against what theory says, by the code that risk analysis uses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from planner.search.points import Method, exchanged, generator, halves, one_at_a_time
from planner.search.sensitivity import Index, indices_of, interval_of, share_of

Array = NDArray[np.float64]


def indices(
    function: Callable[[Array], Array], columns: int, samples: int, method: Method = "sobol"
) -> tuple[Index, ...]:
    first, second = halves(columns, samples, method, seed=1)
    mixed = [function(exchanged(first, second, column)) for column in range(columns)]
    found = indices_of(function(first), function(second), mixed, 0.9, seed=1)
    assert found is not None
    return found


def ishigami(u: Array) -> Array:
    """Ishigami and Homma (1990), a = 7, b = 0.1, on (-π, π)³."""
    x = np.pi * (2 * u - 1)
    y: Array = np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])
    return y


def test_indices_of_the_ishigami_function() -> None:
    found = indices(ishigami, 3, 4096)
    first = [each.first.value for each in found]
    total = [each.total.value for each in found]
    assert first == pytest.approx([0.3139, 0.4424, 0.0], abs=0.03)
    assert total == pytest.approx([0.5576, 0.4424, 0.2437], abs=0.03)
    for each, known in zip(found, (0.5576, 0.4424, 0.2437), strict=True):
        assert each.total.low <= known <= each.total.high


@pytest.mark.parametrize("method", ["sobol", "halton", "latin_hypercube", "random"])
def test_indices_of_a_linear_function(method: Method) -> None:
    """Of y = Σ aᵢ xᵢ with uniform xᵢ, both indices are aᵢ² / Σ aⱼ², and nothing interacts."""
    weights = np.array([3.0, 2.0, 1.0, 0.0])
    found = indices(lambda u: u @ weights, 4, 2048, method)
    known = weights**2 / (weights**2).sum()
    for each, share in zip(found[:3], known[:3], strict=True):
        for estimate in (each.first, each.total):
            error = (estimate.high - estimate.low) / (2 * stats.norm.ppf(0.95))
            assert abs(estimate.value - share) <= 4 * error
            if method == "sobol":  # spread evenly, the points do far better than they say
                assert estimate.value == pytest.approx(share, abs=0.01)
    assert found[3].total.value == 0.0


def test_an_answer_that_never_varies_has_no_indices() -> None:
    flat = np.full(16, 64.0)
    assert indices_of(flat, flat, [flat], 0.9, seed=1) is None


def test_indices_of_whole_numbers_with_few_draws_stay_finite() -> None:
    found = indices(lambda u: np.rint(8 * u[:, 0] ** 6), 2, 16)
    ends = [x for each in found for e in (each.first, each.total) for x in (e.value, e.low, e.high)]
    assert np.all(np.isfinite(ends))


# --- intervals ------------------------------------------------------------------------------------


def test_the_interval_of_a_normal_is_its_quantiles() -> None:
    first, second = halves(2, 1024, "sobol", seed=3)
    values = stats.norm(100, 10).ppf(np.concatenate([first[:, 0], second[:, 0]]))
    found = interval_of(values, 0.9, seed=3)
    for end, u in ((found.low, 0.05), (found.median, 0.5), (found.high, 0.95)):
        exact = stats.norm(100, 10).ppf(u)
        assert end.low <= exact <= end.high
        assert end.value == pytest.approx(exact, abs=0.8)
    assert (found.mean, found.deviation) == pytest.approx((100, 10), abs=0.3)


def test_ends_of_the_interval_cover_the_truth_as_often_as_they_say() -> None:
    """Of 90% intervals of the 5% and 95% quantiles of 128 lognormal draws, about 90% are right."""
    shape, rng = stats.lognorm(0.4, scale=300), generator(7)
    exact = shape.ppf([0.05, 0.5, 0.95])
    hits = np.zeros(3)
    for replication in range(100):
        found = interval_of(shape.ppf(rng.random(128)), 0.9, seed=replication)
        ends = (found.low, found.median, found.high)
        hits += [end.low <= x <= end.high for end, x in zip(ends, exact, strict=True)]
    # 4 standard errors of a binomial share of 100, and what the percentile bootstrap falls short
    assert np.all(hits >= 90 - 4 * 3 - 4), hits
    assert np.all(hits <= 100)


def test_quantiles_of_whole_numbers_are_among_them() -> None:
    values = np.repeat([296.0, 304.0, 312.0, 320.0, 328.0], [2, 10, 30, 20, 2])
    found = interval_of(values, 0.9, seed=1)
    ends = [found.low, found.median, found.high]
    assert {x for end in ends for x in (end.value, end.low, end.high)} <= set(values.tolist())
    assert found.median.value == 312


def test_one_value_is_an_interval_without_width() -> None:
    found = interval_of(np.full(32, 8.0), 0.9, seed=1)
    assert (found.low.value, found.high.value, found.deviation) == (8, 8, 0)


def test_shares_have_wilson_intervals() -> None:
    found = share_of(28, 32, 0.9)
    assert (found.value, found.low, found.high) == pytest.approx((0.875, 0.748, 0.943), abs=0.001)
    assert share_of(32, 32, 0.9).low < 1.0


# --- points ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["sobol", "halton", "latin_hypercube", "random"])
def test_points_follow_from_the_seed_alone(method: Method) -> None:
    one, two = halves(3, 64, method, seed=5)
    again = halves(3, 64, method, seed=5)
    other = halves(3, 64, method, seed=6)
    assert one.shape == two.shape == (32, 3)
    assert np.array_equal(one, again[0])
    assert np.array_equal(two, again[1])
    assert not np.array_equal(one, other[0])
    assert 0 < min(one.min(), two.min()) <= max(one.max(), two.max()) < 1


def test_sobol_points_are_spread_evenly() -> None:
    one, _ = halves(4, 128, "sobol", seed=1)
    for column in one.T:
        assert sorted((column * 64).astype(int)) == list(range(64))


def test_one_input_moves_at_a_time() -> None:
    assert one_at_a_time(2) == [((0.1, 0.5), (0.9, 0.5)), ((0.5, 0.1), (0.5, 0.9))]
    mixed = exchanged(np.zeros((2, 3)), np.ones((2, 3)), 1)
    assert mixed.tolist() == [[0, 1, 0], [0, 1, 0]]
