"""LLM-Inference-Bench of Argonne National Laboratory: static batches on many chips, 2024 software.

A row is one metric of one configuration; rows of the same configuration make one point. Input and
output have the same length; throughput counts both: batch · (input + output) / latency.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Final

from planner.curves.layout import Parallelism
from planner.errors import shown
from planner.measurements.lengths import Fixed
from planner.measurements.protocol import StaticBatch
from planner.measurements.reading import Measurements, Reading, Row, csv_rows

COLUMNS: Final = (
    "source", "model", "hardware", "n_chips", "tp", "pp", "precision_weights", "precision_kv",
    "engine", "isl", "osl", "concurrency_or_rate", "metric", "value", "unit", "citation",
)  # fmt: skip
LICENCE: Final = "BSD-3-Clause"

_MODELS: Final = {
    "meta-llama/Llama-2-7b-hf": "llama-2-7b",
    "huggyllama/llama-7b": "llama-2-7b",  # same shape, half the context
    "meta-llama/Llama-2-13b-hf": "llama-2-13b",
    "meta-llama/Llama-2-70b-hf": "llama-2-70b",
    "meta-llama/Meta-Llama-3-8B": "llama-3-8b",
    "meta-llama/Meta-Llama-3-70B": "llama-3-70b",
    "mistralai/Mistral-7B-v0.1": "mistral-7b",
    "mistralai/Mixtral-8x7B-v0.1": "mixtral-8x7b",
    "Qwen/Qwen2-7B": "qwen2-7b",
    "Qwen/Qwen2-72B": "qwen2-72b",
    "Qwen/Qwen1.5-7B": "qwen1.5-7b",
}
_CHIPS: Final = {
    "Nvidia H100 GPU": "h100-sxm",
    "Nvidia A100 GPU": "a100-sxm-40gb",
    "Nvidia GH200 GPU": "gh200",
    "AMD MI250 GPU": "mi250",
    "AMD MI300X GPU": "mi300x",
    "Habana Gaudi2": "gaudi-2",
    "Intel PVC GPU": "max-1550",
    "Intel Max 1550": "max-1550",
}
_DEVICES_PER_NODE: Final = {"h100-sxm": 4, "a100-sxm-40gb": 4, "gh200": 1, "mi250": 4}
_ENGINES: Final = {"vllm": "vllm", "tensorrt-llm": "tensorrt-llm"}
_METRICS: Final = {
    "static_batch_e2e_latency": "e2e_mean_s",
    "static_batch_e2e_latency_1024out": "e2e_mean_s",
    "total_throughput_in_plus_out": "total_tps",
    "ttft": "ttft_mean_s",
}
_UNITS: Final = {"e2e_mean_s": "s", "ttft_mean_s": "s", "total_tps": "tok/s"}
_DTYPES: Final = {"fp16/bf16": "bf16", "bf16": "bf16", "fp16": "fp16", "fp8": "fp8"}
_GGUF: Final = "fp16 (gguf; see source)"
_BATCH: Final = re.compile(r"batch=(\d+)\Z")
_REPEATS_APART: Final = 0.05
_UNDERSTOOD: Final = {
    "a100-sxm-40gb": "memory of the A100 not recorded: 40 GB, as on the laboratory's machine",
    "h100-sxm": "form of the H100 not recorded: SXM",
    "mi250": "a device is the whole card: Mixtral 8x7B ran on one and needs more than a die",
}
"""What the name of a chip leaves open, and how it is taken."""


def read_llm_inference_bench(path: Path) -> Measurements:
    """Read the long table of LLM-Inference-Bench; see the module.

    Raises:
        MeasurementError: faults, each with its line.
    """
    reading = Reading(path)
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    names = [name for name in COLUMNS if name not in ("metric", "value", "unit", "source")]
    for row in csv_rows(reading, COLUMNS):
        if (reason := _reason_to_skip(row)) is not None:
            reading.skip(reason)
        else:
            groups[tuple(row.text(name) for name in names)].append(row)
    for rows in groups.values():
        _add(reading, rows)
    return reading.done()


def _reason_to_skip(row: Row) -> str | None:
    if row.text("metric").startswith("avg_power"):
        return "power, not time"
    if row.text("source").endswith("specdec"):
        return "speculative decoding with an unknown draft"
    if row.text("model") not in _MODELS:
        return f"model {row.text('model')} is not in the catalogue"
    if row.text("hardware") not in _CHIPS:
        return f"chip {row.text('hardware')} is not in the catalogue"
    return None


def _add(reading: Reading, rows: list[Row]) -> None:
    row = rows[0]
    values: dict[str, list[float]] = defaultdict(list)
    for part in rows:
        metric, value = _METRICS.get(part.text("metric")), part.number("value")
        if metric is None:
            part.fault("metric", f"unknown metric {shown(part.text('metric'))}")
        elif part.text("unit") != _UNITS[metric]:
            part.fault("unit", f"{shown(part.text('unit'))} where {_UNITS[metric]} is expected")
        elif value is not None:
            values[metric].append(value)
    counts = {name: row.count(name) for name in ("n_chips", "tp", "pp", "isl", "osl")}
    batch = _BATCH.match(row.text("concurrency_or_rate"))
    weights = row.text("precision_weights")
    if batch is None:
        row.fault("concurrency_or_rate", "is not `batch=N`")
    if weights not in _DTYPES and weights != _GGUF:
        row.fault("precision_weights", f"unknown format {shown(weights)}")
        return
    if batch is None or None in counts.values() or not values:
        return
    chips, tensor, pipeline, prompt, output = (int(count or 0) for count in counts.values())
    if tensor * pipeline != chips:
        row.fault("tp", f"{tensor} x pp {pipeline} does not make n_chips {chips}")
        return
    dtype = "fp16" if weights == _GGUF else _DTYPES[weights]
    kv = row.text("precision_kv")
    chip = _CHIPS[row.text("hardware")]
    engine = row.text("engine").partition(" | ")[0]
    reading.add(
        row.line,
        id=_identity(row),
        source="llm-inference-bench",
        citation=f"github.com/{row.text('citation').replace('@', ' at ')}",
        licence=LICENCE,
        date="2024",
        model=_MODELS[row.text("model")],
        chip=chip,
        engine=_ENGINES.get(engine.lower(), "other"),
        engine_version="" if engine.lower() in _ENGINES else engine,
        parallelism=Parallelism(tensor, pipeline),
        protocol=StaticBatch(int(batch[1])),
        prompt=Fixed(prompt),
        output=Fixed(output),
        metrics={metric: sum(found) / len(found) for metric, found in values.items()},
        weight_dtype=dtype,
        kv_dtype=kv if kv == "fp8" else ("bf16" if dtype == "fp8" else dtype),
        devices_per_node=_DEVICES_PER_NODE.get(chip, 8),
        flags=_flags(chip, engine, values),
        assumptions=_assumptions(row, chip),
    )


def _identity(row: Row) -> str:
    parts = [row.text(name) for name in ("model", "hardware", "engine", "precision_weights")]
    load = f"tp{row.text('tp')}pp{row.text('pp')} {row.text('isl')}+{row.text('osl')}"
    figure = row.text("citation").rpartition("Plots/")[2]
    kv = row.text("precision_kv")
    return f"{' '.join(parts)} kv {kv} {load} {row.text('concurrency_or_rate')} in {figure}"


def _flags(chip: str, engine: str, values: dict[str, list[float]]) -> tuple[str, ...]:
    found = []
    if engine == "llama.cpp":  # a runtime for one user at a time
        found.append("engine not modelled")
    if any(max(v) > (1 + _REPEATS_APART) * min(v) for v in values.values()):
        found.append("repeats differ by over 5%")
    if chip == "max-1550":
        found.append("tile or whole card not stated")
    return tuple(found)


def _assumptions(row: Row, chip: str) -> tuple[str, ...]:
    found = [_UNDERSTOOD[chip]] if chip in _UNDERSTOOD else []
    if row.text("precision_weights") == "fp16/bf16":
        found.append("recorded as fp16/bf16: taken as bf16")
    if row.text("model") == "huggyllama/llama-7b":
        found.append("LLaMA 7B, which has the shape of Llama 2 7B")
    return tuple(found)
