"""Per-request timings of vLLM, as LLMServingSim publishes them: a `*_requests.jsonl` per run.

Each line has `input_toks`, `output_toks`, and on one clock `queued_ts`, `first_token_ts` and
`last_token_ts`; a `*_meta.json` beside it has the engine's arguments and, in newer runs, the number
of KV blocks. The arrivals are replayed as they were queued, and latencies count from there, as in
the summary that the source publishes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from planner.curves.layout import Parallelism
from planner.errors import did_you_mean, shown
from planner.measurements.documents import Document, documents
from planner.measurements.lengths import Empirical
from planner.measurements.point import MeasurementError, Settings
from planner.measurements.protocol import Replay
from planner.measurements.reading import Measurements, Reading

CITATION: Final = "github.com/casys-kaist/LLMServingSim at 5daddb21, bench/examples"
LICENCE: Final = "MIT"

_SUFFIX: Final = "_requests.jsonl"
_CHIPS: Final = {"RTX4090": "rtx-4090", "RTXPRO6000": "rtx-pro-6000", "H100": "h100-sxm"}
_MODELS: Final = {
    "meta-llama/Llama-3.1-8B": "llama-3.1-8b",
    "Qwen/Qwen3-30B-A3B-Instruct-2507": "qwen3-30b-a3b",
    "Qwen/Qwen3-32B": "qwen3-32b",
}
_DTYPES: Final = {"bfloat16": "bf16", "float16": "fp16", "auto": "bf16", "fp8": "fp8"}
_BLOCK_TOKENS: Final = 16
_MEMORY_FRACTION: Final = 0.9


def read_vllm_requests(path: Path) -> Measurements:
    """Read one run, or every run of a folder; see the module.

    Raises:
        MeasurementError: faults, each with its file and line.
    """
    runs = sorted(path.glob(f"*{_SUFFIX}")) if path.is_dir() else [path]
    if not runs:
        raise MeasurementError(f"{path}: holds no file *{_SUFFIX}; give the folder that does")
    found = Measurements(())
    for run in runs:
        found += _read_run(run)
    return found


def _read_run(path: Path) -> Measurements:
    if not path.name.endswith(_SUFFIX) or "_" not in path.name.removesuffix(_SUFFIX):
        raise MeasurementError(f"{path}: name it CHIP_MODEL{_SUFFIX}, beside CHIP_MODEL_meta.json")
    meta_reading = Reading(path.with_name(path.name.removesuffix(_SUFFIX) + "_meta.json"))
    meta = next(documents(meta_reading), None) or Document(meta_reading, 1, {})
    reading = Reading(path)
    requests = [found for line in documents(reading) if (found := _request(line)) is not None]
    chip, model = path.name.split("_")[0], meta.text("model")
    if chip not in _CHIPS:
        reading.fault(0, "", f"unknown chip {shown(chip)} in the name; {_choices(chip, _CHIPS)}")
    if model not in _MODELS:
        meta.fault("model", f"unknown model {shown(model)}; {_choices(model, _MODELS)}")
    if requests and not reading.faults and not meta_reading.faults:
        _add(reading, meta, requests, (_CHIPS[chip], _MODELS[model]))
    reading.faults += meta_reading.faults
    return reading.done()


def _choices(name: str, choices: dict[str, str]) -> str:
    return did_you_mean(name, choices)


def _request(line: Document) -> tuple[float, float, float, int, int] | None:
    """Return queued, first and last token in seconds, prompt and output tokens; None if faulty."""
    times = [line.number(key) for key in ("queued_ts", "first_token_ts", "last_token_ts")]
    counts = [line.count(key) for key in ("input_toks", "output_toks")]
    queued, first, last = (math.nan if time is None else time for time in times)
    prompt, output = (count or 0 for count in counts)
    if not queued <= first <= last:
        line.fault("first_token_ts", "queued, first and last token are missing or out of order")
        return None
    if not prompt or not output:
        line.fault("output_toks", "a request needs at least one prompt and one output token")
        return None
    return queued, first, last, prompt, output


def _add(
    reading: Reading,
    meta: Document,
    requests: Sequence[tuple[float, float, float, int, int]],
    names: tuple[str, str],
) -> None:
    ordered = sorted(requests)
    origin_s = ordered[0][0]
    engine, cache = meta.part("engine_kwargs"), meta.part("kv_cache")
    blocks = cache.count("num_gpu_blocks")
    name = reading.path.name.removesuffix(_SUFFIX)
    assumptions = ["every request is sent when it was queued"]
    if blocks is None:
        assumptions.append("number of KV blocks not recorded: follows from memory")
    reading.add(
        0,
        id=name,
        source="vllm-requests",
        citation=f"{CITATION}, {name}",
        licence=LICENCE,
        date=meta.text("started_at")[:10],
        model=names[1],
        chip=names[0],
        engine="vllm",
        engine_version=meta.text("vllm_version"),
        parallelism=Parallelism(
            tensor=engine.count("tensor_parallel_size") or 1,
            data=engine.count("data_parallel_size") or 1,
        ),
        protocol=Replay(tuple(request[0] - origin_s for request in ordered)),
        prompt=Empirical(f"{name} prompts", tuple(request[3] for request in ordered)),
        output=Empirical(f"{name} outputs", tuple(request[4] for request in ordered)),
        paired=True,
        metrics=_metrics(ordered),
        weight_dtype=_DTYPES.get(engine.text("dtype"), "bf16"),
        kv_dtype=_DTYPES.get(engine.text("kv_cache_dtype"), "bf16"),
        settings=Settings(
            maximum_sequences=engine.count("max_num_seqs"),
            token_budget=engine.count("max_num_batched_tokens"),
            memory_fraction=cache.number("gpu_memory_utilization") or _MEMORY_FRACTION,
            kv_blocks=blocks,
            kv_block_tokens=cache.count("block_size") or _BLOCK_TOKENS,
            prefix_cache=True,
        ),
        assumptions=tuple(assumptions),
    )


def _metrics(requests: Sequence[tuple[float, float, float, int, int]]) -> dict[str, float]:
    times = {
        "ttft": [first - queued for queued, first, _, _, _ in requests],
        "tpot": [
            (last - first) / (output - 1) for _, first, last, _, output in requests if output > 1
        ],
        "e2e": [last - queued for queued, _, last, _, _ in requests],
    }
    found = {}
    for name, values in times.items():
        if not values:
            continue
        ordered = sorted(values)
        found[f"{name}_mean_s"] = math.fsum(ordered) / len(ordered)
        for share in (50, 90, 95, 99):
            found[f"{name}_p{share}_s"] = _percentile(ordered, share / 100)
    span_s = max(request[2] for request in requests) - requests[0][0]
    outputs, prompts = (sum(request[i] for request in requests) for i in (4, 3))
    found |= {
        "output_tps": outputs / span_s,
        "total_tps": (outputs + prompts) / span_s,
        "request_rps": len(requests) / span_s,
    }
    return found


def _percentile(ordered: Sequence[float], share: float) -> float:
    """Return the linearly interpolated quantile, as numpy and the source define it."""
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])
