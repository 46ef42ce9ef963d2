"""The form of routed experts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.curves.curve import CurveKey
from planner.curves.data.jobs_attention import usual_experts
from planner.curves.fit import fit_curve
from planner.curves.forms.base import Array, Peaks
from planner.curves.forms.experts import Experts, experts_hit
from planner.curves.timings import OPERATORS, Timings

PEAKS = Peaks(flops=1e15, bandwidth=4e12)


def columns(**values: float) -> dict[str, Array]:
    shape = {
        "tokens": 64.0,
        "hidden": 4096.0,
        "inner": 1536.0,
        "active_experts": 8.0,
        "experts": 128.0,
        "tensor_parallel": 1.0,
        "expert_parallel": 1.0,
        **values,
    }
    return {name: np.array([value]) for name, value in shape.items()}


def start(**changed: float) -> Array:
    form = Experts()
    values = form.starts()
    for name, value in changed.items():
        values[[parameter.name for parameter in form.parameters].index(name)] = value
    return values


def test_the_form_reads_what_timings_have() -> None:
    assert set(Experts.shape) == set(OPERATORS["experts"].required)


@given(st.integers(1, 6), st.integers(1, 4), st.randoms(use_true_random=False))
def test_experts_hit_are_those_of_random_draws(tokens: int, active: int, random: object) -> None:
    draws = np.random.default_rng(random.randrange(2**32))  # type: ignore[attr-defined]
    experts, rounds = 8, 800
    picks = np.argsort(draws.random((rounds, tokens, experts)), axis=2)[:, :, :active]
    distinct = [len(np.unique(each)) for each in picks.reshape(rounds, -1)]
    expected = experts_hit(
        np.array([float(tokens)]), np.array([float(active)]), np.array([float(experts)])
    )[0]
    assert expected == pytest.approx(np.mean(distinct), abs=0.25)


def test_a_stated_load_replaces_the_fitted_imbalance() -> None:
    values = start(imbalance=0.5)
    shape = columns(tokens=65536.0, expert_parallel=8.0)
    fitted = Experts().seconds(values, shape, PEAKS)
    same, even = (
        Experts().seconds(values, shape | {"load": np.array([load])}, PEAKS)
        for load in (1.0 + 0.5 * 7 / 8, 1.0)
    )
    assert same == pytest.approx(fitted)
    assert even < fitted


def test_scattered_tokens_are_sorted_by_their_own_device_only() -> None:
    values = start(routing=10.0)
    shape = columns(tokens=65536.0, expert_parallel=64.0, load=1.0)
    all_of_them, own = (
        Experts().seconds(values, shape | {"scattered": np.array([each])}, PEAKS)
        for each in (0.0, 1.0)
    )
    moved_s = 10.0 * 65536 * 8 * 4096 * 2 / PEAKS.bandwidth
    assert all_of_them - own == pytest.approx(moved_s * 63 / 64)


def test_few_tokens_wait_for_the_weights_of_the_experts_they_hit() -> None:
    values = start(fill=0.0, fill_inner=0.0, evenness=1.0, routing=0.0, vectors=0.0, expert=0.0)
    values[0] = 1e-9
    seconds = Experts().seconds(values, columns(tokens=1.0), PEAKS)[0]
    read = 8 * 3 * 4096 * 1536 * 2.0
    assert seconds == pytest.approx(read / (PEAKS.bandwidth * values[2]), rel=0.01)


def test_many_tokens_are_bound_by_arithmetic() -> None:
    values = start(fill=0.0, fill_inner=0.0, routing=0.0, vectors=0.0)
    seconds = Experts().seconds(values, columns(tokens=1e6), PEAKS)[0]
    flops = 1e6 * 8 * 2 * 3 * 4096 * 1536
    assert seconds == pytest.approx(flops / (PEAKS.flops * values[1]), rel=0.01)


@pytest.mark.parametrize(
    "dtype", ["bf16", "fp8", "fp8_block", "fp4", "fp4_wo", "fp4_fp8", "int4_wo"]
)
def test_narrow_weights_are_read_faster(dtype: str) -> None:
    few = columns(tokens=16.0)
    narrow, wide = (Experts(name).seconds(start(), few, PEAKS)[0] for name in (dtype, "bf16"))
    assert narrow <= wide


@given(data=st.data())
def test_time_grows_with_work_and_falls_with_devices(data: st.DataObject) -> None:
    unit = st.floats(0.0, 1.0)
    form = Experts()
    values = np.array(
        [p.lower + data.draw(unit) ** 3 * (p.upper - p.lower) for p in form.parameters]
    )
    shape = {"tokens": float(data.draw(st.sampled_from([1, 7, 64, 1000, 30000])))}
    before = form.seconds(values, columns(**shape), PEAKS)[0]
    assert np.isfinite(before)
    assert before > 0.0
    for change in ({"tokens": 2 * shape["tokens"]}, {"inner": 3072.0}, {"hidden": 8192.0}):
        assert form.seconds(values, columns(**{**shape, **change}), PEAKS)[0] >= before
    for change in ({"tensor_parallel": 2.0}, {"expert_parallel": 8.0}):
        assert form.seconds(values, columns(**{**shape, **change}), PEAKS)[0] <= before * (1 + 1e-9)


def test_an_uneven_router_never_loads_one_device_with_more_than_all() -> None:
    values = start(imbalance=3.0, routing=0.0)
    alone = Experts().seconds(values, columns(tokens=4096.0), PEAKS)[0]
    shared = Experts().seconds(values, columns(tokens=4096.0, expert_parallel=2.0), PEAKS)[0]
    assert shared <= alone


def test_a_fit_finds_the_parameters_that_made_the_timings() -> None:
    truth = start(compute=0.61, traffic=0.83, launch=3.3e-5)
    tokens, inner, groups = (
        each.ravel()
        for each in np.meshgrid(
            2.0 ** np.arange(15), [512.0, 1024.0, 2048.0, 4096.0], [1.0, 4.0, 16.0]
        )
    )
    shape = {**columns(), "tokens": tokens, "inner": inner, "expert_parallel": groups}
    shape = {name: np.broadcast_to(column, tokens.shape) for name, column in shape.items()}
    form = Experts()
    timings = Timings.of(
        operator="experts",
        chip="h100-sxm",
        dtype="bf16",
        shape=shape,
        seconds=form.seconds(truth, shape, PEAKS),
    )
    curve = fit_curve(
        form,
        CurveKey("experts", "h100-sxm", "", "bf16"),
        timings,
        PEAKS,
        groups=("inner",),
        source="made",
        version="",
        date="",
        licence="",
    )
    assert curve.mape_in < 0.01
    assert curve.mape_out < 0.02
    assert curve.values[:3] == pytest.approx(truth[:3], rel=0.1)


def test_mixtures_without_a_gate_and_odd_splits_are_left_out() -> None:
    timings = Timings.of(
        operator="experts",
        seconds=[1e-4] * 4,
        shape={
            "tokens": 1.0,
            "hidden": [4096.0, 2688.0, 4096.0, 4096.0],
            "inner": [1536.0, 1856.0, 1536.0, 1536.0],
            "active_experts": 8.0,
            "experts": 128.0,
            "tensor_parallel": [1.0, 1.0, 32.0, 1.0],
            "expert_parallel": [1.0, 1.0, 1.0, 128.0],
        },
    )
    assert len(usual_experts(timings)) == 1
