"""From the words of a scenario to synthetic workloads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from planner.lowering.workload import (
    class_workload,
    class_workloads,
    distribution,
    seconds_of_day,
    start_s_of_week,
    window_s_of,
)
from planner.scenario.schema.workload import Lengths
from tests.lowering.scenarios import load

LENGTHS = "input: {fixed: 9}, output: {fixed: 5}"


def lengths(**content: object) -> Lengths:
    return Lengths.model_validate(content)


@pytest.mark.parametrize(
    ("content", "quantiles"),
    [
        ({"fixed": 0}, [0, 0, 0]),
        ({"fixed": 80}, [80, 80, 80]),
        ({"uniform": [10, 30]}, [10, 20, 30]),
        ({"quantiles": {"p0": 10, "p50": 100, "p100": 1000}}, [10, 100, 1000]),
        ({"quantiles": {"p25": 16, "p75": 64}}, [16, 32, 64]),
        ({"uniform": [0, 100], "minimum": 20, "maximum": 70}, [20, 50, 70]),
        ({"uniform": [0, 100]}, [1, 50, 100]),
    ],
)
def test_every_form_of_a_length(content: dict[str, object], quantiles: list[int]) -> None:
    assert distribution(lengths(**content)).quantile([0.0, 0.5, 1.0]).tolist() == quantiles


def test_a_mixture_has_the_medians_and_weights_that_are_stated() -> None:
    parts = [
        {"weight": 3.0, "median": 10.0, "sigma": 0.0},
        {"weight": 1.0, "median": 1000.0, "sigma": 0.0},
    ]
    mixture = distribution(lengths(lognormal_mixture=parts))
    drawn = mixture.sample(np.random.default_rng(0), 10_000)
    assert (drawn == 10).mean() == pytest.approx(0.75, abs=0.02)
    assert (drawn == 1000).mean() == pytest.approx(0.25, abs=0.02)


def test_a_preset_is_found_by_name() -> None:
    preset = distribution(lengths(preset="azure-2023-conversation-input", maximum=5000))
    assert 500 < preset.quantile(0.5) < 2000
    assert preset.quantile(1.0) <= 5000


@pytest.mark.parametrize(("text", "seconds"), [("00:00", 0), ("7:05", 25_500), ("23:59", 86_340)])
def test_times_of_day(text: str, seconds: float) -> None:
    assert seconds_of_day(text) == seconds


def test_the_week_starts_on_monday(tmp_path: Path) -> None:
    classes = f"- {{name: a, pool: small, open: {{rate: 1 /s}}, {LENGTHS}}}"
    loaded = load(tmp_path, classes, 'weekday: wed\nstart: "12:30"')
    assert start_s_of_week(loaded.scenario.workload) == (2 * 24 + 12.5) * 3600.0


@pytest.mark.parametrize(
    ("times", "window_s"),
    [
        ("duration: 1 h\nwindow: 1 min", 60.0),
        ("duration: 1 h\nwindow: 7 min", 360.0),
        ("duration: 100 s\nwindow: 7 s", 100 / 15),
        ("duration: 20 s\nwindow: 1 min", 2.0),
    ],
)
def test_windows_divide_the_duration_evenly(tmp_path: Path, times: str, window_s: float) -> None:
    classes = f"- {{name: a, pool: small, open: {{rate: 1 /s}}, {LENGTHS}}}"
    assert window_s_of(load(tmp_path, classes, times).scenario.workload) == window_s


def test_open_classes_become_workloads_with_their_own_index(tmp_path: Path) -> None:
    classes = (
        f"- {{name: closed, pool: small, closed: {{clients: 3, think: 2 s}}, {LENGTHS}}}\n"
        f"- {{name: plain, pool: small, open: {{rate: 60 /min}}, {LENGTHS}}}\n"
        f"- {{name: rich, pool: small, {LENGTHS}, visitors: 10, reasoning: {{fixed: 3}},"
        " open: {rate: 2 /s, shape: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,"
        " 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], burstiness: {kind: weibull, cv: 3}},"
        " sessions: {turns: {fixed: 4}, think_median: 30 s, think_sigma: 0.5}}\n"
    )
    loaded = load(tmp_path, classes, 'start: "06:00"')
    workload = loaded.scenario.workload
    plain, rich = class_workloads(workload, [100, 200, 300])
    assert plain.arrivals is not None
    assert (plain.class_index, plain.arrivals.rate_rps, plain.arrivals.shape) == (1, 1.0, None)
    assert (plain.turns, plain.visitors, plain.maximum_context_tokens) == (None, None, 200)
    assert rich.arrivals is not None
    assert rich.arrivals.shape == (*range(1, 13), *range(1, 13))
    assert (rich.arrivals.burstiness, rich.arrivals.cv) == ("weibull", 3.0)
    assert rich.arrivals.start_s_of_week == 6 * 3600.0
    assert (rich.think_median_s, rich.think_sigma, rich.visitors) == (30.0, 0.5, 10)
    assert rich.turns is not None
    assert rich.reasoning is not None
    assert (rich.turns.mean(), rich.reasoning.mean(), rich.maximum_context_tokens) == (4, 3, 300)
    closed = class_workload(0, workload.classes[0], workload, None)
    assert (closed.arrivals, closed.pause_s, closed.maximum_context_tokens) == (None, 2.0, None)


def test_a_shape_is_found_by_name(tmp_path: Path) -> None:
    from planner.trace.library import load_shape, shape_names

    name = shape_names()[0]
    classes = f"- {{name: a, pool: small, open: {{rate: 1 /s, shape: {name}}}, {LENGTHS}}}"
    (found,) = class_workloads(load(tmp_path, classes).scenario.workload)
    assert found.arrivals is not None
    assert found.arrivals.shape == load_shape(name).hourly
