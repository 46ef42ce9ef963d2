"""MLPerf results: invented rows in their layout, and hostile ones."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path

import pytest

from planner.curves.layout import Parallelism
from planner.measurements import (
    Empirical,
    Fixed,
    Flood,
    MeasurementError,
    Measurements,
    Poisson,
    read_collection,
)
from planner.measurements.llm_inference_bench import COLUMNS as LONG
from planner.measurements.mlperf import COLUMNS as MLPERF
from planner.measurements.mlperf import read_mlperf, read_output_lengths
from planner.measurements.mlperf_custom import read_mlperf_custom
from planner.measurements.mlperf_layouts import COLUMNS as LAYOUTS
from tests.conftest import WriteFile
from tests.measurements.samples import BENCH, table

RUN = dict.fromkeys(MLPERF, "") | {
    "round": "v5.1",
    "division": "closed",
    "submitter": "NVIDIA",
    "benchmark": "llama2-70b-99.9",
    "scenario": "Server",
    "accelerator": "NVIDIA H100-SXM-80GB",
    "n_chips": "8",
    "acc_per_node": "8",
    "weight_dtype": "fp8",
    "framework": "TensorRT 10.11, CUDA 12.9",
    "status": "available",
    "result": "VALID",
    "tokens_per_s": "23000",
    "samples_per_s": "79.0",
    "scheduled_samples_per_s": "80.0",
    "mean_output_tokens": "290.1",
    "ttft_limit_ms": "2000.0",
    "tpot_limit_ms": "200.0",
    "ttft_mean_ms": "500",
    "ttft_p99_ms": "1900",
    "tpot_mean_ms": "120",
    "e2e_mean_ms": "35000",
    "e2e_p99.9_ms": "150000",
    "repo": "mlcommons/inference_results_v5.1",
    "path": "closed/NVIDIA/results/x/mlperf_log_summary.txt",
}
LAYOUT = dict.fromkeys(LAYOUTS, "") | {
    "round": "v4.1",
    "system": "H100_SXM_80GB_TP2x1",
    "scenario": "Server",
    "benchmark": "llama2-70b",
    "tp": "2",
    "gpu_batch_size": "1024",
    "max_num_tokens": "1024|2048",
}


def mlperf(write_file: WriteFile, *changes: Mapping[str, str], **paths: Path) -> Measurements:
    rows = [RUN | {"submitter": f"s{i}"} | dict(change) for i, change in enumerate(changes)]
    return read_mlperf(write_file("mlperf.csv", table(MLPERF, *rows)), **paths)


def test_mlperf_scenarios(write_file: WriteFile) -> None:
    layouts = write_file("layouts.csv", table(LAYOUTS, LAYOUT, LAYOUT | {"tp": ""}))
    server, offline = mlperf(
        write_file, {}, {"scenario": "Offline", "samples_per_s": "100"}, layouts_path=layouts
    ).points
    assert server.protocol == Poisson(80.0, requests=48_000)
    assert (server.parallelism, server.replicas, server.devices) == (Parallelism(2), 4, 8)
    assert server.settings.maximum_sequences == 1024
    assert server.settings.token_budget is None  # two values for two parts of the system
    assert server.metrics["ttft_p99_s"] == 1.9
    assert (server.engine, server.engine_version) == ("tensorrt-llm", "TensorRT 10.11")
    assert server.output == Fixed(290)
    assert server.objectives == {"ttft_p99_s": 2.0, "tpot_p99_s": 0.2}
    assert offline.objectives == {}
    assert offline.protocol == Flood(15_000)
    assert set(offline.metrics) == {"output_tps", "request_rps"}


def test_mlperf_without_configurations(write_file: WriteFile) -> None:
    (h100, b200) = mlperf(
        write_file,
        {"weight_dtype": "fp16"},
        {"accelerator": "NVIDIA B200-SXM-180GB", "weight_dtype": "fp4", "status": "preview"},
    ).points
    assert (h100.parallelism.tensor, h100.weight_dtype) == (2, "fp8")
    assert "weights listed as fp16" in h100.flags
    assert (b200.parallelism.tensor, b200.weight_dtype, b200.replicas) == (1, "fp4", 8)
    assert {"layout assumed", "preview"} <= set(b200.flags)


def test_mlperf_engines(write_file: WriteFile) -> None:
    amd = {"accelerator": "AMD Instinct MI300X 192GB HBM3"}
    first, second = mlperf(
        write_file,
        amd | {"framework": "vLLM 0.6.5.dev964+mlperf50, Pytorch 2.7.0"},
        amd | {"framework": "Mango LLMBoost AI Enterprise Platform, ROCm 6.12"},
    ).points
    assert (first.engine, first.engine_version) == ("vllm", "0.6.5.dev964+mlperf50")
    assert (second.engine, second.engine_version) == (
        "other",
        "Mango LLMBoost AI Enterprise Platform",
    )


def test_mlperf_skips(write_file: WriteFile) -> None:
    found = mlperf(
        write_file,
        {},
        {"submitter": "s0"},
        {"division": "open"},
        {"benchmark": "gptj-99"},
        {"benchmark": "mixtral-8x7b"},
        {"benchmark": "dlrm"},
        {"accelerator": "CPU: x"},
        {"accelerator": "A (x8), B (x16)"},
        {"accelerator": "Abacus"},
        {"result": "INVALID"},
        {"accelerator": "NVIDIA L40S"},
        {"n_chips": "3"},
    )
    assert len(found.points) == 1
    assert len(found.skipped) == sum(found.skipped.values()) == 11


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"scheduled_samples_per_s": ""}, "a Server run needs its rate"),
        ({"scenario": "Offline", "samples_per_s": ""}, "an Offline run needs its rate"),
        ({"ttft_mean_ms": "1e400"}, "'1e400' is not a finite number"),
        ({"scheduled_samples_per_s": "-5"}, "rate_rps is -5"),
    ],
)
def test_hostile_mlperf(write_file: WriteFile, change: dict[str, str], complaint: str) -> None:
    with pytest.raises(MeasurementError, match=complaint):
        mlperf(write_file, change)


LENGTHS = "round,benchmark,submitter,scenario,qsl_idx,token_count,data_tokens\n" + "".join(
    f"5.1,llama2-70b,x,offline,{i},{i},{i}\n" for i in range(1000)
)


def test_output_lengths_become_quantiles(tmp_path: Path, write_file: WriteFile) -> None:
    path = tmp_path / "lengths.csv.gz"
    path.write_bytes(gzip.compress(LENGTHS.encode()))
    lengths = read_output_lengths(path)["llama2-70b"]
    assert lengths.mean_tokens == pytest.approx(500, rel=0.01)
    (point,) = mlperf(write_file, {}, lengths_path=path).points
    assert isinstance(point.output, Empirical)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x1f\x8b\x08broken",
        gzip.compress(b"a,b\n1\n", mtime=0),
        gzip.compress(LENGTHS.encode(), mtime=0)[:90],
    ],
)
def test_hostile_lengths(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "lengths.csv.gz"
    path.write_bytes(data)
    with pytest.raises(MeasurementError, match="no table of MLPerf output lengths"):
        read_output_lengths(path)


CUSTOM = BENCH | {
    "model": "llama2-70b-99.9",
    "hardware": "Intel Gaudi2",
    "n_chips": "8",
    "engine": "PyTorch SynapseAI",
    "concurrency_or_rate": "Server | poisson 21.85 req/s | ttft<2000ms tpot<200ms",
    "metric": "ttft_p99",
    "unit": "ms",
    "value": "1600",
}


def test_mlperf_of_custom_chips(write_file: WriteFile) -> None:
    rate = {"metric": "output_throughput_total", "unit": "tok/s", "value": "6000"}
    offline = rate | {"concurrency_or_rate": "Offline | offline max-load"}
    rows = [CUSTOM | change for change in ({}, rate, offline, {"model": "gptj-99"})]
    found = read_mlperf_custom(write_file("custom.csv", table(LONG, *rows)))
    server, flood = found.points
    assert server.protocol == Poisson(21.85, requests=24_576)
    assert server.metrics == {"ttft_p99_s": 1.6, "output_tps": 6000.0}
    assert (server.chip, server.engine, server.devices) == ("gaudi-2", "other", 8)
    assert server.objectives == {"ttft_p99_s": 2.0, "tpot_p99_s": 0.2}
    assert flood.protocol == Flood(24_576)
    assert sum(found.skipped.values()) == 1


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"concurrency_or_rate": "Server"}, "'Server' is neither Offline nor at a Poisson rate"),
        ({"unit": "min"}, "'ttft_p99' in 'min' is not one"),
    ],
)
def test_hostile_custom_rows(write_file: WriteFile, change: dict[str, str], complaint: str) -> None:
    with pytest.raises(MeasurementError, match=complaint):
        read_mlperf_custom(write_file("custom.csv", table(LONG, CUSTOM | change)))


def test_a_folder_is_read_by_the_names_of_its_files(write_file: WriteFile, tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="holds no set of measurements; expected e2e/"):
        read_collection(tmp_path)
    write_file("e2e/custom_chips_mlperf_v4.0.csv", table(LONG, CUSTOM))
    write_file("e2e/mlperf.csv", table(MLPERF, RUN))
    write_file("e2e/mlperf_nvidia_parallelism.csv", table(LAYOUTS, LAYOUT))
    found = read_collection(tmp_path)
    assert {name: len(part.points) for name, part in found.items()} == {
        "mlperf.csv": 1,
        "custom_chips_mlperf_v4.0.csv": 1,
    }
