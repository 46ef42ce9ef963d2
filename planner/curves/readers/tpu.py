"""The layer profile of Llama 3.1 8B on one chip of TPU v6e, by LLMServingSim (casys-kaist, MIT).

The folder is `ORGANISATION/MODEL/tpN` with `layers.csv` and `attention.csv`, times in ns. Attention
is measured over prompt chunk, earlier context and batch; its median is taken. Known defects: single
rows of `layers.csv` are off by a factor of two either way (each token count was timed once), the
embedding and some norms are faster than memory allows (they stay on the chip), `up_proj` lacks
token counts, and `act_fn` has one row.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from planner.catalog import Catalog
from planner.curves.readers.columns import Profile, model_of, read_sheet, require_folder
from planner.curves.readers.layer_profiles import Place, attention_timings, layer_timings
from planner.curves.timings import CurveError, Timings

SOURCE: Final = "casys-kaist/LLMServingSim, TPU v6e-1 profile"
LICENCE: Final = "MIT"
CHIP: Final = "tpu-v6e"


def read_tpu(folder: Path, catalog: Catalog) -> Profile:
    """Return gemm, stream and attention timings of every model under `folder`.

    Raises:
        CurveError: no tables there, an unknown model, or a file that is not what it should be.

    """
    require_folder(folder, "the TPU profile (ORGANISATION/MODEL/tpN)")
    parts: list[Timings] = []
    notes: list[str] = []
    for path in sorted(folder.rglob("layers.csv")):
        place = _place(path.parent, catalog)
        sheet = read_sheet(path, ("input", "latency(ns)"), ("layer_name",))
        parts.extend(layer_timings(sheet, place, notes))
    for path in sorted(folder.rglob("attention.csv")):
        place = _place(path.parent, catalog)
        sheet = read_sheet(
            path, ("prefill_chunk_size", "kv_cache_size", "batch_size", "p50_ns"), ("is_prefill",)
        )
        is_prefill = np.char.lower(sheet.texts["is_prefill"]) == "true"
        for prefill in (True, False):
            median = sheet.numbers["p50_ns"] * 1e-9
            seconds = np.where(is_prefill == prefill, median, np.nan)
            parts.extend(attention_timings(sheet, place, seconds, notes, prefill=prefill))
    if not parts:
        raise CurveError(f"{folder}: neither layers.csv nor attention.csv below")
    return Profile(Timings.joined(parts), SOURCE, LICENCE, "", tuple(dict.fromkeys(notes)))


def _place(folder: Path, catalog: Catalog) -> Place:
    devices = folder.name.removeprefix("tp")
    if not devices.isdigit() or int(devices) < 1:
        raise CurveError(f"{folder}: the folder's name must be tp and a number, as in tp1")
    model = model_of(catalog, folder.absolute().parent.name, str(folder))
    bandwidth = float(catalog.chip(CHIP).memory_bandwidth.value)
    return Place(CHIP, model, int(devices), "", "", bandwidth, SOURCE)
