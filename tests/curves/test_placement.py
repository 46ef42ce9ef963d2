"""The busiest device of a mixture, against the published figures that its skew comes from."""

from __future__ import annotations

import numpy as np
import pytest

from planner.curves.expert_load import PUBLISHED_SKEW, ExpertLoad
from planner.curves.placement import balanced, lognormal_shares

TOKENS = np.array([4096.0])
"""1,024 choices per device of 32, as in NVIDIA's table."""


def factor(**changes: object) -> float:
    load = ExpertLoad(**{"experts": 256, "active_experts": 8, "groups": 32} | changes)  # type: ignore[arg-type]
    return float(load.factor(TOKENS)[0])


def test_the_hottest_expert_follows_from_the_form() -> None:
    """Published: 11.9 times the mean; not what the form was fitted to."""
    shares = lognormal_shares(256, PUBLISHED_SKEW)
    assert shares.sum() == pytest.approx(1.0)
    assert shares.std() / shares.mean() == pytest.approx(PUBLISHED_SKEW)
    assert shares.max() / shares.mean() == pytest.approx(11.9, rel=0.1)


def test_the_busiest_device_is_that_of_the_published_run() -> None:
    """DeepSeek-R1 on 32 devices: 2.56 without a balancer, 1.11 with 32 copies, 1.115 on 36."""
    assert factor() == pytest.approx(2.56, rel=0.1)
    assert factor(redundant=32) == pytest.approx(1.109, rel=0.06)
    assert factor(redundant=32, groups=36) == pytest.approx(1.115, rel=0.06)


def test_more_devices_are_less_even_and_a_balancer_needs_copies() -> None:
    factors = [factor(groups=groups) for groups in (2, 8, 32, 128)]
    assert factors == sorted(factors)
    placed, copied = factor(redundant=0), factor(redundant=64)
    assert factor() > placed > copied > 1.0


def test_even_popularity_leaves_luck() -> None:
    """The maximum of 32 nearly normal counts of mean 1,024 is 2.07 standard deviations above."""
    assert factor(skew=0.0) == pytest.approx(1 + 2.07 / 32, abs=0.005)
    few, many = ExpertLoad(256, 8, 32, skew=0.0).factor(np.array([64.0, 1e6]))
    assert few > many == pytest.approx(1.0, abs=0.01)


def test_a_device_alone_has_the_mean() -> None:
    assert factor(groups=1) == 1.0


def test_no_device_is_loaded_beyond_all_choices_of_its_experts() -> None:
    """One token cannot choose more of a device than the experts there."""
    load = ExpertLoad(8, 4, 4, skew=5.0)
    assert load.factor(np.array([1.0]))[0] <= 4 * 2 / 4


def test_a_balancer_copies_the_popular_and_fills_every_device() -> None:
    popularity = np.array([8.0, 2.0, 1.0, 1.0])
    assert balanced(popularity, 0, 2).tolist() == [9.0, 3.0]
    # five copies of the first, 1.6 each, beside 2, 1 and 1
    assert balanced(popularity, 4, 2) == pytest.approx([6.2, 5.8])
    assert balanced(popularity, 2, 3).sum() == pytest.approx(12.0)
