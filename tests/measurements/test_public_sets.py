"""Readers of published sets: invented rows in their layout, and hostile ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from planner.curves.layout import Parallelism
from planner.measurements import (
    ClosedLoop,
    Empirical,
    Fixed,
    Flood,
    MeasurementError,
    Measurements,
    Replay,
    StaticBatch,
    Uniform,
)
from planner.measurements.gpustack import COLUMNS as GPUSTACK
from planner.measurements.gpustack import read_gpustack
from planner.measurements.inferencex import COLUMNS as INFERENCEX
from planner.measurements.inferencex import read_inferencex
from planner.measurements.llm_inference_bench import COLUMNS as LONG
from planner.measurements.llm_inference_bench import read_llm_inference_bench
from planner.measurements.trtllm_overview import read_trtllm_overview
from planner.measurements.vllm_requests import read_vllm_requests
from tests.conftest import WriteFile
from tests.measurements.samples import BENCH, table

Read = Callable[..., Measurements]


SILICON = dict.fromkeys(INFERENCEX, "") | {
    "id": "a",
    "source": "InferenceX(db via NVIDIA aiconfigurator)",
    "model": "meta-llama/Llama-3.1-70B",
    "system": "h200_sxm",
    "backend": "vllm",
    "precision": "fp8",
    "mode": "agg",
    "parallel": "agg tp4 pp1 attn_dp1 moe_tp4 ep1",
    "n_gpus": "4",
    "isl": "1024",
    "osl": "8192",
    "concurrency": "8.0",
    "ttft_ms": "101.1",
    "tpot_ms": "10.1",
    "measured": "2025-10-29T00:00:00.000Z",
    "wip": "False",
    "tpot_spread": "1.0",
}


def silicon(write_file: WriteFile, *changes: Mapping[str, str]) -> Measurements:
    rows = [SILICON | {"id": str(i)} | dict(change) for i, change in enumerate(changes)]
    return read_inferencex(write_file("silicon.csv", table(INFERENCEX, *rows)))


def test_inferencex_row(write_file: WriteFile) -> None:
    (point,) = silicon(write_file, {}).points
    assert (point.model, point.chip, point.engine) == ("llama-3.1-70b", "h200-sxm", "vllm")
    assert (point.source, point.date, point.licence) == ("inferencex", "2025-10-29", "Apache-2.0")
    assert point.protocol == ClosedLoop(8, 80, burst=True)
    assert (point.prompt, point.output) == (Uniform(819, 1024), Uniform(6553, 8192))
    assert point.parallelism == Parallelism(tensor=4)
    assert point.metrics == pytest.approx({"ttft_mean_s": 0.1011, "tpot_mean_s": 0.0101})
    assert (point.weight_dtype, point.kv_dtype) == ("fp8", "fp8")
    assert point.settings.maximum_sequences == 8
    assert point.settings.token_budget == 8192
    assert any("same shape" in text for text in point.assumptions)
    assert point.flags == ()


@pytest.mark.parametrize(
    ("parallel", "devices", "note", "expected"),
    [
        ("agg tp64 pp1 attn_dp1 moe_tp8 ep8", "8", "corrected: x", Parallelism(8, 1, 8, 1)),
        ("agg tp1 pp1 attn_dp16 moe_tp4 ep4", "4", "corrected: x", Parallelism(1, 1, 4, 4)),
        ("agg tp1 pp1 attn_dp8 moe_tp1 ep8", "8", "", Parallelism(1, 1, 8, 8)),
        ("agg tp2 pp1 attn_dp1 moe_tp0 ep0", "2", "", Parallelism(2, 1, 1, 1)),
    ],
)
def test_devices_counted_twice_are_corrected(
    write_file: WriteFile, parallel: str, devices: str, note: str, expected: Parallelism
) -> None:
    change = {"parallel": parallel, "n_gpus": devices, "n_gpus_note": note}
    (point,) = silicon(write_file, change | {"model": "deepseek-ai/DeepSeek-R1"}).points
    assert point.parallelism == expected
    assert ("device count corrected" in point.flags) == bool(note)


def test_split_layouts_keep_unknown_workers_unknown(write_file: WriteFile) -> None:
    split = {"mode": "disagg", "model": "deepseek-ai/DeepSeek-R1", "n_gpus": "0"}
    known, unknown = silicon(
        write_file,
        split | {"parallel": "disagg P:5x(tp1,dp1,ep1) D:2x(tp8,dp1,ep8)"},
        split | {"parallel": "disagg P:Nonex(tp4,dp1,ep4) D:Nonex(tp8,dp1,ep0)"},
    ).points
    assert known.devices == 5 + 16
    assert known.parallelism == Parallelism(8, 1, 8)
    assert unknown.devices is None
    assert "numbers of workers unknown" in unknown.flags


def test_what_rows_do_not_say_is_said_to_be_assumed(write_file: WriteFile) -> None:
    vendor = {"source": "NVIDIA-aiconfigurator-silicon", "measured": ""}
    bf16, gpt_oss, spread = silicon(
        write_file,
        vendor | {"model": "Qwen/Qwen3-32B", "precision": ""},
        {"model": "openai/gpt-oss-120b", "precision": "fp8", "system": "h100_sxm"},
        {"model": "deepseek-ai/DeepSeek-R1", "tpot_spread": "1.4"},
    ).points
    assert bf16.weight_dtype == "bf16"
    assert (bf16.prompt, bf16.date) == (Fixed(1024), "")
    assert "protocol assumed" in bf16.flags
    assert any("taken as that of the checkpoint" in text for text in bf16.assumptions)
    assert (gpt_oss.weight_dtype, gpt_oss.activation_dtype) == ("fp4", "bf16")
    assert any("recorded as fp8" in text for text in gpt_oss.assumptions)
    assert spread.flags == ("multi-token prediction suspected",)


def test_sound_rows_that_cannot_be_used_are_counted(write_file: WriteFile) -> None:
    found = silicon(
        write_file, {}, {"concurrency": ""}, {"model": "x/y"}, {"system": "tpu"}, {"system": "tpu"}
    )
    assert found.skipped == {
        "the concurrency is not recorded": 1,
        "model x/y is not mapped to the catalogue": 1,
        "chip tpu is not mapped to the catalogue": 2,
    }


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"ttft_ms": "fast"}, ":2:1: ttft_ms: 'fast' is not a finite number"),
        ({"ttft_ms": "nan"}, "'nan' is not a finite number"),
        ({"tpot_ms": "-3"}, "tpot_mean_s is -0.003"),
        ({"concurrency": "2.5"}, "'2.5' is not a count"),
        ({"isl": "0"}, "isl: needs a nominal length"),
        ({"backend": "vlm"}, r"unknown engine 'vlm'; did you mean vllm\?"),
        ({"precision": "int3"}, "'int3' is none of bf16, fp8, fp4"),
        ({"parallel": "tp4"}, "parallel: 'tp4' is not `agg"),
        ({"parallel": "agg tp4 pp1 attn_dp1 moe_tp1 ep3"}, "expert parallelism 3 does not divide"),
        ({"n_gpus": "3", "parallel": "agg tp4 pp2 attn_dp1 moe_tp1 ep1"}, "where n_gpus is 3"),
        ({"parallel": "agg tp0 pp1 attn_dp1 moe_tp1 ep1", "n_gpus": ""}, "at least 1"),
    ],
)
def test_hostile_rows(write_file: WriteFile, change: dict[str, str], complaint: str) -> None:
    with pytest.raises(MeasurementError, match=complaint):
        silicon(write_file, change)


def test_an_id_stands_once(write_file: WriteFile) -> None:
    with pytest.raises(MeasurementError, match=":3:1: id: 'x' stands in line 2 already"):
        silicon(write_file, {"id": "x"}, {"id": "x"})


RATE = {"metric": "total_throughput_in_plus_out", "value": "2048", "unit": "tok/s"}


def bench(write_file: WriteFile, *changes: Mapping[str, str]) -> Measurements:
    rows = [BENCH | dict(change) for change in changes]
    return read_llm_inference_bench(write_file("bench.csv", table(LONG, *rows)))


def test_rows_of_one_configuration_make_one_point(write_file: WriteFile) -> None:
    found = bench(write_file, {}, RATE, {"value": "2.2"}, {"isl": "256"})
    first, second = found.points
    assert first.protocol == StaticBatch(16)
    assert first.metrics == pytest.approx({"e2e_mean_s": 2.1, "total_tps": 2048.0})
    assert first.flags == ("repeats differ by over 5%",)
    assert (first.chip, first.engine, first.devices) == ("mi300x", "vllm", 2)
    assert second.prompt == Fixed(256)


def test_other_engines_keep_their_name(write_file: WriteFile) -> None:
    gguf = {"engine": "llama.cpp", "precision_weights": "fp16 (gguf; see source)"}
    tensor = {"engine": "TensorRT-LLM | Tensor Parallelism", "hardware": "Nvidia A100 GPU"}
    first, second = bench(write_file, gguf, tensor).points
    assert (first.engine, first.engine_version, first.weight_dtype) == (
        "other",
        "llama.cpp",
        "fp16",
    )
    assert (second.engine, second.engine_version, second.chip) == (
        "tensorrt-llm",
        "",
        "a100-sxm-40gb",
    )


def test_rows_of_the_bench_that_cannot_be_used_are_counted(write_file: WriteFile) -> None:
    found = bench(
        write_file,
        {},
        {"metric": "avg_power_all_chips(mW->W if >5000)", "unit": "W"},
        {"model": "facebook/opt-6.7b"},
        {"hardware": "SambaNova SN40L"},
        {"source": "LLM-Inference-Bench-specdec"},
    )
    assert len(found.points) == 1
    assert sum(found.skipped.values()) == 4


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"concurrency_or_rate": "16"}, "is not `batch=N`"),
        ({"precision_weights": "fp7"}, "unknown format 'fp7'"),
        ({"tp": "4"}, "4 x pp 1 does not make n_chips 2"),
        ({"metric": "speed"}, "unknown metric 'speed'"),
        ({"unit": "ms"}, "'ms' where s is expected"),
        ({"value": "-1"}, "e2e_mean_s is -1"),
        ({"n_chips": "two"}, "'two' is not a finite number"),
    ],
)
def test_hostile_bench_rows(write_file: WriteFile, change: dict[str, str], complaint: str) -> None:
    with pytest.raises(MeasurementError, match=complaint):
        bench(write_file, change)


OVERVIEW = BENCH | {
    "source": "trtllm_perf_overview_v1.2+",
    "model": "Deepseek R1 0528",
    "hardware": "B200",
    "n_chips": "4",
    "tp": "DEP4",
    "precision_weights": "fp4",
    "precision_kv": "fp8 (see source options)",
    "engine": "TensorRT-LLM 1.2+",
    "isl": "1000.0",
    "osl": "2000.0",
    "concurrency_or_rate": "max-load offline",
    "metric": "output_throughput_per_chip",
    "value": "6000",
    "unit": "tok/s/chip",
}


def overview(write_file: WriteFile, *changes: Mapping[str, str]) -> Measurements:
    rows = [OVERVIEW | dict(change) for change in changes]
    return read_trtllm_overview(write_file("overview.csv", table(LONG, *rows)))


def test_overview_units_follow_the_version(write_file: WriteFile) -> None:
    whole = {"metric": "output_throughput_total", "unit": "tok/s", "value": "24000", "osl": "10"}
    first_token = {"metric": "ttft", "unit": "ms", "value": "50", "concurrency_or_rate": "batch=1"}
    per_chip, instance, ttft = overview(write_file, {}, whole, first_token).points
    assert per_chip.metrics == instance.metrics == {"output_tps": 24000.0}
    assert per_chip.parallelism == Parallelism(1, 1, 4, 4)
    assert isinstance(per_chip.protocol, Flood)
    assert (ttft.protocol, ttft.metrics) == (StaticBatch(1), {"ttft_mean_s": 0.05})
    assert (per_chip.engine_version, per_chip.kv_dtype) == ("1.2+", "fp8")


def test_overview_skips(write_file: WriteFile) -> None:
    found = overview(write_file, {}, {}, {"model": "Falcon 180B"}, {"hardware": "Abacus"})
    assert len(found.points) == 1
    assert found.skipped == {
        "a row that stands in the table twice": 1,
        "model Falcon 180B is not in the catalogue": 1,
        "chip Abacus is not in the catalogue": 1,
    }


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"tp": "DEP3"}, "tp 'DEP3' and pp 1 make 3"),
        ({"tp": "x"}, "tp: 'x' is not a finite number"),
        ({"unit": "tok/min"}, "'output_throughput_per_chip' in 'tok/min'"),
        ({"concurrency_or_rate": "full"}, "'full' is neither"),
        ({"isl": ""}, "isl: needs a length"),
        ({"precision_weights": "fp3"}, "weight_dtype is 'fp3'"),
    ],
)
def test_hostile_overview(write_file: WriteFile, change: dict[str, str], complaint: str) -> None:
    with pytest.raises(MeasurementError, match=complaint):
        overview(write_file, change)


LAB = dict.fromkeys(GPUSTACK, "") | {
    "file": "qwen3-32b_h100",
    "section": "2. Quantization",
    "model": "Qwen3-32B",
    "hwtext": "2 × NVIDIA H100 SXM GPUs on a single node.",
    "engine": "vLLM",
    "prec": "fp8",
    "serve": "vllm serve Qwen/Qwen3-32B-FP8 -tp 2 --max-num-batched-tokens 4096",
    "n": "1000.0",
    "itok": "219000",
    "otok": "200000",
    "out": "2600",
    "tot": "5400",
    "ttft": "17000",
    "ttft99": "24000",
    "tpot": "200",
    "tpot99": "500",
    "itl": "119",
    "rps": "13",
}


def lab(write_file: WriteFile, *changes: Mapping[str, str]) -> Measurements:
    rows = [LAB | dict(change) for change in changes]
    return read_gpustack(write_file("lab.csv", table(GPUSTACK, *rows)))


def test_lab_rows(write_file: WriteFile) -> None:
    few = {"n": "100", "itok": "22000", "otok": "21000", "serve": "vllm serve x --tp 4 --pp-size 2"}
    expert = {"serve": "vllm serve x -tp 8 --enable-expert-parallel --speculative-config y"}
    flood, closed, spread = lab(write_file, {}, few, expert).points
    assert flood.protocol == Flood(1000)
    assert (flood.prompt, flood.output) == (Fixed(219), Fixed(200))
    assert flood.parallelism == Parallelism(2)
    assert flood.settings.token_budget == 4096
    assert flood.metrics["ttft_p99_s"] == 24.0
    assert closed.protocol == ClosedLoop(4, 100)
    assert closed.parallelism == Parallelism(4, 2)
    assert spread.parallelism == Parallelism(8, 1, 8)
    assert "speculative decoding" in spread.flags


def test_lab_skips(write_file: WriteFile) -> None:
    again = {"section": "3. Other"}
    found = lab(write_file, {}, again, {"model": "zai-org/GLM-4.6"}, {"file": "q_h200-latency"})
    assert len(found.points) == 1
    assert sorted(found.skipped.values()) == [1, 1, 1]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"engine": "MindIE"}, "unknown engine 'MindIE'"),
        ({"prec": "fp2"}, "unknown format 'fp2'"),
        ({"hwtext": "a laptop"}, "names none of H200, H100, A100"),
        ({"n": "0"}, "needs requests"),
        ({"serve": "x -tp 8 --ep-size 3"}, "expert parallelism 3 does not divide"),
        ({"ttft": "0"}, "ttft_mean_s is 0"),
    ],
)
def test_hostile_lab_rows(write_file: WriteFile, change: dict[str, str], complaint: str) -> None:
    with pytest.raises(MeasurementError, match=complaint):
        lab(write_file, change)


REQUEST_KEYS = ("queued_ts", "first_token_ts", "last_token_ts", "input_toks", "output_toks")
REQUESTS: list[dict[str, Any]] = [
    dict(zip(REQUEST_KEYS, values, strict=True))
    for values in ((11.0, 11.5, 13.5, 20, 5), (10.0, 10.2, 12.2, 10, 11))
]
META: dict[str, Any] = {
    "model": "meta-llama/Llama-3.1-8B",
    "vllm_version": "0.19.0",
    "started_at": "2026-08-20T23:19:39Z",
    "engine_kwargs": {"tensor_parallel_size": 1, "max_num_seqs": 256, "dtype": "bfloat16"},
    "kv_cache": {"num_gpu_blocks": 2588, "block_size": 16, "gpu_memory_utilization": 0.9},
}


def requests_run(
    write_file: WriteFile, requests: list[Any], meta: Any = META, chip: str = "RTX4090"
) -> Measurements:
    write_file(f"{chip}_L_meta.json", json.dumps(meta))
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    return read_vllm_requests(write_file(f"{chip}_L_requests.jsonl", lines).parent)


def test_requests_are_replayed_from_when_they_were_queued(write_file: WriteFile) -> None:
    (point,) = requests_run(write_file, REQUESTS).points
    assert point.protocol == Replay((0.0, 1.0))
    assert isinstance(point.prompt, Empirical)
    assert isinstance(point.output, Empirical)
    assert (point.prompt.values, point.output.values) == ((10, 20), (11, 5))
    assert point.paired
    assert point.metrics["ttft_mean_s"] == pytest.approx((0.2 + 0.5) / 2)
    assert point.metrics["tpot_mean_s"] == pytest.approx((0.2 + 0.5) / 2)
    assert point.metrics["e2e_p50_s"] == pytest.approx((2.2 + 2.5) / 2)
    assert point.metrics["output_tps"] == pytest.approx(16 / 3.5)
    assert point.settings.kv_blocks == 2588
    assert (point.chip, point.date, point.engine_version) == ("rtx-4090", "2026-08-20", "0.19.0")


def test_missing_blocks_are_said_to_follow_from_memory(write_file: WriteFile) -> None:
    meta = {key: value for key, value in META.items() if key != "kv_cache"}
    (point,) = requests_run(write_file, REQUESTS, meta).points
    assert point.settings.kv_blocks is None
    assert "follows from memory" in point.assumptions[1]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            {"queued_ts": 99.0},
            ":1:1: first_token_ts: queued, first and last token are missing or out",
        ),
        ({"first_token_ts": None}, "missing or out of order"),
        ({"last_token_ts": "x"}, "last_token_ts: 'x' is not a finite number"),
        ({"output_toks": 0}, "needs at least one prompt and one output token"),
        ({"input_toks": 1.5}, "input_toks: 1.5 is not a count"),
    ],
)
def test_hostile_requests(write_file: WriteFile, change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(MeasurementError, match=complaint):
        requests_run(write_file, [REQUESTS[0] | change, REQUESTS[1]])


def test_runs_that_cannot_be_placed(write_file: WriteFile, tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="unknown chip 'Abacus' in the name; choose one of"):
        requests_run(write_file, REQUESTS, chip="Abacus")
    (tmp_path / "Abacus_L_requests.jsonl").unlink()
    with pytest.raises(MeasurementError, match=r"RTX4090_L_meta\.json:1:1: model: unknown model"):
        requests_run(write_file, REQUESTS, {"model": "x"})
    (tmp_path / "RTX4090_L_requests.jsonl").unlink()
    with pytest.raises(MeasurementError, match="holds no file"):
        read_vllm_requests(tmp_path)
    with pytest.raises(MeasurementError, match="name it CHIP_MODEL_requests"):
        read_vllm_requests(write_file("x.jsonl", "{}"))
