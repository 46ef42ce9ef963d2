from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.curves.layout import Parallelism
from planner.measurements import (
    METRICS,
    ClosedLoop,
    Disaggregated,
    Empirical,
    Fixed,
    Flood,
    MeasurementError,
    Poisson,
    Protocol,
    Replay,
    Settings,
    StaticBatch,
    Uniform,
    protocol_name,
    quantiles_of,
)
from tests.measurements.samples import point


def test_devices_and_group() -> None:
    sound = point(replicas=4)
    assert sound.devices == 8
    assert sound.group == "llama-3.1-8b × h100-sxm × vllm"
    assert point(engine="other", engine_version="Deepspeed").group.endswith("× Deepspeed")


def test_devices_of_a_split_layout_need_both_numbers_of_workers() -> None:
    prefill, decode = Parallelism(tensor=2), Parallelism(tensor=8)
    assert point(disaggregated=Disaggregated(prefill, decode)).devices is None
    assert point(disaggregated=Disaggregated(prefill, decode, 3, 2)).devices == 3 * 2 + 2 * 8


def test_littles_law_gives_the_throughput_of_a_closed_loop() -> None:
    assert point().implied_output_tps == pytest.approx(8 * 101 / (0.1 + 100 * 0.009))
    assert point(protocol=Flood(10)).implied_output_tps is None
    assert point(metrics={"tpot_mean_s": 0.01}).implied_output_tps is None


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"id": " "}, "id is empty"),
        ({"date": "March 2026"}, "date is 'March 2026'; write YYYY"),
        ({"engine": "vLLM"}, r"engine is 'vLLM'; did you mean vllm\?"),
        ({"weight_dtype": "mxfp4"}, "weight_dtype is 'mxfp4'"),
        ({"kv_dtype": None}, "kv_dtype is nothing"),
        ({"replicas": 0}, "replicas is 0; it must be at least 1"),
        ({"protocol": ClosedLoop(0, 10)}, "concurrency is 0"),
        ({"protocol": Poisson(math.nan, 10)}, "rate_rps is nan; it must be above 0 and finite"),
        ({"protocol": Poisson(1.0)}, "needs either requests or duration_s"),
        ({"protocol": Poisson(1.0, 5, 5.0)}, "needs either requests or duration_s"),
        ({"protocol": Poisson(1.0, duration_s=-1.0)}, "duration_s is -1"),
        ({"protocol": Flood(0)}, "requests is 0"),
        ({"protocol": StaticBatch(-1)}, "batch is -1"),
        ({"protocol": Replay(())}, "at least one arrival"),
        ({"protocol": Replay((1.0, 0.5))}, "in order of time"),
        ({"protocol": Replay((0.0, math.inf))}, "finite seconds"),
        ({"protocol": Replay((0.0,))}, "as many paired prompts and outputs"),
        ({"prompt": Fixed(0)}, "prompt: 0 tokens; a request has at least 1"),
        ({"prompt": Uniform(9, 3)}, "from 9 to 3 tokens; give the lower one first"),
        ({"output": Uniform(0, 3)}, "from 0 tokens"),
        ({"output": Empirical("x", ())}, "x: has no lengths"),
        ({"output": Empirical("x", (5, 0))}, "a length of 0 tokens"),
        ({"paired": True}, "paired lengths need as many prompts as outputs"),
        ({"settings": Settings(token_budget=0)}, "token_budget is 0"),
        ({"settings": Settings(memory_fraction=90)}, "memory_fraction is 90; it must be above 0"),
        ({"metrics": {}}, "nothing was measured"),
        ({"metrics": {"ttft_mean_ms": 3.0}}, r"unknown metric .*did you mean ttft_mean_s\?"),
        ({"metrics": {"tpot_mean_s": 0.0}}, "tpot_mean_s is 0; a measured value is above 0"),
        ({"metrics": {"tpot_mean_s": math.inf}}, "tpot_mean_s is inf"),
        ({"metrics": {"ttft_p50_s": 2.0, "ttft_p99_s": 1.0}}, "are the columns swapped"),
        ({"metrics": {"output_tps": 9.0, "total_tps": 3.0}}, "output_tps 9 is above total_tps 3"),
        ({"metrics": {"ttft_mean_s": 9.0, "e2e_mean_s": 3.0}}, "check the units"),
    ],
)
def test_values_that_make_no_sense(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(MeasurementError, match=complaint):
        point(**changes)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(MeasurementError) as caught:
        point(chip="", engine="x", metrics={"ttft_mean_s": -1.0})
    for complaint in ("chip is empty", "engine is 'x'", "ttft_mean_s is -1"):
        assert complaint in str(caught.value)


def test_metrics_have_their_unit_in_the_name() -> None:
    assert all(name.endswith(("_s", "_tps", "_rps")) for name in METRICS)


def test_names_of_protocols() -> None:
    protocols: list[Protocol] = [
        ClosedLoop(1, 1),
        Poisson(1, 1),
        Flood(1),
        StaticBatch(1),
        Replay((0.0,)),
    ]
    names = [protocol_name(protocol) for protocol in protocols]
    assert names == ["closed_loop", "poisson", "flood", "static_batch", "replay"]


def test_means_and_longest_lengths() -> None:
    for lengths, mean, longest in (
        (Fixed(7), 7, 7),
        (Uniform(1, 4), 2.5, 4),
        (Empirical("x", (1, 2, 6)), 3, 6),
    ):
        assert lengths.mean_tokens == mean
        assert lengths.maximum_tokens == longest
        assert lengths.problems() == []


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=300), st.integers(1, 50))
def test_quantiles_are_ordered_and_come_from_the_values(values: list[int], count: int) -> None:
    quantiles = quantiles_of(values, count)
    assert len(quantiles) == count
    assert list(quantiles) == sorted(quantiles)
    assert set(quantiles) <= set(values)
    assert min(values) <= quantiles[0]


def test_quantiles_keep_the_mean() -> None:
    values = [1 + i * i % 977 for i in range(5000)]
    quantiles = quantiles_of(values, 200)
    assert sum(quantiles) / 200 == pytest.approx(sum(values) / 5000, rel=0.01)
