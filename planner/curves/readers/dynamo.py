"""Whole steps of Llama 3.1 8B in fp8 on one H200, as Dynamo's planner measured them.

A folder of ai-dynamo/dynamo (Apache-2.0) holds two tables: `prefill.csv` with the time to the first
token of one prompt, and `decode.csv` with the gap between tokens by context and load. The number of
decoding sequences is not stated; it is throughput times gap, since every sequence emits one token
per gap.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from planner.curves.readers.columns import Profile, read_sheet, require_folder
from planner.curves.timings import CurveError, Timings

SOURCE: Final = "ai-dynamo/dynamo, tests/planner/profiling_results/H200_TP1P_TP1D"
LICENCE: Final = "Apache-2.0"
_LABELS: Final = {
    "chip": "h200-sxm",
    "engine": "vllm",
    "dtype": "fp8",
    "source": SOURCE,
    "model": "llama-3.1-8b",
}


def read_dynamo(folder: Path) -> Profile:
    """Return step_prefill and step_decode rows of `prefill.csv` and `decode.csv`.

    Raises:
        CurveError: neither file is there, or one is not what it should be.

    """
    require_folder(folder, "prefill.csv and decode.csv")
    parts, notes = [], []
    if (path := folder / "prefill.csv").is_file():
        parts.append(_prefill(path))
    else:
        notes.append(f"{folder.name}: no prefill.csv")
    if (path := folder / "decode.csv").is_file():
        parts.append(_decode(path))
    else:
        notes.append(f"{folder.name}: no decode.csv")
    if not parts:
        raise CurveError(f"{folder}: holds neither prefill.csv nor decode.csv")
    return Profile(Timings.joined(parts), SOURCE, LICENCE, "", tuple(notes))


def _prefill(path: Path) -> Timings:
    sheet = read_sheet(path, ("isl", "ttft_ms"))
    return Timings.of(
        operator="step_prefill",
        shape={
            "tensor_parallel": np.ones(len(sheet)),
            "sequences": np.ones(len(sheet)),
            "new_tokens": sheet.numbers["isl"],
            "context_tokens": np.zeros(len(sheet)),
        },
        seconds=sheet.numbers["ttft_ms"] * 1e-3,
        lines=sheet.lines,
        file=str(path),
        **_LABELS,
    )


def _decode(path: Path) -> Timings:
    sheet = read_sheet(path, ("context_length", "itl_ms", "throughput_tok_s_per_gpu"))
    seconds = sheet.numbers["itl_ms"] * 1e-3
    # a whole number of sequences, but for rounding and for the ends of a benchmark
    sequences = np.maximum(np.rint(sheet.numbers["throughput_tok_s_per_gpu"] * seconds), 1.0)
    return Timings.of(
        operator="step_decode",
        shape={
            "tensor_parallel": np.ones(len(sheet)),
            "sequences": sequences,
            "new_tokens": np.ones(len(sheet)),
            "context_tokens": sheet.numbers["context_length"],
        },
        seconds=seconds,
        lines=sheet.lines,
        file=str(path),
        **_LABELS,
    )
