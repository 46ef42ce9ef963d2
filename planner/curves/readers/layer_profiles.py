"""Layer profiles of vLLM engines by LLMServingSim (casys-kaist, MIT), in its two formats.

The new format has a folder per `HARDWARE/ORGANISATION/MODEL/VARIANT/tpN` with `dense.csv`,
`attention.csv`, `per_sequence.csv`, for mixtures `moe.csv`, and `meta.yaml` above. Times are in µs;
vLLM 0.19 ran without CUDA graphs, one layer with random weights, so that weights and keys come from
memory. The old format has `HARDWARE/ORGANISATION/MODEL/tpN` with `layers.csv` (ns) and
`attention.csv` (ms). Matrices are those of the catalogue's model, split over N devices.

What is not read: the sampler, and rows of experts whose number of distinct experts differs from
what random routing would hit; and batches of prefill and decode in one kernel, in which decodes
take 1.5 to 7 times as long as alone (FlashAttention 2 does not split their contexts): not modelled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planner.catalog import Catalog, Model
from planner.curves.forms.base import Array
from planner.curves.forms.experts import experts_hit
from planner.curves.readers.columns import (
    Profile,
    Sheet,
    chip_of,
    model_of,
    read_sheet,
    require_folder,
)
from planner.curves.timings import CurveError, Timings

SOURCE: Final = "casys-kaist/LLMServingSim, layer profiles"
LICENCE: Final = "MIT"
CHIPS: Final = {"RTX4090": "rtx-4090", "RTXPRO6000": "rtx-pro-6000", "H100": "h100-sxm"}
_BYTES: Final = 2.0
"""Profiles are in 16 bits."""
_IMPOSSIBLE: Final = 0.05
"""A table with more decodes than this that memory does not allow is left out."""
_HIT: Final = 0.95
"""Share of the stated experts that random routing must hit for a row to be used."""


@dataclass(frozen=True)
class Place:
    """What a folder of tables says about them."""

    chip: str
    model: Model
    tensor_parallel: int
    version: str
    date: str
    bandwidth: float
    """Of the chip's memory, by its data sheet [B/s]."""
    source: str = SOURCE

    def timings(
        self, operator: str, shape: Mapping[str, object], seconds: Array, sheet: Sheet
    ) -> Timings:
        """Return all rows of `sheet` as timings of one operator."""
        return Timings.of(
            operator=operator,
            chip=self.chip,
            engine="vllm",
            version=self.version,
            dtype="bf16",
            kv_dtype="bf16" if operator.endswith("attention") else "",
            source=self.source,
            shape=shape,
            seconds=seconds,
            lines=sheet.lines,
            file=sheet.file,
        )


def matrices(model: Model, tensor_parallel: int) -> dict[str, tuple[float, float]]:
    """Return (k, n) of the products of the first layer on one device, by the layer's name."""
    attention, ffn = model.layers[0].attention, model.layers[0].ffn
    hidden, split = float(model.hidden_size), float(tensor_parallel)
    query = attention.query_heads * attention.head_dim / split
    kv = max(attention.kv_heads / split, 1.0) * attention.head_dim
    inner = ffn.intermediate_size / split
    found = {
        "qkv_proj": (hidden, query + 2.0 * kv),
        "q_proj": (hidden, query),
        "k_proj": (hidden, kv),
        "v_proj": (hidden, kv),
        "o_proj": (query, hidden),
        "lm_head": (hidden, model.vocabulary_size / split),
    }
    if ffn.kind == "dense":
        found |= {
            "gate_up_proj": (hidden, 2.0 * inner),
            "gate_proj": (hidden, inner),
            "up_proj": (hidden, inner),
            "down_proj": (inner, hidden),
        }
    return found


def streams(model: Model, tensor_parallel: int) -> dict[str, float]:
    """Return bytes read and written per token by elementwise layers on one device."""
    attention, ffn = model.layers[0].attention, model.layers[0].ffn
    heads = attention.query_heads + max(attention.kv_heads, tensor_parallel)
    rotated = heads * attention.head_dim / tensor_parallel
    # a norm reads its input and the residual stream, and writes both
    norm = 4.0 * model.hidden_size * _BYTES
    return {
        "layernorm": norm,
        "input_layernorm": norm,
        "post_layernorm": norm,
        "final_layernorm": norm,
        "rotary_emb": 2.0 * rotated * _BYTES,
        "rope": 2.0 * rotated * _BYTES,
        "qk_norm": 2.0 * rotated * _BYTES,
        "act_fn": 3.0 * ffn.intermediate_size / tensor_parallel * _BYTES,
        "embedding": 2.0 * model.hidden_size * _BYTES,
    }


def head_shape(model: Model, tensor_parallel: int) -> dict[str, float]:
    """Return the head layout of the first layer on one device."""
    attention = model.layers[0].attention
    return {
        "query_heads": attention.query_heads / tensor_parallel,
        "kv_heads": max(attention.kv_heads / tensor_parallel, 1.0),
        "head_dim": float(attention.head_dim),
        "window_tokens": 0.0,
    }


def read_layer_profiles(folder: Path, catalog: Catalog) -> Profile:
    """Return every timing under `folder` (of all hardware, one, or one model).

    Raises:
        CurveError: no tables there, an unknown chip or model, or a file that is not what it should
            be.

    """
    require_folder(folder, "layer profiles (HARDWARE/ORGANISATION/MODEL/…/tpN)")
    parts: list[Timings] = []
    notes: list[str] = []
    dates: set[str] = set()
    for tables in _table_folders(folder):
        place = _place(tables, catalog)
        dates.add(place.date)
        parts.extend(_read(tables, place, notes))
    if not parts:
        raise CurveError(
            f"{folder}: no layer profiles; folders named tp1, tp2 … with dense.csv or layers.csv "
            "are expected below"
        )
    date = max(dates - {""}, default="")
    return Profile(Timings.joined(parts), SOURCE, LICENCE, date, tuple(dict.fromkeys(notes)))


_ATTENTION: Final = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us")


def _table_folders(folder: Path) -> list[Path]:
    names = {path.parent for path in folder.rglob("*.csv") if path.parent.name.startswith("tp")}
    return sorted(names)


def _place(folder: Path, catalog: Catalog) -> Place:
    tensor_parallel = folder.name.removeprefix("tp")
    if not tensor_parallel.isdigit() or int(tensor_parallel) < 1:
        raise CurveError(f"{folder}: the folder's name must be tp and a number, as in tp2")
    # the variant (bf16) is a folder of its own in the new format only
    above = folder.absolute().parents
    start = 1 if (folder.parent / "meta.yaml").is_file() else 0
    model, hardware = above[start].name, above[start + 2].name
    version, date = _meta(folder.parent / "meta.yaml") if start else ("", "")
    chip = chip_of(CHIPS, hardware, str(folder))
    return Place(
        chip,
        model_of(catalog, model, str(folder)),
        int(tensor_parallel),
        version,
        date,
        float(catalog.chip(chip).memory_bandwidth.value),
    )


def _meta(path: Path) -> tuple[str, str]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CurveError(f"{path}: not a readable YAML file: {error}") from error
    if not isinstance(found, dict):
        raise CurveError(f"{path}: must be a mapping with vllm_version and profiled_at")
    return str(found.get("vllm_version", "")), str(found.get("profiled_at", ""))[:10]


def _read(folder: Path, place: Place, notes: list[str]) -> Iterator[Timings]:
    if (path := folder / "layers.csv").is_file():
        yield from layer_timings(
            read_sheet(path, ("input", "latency(ns)"), ("layer_name",)), place, notes
        )
        if (path := folder / "attention.csv").is_file():
            yield from _old_attention(path, place, notes)
        return
    if (path := folder / "dense.csv").is_file():
        sheet = read_sheet(path, ("tokens", "time_us"), ("layer",))
        yield from _named(
            sheet, sheet.texts["layer"], sheet.numbers["tokens"], _us(sheet), place, notes
        )
    if (path := folder / "per_sequence.csv").is_file():
        sheet = read_sheet(path, ("sequences", "time_us"), ("layer",))
        yield from _named(
            sheet, sheet.texts["layer"], sheet.numbers["sequences"], _us(sheet), place, notes
        )
    if (path := folder / "attention.csv").is_file():
        yield from _attention(read_sheet(path, _ATTENTION), place)
    if (path := folder / "moe.csv").is_file():
        yield _experts(read_sheet(path, ("tokens", "activated_experts", "time_us")), place, notes)


def _us(sheet: Sheet) -> Array:
    return sheet.numbers["time_us"] * 1e-6


def layer_timings(sheet: Sheet, place: Place, notes: list[str]) -> Iterator[Timings]:
    """Yield products, elementwise layers and prompts' attention of a table in the old format."""
    names, tokens = sheet.texts["layer_name"], sheet.numbers["input"]
    seconds = sheet.numbers["latency(ns)"] * 1e-9
    yield from _named(sheet, names, tokens, seconds, place, notes)
    if (rows := names == "attn").any():
        shape = {
            **head_shape(place.model, place.tensor_parallel),
            "sequences": 1.0,
            "new_tokens": tokens,
            "context_tokens": 0.0,
        }
        yield place.timings("prefill_attention", shape, seconds, sheet).rows(rows)


def _named(
    sheet: Sheet,
    names: NDArray[np.str_],
    tokens: Array,
    seconds: Array,
    place: Place,
    notes: list[str],
) -> Iterator[Timings]:
    """Yield the rows of each layer that is a product or moves bytes."""
    products = matrices(place.model, place.tensor_parallel)
    moved = streams(place.model, place.tensor_parallel)
    for name in sorted(set(names.tolist())):
        rows = names == name
        if name in products:
            k, n = products[name]
            yield place.timings("gemm", {"m": tokens, "n": n, "k": k}, seconds, sheet).rows(rows)
        elif name in moved:
            shape = {"bytes": tokens * moved[name]}
            yield place.timings("stream", shape, seconds, sheet).rows(rows)
        elif name != "attn":
            notes.append(f"left out: rows of {name} in {Path(sheet.file).name}")


def _attention(sheet: Sheet, place: Place) -> Iterator[Timings]:
    number, heads = sheet.numbers, head_shape(place.model, place.tensor_parallel)
    prefill = (number["n_decode"] == 0) & (number["prefill_chunk"] > 0)
    decode = (number["prefill_chunk"] == 0) & (number["n_decode"] > 0)
    shape = {
        **heads,
        "sequences": 1.0,
        "new_tokens": number["prefill_chunk"],
        "context_tokens": number["kv_prefill"],
    }
    yield place.timings("prefill_attention", shape, _us(sheet), sheet).rows(prefill)
    shape = {**heads, "sequences": number["n_decode"], "context_tokens": number["kv_decode"]}
    yield place.timings("decode_attention", shape, _us(sheet), sheet).rows(decode)


def _old_attention(path: Path, place: Place, notes: list[str]) -> Iterator[Timings]:
    prefill, decode = "time_stats.attn_prefill.median", "time_stats.attn_decode.median"
    sheet = read_sheet(
        path,
        (prefill, decode, "batch_size", "prefill_chunk_size", "kv_cache_size"),
        blank_ok=(prefill, decode),
    )
    yield from attention_timings(sheet, place, sheet.numbers[prefill] * 1e-3, notes, prefill=True)
    yield from attention_timings(sheet, place, sheet.numbers[decode] * 1e-3, notes, prefill=False)


def attention_timings(
    sheet: Sheet, place: Place, seconds: Array, notes: list[str], *, prefill: bool
) -> Iterator[Timings]:
    """Yield the rows of an attention table in the old format whose `seconds` are not blank.

    Decodes that read keys and values faster than the memory can are no measurement of it (the
    sequences of the H100 profile share cache blocks): such a table is left out, with a note.
    """
    number = sheet.numbers
    shape: dict[str, object] = {
        **head_shape(place.model, place.tensor_parallel),
        "sequences": number["batch_size"],
        "context_tokens": number["kv_cache_size"],
    }
    if prefill:
        shape["new_tokens"] = number["prefill_chunk_size"]
    operator = "prefill_attention" if prefill else "decode_attention"
    rows = np.isfinite(seconds)
    if not prefill and (share := _impossible(shape, seconds[rows], rows, place)) > _IMPOSSIBLE:
        notes.append(
            f"left out: decodes of {place.chip} in {Path(sheet.file).name}: {share:.0%} of them "
            "read keys and values faster than its memory can"
        )
        return
    if rows.any():
        yield place.timings(operator, shape, np.where(rows, seconds, 1.0), sheet).rows(rows)


def _impossible(
    shape: Mapping[str, object], seconds: Array, rows: NDArray[np.bool_], place: Place
) -> float:
    """Return the share of decodes that beat the memory's bandwidth by more than a tenth."""
    if not len(seconds):
        return 0.0
    heads = head_shape(place.model, place.tensor_parallel)
    token = heads["kv_heads"] * heads["head_dim"] * 2.0 * _BYTES
    context = np.asarray(shape["sequences"]) * np.asarray(shape["context_tokens"])
    return float(np.mean(context[rows] * token / seconds > 1.1 * place.bandwidth))


def _experts(sheet: Sheet, place: Place, notes: list[str]) -> Timings:
    """Return rows in which the experts hit are those that random routing among them would hit."""
    ffn = place.model.layers[0].ffn
    tokens, hit = sheet.numbers["tokens"], sheet.numbers["activated_experts"]
    active = np.full(len(sheet), float(ffn.active_experts))
    usable = experts_hit(tokens, np.minimum(active, hit), np.maximum(hit, 1.0)) >= _HIT * hit
    usable &= hit >= active
    if left_out := int((~usable).sum()):
        notes.append(f"left out: {left_out} rows of moe.csv with more experts than tokens hit")
    shape = {
        "tokens": tokens,
        "hidden": float(place.model.hidden_size),
        "inner": float(ffn.intermediate_size),
        "active_experts": active,
        "experts": hit,
        "tensor_parallel": float(place.tensor_parallel),
        "expert_parallel": 1.0,
    }
    return place.timings("experts", shape, _us(sheet), sheet).rows(usable)
