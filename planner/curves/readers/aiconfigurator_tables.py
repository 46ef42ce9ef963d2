"""What the columns of aiconfigurator's tables mean, operator by operator.

Every function takes the columns of one Parquet file and returns blocks: the operator, the dtype and
cache dtype of each row, shape columns in SI units, and seconds. Facts about the columns, found by
comparing tables (0.12.0):

- `latency` is in ms, except in `moe_a2a_perf`, where it is in µs like the `_us` columns.
- `message_size` counts elements of the dtype, not bytes: 2²⁸ elements of `half` take as long as
  2²⁹ of `int8`.
- `step` is the context before a prefill; in a decode `step + isl` tokens are attended.
- the stages of gated delta-net (a convolution, then the rule) are rows of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from planner.curves.forms.base import Array

Columns: TypeAlias = Mapping[str, NDArray[Any]]

DTYPES: Final[Mapping[str, str]] = {
    "bfloat16": "bf16",
    "float16": "bf16",
    "half": "bf16",
    "default": "bf16",
    "fp8": "fp8",
    "fp8_static": "fp8",
    "fp8_block": "fp8_block",
    "nvfp4": "fp4",
    "fp4": "fp4",
    "sq": "int8",
    "int8": "int8",
    "int8_wo": "int8_wo",
    "int4_wo": "int4_wo",
    "w4a16_mxfp4": "fp4_wo",
    "w4a8_mxfp4_mxfp8": "fp4_fp8",
    "w4afp8": "int4_fp8",
}
"""Ours, by the package's name."""

_ELEMENT_BYTES: Final[Mapping[str, float]] = {"half": 2.0, "bfloat16": 2.0, "int8": 1.0}
_COMM_BYTES: Final[Mapping[str, float]] = {
    "default": 2.0,
    "bfloat16": 2.0,
    "fp8": 1.0 + 4.0 / 128.0,
    "nvfp4": 0.5 + 1.0 / 16.0,
    "fp4": 0.5 + 1.0 / 16.0,
}
SKEWS: Final = ("power_law_1.01", "power_law_1.2", "balanced")
"""How tokens fall on experts: the first one that a table has is read. Real routing is skewed; an
exponent near 1 is that of Zipf's law."""


ROUTED_EXPERTS: Final = 8.0
"""Experts per token of the expert exchanges that are read, which is what most models have. A token
is sent once to each device, however many of its experts are there, so bytes alone would not tell
exchanges with few and with many experts per token apart."""


@dataclass(frozen=True)
class Block:
    """Rows of one operator."""

    operator: str
    dtypes: NDArray[Any]
    """In the package's spelling."""
    kv_dtypes: NDArray[Any] | None
    shape: Mapping[str, Array]
    seconds: Array
    kernels: NDArray[Any] | None = None
    """Where several kernels do one job, the engine takes the quickest."""


def gemm(columns: Columns) -> list[Block]:
    """Read matrix products."""
    shape = _numbers(columns, {"m": "m", "n": "n", "k": "k"})
    return [Block("gemm", columns["gemm_dtype"], None, shape, _ms(columns), _kernels(columns))]


def prefill_attention(columns: Columns) -> list[Block]:
    """Read attention of new tokens over themselves and what came before."""
    shape = {**_heads(columns), "new_tokens": _number(columns, "isl")}
    shape["context_tokens"] = _number(columns, "step")
    return [
        Block(
            "prefill_attention",
            columns["attn_dtype"],
            columns["kv_cache_dtype"],
            shape,
            _ms(columns),
            _kernels(columns),
        )
    ]


def decode_attention(columns: Columns) -> list[Block]:
    """Read attention of one token per sequence over its context."""
    shape = {
        **_heads(columns),
        "context_tokens": _number(columns, "isl") + _number(columns, "step"),
    }
    return [
        Block(
            "decode_attention",
            columns["attn_dtype"],
            columns["kv_cache_dtype"],
            shape,
            _ms(columns),
            _kernels(columns),
        )
    ]


def mla_prefill(columns: Columns) -> list[Block]:
    """Read multi-head latent attention of prompts."""
    names = {
        "sequences": "batch_size",
        "new_tokens": "isl",
        "context_tokens": "step",
        "query_heads": "num_heads",
    }
    return [_mla("mla_prefill_attention", columns, _numbers(columns, names))]


def mla_decode(columns: Columns) -> list[Block]:
    """Read multi-head latent attention of one token per sequence."""
    shape = _numbers(columns, {"sequences": "batch_size", "query_heads": "num_heads"})
    shape["context_tokens"] = _number(columns, "isl") + _number(columns, "step")
    return [_mla("mla_decode_attention", columns, shape)]


def experts(columns: Columns) -> list[Block]:
    """Read the routed experts of a layer, under the first of `SKEWS` that the table has."""
    names = {
        "tokens": "num_tokens",
        "hidden": "hidden_size",
        "inner": "inter_size",
        "active_experts": "topk",
        "experts": "num_experts",
        "tensor_parallel": "moe_tp_size",
        "expert_parallel": "moe_ep_size",
    }
    skew = np.asarray(columns["distribution"]).astype(str)
    rows = np.zeros(len(skew), dtype=np.bool_)
    dtypes = np.asarray(columns["moe_dtype"]).astype(str)
    for dtype in np.unique(dtypes):
        present = set(np.unique(skew[dtypes == dtype]))
        chosen = next((each for each in SKEWS if each in present), None)
        rows |= (dtypes == dtype) & (skew == chosen)
    shape = {name: column[rows] for name, column in _numbers(columns, names).items()}
    kernels = _kernels(columns)
    return [
        Block(
            "experts",
            dtypes[rows],
            None,
            shape,
            _ms(columns)[rows],
            None if kernels is None else kernels[rows],
        )
    ]


def custom_all_reduce(columns: Columns) -> list[Block]:
    """Read an engine's own all-reduce, as replayed from a CUDA graph where that was measured."""
    rows = np.ones(len(columns["num_gpus"]), dtype=np.bool_)
    if "backend" in columns:
        # launched one by one, kernels take 20 µs of host time; engines replay graphs in decode
        replayed = np.char.endswith(np.asarray(columns["backend"]).astype(str), "graph")
        rows = replayed if replayed.any() else rows
    shape = _message(columns, "allreduce_dtype")
    return [
        Block(
            "all_reduce",
            columns["allreduce_dtype"][rows],
            None,
            {name: column[rows] for name, column in shape.items()},
            _ms(columns)[rows],
        )
    ]


def nccl(columns: Columns) -> list[Block]:
    """Read NCCL's collectives; those of 16-bit elements, as int8 is the same bytes again."""
    names = np.asarray(columns["op_name"]).astype(str)
    halves = np.asarray(columns["nccl_dtype"]).astype(str) == "half"
    shape, seconds = _message(columns, "nccl_dtype"), _ms(columns)
    blocks = []
    for theirs, ours in (
        ("all_reduce", "all_reduce"),
        ("all_gather", "all_gather"),
        ("reduce_scatter", "reduce_scatter"),
        ("alltoall", "all_to_all"),
    ):
        rows = halves & (names == theirs)
        block = {name: column[rows] for name, column in shape.items()}
        blocks.append(Block(ours, columns["nccl_dtype"][rows], None, block, seconds[rows]))
    return [block for block in blocks if len(block.seconds)]


def expert_exchange(columns: Columns) -> list[Block]:
    """Read dispatch to experts and combination of their results (times in µs)."""
    each = np.array(
        [_COMM_BYTES.get(str(dtype), np.nan) for dtype in columns["comm_dtype"]], dtype=np.float64
    )
    routed = _number(columns, "num_tokens") * _number(columns, "topk")
    rows = _number(columns, "topk") == ROUTED_EXPERTS
    shape = {
        "devices": _number(columns, "ep_size"),
        "bytes": routed * _number(columns, "hidden_size") * each,
        "nodes": _number(columns, "node_num"),
    }
    seconds = _number(columns, "latency") * 1e-6
    kernels = _kernels(columns, "comm_backend")
    block = Block("all_to_all", columns["comm_dtype"], None, shape, seconds, kernels)
    return [_rows_of(block, rows)]


def deepep(columns: Columns) -> list[Block]:
    """Read DeepEP's kernels: dispatch in fp8, combination in 16 bits (from the stated GB/s)."""
    suffix = "transmit_us" if "dispatch_transmit_us" in columns else "avg_t_us"
    rows = _number(columns, "num_topk") == ROUTED_EXPERTS
    if "dispatch_sms" in columns:
        # 20 of the processors are what engines give to communication
        rows &= (columns["dispatch_sms"] == 20) & (columns["combine_sms"] == 20)
    routed = _number(columns, "num_token") * _number(columns, "num_topk")
    elements = (routed * _number(columns, "hidden_size"))[rows]
    nodes = _number(columns, "node_num")[rows]
    # a tray of GB200 or GB300 holds four devices, a node of the others eight
    is_tray = np.char.startswith(np.asarray(columns["device"]).astype(str)[rows], "NVIDIA GB")
    blocks = []
    for phase, dtype in (("dispatch", "fp8"), ("combine", "bfloat16")):
        shape = {
            "devices": nodes * np.where(is_tray, 4.0, 8.0),
            "bytes": elements * _COMM_BYTES[dtype],
            "nodes": nodes,
        }
        seconds = _number(columns, f"{phase}_{suffix}")[rows] * 1e-6
        kernels = np.asarray(columns["op_name"]).astype(str)[rows]
        dtypes = np.full(len(seconds), dtype)
        blocks.append(Block("all_to_all", dtypes, None, shape, seconds, kernels))
    return blocks


def conversion(columns: Columns) -> list[Block]:
    """Read the conversion of activations to fp8 with a known scale: two bytes read, one written."""
    size = _number(columns, "m") * _number(columns, "k") * 3.0
    dtypes = np.full(len(size), "bfloat16")
    return [Block("stream", dtypes, None, {"bytes": size}, _ms(columns))]


def delta_net(columns: Columns) -> list[Block]:
    """Read gated delta-net: the quickest kernel of each stage, stages added up."""
    phase = np.asarray(columns["phase"]).astype(str)
    kernel = np.asarray(columns["kernel_source"]).astype(str)
    names = {
        "sequences": "batch_size",
        "new_tokens": "seq_len",
        "key_heads": "num_k_heads",
        "value_heads": "num_v_heads",
        "head_dim": "head_v_dim",
    }
    shape, seconds = _numbers(columns, names), _ms(columns)
    table = np.stack(list(shape.values()), axis=1)
    is_convolution = np.char.startswith(kernel, "causal_conv1d")
    blocks = []
    for theirs, ours in (("context", "linear_prefill"), ("generation", "linear_decode")):
        stages = [
            _quickest(table[rows], seconds[rows])
            for rows in (
                (phase == theirs) & is_convolution,
                (phase == theirs) & ~is_convolution,
            )
        ]
        both = sorted(stages[0].keys() & stages[1].keys())
        if both:
            rows = np.array(both)
            total = np.array([stages[0][each] + stages[1][each] for each in both])
            columns_of = dict(zip(shape, rows.T, strict=True))
            blocks.append(Block(ours, np.full(len(both), "bfloat16"), None, columns_of, total))
    return blocks


def _rows_of(block: Block, rows: NDArray[np.bool_]) -> Block:
    return Block(
        block.operator,
        block.dtypes[rows],
        None if block.kv_dtypes is None else block.kv_dtypes[rows],
        {name: column[rows] for name, column in block.shape.items()},
        block.seconds[rows],
        None if block.kernels is None else block.kernels[rows],
    )


def _quickest(table: Array, seconds: Array) -> dict[tuple[float, ...], float]:
    found: dict[tuple[float, ...], float] = {}
    for row, time in zip(map(tuple, table.tolist()), seconds.tolist(), strict=True):
        found[row] = min(time, found.get(row, np.inf))
    return found


def _mla(operator: str, columns: Columns, shape: dict[str, Array]) -> Block:
    return Block(
        operator,
        columns["mla_dtype"],
        columns["kv_cache_dtype"],
        shape,
        _ms(columns),
        _kernels(columns),
    )


def _heads(columns: Columns) -> dict[str, Array]:
    query = _number(columns, "num_heads")
    kv = _number(columns, "num_key_value_heads")
    rows = np.zeros(len(query))
    return {
        "sequences": _number(columns, "batch_size"),
        "query_heads": query,
        "kv_heads": np.where(kv > 0, kv, query),
        "head_dim": _number(columns, "head_dim"),
        "window_tokens": _number(columns, "window_size") if "window_size" in columns else rows,
    }


def _message(columns: Columns, dtype: str) -> dict[str, Array]:
    each = np.array([_ELEMENT_BYTES.get(str(name), np.nan) for name in columns[dtype]])
    return {
        "devices": _number(columns, "num_gpus"),
        "bytes": _number(columns, "message_size") * each,
    }


def _kernels(columns: Columns, name: str = "kernel_source") -> NDArray[Any] | None:
    return np.asarray(columns[name]).astype(str) if name in columns else None


def _ms(columns: Columns) -> Array:
    return _number(columns, "latency") * 1e-3


def _numbers(columns: Columns, names: Mapping[str, str]) -> dict[str, Array]:
    return {ours: _number(columns, theirs) for ours, theirs in names.items()}


def _number(columns: Columns, name: str) -> Array:
    return np.asarray(columns[name], dtype=np.float64)


Reader: TypeAlias = Callable[[Columns], list[Block]]
TABLES: Final[Mapping[str, tuple[tuple[str, ...], Reader]]] = {
    "gemm_perf": (("gemm",), gemm),
    "context_attention_perf": (("prefill_attention",), prefill_attention),
    "generation_attention_perf": (("decode_attention",), decode_attention),
    "context_mla_perf": (("mla_prefill_attention",), mla_prefill),
    "generation_mla_perf": (("mla_decode_attention",), mla_decode),
    "moe_perf": (("experts",), experts),
    "custom_allreduce_perf": (("all_reduce",), custom_all_reduce),
    "nccl_perf": (("all_reduce", "all_gather", "reduce_scatter", "all_to_all"), nccl),
    "moe_a2a_perf": (("all_to_all",), expert_exchange),
    "wideep_deepep_ll_perf": (("all_to_all",), deepep),
    "wideep_deepep_normal_perf": (("all_to_all",), deepep),
    "scale_matrix_perf": (("stream",), conversion),
    "gdn_perf": (("linear_prefill", "linear_decode"), delta_net),
}
"""Operators that a table holds, and its reader. Tables of whole modules (attention with its
projections), of mamba2 (whose scan is not timed) and of sparse attention are not read."""
