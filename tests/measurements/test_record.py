"""Points survive the way into a CSV file and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.curves.layout import Parallelism
from planner.measurements import (
    ClosedLoop,
    Disaggregated,
    Empirical,
    Fixed,
    Flood,
    MeasurementError,
    Poisson,
    Replay,
    Settings,
    StaticBatch,
    Uniform,
    read_points,
    write_points,
)
from planner.measurements.record import COLUMNS
from tests.conftest import WriteFile
from tests.measurements.samples import point, table

COUNTS = st.integers(1, 10**6)
PROTOCOLS = st.one_of(
    st.builds(ClosedLoop, COUNTS, COUNTS),
    st.builds(Poisson, st.floats(1e-3, 1e3), COUNTS, maximum_concurrency=st.none() | COUNTS),
    st.builds(Flood, COUNTS),
    st.builds(StaticBatch, COUNTS),
)
LENGTHS = st.one_of(
    st.builds(Fixed, COUNTS),
    st.builds(lambda low, more: Uniform(low, low + more), COUNTS, st.integers(0, 100)),
    st.builds(Empirical, st.just("some-name"), st.just((3, 5, 8))),
)
SETTINGS = st.builds(
    Settings,
    st.none() | COUNTS,
    st.none() | COUNTS,
    st.none() | st.sampled_from([0.5, 0.9]),
    st.sampled_from(["device", "free"]),
    st.none() | COUNTS,
    st.none() | COUNTS,
    st.none() | st.booleans(),
)
POINTS = st.builds(
    point,
    parallelism=st.builds(lambda n: Parallelism(n, 1, n, 1), st.integers(1, 16)),
    protocol=PROTOCOLS,
    prompt=LENGTHS,
    output=LENGTHS,
    settings=SETTINGS,
    replicas=st.integers(1, 9),
    activation_dtype=st.sampled_from([None, "bf16"]),
    date=st.sampled_from(["", "2024", "2025-11-30"]),
    flags=st.sampled_from([(), ("a",), ("a, with a comma", 'and "quotes"')]),
    objectives=st.sampled_from([{}, {"ttft_p99_s": 2.0, "tpot_p99_s": 0.2}]),
    metrics=st.dictionaries(
        st.sampled_from(["ttft_mean_s", "output_tps", "itl_p95_s"]),
        st.integers(1, 99_999).map(lambda value: value / 100),
        min_size=1,
    ),
)


@given(POINTS)
def test_a_point_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, sound: Any) -> None:
    folder = tmp_path_factory.getbasetemp()
    paths = (folder / "points.csv", folder / "lengths.csv")
    for path, text in zip(paths, write_points([sound]), strict=True):
        path.write_text(text, encoding="utf-8")
    (back,) = read_points(*paths).points
    assert back == sound


def test_points_that_do_not_fit_a_row_are_refused() -> None:
    lengths = Empirical("x", (1,))
    replay = point(protocol=Replay((0.0,)), prompt=lengths, output=lengths, paired=True)
    split = point(disaggregated=Disaggregated(Parallelism(), Parallelism()))
    bursty = point(protocol=Poisson(1.0, 5, burstiness=0.5))
    for misfit in (replay, split, bursty):
        with pytest.raises(ValueError, match="row"):
            write_points([misfit])


ROW = dict.fromkeys(COLUMNS, "") | {
    "id": "a",
    "source": "x",
    "model": "llama-3.1-8b",
    "chip": "h100-sxm",
    "engine": "vllm",
    "protocol": "closed_loop",
    "concurrency": "8",
    "requests": "80",
    "prompt": "fixed 100",
    "output": "uniform 80 100",
    "ttft_mean_s": "0.1",
}


def test_what_is_left_out_has_its_default(write_file: WriteFile) -> None:
    (back,) = read_points(write_file("p.csv", table(COLUMNS, ROW))).points
    assert (back.parallelism, back.replicas, back.kv_dtype) == (Parallelism(), 1, "bf16")
    assert back.settings == Settings()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"protocol": "closed"}, r"unknown 'closed'; did you mean closed_loop\?"),
        ({"protocol": "poisson"}, "poisson without its concurrency, requests, rate_rps or batch"),
        ({"prompt": "100"}, "'100' is not `fixed N`, `uniform LOW HIGH` or `named NAME`"),
        ({"output": "fixed -3"}, "'fixed -3' is not"),
        ({"output": "named x"}, "no lengths called 'x'"),
        ({"expert": "3"}, "expert parallelism 3 does not divide"),
        ({"memory_fraction_of": "all"}, "'all' is neither `device` nor `free`"),
        ({"prefix_cache": "perhaps"}, "'perhaps' is neither true nor false"),
        ({"ttft_mean_s": "soon"}, ":2:1: ttft_mean_s: 'soon' is not a finite number"),
        ({"ttft_mean_s": ""}, "nothing was measured"),
        ({"objectives": "ttft_p99_s"}, "'ttft_p99_s' is not a metric and its limit"),
        ({"objectives": "ttft_p99 2"}, "objectives: unknown metric 'ttft_p99'"),
        ({"engine": "vlm"}, r"engine is 'vlm'; did you mean vllm\?"),
        ({"memory_fraction": "3"}, "memory_fraction is 3"),
    ],
)
def test_hostile_rows(write_file: WriteFile, change: dict[str, str], complaint: str) -> None:
    with pytest.raises(MeasurementError, match=complaint):
        read_points(write_file("p.csv", table(COLUMNS, ROW | change)))


def test_unknown_columns_are_not_lost(write_file: WriteFile) -> None:
    text = table((*COLUMNS, "ttft_mean"), ROW)
    with pytest.raises(MeasurementError, match=r"unknown column 'ttft_mean'; did you mean ttft_me"):
        read_points(write_file("p.csv", text))


@pytest.mark.parametrize("quantiles", ["", "1 2 x", "-1"])
def test_hostile_lengths(write_file: WriteFile, tmp_path: Path, quantiles: str) -> None:
    lengths = write_file("l.csv", f"name,quantiles\nn,{quantiles}\n")
    with pytest.raises(MeasurementError, match=r"l\.csv:2:1: quantiles: write whole numbers"):
        read_points(write_file("p.csv", table(COLUMNS, ROW)), lengths)
