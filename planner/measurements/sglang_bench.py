"""Results of SGLang's `bench_serving --output-file`: JSON lines, one for each run.

Keys as written by sglang/bench_serving.py: `request_rate` (Infinity for none), `max_concurrency`,
`completed`, `total_input_tokens`, `total_output_tokens`, `input_throughput`, `output_throughput`,
`request_throughput`, and `mean_`, `median_`, `pN_` of `ttft_ms`, `tpot_ms`, `itl_ms`,
`e2e_latency_ms`. Lengths: `input_lens` and `output_lens` with `--output-details`; else those of the
random data set, drawn uniformly from [ratio · length, length], if its means agree with the totals.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from planner.measurements.clients import (
    Sizes,
    mean_sizes,
    metrics_ms,
    metrics_plain,
    protocol_of,
    random_sizes,
    recorded_sizes,
)
from planner.measurements.deployment import Deployment
from planner.measurements.documents import Document, documents
from planner.measurements.reading import Measurements, Reading

MARKS: Final = frozenset({"total_output_tokens_retokenized", "mean_e2e_latency_ms"})
"""Keys by which a result of this tool is recognised."""

_STATISTICS: Final = {"mean": "mean", "median": "p50", "p90": "p90", "p95": "p95", "p99": "p99"}
_TIMES: Final = {"ttft": "ttft", "tpot": "tpot", "itl": "itl", "e2e_latency": "e2e"}
_MS: Final = {
    f"{ours}_{statistic}_s": f"{word}_{theirs}_ms"
    for theirs, ours in _TIMES.items()
    for word, statistic in _STATISTICS.items()
}
_PLAIN: Final = {"output_tps": "output_throughput", "request_rps": "request_throughput"}


def read_sglang_bench(path: Path, deployment: Deployment) -> Measurements:
    """Read results of SGLang's `bench_serving`; see the module.

    Raises:
        MeasurementError: faults, each with its line and key.
    """
    reading = Reading(path)
    for document in documents(reading):
        _read(document, deployment)
    return reading.done()


def _read(document: Document, deployment: Deployment) -> None:
    completed = document.needed_count("completed", "is this a result of SGLang's bench_serving?")
    if completed is None:
        return
    if completed == 0:
        document.reading.skip("no request succeeded")
        return
    concurrency = document.count("max_concurrency")
    rate_rps = document.number("request_rate", infinite=True)
    metrics = metrics_ms(document, _MS) | metrics_plain(document, _PLAIN)
    input_tps = document.number("input_throughput")
    if input_tps and "output_tps" in metrics:
        metrics["total_tps"] = input_tps + metrics["output_tps"]
    sizes = _sizes(document, completed)
    if sizes is None:
        return
    speculative = document.number("accept_length")
    document.reading.add(
        document.line,
        **deployment.values(),
        id=f"{document.reading.path.name}:{document.line}",
        source="sglang bench_serving",
        date="",
        protocol=protocol_of(completed, concurrency, rate_rps),
        prompt=sizes.prompt,
        output=sizes.output,
        paired=sizes.paired,
        metrics=metrics,
        flags=("speculative decoding",) if speculative and speculative > 1 else (),
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
    means = (totals[0] / completed, totals[1] / completed)
    nominal = [document.count(f"random_{side}_len") for side in ("input", "output")]
    ratio = document.number("random_range_ratio")
    if document.text("dataset_name").startswith("random") and all(nominal) and ratio is not None:
        sizes = random_sizes((nominal[0] or 1, nominal[1] or 1), ratio, means)
        if sizes is not None:
            return sizes
    sizes = mean_sizes(*means)
    if sizes is None:
        document.fault("total_output_tokens", "less than one token for each completed request")
    return sizes
