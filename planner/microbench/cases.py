"""What is measured: one `Case` per row of the operator timing table."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

_Any = TypeVar("_Any")

OPERATORS: Final = ("gemm", "prefill_attention", "decode_attention", "stream", "all_reduce")
"""Operators that can be measured."""
DTYPES: Final = ("bf16", "fp16", "fp8", "int8")
"""Formats of the arithmetic of matrix products. Activations and caches are 16 bits wide."""
ELEMENT_BYTES: Final[Mapping[str, int]] = {"bf16": 2, "fp16": 2, "fp8": 1, "int8": 1}
TOKENS: Final = (
    *(1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072),
    *(4096, 6144, 8192),
)
"""Rows of a matrix product: about two per octave above 16, where kernels change their tiles."""
CONTEXTS: Final = (128, 512, 1024, 2048, 4096, 8192, 16384, 32768, 131072)
SEQUENCES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CHUNKS: Final = (16, 64, 256, 512, 1024, 2048, 4096, 8192)
"""New tokens of one sequence in a prefill step."""
_STEP_TOKENS: Final = 8192
"""New tokens that engines put into one step at most, of however many sequences."""
STREAM_ARRAY_BYTES: Final = tuple(2**power for power in range(15, 30))
"""32 KiB to 512 MiB: a copy moves twice as much, so 64 KiB to 1 GiB."""
REDUCED_BYTES: Final = tuple(2**power for power in range(13, 30))


@dataclass(frozen=True)
class Heads:
    """Attention of one layer on one device."""

    query_heads: int
    kv_heads: int
    head_dim: int
    window_tokens: int = 0
    """0: every earlier token is seen."""


@dataclass(frozen=True)
class Case:
    """One shape of one operator in one format."""

    operator: str
    element: str
    """Format of the tensors, one of `DTYPES`."""
    shape: tuple[tuple[str, int], ...]
    """Shape columns of the timing table, in its order."""
    flops: float = 0.0
    """Arithmetic of one call."""
    moved_bytes: float = 0.0
    """Least memory traffic of one call; also about what its tensors occupy."""

    def __getitem__(self, column: str) -> int:
        """Return the value of a shape column."""
        return dict(self.shape)[column]

    @property
    def dtype(self) -> str:
        """Format as the timing table calls it: one name for all 16-bit floats."""
        return "bf16" if self.element == "fp16" else self.element

    @property
    def kv_dtype(self) -> str:
        """Format of the cache, for attention."""
        return self.dtype if self.operator.endswith("_attention") else ""

    @property
    def key(self) -> tuple[str, ...]:
        """What tells this row of the table from others: operator, formats, shape."""
        sizes = (f"{name}={value}" for name, value in self.shape)
        return (self.operator, self.dtype, self.kv_dtype, *sizes)

    def __str__(self) -> str:
        sizes = " ".join(f"{name}={value:,}" for name, value in self.shape)
        return f"{self.operator} {self.element} {sizes}"


@dataclass(frozen=True)
class Limits:
    """The largest single call that is worth its time on a machine."""

    flops: float = math.inf
    moved_bytes: float = math.inf

    def allows(self, case: Case) -> bool:
        """Tell whether a case is small enough."""
        return case.flops <= self.flops and case.moved_bytes <= self.moved_bytes


@dataclass(frozen=True)
class Plan:
    """Which shapes to measure."""

    operators: tuple[str, ...] = OPERATORS
    dtypes: tuple[str, ...] = ("bf16",)
    matrices: tuple[tuple[int, int], ...] = ()
    """(n, k) of matrix products."""
    heads: tuple[Heads, ...] = ()
    tokens: tuple[int, ...] = TOKENS
    contexts: tuple[int, ...] = CONTEXTS
    sequences: tuple[int, ...] = SEQUENCES
    chunks: tuple[int, ...] = CHUNKS
    array_bytes: tuple[int, ...] = STREAM_ARRAY_BYTES
    reduced_bytes: tuple[int, ...] = REDUCED_BYTES
    devices: tuple[int, ...] = ()
    """Numbers of devices that reduce together; empty: there is one only."""


def every_case(plan: Plan, limits: Limits, *, seed: int) -> list[Case]:
    """Return the cases of a plan within the limits, each once, in a random order.

    Clocks and temperature drift while a machine is measured: in a random order the drift is noise
    for the fit, and no slope along a shape.

    Args:
        plan: what to measure.
        limits: cases beyond are left out.
        seed: of the order.
    """
    makers = {
        "gemm": gemm_cases,
        "prefill_attention": prefill_cases,
        "decode_attention": decode_cases,
        "stream": stream_cases,
        "all_reduce": all_reduce_cases,
    }
    found = {
        case.key: case
        for operator in plan.operators
        for case in makers[operator](plan)
        if limits.allows(case)
    }
    cases = list(found.values())
    random.Random(seed).shuffle(cases)
    return cases


def gemm_cases(plan: Plan) -> Iterator[Case]:
    """Yield (m, k) × (k, n) products of every format."""
    for dtype in plan.dtypes:
        element = ELEMENT_BYTES[dtype]
        for n, k in plan.matrices:
            for m in plan.tokens:
                yield Case(
                    operator="gemm",
                    element=dtype,
                    shape=(("m", m), ("n", n), ("k", k)),
                    flops=2.0 * m * n * k,
                    moved_bytes=float(element * (m * k + n * k) + 2 * m * n),
                )


def prefill_cases(plan: Plan) -> Iterator[Case]:
    """Yield causal attention of chunks of new tokens, each over a prior context of its own."""
    contexts = (0, *plan.contexts)
    for dtype in _sixteen_bit(plan.dtypes):
        for heads in plan.heads:
            for new_tokens in plan.chunks:
                for context in contexts:
                    for sequences in (1, 4):
                        if sequences * new_tokens <= _STEP_TOKENS:
                            yield attention_case(
                                "prefill_attention", dtype, heads, sequences, new_tokens, context
                            )


def decode_cases(plan: Plan) -> Iterator[Case]:
    """Yield attention of one new token per sequence over its context."""
    for dtype in _sixteen_bit(plan.dtypes):
        for heads in plan.heads:
            for sequences in plan.sequences:
                for context in plan.contexts:
                    yield attention_case("decode_attention", dtype, heads, sequences, 1, context)


def attention_case(
    operator: str, dtype: str, heads: Heads, sequences: int, new_tokens: int, context_tokens: int
) -> Case:
    """Return one attention case; a context beyond the window counts as far as the window sees."""
    window = heads.window_tokens
    seen = context_tokens + new_tokens / 2.0
    held = context_tokens + new_tokens
    if window:
        seen, held = min(seen, float(window)), min(held, window + new_tokens)
    width = heads.query_heads * heads.head_dim
    cached = 2 * heads.kv_heads * heads.head_dim * ELEMENT_BYTES[dtype]
    new = (("new_tokens", new_tokens),) if operator == "prefill_attention" else ()
    return Case(
        operator=operator,
        element=dtype,
        shape=(
            ("sequences", sequences),
            *new,
            ("context_tokens", context_tokens),
            ("query_heads", heads.query_heads),
            ("kv_heads", heads.kv_heads),
            ("head_dim", heads.head_dim),
            ("window_tokens", window),
        ),
        flops=4.0 * sequences * new_tokens * seen * width,
        moved_bytes=float(sequences * (held * cached + 4 * new_tokens * width)),
    )


def stream_cases(plan: Plan) -> Iterator[Case]:
    """Yield copies (bytes: two arrays) and sums of two arrays (bytes: three).

    Which of the two a row is follows from its bytes, as arrays are powers of two.
    """
    for dtype in _sixteen_bit(plan.dtypes):
        for array in plan.array_bytes:
            for arrays in (2, 3):
                moved = arrays * array
                yield Case("stream", dtype, (("bytes", moved),), moved_bytes=float(moved))


def all_reduce_cases(plan: Plan) -> Iterator[Case]:
    """Yield sums of one vector over devices."""
    for dtype in _sixteen_bit(plan.dtypes):
        for devices in plan.devices:
            for size in plan.reduced_bytes:
                shape = (("devices", devices), ("bytes", size))
                yield Case("all_reduce", dtype, shape, moved_bytes=3.0 * size)


def _sixteen_bit(dtypes: Iterable[str]) -> list[str]:
    """Return the formats that activations have: bf16 if only narrow products were asked for."""
    return [dtype for dtype in dtypes if ELEMENT_BYTES[dtype] == 2] or ["bf16"]


def thinned(values: Sequence[_Any], most: int) -> tuple[_Any, ...]:
    """Return at most `most` of the values, evenly spread, with the first and the last.

    >>> thinned((1, 2, 4, 8, 16), 3)
    (1, 4, 16)
    """
    if len(values) <= most:
        return tuple(values)
    last = len(values) - 1
    places = {round(number * last / (most - 1)) for number in range(most)}
    return tuple(values[place] for place in sorted(places))
