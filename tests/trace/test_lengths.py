"""Length distributions: quantiles, draws, means, bounds."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import TraceError
from planner.trace import LengthDistribution


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_fixed_draws_only_its_value_and_no_random_number() -> None:
    generator = rng()
    before = generator.bit_generator.state
    assert set(LengthDistribution.fixed(128).sample(generator, 1000).tolist()) == {128}
    assert generator.bit_generator.state == before


def test_uniform_gives_each_whole_number_the_same_share() -> None:
    draws = LengthDistribution.uniform(3, 7).sample(rng(), 500_000)
    values, counts = np.unique(draws, return_counts=True)
    assert values.tolist() == [3, 4, 5, 6, 7]
    assert np.all(np.abs(counts - 100_000) < 5 * math.sqrt(80_000))


def test_uniform_never_leaves_its_range() -> None:
    distribution = LengthDistribution.uniform(0, 2)
    assert distribution.quantile([0.0, 1.0]).tolist() == [0, 2]


def test_quantiles_are_met_exactly_and_log_linear_between() -> None:
    distribution = LengthDistribution.from_quantiles({0.01: 29, 0.5: 1020, 0.99: 4142})
    assert distribution.quantile([0.01, 0.5, 0.99]).tolist() == [29, 1020, 4142]
    halfway = math.sqrt(1020 * 4142)
    assert distribution.quantile(0.745).tolist() == round(halfway)


def test_without_p0_and_p100_it_ends_at_the_outermost_quantiles() -> None:
    draws = LengthDistribution.from_quantiles({0.1: 10, 0.9: 100}).sample(rng(), 100_000)
    assert draws.min() == 10
    assert draws.max() == 100
    assert 0.1 < (draws == 10).mean() < 0.12  # with what is rounded to it
    assert 0.1 < (draws == 100).mean() < 0.12


def test_draws_follow_the_quantiles() -> None:
    distribution = LengthDistribution.from_quantiles({0: 1, 0.1: 54, 0.5: 129, 0.9: 424, 1: 1000})
    draws = np.sort(distribution.sample(rng(), 400_000))
    for p in (0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99):
        rank = np.searchsorted(draws, distribution.quantile(p), side="right") / len(draws)
        below = np.searchsorted(draws, distribution.quantile(p), side="left") / len(draws)
        assert below - 0.004 < p < rank + 0.004


def test_quantiles_that_touch_zero_are_linear_there() -> None:
    distribution = LengthDistribution.from_quantiles({0: 0, 0.5: 0, 0.75: 100, 1: 100})
    assert distribution.quantile([0.25, 0.5, 0.625, 0.75]).tolist() == [0, 0, 50, 100]
    assert distribution.mean() == pytest.approx(37.5, rel=1e-3)


@pytest.mark.parametrize("sigma", [0.0, 0.3, 1.0, 1.8])
def test_single_lognormal_has_the_textbook_quantiles_and_mean(sigma: float) -> None:
    distribution = LengthDistribution.from_lognormal_mixture([(2.0, 800, sigma)])
    normal = NormalDist(math.log(800), sigma) if sigma else None
    for p in (0.001, 0.1, 0.5, 0.9, 0.999):
        expected = math.exp(normal.inv_cdf(p)) if normal else 800
        assert distribution.quantile(p).tolist() == pytest.approx(expected, rel=2e-3, abs=1)
    assert distribution.mean() == pytest.approx(800 * math.exp(sigma**2 / 2), rel=5e-3)


def test_mixture_weights_its_components() -> None:
    components = [(3.0, 100.0, 0.1), (1.0, 10_000.0, 0.1)]
    draws = LengthDistribution.from_lognormal_mixture(components).sample(rng(), 100_000)
    assert abs((draws < 1000).mean() - 0.75) < 0.01


def test_the_sampling_table_agrees_with_the_exact_quantile_function() -> None:
    distribution = LengthDistribution.from_lognormal_mixture([(1, 500, 1.5), (1, 40, 0.2)])
    position = np.concatenate([np.linspace(0, 1, 200_001)[:-1], 1 - np.logspace(-9, -4, 50)])
    drawn = distribution._lookup(position)
    exact = distribution.quantile(position)
    assert np.all(np.abs(drawn - exact) <= 1 + 0.01 * exact)
    assert np.mean(drawn == exact) > 0.99


def test_within_moves_draws_to_its_bounds() -> None:
    bounded = LengthDistribution.uniform(1, 1000).within(100, 200)
    draws = bounded.sample(rng(), 10_000)
    assert draws.min() == 100
    assert draws.max() == 200
    assert LengthDistribution.fixed(0).within(1, None).quantile(0.5).tolist() == 1


def test_presets_come_by_name() -> None:
    assert LengthDistribution.from_preset("azure-2023-conversation-output").quantile(0.5) == 129
    with pytest.raises(TraceError, match="did you mean azure-2023-code-input"):
        LengthDistribution.from_preset("azure-2023-code-imput")


@pytest.mark.parametrize(
    ("probabilities", "tokens", "message"),
    [
        ((), (), "finite"),
        ((0.0, 1.0), (10.0, 5.0), "rise"),
        ((0.5, 0.1), (1.0, 2.0), "rise"),
        ((0.0, 1.5), (1.0, 2.0), "within 0 and 1"),
        ((0.0, 1.0), (1.0, math.nan), "finite"),
        ((0.0, 1.0), (-3.0, 2.0), "within 0 and"),
        ((0.0, 1.0), (1.0, 2e7), "within 0 and"),
    ],
)
def test_senseless_knots_are_refused(
    probabilities: tuple[float, ...], tokens: tuple[float, ...], message: str
) -> None:
    with pytest.raises(TraceError, match=message):
        LengthDistribution(probabilities, tokens)


def test_senseless_bounds_are_refused() -> None:
    with pytest.raises(TraceError, match="not above the maximum"):
        LengthDistribution.fixed(5).within(10, 5)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 1e6), min_size=2, max_size=8),
    st.lists(st.floats(0, 1), min_size=8, max_size=8, unique=True),
)
def test_any_rising_quantiles_give_draws_inside_them(
    tokens: list[float], probabilities: list[float]
) -> None:
    knots = dict(zip(sorted(probabilities), sorted(tokens), strict=False))
    draws = LengthDistribution.from_quantiles(knots).sample(rng(), 500)
    assert draws.min() >= math.floor(min(tokens))
    assert draws.max() <= math.ceil(max(tokens))
