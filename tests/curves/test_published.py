"""The estimated tier against published measurements: a guard on orders of magnitude, not a fit.

Bounds are those of a first estimate from data sheets. Rows of one source form one group, and the
median over the group is judged.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from planner.catalog import Chip, Model
from planner.curves import Dtypes, Parallelism, StepTime, step_time
from planner.curves.engines import EngineOverhead
from planner.curves.library import CurveSet
from tests.curves.shapes import A100, BOX, DEEPSEEK_V3, H100, H200, LLAMA_2_70B, LLAMA_8B, QWEN_235B

VLLM = EngineOverhead("vllm", step_s=1e-3, sequence_s=5e-6)
TENSORRT_LLM = EngineOverhead("tensorrt-llm", step_s=0.5e-3, sequence_s=2e-6)
"""Estimates from before any fit. Their device time is that of the roofline alone."""


def roofline_time(
    model: Model,
    chip: Chip,
    parallelism: Parallelism,
    dtypes: Dtypes,
    host: EngineOverhead,
    token_budget: int = 8192,
) -> StepTime:
    """Return the step time without any curve: the tier `estimated`."""
    time = step_time(
        model,
        chip,
        BOX,
        parallelism,
        dtypes,
        token_budget=token_budget,
        engine=host.engine,
        curves=[CurveSet(chip.name, shipped=Path(__file__).parent / "no-such-folder")],
        overhead=host,
    )
    assert time.tier == "estimated"
    return time


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def llama_8b_on_h200() -> StepTime:
    return roofline_time(LLAMA_8B, H200, Parallelism(), Dtypes("fp8"), VLLM, token_budget=20_000)


def test_decode_surface_of_llama_8b_on_h200(shared_data: Path, llama_8b_on_h200: StepTime) -> None:
    """Dynamo's profile of vLLM: ITL by context and KV usage; concurrency is throughput · ITL."""
    errors = []
    for row in rows(shared_data / "microbench" / "dynamo_planner_h200" / "decode.csv"):
        measured_s = float(row["itl_ms"]) / 1e3
        sequences = round(float(row["throughput_tok_s_per_gpu"]) * measured_s)
        context = sequences * float(row["context_length"])
        errors.append(llama_8b_on_h200.step_s(sequences, sequences, context) / measured_s - 1)
    assert abs(median(errors)) < 0.15
    assert median(map(abs, errors)) < 0.2


def test_prefill_surface_of_llama_8b_on_h200(shared_data: Path, llama_8b_on_h200: StepTime) -> None:
    """TTFT of one prompt, from 3,000 tokens on: shorter ones are dominated by the API server."""
    errors = []
    for row in rows(shared_data / "microbench" / "dynamo_planner_h200" / "prefill.csv"):
        tokens = int(float(row["isl"]))
        if tokens > 3000:
            predicted_s = llama_8b_on_h200.step_s(tokens, work=tokens**2 / 2)
            errors.append(predicted_s / (float(row["ttft_ms"]) / 1e3) - 1)
    assert abs(median(errors)) < 0.2


@pytest.mark.parametrize(("name", "chip"), [("a100-80gb", A100), ("h100-80gb", H100)])
def test_prefill_of_llama_2_70b(shared_data: Path, name: str, chip: Chip) -> None:
    """Splitwise, tensor parallel 2: vLLM of 2023, whose decode steps are bound by its host code."""
    time = roofline_time(LLAMA_2_70B, chip, Parallelism(tensor=2), Dtypes(), VLLM)
    errors = []
    for row in rows(shared_data / "microbench" / "splitwise_sim" / "perf_model.csv"):
        group = (row["model"], row["hardware"], float(row["tensor_parallel"]))
        tokens, batch = int(row["prompt_size"]), int(row["batch_size"])
        if group == ("llama2-70b", name, 2) and batch == 1 and tokens >= 512:
            predicted_s = time.step_s(tokens, work=tokens**2 / 2)
            errors.append(predicted_s / (float(row["prompt_time"]) / 1e3) - 1)
    assert abs(median(errors)) < 0.3


def closed_loop_errors(
    path: Path, model: str, system: str, time: StepTime, parallel: str
) -> Iterator[float]:
    """Yield the error of TPOT where `concurrency` clients send one request after the other.

    In steady state every decode step carries concurrency / output prompts' worth of prefill.
    Lengths are 0.8 to 1 of nominal.
    """
    for row in rows(path):
        found = (row["model"], row["system"], row["parallel"], row["mode"])
        if found != (model, system, parallel, "agg") or not row["concurrency"]:
            continue
        clients = int(float(row["concurrency"]))
        prompt, output = 0.9 * float(row["isl"]), 0.9 * float(row["osl"])
        if prompt > 8192 or clients * (prompt + output) > 400_000:
            continue
        decode_s = time.step_s(clients, clients, clients * (prompt + output / 2))
        prefill_s = time.linear_s[int(prompt)] - time.linear_s[1] + time.prefill_s * prompt**2 / 2
        predicted_s = decode_s + clients / output * prefill_s
        yield predicted_s / (float(row["tpot_ms"]) / 1e3) - 1


@pytest.mark.parametrize(
    ("label", "model", "system", "chip", "parallelism", "parallel", "dtypes"),
    [
        (
            "meta-llama/Llama-3.1-8B-Instruct",
            LLAMA_8B,
            "h100_sxm",
            H100,
            Parallelism(tensor=2),
            "agg tp2 pp1 attn_dp1 moe_tp1 ep1",
            Dtypes(),
        ),
        (
            "Qwen/Qwen3-235B-A22B-FP8",
            QWEN_235B,
            "h100_sxm",
            H100,
            Parallelism(tensor=8, expert=8),
            "agg tp8 pp1 attn_dp1 moe_tp1 ep8",
            Dtypes("fp8", kv="fp8"),
        ),
        (
            "deepseek-ai/DeepSeek-R1",
            DEEPSEEK_V3,
            "h200_sxm",
            H200,
            Parallelism(tensor=8, expert=8),
            "agg tp8 pp1 attn_dp1 moe_tp1 ep8",
            Dtypes("fp8", kv="fp8"),
        ),
    ],
    ids=["llama-8b", "qwen3-235b", "deepseek-r1"],
)
def test_token_gaps_under_tensorrt_llm(
    shared_data: Path,
    label: str,
    model: Model,
    system: str,
    chip: Chip,
    parallelism: Parallelism,
    parallel: str,
    dtypes: Dtypes,
) -> None:
    time = roofline_time(model, chip, parallelism, dtypes, TENSORRT_LLM)
    path = shared_data / "e2e" / "inferencex_silicon.csv"
    errors = list(closed_loop_errors(path, label, system, time, parallel))
    assert len(errors) >= 10
    assert abs(median(errors)) < 0.25
    assert median(map(abs, errors)) < 0.3
