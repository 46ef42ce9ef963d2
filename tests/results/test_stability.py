"""Growing queues are found; busy, bursty and short ones are left alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from planner.results.stability import FEWEST_WINDOWS, queue_growth

WINDOW_S = 60.0


def queue(
    rng: np.random.Generator, *, arrival_rps: float, service_rps: float, windows: int
) -> NDArray[np.float64]:
    """Return the mean queue per window of a station that serves at a constant rate."""
    steps = int(windows * WINDOW_S)
    change = rng.poisson(arrival_rps, steps) - rng.poisson(service_rps, steps)
    walk = np.cumsum(change)
    waiting = walk - np.minimum(np.minimum.accumulate(walk), 0)
    return waiting.reshape(windows, -1).mean(axis=1)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("load", "grows"), [(0.6, False), (0.97, False), (1.1, True), (1.5, True)])
def test_overload_is_told_from_heavy_load(seed: int, load: float, grows: bool) -> None:
    rng = np.random.default_rng(seed)
    waiting = queue(rng, arrival_rps=20.0 * load, service_rps=20.0, windows=60)
    growth = queue_growth(waiting, WINDOW_S, 20.0 * load, running=200.0)
    assert growth.grows is grows
    if grows:
        assert growth.per_s == pytest.approx(20.0 * (load - 1), rel=0.25)


def test_a_burst_that_is_worked_off_is_not_growth() -> None:
    waiting = np.zeros(60)
    waiting[20:30] = np.linspace(900, 0, 10)
    assert not queue_growth(waiting, WINDOW_S, 20.0, running=100.0).grows


def test_a_queue_that_rises_and_falls_with_the_day_is_not_growth() -> None:
    waiting = 5000.0 * np.sin(np.linspace(0, np.pi, 1440)) ** 2
    assert not queue_growth(waiting, WINDOW_S, 20.0, running=100.0).grows


def test_outliers_do_not_tilt_the_slope() -> None:
    waiting = 2.0 * WINDOW_S * np.arange(60.0)
    waiting[[7, 31]] = 1e6
    growth = queue_growth(waiting, WINDOW_S, 20.0, running=100.0)
    assert growth.per_s == pytest.approx(2.0, rel=0.02)


def test_a_long_series_is_averaged_and_keeps_its_slope() -> None:
    growth = queue_growth(0.5 * WINDOW_S * np.arange(10_080.0), WINDOW_S, 20.0, running=100.0)
    assert growth.grows
    assert growth.per_s == pytest.approx(0.5)


def test_the_fewest_windows_are_enough_to_see_a_queue_that_always_rises() -> None:
    waiting = 5.0 * WINDOW_S * np.arange(float(FEWEST_WINDOWS))
    assert queue_growth(waiting, WINDOW_S, 20.0, running=1.0).grows
    fewer = queue_growth(waiting[:-1], WINDOW_S, 20.0, running=1.0)
    assert not fewer.grows
    assert math.isnan(fewer.per_s), "unknown, not stable"


def test_no_queue_at_all_does_not_grow() -> None:
    growth = queue_growth(np.zeros(60), WINDOW_S, 0.0, running=0.0)
    assert growth.per_s == 0.0
    assert not growth.grows
