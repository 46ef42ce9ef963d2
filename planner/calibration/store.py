"""Calibration files: what `planner calibrate` writes and `EngineTable.with_file` reads."""

from __future__ import annotations

import json
from collections.abc import Iterable

from planner.curves.engines import SCALARS, EngineOverhead

_DIGITS = 8


def calibration_text(overheads: Iterable[EngineOverhead]) -> str:
    """Return the text of a calibration file, the same for the same overheads.

    >>> '"engine": "vllm"' in calibration_text([EngineOverhead("vllm")])
    True
    """
    ordered = sorted(overheads, key=lambda each: (each.engine, each.chip))
    entries = []
    for overhead in ordered:
        entry = overhead.as_dict()
        entry |= {name: _rounded(entry[name]) for name in SCALARS}
        entry["errors"] = {
            name: _rounded(overhead.errors[name]) for name in SCALARS if name in overhead.errors
        }
        entries.append(entry)
    return json.dumps({"engines": entries}, indent=1) + "\n"


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
