"""Whole steps of Llama 2 70B and BLOOM on A100 and H100, as measured for Splitwise.

The file is `data/perf_model.csv` of Mutinifni/splitwise-sim (MIT): times in ms, of the prompt and
of one token, by prompt length, batch and tensor parallelism, 16-bit weights, vLLM of late 2023
(Patel et al., Splitwise, ISCA 2024). `token_time` is the mean over the output, so it stands for the
context halfway through. Two devices cannot hold 64 prompts beside Llama 2 70B: there, `prompt_time`
is that of the first part of the batch, and neither time is that of one step. Such rows are left
out, known by a batch that is quicker than a smaller one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planner.curves.readers.columns import Profile, Sheet, read_sheet
from planner.curves.timings import CurveError, Timings

SOURCE: Final = "Mutinifni/splitwise-sim, data/perf_model.csv (Patel et al., ISCA 2024)"
LICENCE: Final = "MIT"
_CHIPS: Final = {"a100-80gb": "a100-sxm", "h100-80gb": "h100-sxm"}
_MODELS: Final = {"llama2-70b": "llama-2-70b"}
"""Names of the catalogue, where it has the model."""
_PART: Final = 0.5
"""A batch was not read at once if it takes less than this share of a smaller one's time."""
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
    notes += _mark_part_batches(sheet, known, path.name)
    number = {name: column[known] for name, column in sheet.numbers.items()}
    chips = np.array([_CHIPS[name] for name in hardware[known].tolist()])
    names = sheet.texts["model"][known].tolist()
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
                model=np.array([_MODELS.get(name, name) for name in names]),
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


def _mark_part_batches(sheet: Sheet, known: NDArray[np.bool_], file: str) -> list[str]:
    """Take rows out of `known` whose batch was not read at once; return a note for each setting."""
    settings = zip(
        sheet.texts["model"].tolist(),
        sheet.texts["hardware"].tolist(),
        sheet.numbers["tensor_parallel"].tolist(),
        sheet.numbers["prompt_size"].tolist(),
        strict=True,
    )
    rows: dict[tuple[str, str, float, float], dict[float, list[int]]] = {}
    for row, (setting, batch) in enumerate(zip(settings, sheet.numbers["batch_size"], strict=True)):
        if known[row]:
            rows.setdefault(setting, {}).setdefault(float(batch), []).append(row)
    notes = []
    for (model, hardware, split, _), batches in rows.items():
        longest = 0.0
        for batch, members in sorted(batches.items()):
            middle = float(np.median(sheet.numbers["prompt_time"][members]))
            if middle < _PART * longest:
                known[members] = False
                notes.append(
                    f"{file}: {len(members)} rows of {model} on {split:g} × {hardware}, batch "
                    f"{batch:g}: quicker than a smaller batch, so it was not read at once"
                )
            longest = max(longest, middle)
    return notes
