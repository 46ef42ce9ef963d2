"""Reads the result of whichever benchmark tool, recognised by its keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from planner.errors import did_you_mean, shown
from planner.measurements import aiperf, guidellm, sglang_bench, table, vllm_bench
from planner.measurements.deployment import Deployment
from planner.measurements.documents import Document, documents
from planner.measurements.point import MeasurementError
from planner.measurements.reading import Measurements, Reading, read_text

Reader = Callable[[Path, Deployment], Measurements]

READERS: Final[dict[str, Reader]] = {
    "vllm": vllm_bench.read_vllm_bench,
    "sglang": sglang_bench.read_sglang_bench,
    "guidellm": guidellm.read_guidellm,
    "aiperf": aiperf.read_aiperf,
    "csv": table.read_table,
}
"""Formats by name; `aiperf` reads GenAI-Perf as well."""
_MARKS: Final = {
    "guidellm": guidellm.MARKS,
    "sglang": sglang_bench.MARKS,
    "vllm": vllm_bench.MARKS,
    "aiperf": aiperf.MARKS,
}


def read_benchmark(
    path: Path, deployment: Deployment, format_name: str | None = None
) -> Measurements:
    """Read the result of a benchmark tool.

    Args:
        path: JSON, JSON lines or CSV.
        deployment: the system that was measured, which no result file describes.
        format_name: one of READERS; None: recognised by its keys.

    Raises:
        MeasurementError: the format is not known, or the file has faults.
    """
    name = detect_format(path) if format_name is None else format_name
    if name not in READERS:
        raise MeasurementError(
            f"unknown format {shown(name)} of measurements; {did_you_mean(name, READERS)}"
        )
    return READERS[name](path, deployment)


def detect_format(path: Path) -> str:
    """Return the name of the tool whose result a file is.

    Raises:
        MeasurementError: it is like none of those known.
    """
    text = read_text(path)
    if text.lstrip()[:1] not in "{[":
        return "csv"
    first: Document | None = next(documents(Reading(path)), None)
    keys = set(first.values) if first else set()
    if isinstance(first.values.get("records") if first else None, dict):
        keys |= set(first.part("records").values) if first else set()
    for name, marks in _MARKS.items():
        if marks <= keys:
            return name
    raise MeasurementError(
        f"{path}: like no result of {', '.join(READERS)}; it has the keys "
        f"{', '.join(sorted(map(str, keys)))[:200] or 'of nothing'}. State the format if it is one"
    )
