"""MLPerf v4.0 results of chips that are not GPUs, as a long table: one metric in a row."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Final

from planner.curves.layout import Parallelism
from planner.errors import shown
from planner.measurements.lengths import Empirical, Fixed
from planner.measurements.mlperf import WORKLOADS, Workload, chip_of, read_output_lengths
from planner.measurements.protocol import Flood, Poisson, Protocol
from planner.measurements.reading import Measurements, Reading, Row, csv_rows

COLUMNS: Final = (
    "source", "model", "hardware", "n_chips", "precision_weights", "engine", "concurrency_or_rate",
    "metric", "value", "unit", "citation",
)  # fmt: skip
LICENCE: Final = "Apache-2.0"

_RATE: Final = re.compile(r"poisson ([\d.]+) req/s")
_LIMIT: Final = re.compile(r"(ttft|tpot)<(\d+)ms")
_METRICS: Final = {"output_throughput_total": ("output_tps", "tok/s")}
_TIME: Final = re.compile(r"(ttft|tpot|e2e)_(mean|p50|p90|p95|p99)\Z")
_TENSOR: Final = {"gaudi-2": 8, "h100-sxm": 2}


def read_mlperf_custom(path: Path, lengths_path: Path | None = None) -> Measurements:
    """Read the long table of MLPerf v4.0 results; see the module and `read_mlperf`.

    Raises:
        MeasurementError: faults, each with its line.
    """
    lengths = read_output_lengths(lengths_path) if lengths_path else {}
    reading = Reading(path)
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in csv_rows(reading, COLUMNS):
        if row.text("model").startswith("gptj"):
            reading.skip("GPT-J is decoded with 4 beams, which the simulation does not have")
        elif row.text("model") not in WORKLOADS or _chip(row) is None:
            reading.skip(f"{row.text('model')} on {row.text('hardware')} is not in the catalogue")
        else:
            groups[row.text("hardware"), row.text("concurrency_or_rate")].append(row)
    for rows in groups.values():
        _add(reading, rows, lengths)
    return reading.done()


def _chip(row: Row) -> str | None:
    return "gaudi-2" if "Gaudi2" in row.text("hardware") else chip_of(row.text("hardware"))


def _add(reading: Reading, rows: list[Row], lengths: dict[str, Empirical]) -> None:
    row = rows[0]
    workload, chip, devices = WORKLOADS[row.text("model")], _chip(row) or "", row.count("n_chips")
    metrics: dict[str, float] = {}
    for part in rows:
        _add_metric(part, metrics)
    protocol = _protocol(row, workload)
    if protocol is None or not devices or devices % _TENSOR.get(chip, 1):
        return
    if isinstance(protocol, Flood):
        metrics = {"output_tps": metrics["output_tps"]} if "output_tps" in metrics else {}
    tensor = _TENSOR.get(chip, 1)
    reading.add(
        row.line,
        id=f"v4.0 {row.text('model')} {row.text('hardware')} {row.text('concurrency_or_rate')}",
        source="mlperf",
        citation=f"github.com/{row.text('citation').replace('@', ' at ')}",
        licence=LICENCE,
        date="2024-03",
        model=workload.model,
        chip=chip,
        engine="tensorrt-llm" if row.text("engine") == "TensorRT-LLM" else "other",
        engine_version="" if row.text("engine") == "TensorRT-LLM" else row.text("engine"),
        parallelism=Parallelism(tensor),
        protocol=protocol,
        prompt=Fixed(workload.prompt_tokens),
        output=lengths.get(workload.lengths) or Fixed(294),
        metrics=metrics,
        weight_dtype="fp8",
        kv_dtype="fp8",
        replicas=devices // tensor,
        objectives={
            f"{time}_p99_s": int(limit_ms) / 1e3
            for time, limit_ms in _LIMIT.findall(row.text("concurrency_or_rate"))
        },
        flags=("prompt lengths assumed", "layout assumed"),
        assumptions=(workload.origin, f"tensor parallel over {tensor} devices, weights in fp8"),
    )


def _add_metric(row: Row, metrics: dict[str, float]) -> None:
    name, unit, value = row.text("metric"), row.text("unit"), row.number("value")
    if value is None:
        return
    if (time := _TIME.match(name)) and unit == "ms":
        metrics[f"{time[1]}_{time[2]}_s"] = value / 1e3
    elif name in _METRICS and unit == _METRICS[name][1]:
        metrics[_METRICS[name][0]] = value
    else:
        row.fault("metric", f"{shown(name)} in {shown(unit)} is not one that the table has")


def _protocol(row: Row, workload: Workload) -> Protocol | None:
    text = row.text("concurrency_or_rate")
    if text.startswith("Offline"):
        return Flood(workload.samples)
    if (found := _RATE.search(text)) is None:
        row.fault("concurrency_or_rate", f"{shown(text)} is neither Offline nor at a Poisson rate")
        return None
    rate = float(found[1])
    return Poisson(rate, requests=max(workload.samples, round(600 * rate)))
