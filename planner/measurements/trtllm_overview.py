"""TensorRT-LLM's performance overview, by version: throughput at maximum load, and static batches.

Units differ by version and are taken from the table: `tok/s` of the whole instance, or per chip. A
`DEPn` in the tp column means attention repeated and experts spread over n devices.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from planner.curves.layout import Parallelism
from planner.errors import shown
from planner.measurements.lengths import Fixed
from planner.measurements.protocol import Flood, Protocol, StaticBatch
from planner.measurements.reading import Measurements, Reading, Row, csv_rows

COLUMNS: Final = (
    "source", "model", "hardware", "n_chips", "tp", "pp", "precision_weights", "precision_kv",
    "engine", "isl", "osl", "concurrency_or_rate", "metric", "value", "unit", "citation",
)  # fmt: skip
LICENCE: Final = "Apache-2.0"

_MODELS: Final = {
    "LLaMA v2 7B": "llama-2-7b",
    "LLaMA 7B": "llama-2-7b",
    "LLaMA v2 70B": "llama-2-70b",
    "LLaMA 70B": "llama-2-70b",
    "LLaMA v3 8B": "llama-3-8b",
    "LLaMA v3 70B": "llama-3-70b",
    "Llama 3.1 8B": "llama-3.1-8b",
    "Llama 3.1 405B": "llama-3.1-405b",
    "Llama 3.3 70B": "llama-3.3-70b",
    "Mistral 7B": "mistral-7b",
    "Mixtral 8x7B": "mixtral-8x7b",
    "Qwen3-30B-A3B": "qwen3-30b-a3b",
    "Qwen3-235B-A22B": "qwen3-235b-a22b",
    "GPT-OSS 120B": "gpt-oss-120b",
    "GPT-OSS 20B": "gpt-oss-20b",
    "Deepseek R1 0528": "deepseek-r1",
}
_CHIPS: Final = {
    "H100 80GB HBM3": ("h100-sxm", 8),
    "H100": ("h100-sxm", 8),
    "H200 141GB HBM3": ("h200-sxm", 8),
    "H200": ("h200-sxm", 8),
    "A100-SXM4-80GB": ("a100-sxm", 8),
    "A100": ("a100-sxm", 8),
    "L40S": ("l40s", 8),
    "B200": ("b200-sxm", 8),
    "GB200": ("gb200", 4),
    "GH200 120GB": ("gh200", 1),
    "RTX PRO 6000 Blackwell Server": ("rtx-pro-6000", 8),
}
_DATES: Final = {
    "v0.5": "2023-10",
    "v0.9": "2024-04",
    "v0.11.x-dev": "2024-06",
    "v0.12.0": "2024-09",
}
_SPREAD: Final = re.compile(r"DEP(\d+)\Z")
_BATCH: Final = re.compile(r"batch=(\d+)\Z")
_MAXIMUM_LOAD: Final = "max-load offline"
_FLOOD_REQUESTS: Final = 3000


def read_trtllm_overview(path: Path) -> Measurements:
    """Read the long table of TensorRT-LLM's performance overviews; see the module.

    Raises:
        MeasurementError: faults, each with its line.
    """
    reading = Reading(path)
    seen: set[tuple[str, ...]] = set()
    for row in csv_rows(reading, COLUMNS):
        if row.text("model") not in _MODELS:
            reading.skip(f"model {row.text('model')} is not in the catalogue")
        elif row.text("hardware") not in _CHIPS:
            reading.skip(f"chip {row.text('hardware')} is not in the catalogue")
        elif (key := tuple(row.text(name) for name in COLUMNS)) in seen:
            reading.skip("a row that stands in the table twice")
        else:
            seen.add(key)
            _read(row)
    return reading.done()


def _read(row: Row) -> None:
    parallelism, metrics, load = _parallelism(row), _metrics(row), _load(row)
    prompt, output = row.count("isl"), row.count("osl")
    weights, kv = row.text("precision_weights"), row.text("precision_kv").partition(" ")[0]
    if parallelism is None or metrics is None or load is None:
        return
    if not prompt or not output:
        row.fault("isl" if not prompt else "osl", "needs a length of at least 1 token")
        return
    chip, devices_per_node = _CHIPS[row.text("hardware")]
    version = row.text("source").rpartition("_")[2]
    protocol, assumptions = load
    layout = f"tp{row.text('tp')}pp{row.text('pp')} {prompt}+{output}"
    name = f"{row.text('model')} {row.text('hardware')} {weights} {layout}"
    row.reading.add(
        row.line,
        id=f"{version} {name} {row.text('concurrency_or_rate')} {row.text('metric')} :{row.line}",
        source="trtllm-overview",
        citation=f"github.com/{row.text('citation').replace('@', ' at ')}",
        licence=LICENCE,
        date=_DATES.get(version, "2025"),
        model=_MODELS[row.text("model")],
        chip=chip,
        engine="tensorrt-llm",
        engine_version=row.text("engine").removeprefix("TensorRT-LLM ").strip(),
        parallelism=parallelism,
        protocol=protocol,
        prompt=Fixed(prompt),
        output=Fixed(output),
        metrics=metrics,
        weight_dtype=weights,
        activation_dtype=_arithmetic(row, chip),
        kv_dtype=kv,
        devices_per_node=devices_per_node,
        assumptions=assumptions,
    )


def _parallelism(row: Row) -> Parallelism | None:
    text, pipeline, devices = row.text("tp"), row.count("pp"), row.count("n_chips")
    spread = _SPREAD.match(text)
    tensor = 1 if spread else row.count("tp")
    data = int(spread[1]) if spread else 1
    if not tensor or not pipeline or not devices:
        return None
    found = Parallelism(tensor, pipeline, data, data)
    if found.devices == devices:
        return found
    row.fault("n_chips", f"{devices}, but tp {shown(text)} and pp {pipeline} make {found.devices}")
    return None


def _metrics(row: Row) -> dict[str, float] | None:
    value, devices = row.number("value"), row.count("n_chips") or 0
    match row.text("metric"), row.text("unit"):
        case _ if value is None:
            return None
        case "output_throughput_total", "tok/s":
            return {"output_tps": value}
        case "output_throughput_per_chip", "tok/s/chip":
            return {"output_tps": value * devices}
        case "ttft", "ms":
            return {"ttft_mean_s": value / 1e3}
        case metric, unit:
            row.fault("metric", f"{shown(metric)} in {shown(unit)} is not one that the table has")
    return None


def _load(row: Row) -> tuple[Protocol, tuple[str, ...]] | None:
    text = row.text("concurrency_or_rate")
    if text == _MAXIMUM_LOAD:
        return Flood(_FLOOD_REQUESTS), (f"number of requests not recorded: {_FLOOD_REQUESTS:,}",)
    if batch := _BATCH.match(text):
        return StaticBatch(int(batch[1])), ()
    row.fault("concurrency_or_rate", f"{shown(text)} is neither `batch=N` nor `{_MAXIMUM_LOAD}`")
    return None


def _arithmetic(row: Row, chip: str) -> Any:
    """Return the arithmetic where it is not that of the weights: Hopper has none for fp4."""
    before_blackwell = chip in ("a100-sxm", "h100-sxm", "h200-sxm", "l40s", "gh200")
    return "bf16" if row.text("precision_weights") == "fp4" and before_blackwell else None
