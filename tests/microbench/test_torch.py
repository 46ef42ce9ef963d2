"""Real kernels on the processor, tiny; needs PyTorch."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from planner.microbench.cases import (
    Case,
    Heads,
    Limits,
    Plan,
    all_reduce_cases,
    attention_case,
    every_case,
)
from planner.microbench.clocks import in_turn
from planner.microbench.collectives import measure_all_reduce
from planner.microbench.runner import measure_case, measure_cases
from planner.microbench.table import open_table
from planner.microbench.timing import Discipline, MicrobenchError, UnsupportedCaseError
from planner.microbench.torch_device import TorchDevice, load_torch
from planner.microbench.torch_kernels import Pool, build

HAS_TORCH = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed")
HASTY = Discipline(repeats=3, repeat_s=1e-5, warm_up_s=0.0, budget_s=0.01, spread_at_most=10.0)
HEADS = Heads(query_heads=4, kv_heads=2, head_dim=16)


def gemm(element: str = "bf16", m: int = 32, n: int = 48, k: int = 64) -> Case:
    return Case("gemm", element, (("m", m), ("n", n), ("k", k)), 2.0 * m * n * k, 1.0)


@pytest.fixture
def pool() -> Pool:
    return Pool(load_torch(), "cpu", seed=0)


def test_without_pytorch_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MicrobenchError, match=r"pip install 'planner\[microbench\]'"):
        TorchDevice("cpu")


def test_functions_are_called_in_turn() -> None:
    seen: list[str] = []
    in_turn([lambda: seen.append("a"), lambda: seen.append("b")], 5)
    assert seen == ["a", "b", "a", "b", "a"]


@needs_torch
def test_every_operator_runs_and_its_rows_are_complete(tmp_path: Path) -> None:
    plan = Plan(
        operators=("gemm", "prefill_attention", "decode_attention", "stream"),
        dtypes=("bf16", "fp8", "int8"),
        matrices=((48, 64),),
        heads=(HEADS,),
        tokens=(32,),
        contexts=(24,),
        sequences=(2,),
        chunks=(8,),
        array_bytes=(4096,),
    )
    device = TorchDevice("cpu")
    ours = device.environment() | {
        "schema": "planner-microbench/1",
        **{"chip": device.chip, "engine": "generic", "version": device.version},
    }
    table = open_table(tmp_path / "t.csv", ours)
    cases = every_case(plan, Limits(), seed=0)
    tally = measure_cases(device, cases, table, HASTY)
    assert tally.measured == len(cases) == 10
    assert all(float(row["time_us"]) > 0 for row in table.rows.values())
    sources = {row["operator"]: row["source"] for row in table.rows.values()}
    assert "contiguous (no paged kernel here)" in sources["decode_attention"]
    assert "host clock" in sources["gemm"]
    assert ours["device"] == "cpu"


@needs_torch
def test_products_are_right(pool: Pool) -> None:
    torch = pool.torch
    for element, tolerance in (("bf16", 2e-2), ("fp16", 2e-3), ("fp8", 2e-2), ("int8", 0.0)):
        case = gemm(element)
        (make,) = build(pool, case, 1)
        work = make()
        found = work.functions[0]().double()
        inputs = pool.view("bf16" if element in ("fp8", "int8") else element, 32, 64)
        weights = pool.view(element, 48, 64)
        expected = inputs.to(weights.dtype).double() @ weights.double().t()
        assert torch.allclose(found, expected, rtol=tolerance, atol=10 * tolerance), element


@needs_torch
@pytest.mark.parametrize("context", [0, 24])
def test_prefill_sees_its_prior_context_and_nothing_later(pool: Pool, context: int) -> None:
    torch = pool.torch
    case = attention_case("prefill_attention", "bf16", HEADS, 2, 8, context)
    work = build(pool, case, 1)[-1]()
    found = work.functions[0]().double()
    held = context + 8
    query = pool.view("bf16", 2, 8, 4, 16).transpose(1, 2).double()
    keys, values = pool.view("bf16", 2, 2, held, 2, 16).transpose(2, 3).double()
    keys, values = (each.repeat_interleave(2, 1) for each in (keys, values))
    scores = query @ keys.transpose(2, 3) / 4.0
    later = torch.arange(held)[None, :] > torch.arange(context, held)[:, None]
    expected = scores.masked_fill(later, float("-inf")).softmax(-1) @ values
    assert torch.allclose(found, expected, atol=3e-2)


@needs_torch
def test_decode_attends_to_the_whole_context(pool: Pool) -> None:
    torch = pool.torch
    case = attention_case("decode_attention", "bf16", HEADS, 3, 1, 40)
    found = build(pool, case, 1)[-1]().functions[0]().double()
    query = pool.view("bf16", 3, 1, 4, 16).transpose(1, 2).double()
    keys, values = pool.view("bf16", 2, 3, 40, 2, 16).transpose(2, 3).double()
    keys, values = (each.repeat_interleave(2, 1) for each in (keys, values))
    expected = (query @ keys.transpose(2, 3) / 4.0).softmax(-1) @ values
    assert torch.allclose(found, expected, atol=3e-2)


@needs_torch
@pytest.mark.parametrize("arrays", [2, 3])
def test_streams_move_the_bytes_they_say(pool: Pool, arrays: int) -> None:
    case = Case("stream", "bf16", (("bytes", arrays * 4096),))
    work = build(pool, case, 1)[0]()
    out = work.functions[0]()
    inputs = pool.views("bf16", (2048,), arrays - 1)
    assert arrays * out.numel() * out.element_size() == case["bytes"]
    assert pool.torch.equal(out, sum(inputs[1:], inputs[0]))


@needs_torch
def test_copies_of_the_cold_operand_do_not_overlap(pool: Pool) -> None:
    views = pool.views("bf16", (3, 5), 4)
    addresses = [view.data_ptr() for view in views]
    assert len({view.sum().item() for view in views}) == 4
    assert all(b - a >= 15 * 2 for a, b in pairwise(addresses))
    assert len(build(pool, gemm(), 4)[0]().functions) == 4


@needs_torch
def test_operands_are_random_and_the_same_each_time() -> None:
    one, two = (Pool(load_torch(), "cpu", seed=7).view("bf16", 1000) for _ in range(2))
    assert load_torch().equal(one, two)
    assert 0.9 < one.double().std() < 1.1
    assert Pool(load_torch(), "cpu", seed=7).view("fp8", 100).double().std() > 0.5


@needs_torch
@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (gemm("fp8", n=50), "multiples of 16"),
        (gemm("int8", k=63), "multiples of 8"),
        (
            attention_case("decode_attention", "bf16", replace(HEADS, window_tokens=8), 1, 1, 64),
            "window",
        ),
    ],
)
def test_what_cannot_run_gives_a_reason(case: Case, reason: str) -> None:
    outcome = measure_case(TorchDevice("cpu"), case, HASTY)
    assert outcome.status == "unsupported"
    assert reason in outcome.detail


@needs_torch
def test_faults_of_pytorch_become_outcomes(monkeypatch: pytest.MonkeyPatch) -> None:
    device = TorchDevice("cpu")
    torch = device.torch

    def failing(error: Exception) -> None:
        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(torch, "mm", fail)

    failing(torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB\nmore"))
    outcome = measure_case(device, gemm(), HASTY)
    assert (outcome.status, outcome.detail) == (
        "out of memory",
        "CUDA out of memory. Tried to allocate 9 GiB",
    )
    failing(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"))
    assert measure_case(device, gemm(), HASTY).status in ("out of memory", "unsupported")
    failing(RuntimeError("expected scalar type"))
    assert measure_case(device, gemm(), HASTY).status == "unsupported"
    failing(RuntimeError("CUDA error: an illegal memory access was encountered"))
    with pytest.raises(MicrobenchError, match=r"the device failed.*run again"):
        measure_case(device, gemm(), HASTY)


@needs_torch
def test_a_device_that_is_not_there_is_said() -> None:
    if load_torch().cuda.is_available():
        pytest.skip("this machine has an accelerator")
    with pytest.raises(MicrobenchError, match="--device cpu"):
        TorchDevice("cuda")
    assert TorchDevice("auto").kind == "cpu"


@pytest.mark.slow
@needs_torch
def test_two_processes_reduce_together() -> None:
    plan = Plan(operators=("all_reduce",), reduced_bytes=(1024, 4096), devices=(2,))
    cases = list(all_reduce_cases(plan))
    outcomes = list(measure_all_reduce("cpu", cases, HASTY))
    assert [outcome.case for outcome in outcomes] == cases
    assert all(outcome.sample is not None for outcome in outcomes), outcomes
    assert all("Gloo" in outcome.detail for outcome in outcomes)


@pytest.mark.slow
@needs_torch
def test_a_rank_that_fails_stops_the_measurement_with_its_reason() -> None:
    cases = [Case("all_reduce", "bf16", (("devices", 2), ("bytes", -8)))]
    with pytest.raises(MicrobenchError, match="all-reduce over 2 devices failed"):
        list(measure_all_reduce("cpu", cases, HASTY))


def reference(
    out: Any,
    query: Any,
    key: Any,
    value: Any,
    cu_seq_q: Any,
    cu_seq_k: Any,
    max_q: int,
    max_k: int,
    *,
    window_size: tuple[int, int],
    enable_gqa: bool,
    seqused_k: Any = None,
    block_table: Any = None,
) -> None:
    """Do what PyTorch's flash attention is documented to do, one sequence at a time."""
    torch = load_torch()
    for at in range(len(cu_seq_q) - 1):
        rows = slice(int(cu_seq_q[at]), int(cu_seq_q[at + 1]))
        if block_table is None:
            held = slice(int(cu_seq_k[at]), int(cu_seq_k[at + 1]))
            keys, values = key[held], value[held]
        else:
            pages, used = block_table[at].long(), int(seqused_k[at])
            keys, values = (each[pages].flatten(0, 1)[:used] for each in (key, value))
        assert len(keys) == max_k
        assert rows.stop - rows.start == max_q
        assert enable_gqa == (query.shape[1] != keys.shape[1])
        group = query.shape[1] // keys.shape[1]
        q, k, v = (
            each.transpose(0, 1).double()
            for each in (query[rows], *(x.repeat_interleave(group, 1) for x in (keys, values)))
        )
        position = torch.arange(max_k - max_q, max_k)[:, None]
        distance = position - torch.arange(max_k)[None, :]
        hidden = distance < 0
        if window_size[0] >= 0:
            hidden |= distance > window_size[0]
        scores = (q @ k.transpose(1, 2)) / q.shape[-1] ** 0.5
        attended = scores.masked_fill(hidden, float("-inf")).softmax(-1) @ v
        out[rows] = attended.transpose(0, 1).to(out.dtype)


@pytest.fixture
def flash(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Put the reference in place of PyTorch's kernel; return the outputs that it writes."""
    varlen = pytest.importorskip("torch.nn.attention.varlen", reason="PyTorch is not installed")
    if not hasattr(varlen, "varlen_attn_out"):
        pytest.skip("this PyTorch has no varlen_attn_out")
    real, written = inspect.signature(varlen.varlen_attn_out), []

    def attend(
        *arguments: Any, seqused_k: Any = None, block_table: Any = None, **options: Any
    ) -> None:
        if block_table is not None:
            options |= {"seqused_k": seqused_k, "block_table": block_table}
        real.bind(*arguments, **options)  # as PyTorch would take it
        reference(*arguments, **options)
        written.append(arguments[0])

    monkeypatch.setattr("planner.microbench.torch_kernels._flash", lambda _: attend)
    return written


@needs_torch
@pytest.mark.parametrize("context", [0, 24])
def test_flash_prefill_agrees_with_sdpa(pool: Pool, flash: list[Any], context: int) -> None:
    case = attention_case("prefill_attention", "bf16", HEADS, 2, 8, context)
    fast, plain = (make() for make in build(pool, case, 1))
    fast.functions[0]()
    expected = plain.functions[0]()  # sequences, heads, tokens, head
    found = flash[-1].view(2, 8, 4, 16).transpose(1, 2)
    assert pool.torch.allclose(found.double(), expected.double(), atol=3e-2)
    assert "contiguous" in fast.source


@needs_torch
def test_paged_decode_reads_the_pages_of_its_table(pool: Pool, flash: list[Any]) -> None:
    case = attention_case("decode_attention", "bf16", HEADS, 3, 1, 700)
    work = build(pool, case, 1)[0]()
    work.functions[0]()
    assert "paged, 256 tokens a page" in work.source
    assert flash[-1].shape == (3, 4, 16)
    assert pool.torch.isfinite(flash[-1]).all()
    assert len({float(row.double().sum()) for row in flash[-1]}) == 3


@needs_torch
def test_windows_reach_the_kernel(pool: Pool, flash: list[Any]) -> None:
    outputs = []
    for window in (0, 16):
        heads = replace(HEADS, window_tokens=window)
        for operator, new in (("prefill_attention", 8), ("decode_attention", 1)):
            case = attention_case(operator, "bf16", heads, 1, new, 300)
            build(pool, case, 1)[0]().functions[0]()
            outputs.append(flash[-1])
    assert not pool.torch.equal(outputs[0], outputs[2])
    assert not pool.torch.equal(outputs[1], outputs[3])


@needs_torch
def test_flash_attention_is_not_tried_on_a_processor(pool: Pool) -> None:
    case = attention_case("decode_attention", "bf16", HEADS, 1, 1, 16)
    paged, _ = build(pool, case, 1)
    with pytest.raises(UnsupportedCaseError, match="accelerator"):
        paged()
