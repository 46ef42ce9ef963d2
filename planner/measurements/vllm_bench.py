"""Results of `vllm bench serve --save-result`: one JSON object, or one per line when appended.

Keys as written by vllm/benchmarks/serve.py: `num_prompts`, `request_rate` ("inf" or a number),
`burstiness`, `max_concurrency`, `completed`, `failed`, `total_input_tokens`, `request_throughput`,
`output_throughput`, `total_token_throughput`, and `mean_`, `median_`, `pN_` of `ttft_ms`,
`tpot_ms`, `itl_ms`, `e2el_ms`. With `--save-detailed` also `input_lens` and `output_lens` by
request.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from planner.measurements.clients import (
    Sizes,
    mean_sizes,
    metrics_ms,
    metrics_plain,
    protocol_of,
    recorded_sizes,
)
from planner.measurements.deployment import Deployment
from planner.measurements.documents import Document, documents
from planner.measurements.reading import Measurements, Reading

MARKS: Final = frozenset({"num_prompts", "request_throughput", "total_token_throughput"})
"""Keys by which a result of this tool is recognised."""

_STATISTICS: Final = {"mean": "mean", "median": "p50", "p90": "p90", "p95": "p95", "p99": "p99"}
_TIMES: Final = {"ttft": "ttft", "tpot": "tpot", "itl": "itl", "e2el": "e2e"}
_MS: Final = {
    f"{ours}_{statistic}_s": f"{word}_{theirs}_ms"
    for theirs, ours in _TIMES.items()
    for word, statistic in _STATISTICS.items()
}
_PLAIN: Final = {
    "output_tps": "output_throughput",
    "total_tps": "total_token_throughput",
    "request_rps": "request_throughput",
}
_DATE: Final = re.compile(r"(\d{4})(\d{2})(\d{2})")


def read_vllm_bench(path: Path, deployment: Deployment) -> Measurements:
    """Read results of `vllm bench serve`; see the module.

    Raises:
        MeasurementError: faults, each with its line and key.
    """
    reading = Reading(path)
    for document in documents(reading):
        _read(document, deployment)
    return reading.done()


def _read(document: Document, deployment: Deployment) -> None:
    completed = document.needed_count("completed", "is this a result of `vllm bench serve`?")
    if completed is None:
        return
    if completed == 0:
        document.reading.skip("no request succeeded")
        return
    if document.text("ramp_up_strategy"):
        document.reading.skip("the rate was ramped up, which cannot be replayed")
        return
    concurrency = document.count("max_concurrency")
    rate_rps = document.number("request_rate", infinite=True)
    burstiness = document.number("burstiness")
    requests = document.count("num_prompts") or completed
    metrics = metrics_ms(document, _MS) | metrics_plain(document, _PLAIN)
    sizes = _sizes(document, completed)
    if sizes is None:
        return
    document.reading.add(
        document.line,
        **deployment.values(),
        id=f"{document.reading.path.name}:{document.line}",
        source="vllm bench serve",
        date="-".join(found.groups()) if (found := _DATE.match(document.text("date"))) else "",
        protocol=protocol_of(requests, concurrency, rate_rps, burstiness or 1.0),
        prompt=sizes.prompt,
        output=sizes.output,
        paired=sizes.paired,
        metrics=metrics,
        flags=_flags(document, requests - completed),
        assumptions=sizes.assumptions,
    )


def _sizes(document: Document, completed: int) -> Sizes | None:
    prompts, outputs = document.counts("input_lens"), document.counts("output_lens")
    if prompts is not None and outputs is not None:
        sizes = recorded_sizes(document.reading.path.name, prompts, outputs)
        if sizes is None:
            document.fault("output_lens", "does not belong to input_lens, or holds no output")
        return sizes
    remedy = "and so are input_lens and output_lens: the lengths are not known"
    totals = [document.needed_count(f"total_{side}_tokens", remedy) for side in ("input", "output")]
    if totals[0] is None or totals[1] is None:
        return None
    sizes = mean_sizes(totals[0] / completed, totals[1] / completed)
    if sizes is None:
        document.fault("total_output_tokens", "less than one token for each completed request")
    return sizes


def _flags(document: Document, failed: int) -> tuple[str, ...]:
    found = [f"{failed:,} requests failed"] if failed > 0 else []
    if document.number("spec_decode_acceptance_length"):
        found.append("speculative decoding")
    return tuple(found)
