"""MLPerf Inference results of language models: Offline, Server and Interactive.

Offline sends every sample at once; Server and Interactive are Poisson streams at a scheduled rate,
for at least 600 s and one pass over the data set (LoadGen's rules). The results hold percentiles of
TTFT, TPOT and latency by request. They hold neither layout nor lengths: the layout is taken from
NVIDIA's published configurations, which other submitters mostly run, or is one device where the
model fits; output lengths from the accuracy runs of the compliance test, prompts as the mean of the
data set. MLPerf is a trademark of MLCommons; anything derived from its results is not official.
"""

from __future__ import annotations

import gzip
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from planner.curves.layout import Parallelism
from planner.measurements.lengths import Empirical, Fixed, Lengths, quantiles_of
from planner.measurements.mlperf_layouts import Layout, layout_of, read_layouts
from planner.measurements.point import MeasurementError, Settings
from planner.measurements.protocol import Flood, Poisson, Protocol
from planner.measurements.reading import Measurements, Reading, Row, csv_rows

LICENCE: Final = "Apache-2.0"
QUANTILES: Final = 200

_TIMES: Final = ("ttft", "tpot", "e2e")
_STATISTICS: Final = ("mean", "p50", "p90", "p99")
COLUMNS: Final = (
    "round", "division", "submitter", "benchmark", "scenario", "accelerator", "n_chips",
    "acc_per_node", "weight_dtype", "framework", "status", "result", "tokens_per_s",
    "samples_per_s", "scheduled_samples_per_s", "mean_output_tokens", "e2e_p99.9_ms", "repo",
    "path", "ttft_limit_ms", "tpot_limit_ms",
    *(f"{time}_{statistic}_ms" for time in _TIMES for statistic in _STATISTICS),
)  # fmt: skip
_DATES: Final = {"v4.1": "2024-08", "v5.1": "2025-09"}


@dataclass(frozen=True)
class Workload:
    """What a benchmark sends."""

    model: str
    samples: int
    """Of the data set; a performance run makes at least one pass."""
    prompt_tokens: int
    """Mean."""
    origin: str
    lengths: str
    """Name of its output lengths in the table of the accuracy runs."""


_OPEN_ORCA: Final = Workload(
    "llama-2-70b",
    24_576,
    294,
    "prompts taken as 294 tokens, the mean of the OpenOrca subset that MLCommons sends",
    "llama2-70b",
)
_CNN: Final = Workload(
    "llama-3.1-8b",
    13_368,
    778,
    "prompts taken as 778 tokens, the mean of the CNN/DailyMail set that MLCommons sends",
    "llama3.1-8b",
)
WORKLOADS: Final = {
    "llama2-70b-99": _OPEN_ORCA,
    "llama2-70b-99.9": _OPEN_ORCA,
    "llama3.1-8b": _CNN,
    "llama3_1-8b": _CNN,
}
_UNUSABLE: Final = {
    "gptj": "GPT-J is decoded with 4 beams, which the simulation does not have",
    "mixtral": "lengths of the Mixtral prompts were found in no source",
}
_CHIPS: Final = (
    ("H100-SXM", "h100-sxm"),
    ("H100-NVL", "h100-nvl"),
    ("H100-PCIe", "h100-pcie"),
    ("H200-SXM", "h200-sxm"),
    ("H200-NVL", "h200-nvl"),
    ("B200-SXM", "b200-sxm"),
    ("GB200", "gb200"),
    ("GH200 Grace Hopper Superchip 96GB", "gh200"),
    ("GH200 Grace Hopper Superchip 144GB", "gh200-144gb"),
    ("L40S", "l40s"),
    ("RTX PRO 6000", "rtx-pro-6000"),
    ("MI300X", "mi300x"),
    ("MI325X", "mi325x"),
    ("MI355X", "mi355x"),
)
_VERSION: Final = re.compile(r"(vLLM|SGLang|TensorRT) v?([\w.+]+)")
_ENGINES: Final = {"vLLM": "vllm", "SGLang": "sglang", "TensorRT": "tensorrt-llm"}


def read_mlperf(
    path: Path, layouts_path: Path | None = None, lengths_path: Path | None = None
) -> Measurements:
    """Read the table of MLPerf results; see the module.

    Args:
        path: the table of runs.
        layouts_path: NVIDIA's configurations by round, system and benchmark; absent: layouts that
            this module knows.
        lengths_path: output lengths of the accuracy runs, CSV or gzipped CSV; absent: every output
            has the mean length that the run reports.

    Raises:
        MeasurementError: faults, each with its line.
    """
    layouts = read_layouts(layouts_path) if layouts_path else {}
    lengths = read_output_lengths(lengths_path) if lengths_path else {}
    reading = Reading(path)
    seen: set[tuple[str, ...]] = set()
    for row in csv_rows(reading, COLUMNS):
        if (reason := _reason_to_skip(row)) is not None:
            reading.skip(reason)
            continue
        shared = ("round", "submitter", "scenario", "accelerator", "n_chips", "tokens_per_s")
        run = tuple(row.text(name) for name in (*shared, "e2e_mean_ms"))
        if run in seen:
            reading.skip("the same run, listed under two accuracies")
            continue
        seen.add(run)
        _read(row, layouts, lengths)
    return reading.done()


def read_output_lengths(path: Path) -> dict[str, Empirical]:
    """Return quantiles of output lengths by benchmark, from the TEST06 accuracy runs.

    Raises:
        MeasurementError: the file is not such a table.
    """
    found: dict[str, list[int]] = defaultdict(list)
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as file:
            header = file.readline().strip().split(",")
            columns = [header.index(name) for name in ("benchmark", "token_count")]
            for line in file:
                fields = line.strip().split(",")
                if (tokens := int(fields[columns[1]])) > 0:
                    found[fields[columns[0]]].append(tokens)
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise MeasurementError(f"{path}: no table of MLPerf output lengths: {error}") from error
    return {
        name: Empirical(f"mlperf-{name}-outputs", quantiles_of(values, QUANTILES))
        for name, values in found.items()
    }


def chip_of(accelerator: str) -> str | None:
    """Return the catalogue's name of a chip that MLPerf names; None if there is none."""
    return next((chip for word, chip in _CHIPS if word.lower() in accelerator.lower()), None)


def _reason_to_skip(row: Row) -> str | None:
    benchmark, accelerator = row.text("benchmark"), row.text("accelerator")
    reasons = (
        (row.text("division") != "closed", "open division: data and model differ"),
        *((word in benchmark, why) for word, why in _UNUSABLE.items()),
        (benchmark not in WORKLOADS, f"benchmark {benchmark} is not one for data centres"),
        (accelerator.startswith("CPU"), "no accelerator"),
        (accelerator.count("(x") > 1, "a mixture of chips"),
        (chip_of(accelerator) is None, f"chip {accelerator} is not in the catalogue"),
        (row.text("result") != "VALID", "not a valid run"),
    )
    return next((reason for applies, reason in reasons if applies), None)


def _read(
    row: Row, layouts: Mapping[tuple[str, ...], Layout], lengths: Mapping[str, Empirical]
) -> None:
    workload, scenario = WORKLOADS[row.text("benchmark")], row.text("scenario")
    chip = chip_of(row.text("accelerator")) or ""
    devices = row.count("n_chips")
    layout = layout_of(layouts, row.text("round"), chip, workload.model, scenario)
    if layout is None:
        row.reading.skip(f"layout of {workload.model} on {chip} is known from no source")
        return
    group = layout.tensor * layout.pipeline
    if not devices or devices % group:
        row.reading.skip(f"a layout of {group} devices does not divide the system")
        return
    protocol, metrics = _protocol(row, workload), _metrics(row)
    mean_tokens = row.number("mean_output_tokens")
    output: Lengths | None = lengths.get(workload.lengths)
    assumptions = [workload.origin, *layout.assumptions]
    if output is None and mean_tokens:
        output = Fixed(max(round(mean_tokens), 1))
        assumptions.append("every output has the mean length of the run")
    if protocol is None or output is None:
        return
    engine, version = _engine_of(row)
    row.reading.add(
        row.line,
        id=_identity(row),
        source="mlperf",
        citation=f"github.com/{row.text('repo')}, {row.text('path')}",
        licence=LICENCE,
        date=_DATES.get(row.text("round"), ""),
        model=workload.model,
        chip=chip,
        engine=engine,
        engine_version=version,
        parallelism=Parallelism(layout.tensor, layout.pipeline),
        protocol=protocol,
        prompt=Fixed(workload.prompt_tokens),
        output=output,
        metrics=metrics,
        weight_dtype=layout.weight_dtype,
        kv_dtype=layout.kv_dtype,
        replicas=devices // group,
        devices_per_node=row.count("acc_per_node") or 8,
        settings=Settings(layout.maximum_sequences, layout.token_budget, prefix_cache=False),
        objectives=_objectives(row),
        flags=_flags(row, layout),
        assumptions=tuple(assumptions),
    )


def _protocol(row: Row, workload: Workload) -> Protocol | None:
    if row.text("scenario") == "Offline":
        rate, span_ms = row.number("samples_per_s"), row.number("e2e_p99.9_ms")
        if not rate or not span_ms:
            row.fault("samples_per_s", "an Offline run needs its rate and its longest latency")
            return None
        return Flood(max(round(rate * span_ms / 1e3), 1))
    rate = row.number("scheduled_samples_per_s")
    if not rate:
        row.fault("scheduled_samples_per_s", f"a {row.text('scenario')} run needs its rate")
        return None
    return Poisson(rate, requests=max(workload.samples, round(600 * rate)))


def _metrics(row: Row) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, column in (("output_tps", "tokens_per_s"), ("request_rps", "samples_per_s")):
        if value := row.number(column):
            found[name] = value
    if row.text("scenario") == "Offline":
        return found  # latencies of a flood count from second 0, and some systems report at the end
    for time in _TIMES:
        for statistic in _STATISTICS:
            if value := row.number(f"{time}_{statistic}_ms"):
                found[f"{time}_{statistic}_s"] = value / 1e3
    return found


def _objectives(row: Row) -> dict[str, float]:
    """Return the limits at the 99th percentile, which hold for the streams alone."""
    if row.text("scenario") == "Offline":
        return {}
    limits = {time: row.number(f"{time}_limit_ms") for time in ("ttft", "tpot")}
    return {f"{time}_p99_s": limit / 1e3 for time, limit in limits.items() if limit}


def _engine_of(row: Row) -> tuple[str, str]:
    framework = row.text("framework")
    found = _VERSION.match(framework)
    if found is None:
        return "other", framework.partition(",")[0].strip() or "not stated"
    version = found[0] if found[1] == "TensorRT" else found[2]
    return _ENGINES[found[1]], version


def _identity(row: Row) -> str:
    parts = [row.text(name) for name in ("round", "submitter", "benchmark", "scenario")]
    return f"{' '.join(parts)} {row.text('n_chips')}x {row.text('accelerator')} :{row.line}"


def _flags(row: Row, layout: Layout) -> tuple[str, ...]:
    found = ["prompt lengths assumed", *layout.flags]
    if row.text("weight_dtype").lower() != layout.weight_dtype:
        found.append(f"weights listed as {row.text('weight_dtype').lower()}")
    if "maxq" in row.text("path").lower():
        found.append("power capped")
    if "CTS" in row.text("accelerator"):
        found.append("power limit raised")
    if "Virtualized" in row.text("accelerator"):
        found.append("virtual machine")
    if row.text("status") != "available":
        found.append(row.text("status"))
    return tuple(found)
