"""The shapes that a model of the catalogue runs on one device."""

from __future__ import annotations

from typing import Final

from planner.catalog import Attention, Ffn, Model
from planner.errors import CatalogError
from planner.microbench.cases import Heads

DEFAULT_MATRICES: Final = (
    *((6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336)),
    *((10240, 8192), (8192, 8192), (7168, 8192), (8192, 3584), (57344, 8192), (8192, 28672)),
    *((1280, 8192), (8192, 1024), (2048, 7168), (7168, 2048)),
)
"""(n, k) of dense layers from 8 to 70 billion parameters, whole and split over eight devices."""
DEFAULT_HEADS: Final = (Heads(32, 8, 128), Heads(8, 1, 128), Heads(64, 8, 128))
_SOFTMAX_KINDS: Final = ("full", "sliding")


def matrices(model: Model, tensor_parallel: int) -> tuple[tuple[int, int], ...]:
    """Return the distinct (n, k) of a model's dense products on one of `tensor_parallel` devices.

    Routed experts are left out (one product per expert and step, of varying m), and so are MLA's
    and linear attention's projections beside the output.

    Raises:
        CatalogError: heads, FFN or vocabulary do not split evenly.
    """
    hidden = model.hidden_size
    found: dict[tuple[int, int], None] = {}
    for run in model.layers:
        for n, k in (
            *_attention(model, run.attention, tensor_parallel),
            *_ffn(model, run.ffn, tensor_parallel),
        ):
            found[n, k] = None
    found[_part(model, "vocabulary", model.vocabulary_size, tensor_parallel), hidden] = None
    return tuple(found)


def heads(model: Model, tensor_parallel: int) -> tuple[Heads, ...]:
    """Return the distinct softmax attentions with keys and values of a model on one device.

    Key and value heads are copied where there are fewer than devices.
    """
    found: dict[Heads, None] = {}
    for run in model.layers:
        attention = run.attention
        if attention.kind in _SOFTMAX_KINDS:
            query_heads = _part(model, "query heads", attention.query_heads, tensor_parallel)
            kv_heads = _kv_heads(model, attention, tensor_parallel)
            window = attention.window_tokens or 0
            found[Heads(query_heads, kv_heads, attention.head_dim, window)] = None
    return tuple(found)


def _attention(model: Model, attention: Attention, devices: int) -> list[tuple[int, int]]:
    query_heads = _part(model, "query heads", attention.query_heads, devices)
    output = (model.hidden_size, query_heads * attention.value_head_dim)
    if attention.kind not in _SOFTMAX_KINDS:
        return [output]
    kv_heads = _kv_heads(model, attention, devices)
    kv_width = kv_heads * (attention.head_dim + attention.value_head_dim)
    gate = query_heads * attention.value_head_dim if attention.output_gate else 0
    return [(query_heads * attention.head_dim + kv_width + gate, model.hidden_size), output]


def _ffn(model: Model, ffn: Ffn, devices: int) -> list[tuple[int, int]]:
    width = ffn.intermediate_size
    if ffn.kind == "moe":
        width = ffn.shared_experts * ffn.shared_intermediate_size
        if not width:
            return []
    inner = _part(model, "FFN width", width, devices)
    return [(2 * inner, model.hidden_size), (model.hidden_size, inner)]


def _kv_heads(model: Model, attention: Attention, devices: int) -> int:
    if attention.kv_heads <= devices:
        return 1
    return _part(model, "KV heads", attention.kv_heads, devices)


def _part(model: Model, what: str, whole: int, devices: int) -> int:
    if whole % devices:
        raise CatalogError(
            f"{model.name}: {whole:,} ({what}) cannot be split over {devices} devices; "
            "choose another --tensor-parallel"
        )
    return whole // devices
