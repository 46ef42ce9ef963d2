"""Results of GuideLLM (`benchmarks.json`): one document with a list of runs at rising load.

Of each run: the strategy (`config.strategy`, in older releases `args.strategy` or
`scheduler.strategy`) with `type_` synchronous, concurrent, throughput, constant or poisson; and
`metrics`, each with a distribution over the successful requests. GuideLLM's time per output token
counts the first one in, so its inter-token latency is what is called TPOT here. Latencies of
requests are in seconds, all others in milliseconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from planner.errors import shown
from planner.measurements.clients import Sizes, mean_sizes, protocol_of
from planner.measurements.deployment import Deployment
from planner.measurements.documents import Document, documents
from planner.measurements.protocol import Protocol
from planner.measurements.reading import Measurements, Reading

MARKS: Final = frozenset({"benchmarks"})
"""Keys by which a result of this tool is recognised."""

_TIMES: Final = {
    "ttft": ("time_to_first_token_ms", 1e-3),
    "tpot": ("inter_token_latency_ms", 1e-3),
    "e2e": ("request_latency", 1.0),
}
_RATES: Final = {
    "output_tps": "output_tokens_per_second",
    "total_tps": "tokens_per_second",
    "request_rps": "requests_per_second",
}
_PERCENTILES: Final = ("p50", "p90", "p95", "p99")
_STRATEGIES: Final = (("config", "strategy"), ("args", "strategy"), ("scheduler", "strategy"))


def read_guidellm(path: Path, deployment: Deployment) -> Measurements:
    """Read results of GuideLLM; see the module.

    Raises:
        MeasurementError: faults, each with its key.
    """
    reading = Reading(path)
    for document in documents(reading):
        runs = document.values.get("benchmarks")
        if not isinstance(runs, list):
            document.fault("benchmarks", "missing or no list; is this a GuideLLM report?")
            continue
        for index, run in enumerate(runs):
            where = f"benchmarks[{index}]."
            if not isinstance(run, dict):
                document.fault(where[:-1], "is not an object")
                continue
            _read(Document(reading, document.line, run, where), index, deployment)
    return reading.done()


def _read(run: Document, index: int, deployment: Deployment) -> None:
    metrics = _metrics(run)
    sizes = _sizes(run)
    requests = _requests(run)
    if requests == 0:
        run.reading.skip("no request succeeded")
        return
    if requests is None or sizes is None:
        return
    found = _protocol(run, requests)
    if found is None:
        return
    protocol, assumptions = found
    run.reading.add(
        run.line,
        **deployment.values(),
        id=f"{run.reading.path.name}:{index + 1}",
        source="guidellm",
        date="",
        protocol=protocol,
        prompt=sizes.prompt,
        output=sizes.output,
        metrics=metrics,
        assumptions=sizes.assumptions + assumptions,
    )


def _metrics(run: Document) -> dict[str, float]:
    found: dict[str, float | None] = {}
    for time, (key, unit_s) in _TIMES.items():
        values = run.part("metrics", key, "successful")
        shares = values.part("percentiles")
        mean = values.number("mean")
        found[f"{time}_mean_s"] = mean * unit_s if mean else None
        for percentile in _PERCENTILES:
            value = shares.number(percentile)
            found[f"{time}_{percentile}_s"] = value * unit_s if value else None
    for rate, key in _RATES.items():
        found[rate] = run.part("metrics", key, "successful").number("mean")
    measured = {name: value for name, value in found.items() if value}
    if measured.get("total_tps", 0.0) < measured.get("output_tps", 0.0):
        measured.pop("total_tps", None)  # means of two distributions over time, not of one sum
    return measured


def _sizes(run: Document) -> Sizes | None:
    means = [
        run.part("metrics", f"{side}_token_count", "successful").number("mean")
        for side in ("prompt", "output")
    ]
    sizes = mean_sizes(means[0], means[1]) if means[0] and means[1] else None
    if sizes is None:
        run.fault("metrics.prompt_token_count", "has no mean of prompt and output tokens")
    return sizes


def _requests(run: Document) -> int | None:
    requests = run.part("metrics", "request_totals").count("successful")
    if requests is None:
        requests = run.part("run_stats", "requests_made").count("successful")
    if requests is None:
        requests = run.part("metrics", "request_latency", "successful").count("count")
    if requests is None:
        run.fault("metrics.request_totals", "has no number of successful requests")
    return requests


def _protocol(run: Document, requests: int) -> tuple[Protocol, tuple[str, ...]] | None:
    strategies = [run.part(*keys) for keys in _STRATEGIES]
    strategy = next((found for found in strategies if found.values), strategies[0])
    kind = strategy.text("type_")
    rate_rps = strategy.number("rate")
    limit = strategy.count("max_concurrency") or None
    clients = strategy.count("streams") or limit
    streams = {"synchronous": 1, "concurrent": clients, "": clients}.get(kind)
    if streams or kind == "throughput":
        return protocol_of(requests, streams or limit, None), ()
    if kind in ("poisson", "constant") and rate_rps:
        even = "sent at a constant pace: replayed as a Poisson stream of the same rate"
        return protocol_of(requests, limit, rate_rps), (even,) if kind == "constant" else ()
    if kind in ("incremental", "replay", "trace"):
        run.reading.skip(f"strategy {kind} cannot be replayed")
    else:
        strategy.fault("type_", f"{shown(kind)} without rate or streams; cannot be replayed")
    return None
