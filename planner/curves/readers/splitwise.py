"""Whole steps of Llama 2 70B and BLOOM on A100 and H100, as measured for Splitwise.

The file is `data/perf_model.csv` of Mutinifni/splitwise-sim (MIT): times in ms, of the prompt and
of one token, by prompt length, batch and tensor parallelism, 16-bit weights, vLLM of late 2023
(Patel et al., Splitwise, ISCA 2024). `token_time` is the mean over the output, so it stands for the
context halfway through.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from planner.curves.readers.columns import Profile, read_sheet
from planner.curves.timings import CurveError, Timings

SOURCE: Final = "Mutinifni/splitwise-sim, data/perf_model.csv (Patel et al., ISCA 2024)"
LICENCE: Final = "MIT"
_CHIPS: Final = {"a100-80gb": "a100-sxm", "h100-80gb": "h100-sxm"}
_NUMBERS: Final = (
    "prompt_size",
    "batch_size",
    "token_size",
    "prompt_time",
    "token_time",
    "tensor_parallel",
)


def read_splitwise(path: Path) -> Profile:
    """Return step_prefill and step_decode rows of the performance model.

    Rows of chips that the catalogue does not have (power-capped ones) are left out, with a note.

    Raises:
        CurveError: the file is not what it should be.

    """
    sheet = read_sheet(path, _NUMBERS, ("model", "hardware"))
    hardware = sheet.texts["hardware"]
    known = np.isin(hardware, list(_CHIPS))
    if not known.any():
        raise CurveError(f"{path}: no rows of {' or '.join(_CHIPS)}; is it Splitwise's table?")
    left_out = sorted(set(hardware[~known].tolist()))
    notes = [f"{path.name}: {int((hardware == name).sum())} rows of {name}" for name in left_out]
    number = {name: column[known] for name, column in sheet.numbers.items()}
    chips = np.array([_CHIPS[name] for name in hardware[known].tolist()])
    parts = []
    for operator, column, new, context in (
        ("step_prefill", "prompt_time", number["prompt_size"], np.zeros(int(known.sum()))),
        (
            "step_decode",
            "token_time",
            np.ones(int(known.sum())),
            number["prompt_size"] + number["token_size"] / 2.0,
        ),
    ):
        timed = number[column] > 0.0
        if not timed.all():
            notes.append(f"{path.name}: {int((~timed).sum())} rows without {column}")
        parts.append(
            Timings.of(
                operator=operator,
                chip=chips,
                engine="vllm",
                version="2023",
                dtype="bf16",
                source=SOURCE,
                model=sheet.texts["model"][known],
                shape={
                    "tensor_parallel": number["tensor_parallel"],
                    "sequences": number["batch_size"],
                    "new_tokens": new,
                    "context_tokens": context,
                },
                seconds=number[column] * 1e-3,
                lines=sheet.lines[known],
                file=str(path),
            ).rows(timed)
        )
    left = tuple(f"left out: {note}" for note in notes)
    return Profile(Timings.joined(parts), SOURCE, LICENCE, "2023-11-30", left)
