"""A plain CSV of operating points, for results that no tool wrote.

Columns: `prompt_tokens`, `output_tokens`, and `concurrency` or `rate_rps`, which state the load;
`ttft_ms`, `tpot_ms` (means), optionally `ttft_p50_ms`, `ttft_p99_ms`, `tpot_p50_ms`, `e2e_ms`; and
`output_tps`, `total_tps`, `request_rps`; and `requests`, 10 for each client if absent. At least
one result must be there. Other columns are an error: a misspelt one would be lost.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from planner.errors import did_you_mean, shown
from planner.measurements.clients import protocol_of
from planner.measurements.deployment import Deployment
from planner.measurements.lengths import Fixed
from planner.measurements.point import METRICS, RATES, MeasurementError
from planner.measurements.reading import Measurements, Reading, Row, csv_rows, read_text

REQUIRED: Final = ("prompt_tokens", "output_tokens")
_LOADS: Final = ("concurrency", "rate_rps")
_MS: Final = {
    metric: metric.replace("_mean_s", "_ms").replace("_s", "_ms")
    for metric in METRICS
    if metric not in RATES
}
COLUMNS: Final = (*REQUIRED, *_LOADS, "requests", "note", *_MS.values(), *RATES)
_REQUESTS_PER_CLIENT: Final = 10


def read_table(path: Path, deployment: Deployment) -> Measurements:
    """Read a plain CSV of operating points; see the module.

    Raises:
        MeasurementError: faults, each with its line.
    """
    reading = Reading(path)
    _check_columns(path)
    for row in csv_rows(reading, REQUIRED):
        _read(row, deployment)
    return reading.done()


def _check_columns(path: Path) -> None:
    header = [name.strip() for name in read_text(path).lstrip().splitlines()[0].split(",")]
    for name in header:
        if name.strip('"') not in COLUMNS:
            advice = did_you_mean(name, COLUMNS, list_up_to=0)
            raise MeasurementError(
                f"{path}:1: unknown column {shown(name)}; "
                f"{advice or 'known: ' + ', '.join(COLUMNS)}"
            )
    if not set(header) & set(_LOADS):
        raise MeasurementError(f"{path}:1: a column concurrency or rate_rps has to state the load")


def _read(row: Row, deployment: Deployment) -> None:
    prompt, output = row.count("prompt_tokens"), row.count("output_tokens")
    concurrency, rate_rps = row.count("concurrency"), row.number("rate_rps")
    requests = row.count("requests")
    times = {metric: row.number(column) for metric, column in _MS.items()}
    metrics = {metric: value / 1e3 for metric, value in times.items() if value is not None}
    metrics |= {rate: value for rate in RATES if (value := row.number(rate)) is not None}
    if not concurrency and rate_rps is None:
        if not row.text("concurrency"):
            row.fault("concurrency", "empty, and so is rate_rps; one of them states the load")
        elif concurrency == 0:
            row.fault("concurrency", "is 0; at least one client is needed")
        return
    if prompt is None or output is None:
        for name in REQUIRED:
            if not row.text(name):
                row.fault(name, "empty; write the tokens of a request")
        return
    assumptions: tuple[str, ...] = ()
    if not requests:
        requests = _REQUESTS_PER_CLIENT * (concurrency or 100)
        assumptions = (f"number of requests not stated: {requests:,} taken",)
    row.reading.add(
        row.line,
        **deployment.values(),
        id=f"{row.reading.path.name}:{row.line}",
        source="own table",
        date="",
        protocol=protocol_of(requests, concurrency, rate_rps),
        prompt=Fixed(prompt),
        output=Fixed(output),
        metrics=metrics,
        assumptions=assumptions,
    )
