"""The operators in PyTorch: for a case, functions that each run it once, and what they run.

A case has several functions that differ in the operand that a serving engine finds in memory, not
in the cache: the weights of a product, the keys and values of attention. Calling them in turn keeps
that operand cold, as the layers before have passed through the cache since it was last used.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from planner.microbench.cases import Case
from planner.microbench.clocks import Call
from planner.microbench.timing import UnsupportedCaseError

PAGE_TOKENS: Final = 256
"""Tokens of one page of the cache: the least that PyTorch's paged kernel takes."""
_ALIGNED: Final = 1024
"""Views of the pool start at multiples of this many elements."""
_GENERATED: Final = 2**26
"""Elements made at a time: a wider copy of them is in memory meanwhile."""
_NARROW: Final = ("fp8", "int8")
_VALUES: Final = {"bf16": "bfloat16", "fp16": "float16", "int8": "int8"}


@dataclass(frozen=True)
class Work:
    """What runs a case."""

    source: str
    functions: tuple[Call, ...]


class Pool:
    """Random numbers on the device, of which operands are views: making them anew takes too long.

    Zeros would not do: they draw less power, and the clock is higher for it.

    Args:
        torch: the module.
        device: as PyTorch names it.
        seed: of the numbers.
    """

    def __init__(self, torch: Any, device: str, seed: int) -> None:
        self.torch = torch
        self.device = device
        self._seed = seed
        self._tensors: dict[str, Any] = {}

    def views(self, element: str, sizes: tuple[int, ...], copies: int) -> list[Any]:
        """Return tensors of one size that do not overlap."""
        count = math.prod(sizes)
        stride = -(-count // _ALIGNED) * _ALIGNED
        flat = self._at_least(element, stride * copies)
        return [flat[at * stride : at * stride + count].view(sizes) for at in range(copies)]

    def view(self, element: str, *sizes: int) -> Any:
        """Return one tensor."""
        return self.views(element, sizes, 1)[0]

    def empty(self, element: str, *sizes: int) -> Any:
        """Return a tensor to write to."""
        return self.torch.empty(sizes, dtype=self.dtype(element), device=self.device)

    def dtype(self, element: str) -> Any:
        """Return PyTorch's name of a format."""
        if element == "fp8":
            old = "gfx94" in self._architecture()  # AMD's first fp8 has its own range
            return self.torch.float8_e4m3fnuz if old else self.torch.float8_e4m3fn
        return getattr(self.torch, _VALUES[element])

    def release(self) -> None:
        """Free the device's memory."""
        self._tensors.clear()

    def _architecture(self) -> str:
        if self.device == "cpu":
            return ""
        return str(getattr(self.torch.cuda.get_device_properties(0), "gcnArchName", ""))

    def _at_least(self, element: str, count: int) -> Any:
        flat = self._tensors.get(element)
        if flat is None or len(flat) < count:
            flat = None
            self._tensors.pop(element, None)  # before the larger one is made
            flat = self._tensors[element] = self._random(element, count)
        return flat

    def _random(self, element: str, count: int) -> Any:
        torch = self.torch
        generator = torch.Generator(device=self.device).manual_seed(self._seed)
        flat = torch.empty(count, dtype=self.dtype(element), device=self.device)
        for start in range(0, count, _GENERATED):
            part = flat[start : start + _GENERATED]
            if element == "int8":
                part.random_(-127, 128, generator=generator)
            elif element == "fp8":  # has no random numbers of its own
                part.copy_(part.to(torch.bfloat16).normal_(generator=generator))
            else:
                part.normal_(generator=generator)
        return flat


def build(pool: Pool, case: Case, copies: int) -> list[Callable[[], Work]]:
    """Return ways to run a case, the best first; a later one is for where an earlier fails."""
    builders: dict[str, tuple[Callable[[Pool, Case, int], Work], ...]] = {
        "gemm": (_gemm,),
        "stream": (_stream,),
        "prefill_attention": (_prefill_flash, _prefill_sdpa),
        "decode_attention": (_decode_paged, _decode_sdpa),
    }
    return [lambda make=make: make(pool, case, copies) for make in builders[case.operator]]  # type: ignore[misc]


# --- matrix products ------------------------------------------------------------------------------


def _gemm(pool: Pool, case: Case, copies: int) -> Work:
    m, n, k = case["m"], case["n"], case["k"]
    step = {"fp8": 16, "int8": 8}.get(case.element, 1)
    if n % step or k % step:
        raise UnsupportedCaseError(f"{case.element} products need n and k in multiples of {step}")
    weights = [each.t() for each in pool.views(case.element, (n, k), copies)]
    if case.element in _NARROW:
        return _narrow_gemm(pool, case, weights)
    # one input for all: activations were just written and lie in the cache, weights do not
    inputs, out = pool.view(case.element, m, k), pool.empty(case.element, m, n)
    calls = [_bound(pool.torch.mm, inputs, weight, out=out) for weight in weights]
    return Work(f"torch.mm in {case.element}", tuple(calls))


def _narrow_gemm(pool: Pool, case: Case, weights: list[Any]) -> Work:
    """Return products whose 16-bit inputs are cast first, as an engine with fixed scales does."""
    torch = pool.torch
    wide = pool.view("bf16", case["m"], case["k"])
    inputs = pool.empty(case.element, case["m"], case["k"])
    options: dict[str, Any] = {}
    multiply, text = torch._int_mm, "torch._int_mm, int32 results"
    if case.element == "fp8":
        one = torch.ones((), device=pool.device)
        options = {"scale_a": one, "scale_b": one, "out_dtype": torch.bfloat16}
        options |= {"use_fast_accum": True}
        multiply, text = torch._scaled_mm, "torch._scaled_mm, one scale per tensor"

    def cast_and_multiply(weight: Any) -> Any:
        inputs.copy_(wide)
        return multiply(inputs, weight, **options)

    calls = [_bound(cast_and_multiply, weight) for weight in weights]
    return Work(f"{text}, inputs cast from bf16 in the same call", tuple(calls))


def _bound(function: Callable[..., Any], *arguments: Any, **options: Any) -> Call:
    return lambda: function(*arguments, **options)


# --- memory ---------------------------------------------------------------------------------------


def _stream(pool: Pool, case: Case, copies: int) -> Work:
    arrays = 3 if case["bytes"] % 3 == 0 else 2
    count = case["bytes"] // arrays // 2
    out = [pool.empty(case.element, count) for _ in range(copies)]
    inputs = pool.views(case.element, (count,), (arrays - 1) * copies)
    if arrays == 2:
        calls = [_bound(o.copy_, a) for o, a in zip(out, inputs, strict=True)]
        return Work("copy of an array", tuple(calls))
    pairs = zip(out, inputs[:copies], inputs[copies:], strict=True)
    calls = [_bound(pool.torch.add, a, b, out=o) for o, a, b in pairs]
    return Work("sum of two arrays", tuple(calls))


# --- attention ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sizes:
    sequences: int
    new: int
    context: int
    """Tokens of keys and values, new ones included where there is more than one."""
    query_heads: int
    kv_heads: int
    head_dim: int
    window: tuple[int, int]
    """As flash attention takes it: tokens seen to the left and to the right; -1: all."""


def _sizes(case: Case) -> _Sizes:
    prefill = case.operator == "prefill_attention"
    new = case["new_tokens"] if prefill else 1
    window = case["window_tokens"]
    return _Sizes(
        sequences=case["sequences"],
        new=new,
        context=case["context_tokens"] + (new if prefill else 0),
        query_heads=case["query_heads"],
        kv_heads=case["kv_heads"],
        head_dim=case["head_dim"],
        window=(window - 1 if window else -1, 0),
    )


def _flash(pool: Pool) -> Callable[..., Any]:
    """Return PyTorch's flash attention over sequences of any length, which writes its output."""
    if pool.device == "cpu":
        raise UnsupportedCaseError("flash attention needs an accelerator")
    try:
        from importlib import import_module

        found: Callable[..., Any] = import_module("torch.nn.attention.varlen").varlen_attn_out
    except (ImportError, AttributeError):
        raise UnsupportedCaseError("this PyTorch has no varlen_attn_out") from None
    return found


def _prefill_flash(pool: Pool, case: Case, copies: int) -> Work:
    attend = _flash(pool)
    sizes = _sizes(case)
    torch, held = pool.torch, sizes.sequences * sizes.context
    query = pool.view(case.element, sizes.sequences * sizes.new, sizes.query_heads, sizes.head_dim)
    cached = pool.views(case.element, (2, held, sizes.kv_heads, sizes.head_dim), copies)
    out = torch.empty_like(query)
    edges = torch.arange(sizes.sequences + 1, dtype=torch.int32, device=pool.device)
    lengths = (edges * sizes.new, edges * sizes.context, sizes.new, sizes.context)
    options = {"window_size": sizes.window, "enable_gqa": sizes.query_heads != sizes.kv_heads}
    calls = [_bound(attend, out, query, kv[0], kv[1], *lengths, **options) for kv in cached]
    return Work(f"torch varlen_attn, contiguous, in {case.element}", tuple(calls))


def _decode_paged(pool: Pool, case: Case, copies: int) -> Work:
    attend = _flash(pool)
    if "block_table" not in inspect.signature(attend).parameters:
        raise UnsupportedCaseError("this PyTorch has no paged attention")
    sizes = _sizes(case)
    torch, pages = pool.torch, -(-sizes.context // PAGE_TOKENS)
    query = pool.view(case.element, sizes.sequences, sizes.query_heads, sizes.head_dim)
    page = (PAGE_TOKENS, sizes.kv_heads, sizes.head_dim)
    cached = pool.views(case.element, (2, sizes.sequences * pages, *page), copies)
    out = torch.empty_like(query)
    edges = torch.arange(sizes.sequences + 1, dtype=torch.int32, device=pool.device)
    shuffled = torch.randperm(sizes.sequences * pages, generator=torch.Generator().manual_seed(0))
    table = shuffled.to(torch.int32).view(sizes.sequences, pages).to(pool.device)
    used = torch.full((sizes.sequences,), sizes.context, dtype=torch.int32, device=pool.device)
    options = {
        "window_size": sizes.window if sizes.window[0] >= 0 else (-1, -1),
        "enable_gqa": sizes.query_heads != sizes.kv_heads,
        "seqused_k": used,
        "block_table": table,
    }
    lengths = (edges, None, 1, sizes.context)
    calls = [_bound(attend, out, query, kv[0], kv[1], *lengths, **options) for kv in cached]
    text = f"torch varlen_attn, paged, {PAGE_TOKENS} tokens a page, in {case.element}"
    return Work(text, tuple(calls))


def _prefill_sdpa(pool: Pool, case: Case, copies: int) -> Work:
    sizes = _sizes(case)
    query, cached = _sdpa_operands(pool, case, sizes, copies)
    attend = pool.torch.nn.functional.scaled_dot_product_attention
    options: dict[str, Any] = {"is_causal": True}
    text = "torch SDPA, contiguous"
    if sizes.new < sizes.context:
        from importlib import import_module

        bias = import_module("torch.nn.attention.bias")
        options = {"attn_mask": bias.causal_lower_right(sizes.new, sizes.context)}
    if sizes.query_heads != sizes.kv_heads:  # a bias cannot share key heads: they are copied before
        group = sizes.query_heads // sizes.kv_heads
        cached = [kv.repeat_interleave(group, 2) for kv in cached]
        text += ", key heads copied before"
    calls = [_bound(attend, query, kv[0], kv[1], **options) for kv in cached]
    return Work(f"{text}, in {case.element}", tuple(calls))


def _decode_sdpa(pool: Pool, case: Case, copies: int) -> Work:
    sizes = _sizes(case)
    query, cached = _sdpa_operands(pool, case, sizes, copies)
    attend = pool.torch.nn.functional.scaled_dot_product_attention
    options = {"enable_gqa": sizes.query_heads != sizes.kv_heads}
    calls = [_bound(attend, query, kv[0], kv[1], **options) for kv in cached]
    return Work(f"torch SDPA, contiguous (no paged kernel here), in {case.element}", tuple(calls))


def _sdpa_operands(pool: Pool, case: Case, sizes: _Sizes, copies: int) -> tuple[Any, list[Any]]:
    if sizes.window[0] >= 0:
        raise UnsupportedCaseError("SDPA knows no window but as a mask, which saves no work")
    query = pool.view(case.element, sizes.sequences, sizes.new, sizes.query_heads, sizes.head_dim)
    shape = (2, sizes.sequences, sizes.context, sizes.kv_heads, sizes.head_dim)
    cached = [kv.transpose(2, 3) for kv in pool.views(case.element, shape, copies)]
    return query.transpose(1, 2), cached
