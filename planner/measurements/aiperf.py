"""Results of AIPerf and GenAI-Perf: `profile_export_aiperf.json`, `…_genai_perf.json`.

Each metric is an object with `unit`, `avg`, `p50`, `p90` …: `time_to_first_token`,
`inter_token_latency` (the mean gap of a request, which is called TPOT here), `request_latency`,
`output_token_throughput`, `request_throughput`, `input_sequence_length`. Early AIPerf releases put
them under `records`. The load stands in `input_config`: under `loadgen`, `perf_analyzer.stimulus`,
in a list of phases or at its top, by release.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from planner.errors import shown
from planner.measurements.clients import mean_sizes, protocol_of
from planner.measurements.deployment import Deployment
from planner.measurements.documents import Document, documents
from planner.measurements.reading import Measurements, Reading

MARKS: Final = frozenset({"time_to_first_token", "request_throughput"})
"""Keys by which a result of these tools is recognised."""

_TIMES: Final = {
    "ttft": "time_to_first_token",
    "tpot": "inter_token_latency",
    "e2e": "request_latency",
}
_STATISTICS: Final = {"mean": "avg", "p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99"}
_RATES: Final = {
    "output_tps": "output_token_throughput",
    "total_tps": "total_token_throughput",
    "request_rps": "request_throughput",
}
_UNITS_S: Final = {"": 1e-3, "ms": 1e-3, "s": 1.0, "sec": 1.0, "us": 1e-6, "ns": 1e-9}
_DEEPEST: Final = 6


def read_aiperf(path: Path, deployment: Deployment) -> Measurements:
    """Read results of AIPerf or GenAI-Perf; see the module.

    Raises:
        MeasurementError: faults, each with its key.
    """
    reading = Reading(path)
    for document in documents(reading):
        _read(document, deployment)
    return reading.done()


def _read(document: Document, deployment: Deployment) -> None:
    records = document.part("records") if "records" in document.values else document
    metrics = _metrics(records)
    means = [records.part(f"{side}_sequence_length").number("avg") for side in ("input", "output")]
    requests = records.part("request_count").count("avg")
    concurrency = _stated(document, "concurrency")
    rate_rps = _stated(document, "request_rate")
    requests = requests or int(_stated(document, "request_count") or 0)
    sizes = mean_sizes(means[0], means[1]) if means[0] and means[1] else None
    if sizes is None:
        document.fault(
            "input_sequence_length", "no mean of prompt and output tokens; was --streaming off?"
        )
    if concurrency is None and rate_rps is None:
        document.fault("input_config", "states neither concurrency nor request_rate")
    if not requests:
        document.fault("request_count", "missing; how many requests were sent?")
    if sizes is None or not requests or (concurrency is None and rate_rps is None):
        return
    document.reading.add(
        document.line,
        **deployment.values(),
        id=f"{document.reading.path.name}:{document.line}",
        source="aiperf",
        date=document.text("start_time")[:10],
        protocol=protocol_of(requests, int(concurrency or 0) or None, rate_rps),
        prompt=sizes.prompt,
        output=sizes.output,
        metrics=metrics,
        flags=_failed(records),
        assumptions=sizes.assumptions,
    )


def _metrics(records: Document) -> dict[str, float]:
    found: dict[str, float] = {}
    for time, key in _TIMES.items():
        values = records.part(key)
        unit = values.text("unit").lower()
        if unit not in _UNITS_S:
            values.fault("unit", f"{shown(unit)} is none of ms, s, us, ns")
            continue
        for statistic, word in _STATISTICS.items():
            if value := values.number(word):
                found[f"{time}_{statistic}_s"] = value * _UNITS_S[unit]
    for rate, key in _RATES.items():
        if value := records.part(key).number("avg"):
            found[rate] = value
    return found


def _failed(records: Document) -> tuple[str, ...]:
    failed = records.part("error_request_count").count("avg")
    return (f"{failed:,} requests failed",) if failed else ()


def _stated(document: Document, key: str) -> float | None:
    """Return the first positive number called `key` in the configuration of the run."""
    config = document.values.get("input_config")
    return next((value for value in _values(config, key, _DEEPEST) if value > 0), None)


def _values(config: Any, key: str, depth: int) -> Iterator[float]:
    parts = config.values() if isinstance(config, Mapping) else config
    if not isinstance(config, (Mapping, list)) or not depth:
        return
    found = config.get(key) if isinstance(config, Mapping) else None
    if isinstance(found, (int, float)) and not isinstance(found, bool) and math.isfinite(found):
        yield float(found)
    for part in parts:
        yield from _values(part, key, depth - 1)
