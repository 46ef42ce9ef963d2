"""How MLPerf systems lay out their models: NVIDIA's published configurations, and what follows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from planner.measurements.reading import Reading, Row, csv_rows

COLUMNS: Final = (
    "round", "system", "scenario", "benchmark", "tp", "pp", "precision", "kv_cache_dtype",
    "gpu_batch_size", "max_num_tokens",
)  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """One replica of an MLPerf system."""

    tensor: int = 1
    pipeline: int = 1
    weight_dtype: str = "fp8"
    kv_dtype: str = "fp8"
    maximum_sequences: int | None = None
    token_budget: int | None = None
    flags: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()


_SYSTEMS: Final = (
    (re.compile(r"GB200-NVL72.*x4\Z"), "gb200"),
    (re.compile(r"B200-SXM-180GBx8\Z"), "b200-sxm"),
    (re.compile(r"GH200_144GB_aarch64x1\Z"), "gh200-144gb"),
    (re.compile(r"H100_SXM_80GB(_TP2)?x1\Z"), "h100-sxm"),
    (re.compile(r"H100_NVL_94GB(_TP2)?x1\Z"), "h100-nvl"),
    (re.compile(r"H200_SXM_141GBx1\Z"), "h200-sxm"),
)
"""The systems whose configuration the others of their chip inherit."""
_MODELS: Final = {"llama2-70b": "llama-2-70b", "llama3_1-8b": "llama-3.1-8b"}
_DTYPES: Final = {"fp4": "fp4", "fp8": "fp8", "fp16": "fp16"}

_ONE_DEVICE: Final = ("model fits one device: one replica on each",)
_HOPPER: Final = "weights and cache in fp8, the format of NVIDIA's Hopper submissions"
_ON_ONE_DEVICE: Final = {
    ("llama-2-70b", "h200-sxm"): "fp8",
    ("llama-2-70b", "h200-nvl"): "fp8",
    ("llama-2-70b", "gh200-144gb"): "fp8",
    ("llama-2-70b", "b200-sxm"): "fp4",
    ("llama-2-70b", "gb200"): "fp4",
    ("llama-2-70b", "rtx-pro-6000"): "fp4",
    ("llama-2-70b", "mi300x"): "fp8",
    ("llama-2-70b", "mi325x"): "fp8",
    ("llama-3.1-8b", "h100-sxm"): "fp8",
    ("llama-3.1-8b", "h200-sxm"): "fp8",
    ("llama-3.1-8b", "h200-nvl"): "fp8",
    ("llama-3.1-8b", "l40s"): "fp8",
    ("llama-3.1-8b", "b200-sxm"): "fp4",
    ("llama-3.1-8b", "gb200"): "fp4",
    ("llama-3.1-8b", "rtx-pro-6000"): "fp4",
}
"""Format of the weights where a replica takes one device."""


def read_layouts(path: Path) -> dict[tuple[str, ...], Layout]:
    """Return NVIDIA's layouts by round, chip, model and scenario, of the basic systems alone.

    Raises:
        MeasurementError: faults, each with its line.
    """
    reading = Reading(path)
    found: dict[tuple[str, ...], Layout] = {}
    for row in csv_rows(reading, COLUMNS):
        system, model = row.text("system"), _MODELS.get(row.text("benchmark"))
        chip = next((chip for pattern, chip in _SYSTEMS if pattern.match(system)), None)
        tensor = _single(row, "tp")
        if chip and model and tensor:
            key = (row.text("round"), chip, model, row.text("scenario"))
            found[key] = _layout(row, tensor)
    reading.check()
    return found


def _layout(row: Row, tensor: int) -> Layout:
    precision = row.text("precision") or "fp8"
    fp8 = () if row.text("precision") else (_HOPPER,)
    return Layout(
        tensor,
        row.count("pp") or 1,
        _DTYPES.get(precision, "fp8"),
        "fp8",
        _single(row, "gpu_batch_size"),
        _single(row, "max_num_tokens"),
        assumptions=(f"layout and limits of NVIDIA's configuration {row.text('system')}", *fp8),
    )


def _single(row: Row, name: str) -> int | None:
    """Return the number in a column, or None where it lists one for each part of the system."""
    return row.count(name) if "|" not in row.text(name) else None


def layout_of(
    layouts: Mapping[tuple[str, ...], Layout], round_name: str, chip: str, model: str, scenario: str
) -> Layout | None:
    """Return the layout of a system; None if no source tells.

    Args:
        layouts: by round, chip, model and scenario, as `read_layouts` returns them. Looked for in
            the round and scenario first, then in other scenarios and other rounds.
        round_name, chip, model, scenario: of the run.
    """
    exact = layouts.get((round_name, chip, model, scenario))
    if exact is not None:
        return exact
    near = [
        (key[0] != round_name, key[3] != "Server", key)
        for key in layouts
        if key[1:3] == (chip, model)
    ]
    if near:
        return layouts[min(near)[2]]
    if (weights := _ON_ONE_DEVICE.get((model, chip))) is not None:
        return Layout(1, 1, weights, "fp8", flags=("layout assumed",), assumptions=_ONE_DEVICE)
    if (model, chip) in (("llama-2-70b", "h100-sxm"), ("llama-2-70b", "h100-nvl")):
        return Layout(2, 1, "fp8", "fp8", flags=("layout assumed",), assumptions=(_HOPPER,))
    return None
