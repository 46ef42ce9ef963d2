"""GPUStack's performance lab: vLLM, SGLang and TensorRT-LLM by flag, mostly all requests at once.

Layout and settings are read from the serving command. Only totals of tokens are recorded, so every
request has the mean length. Runs of 100 short requests were not a flood: by Little's law some 3.9
were in flight, so a closed loop of 4 clients is taken.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from planner.curves.layout import Parallelism
from planner.errors import shown
from planner.measurements.lengths import Fixed
from planner.measurements.point import Settings
from planner.measurements.protocol import ClosedLoop, Flood, Protocol
from planner.measurements.reading import Measurements, Reading, Row, csv_rows

COLUMNS: Final = (
    "file", "section", "model", "hwtext", "engine", "prec", "serve", "n", "itok", "otok", "out",
    "tot", "ttft", "ttft99", "tpot", "tpot99", "itl", "rps",
)  # fmt: skip
CITATION: Final = "github.com/gpustack/gpustack at 47277d79, docs/performance-lab/{file}"
LICENCE: Final = "Apache-2.0"

_MODELS: Final = {
    "deepseek-ai/DeepSeek-R1-0528": "deepseek-r1",
    "GPT-OSS-120B": "gpt-oss-120b",
    "Qwen3-14B": "qwen3-14b",
    "Qwen3-32B": "qwen3-32b",
}
_CHIPS: Final = {"H200": "h200-sxm", "H100": "h100-sxm", "A100": "a100-sxm"}
_ENGINES: Final = {"vLLM": "vllm", "SGLang": "sglang", "TensorRT-LLM": "tensorrt-llm"}
_FORMATS: Final = {"bf16": "bf16", "fp8": "fp8", "mxfp4": "fp4", "awq-int4": "int4"}
_FLAGS: Final = {
    "tensor": r"(?:-tp|--tp|--tp-size|--tp_size|--tensor-parallel-size)",
    "pipeline": r"(?:-pp|--pp|--pp-size|--pp_size|--pipeline-parallel-size)",
    "expert": r"(?:--ep-size|--ep_size|--ep)",
    "token_budget": r"(?:--max-num-batched-tokens|--max_num_tokens|--chunked-prefill-size)",
    "maximum_sequences": r"(?:--max-num-seqs|--max_batch_size|--max-running-requests)",
}
_LAB_FILES_MIXED: Final = "latency"
"""Files whose commands were collected under the wrong headings."""
_FEW_REQUESTS, _SHORT_TOKENS, _FEW_CLIENTS = 100, 1000, 4


def read_gpustack(path: Path) -> Measurements:
    """Read the table of GPUStack's performance lab; see the module.

    Raises:
        MeasurementError: faults, each with its line.
    """
    reading = Reading(path)
    seen: set[tuple[str, ...]] = set()
    for row in csv_rows(reading, COLUMNS):
        results = tuple(row.text(name) for name in COLUMNS if name not in ("file", "section"))
        if row.text("file").endswith(_LAB_FILES_MIXED):
            reading.skip("settings of this file are not separable: speculation and caching mixed")
        elif row.text("model") not in _MODELS:
            reading.skip(f"model {row.text('model')} is not in the catalogue")
        elif results in seen:
            reading.skip("a result that stands under two headings")
        else:
            seen.add(results)
            _read(row)
    return reading.done()


def _read(row: Row) -> None:
    engine, weights = row.text("engine"), row.text("prec")
    chips = [chip for word, chip in _CHIPS.items() if word in row.text("hwtext")]
    if engine not in _ENGINES:
        row.fault("engine", f"unknown engine {shown(engine)}")
    if weights not in _FORMATS:
        row.fault("prec", f"unknown format {shown(weights)}")
    if not chips:
        row.fault("hwtext", f"names none of {', '.join(_CHIPS)}")
    requests, prompts, outputs = (row.count(name) for name in ("n", "itok", "otok"))
    metrics = _metrics(row)
    if engine not in _ENGINES or weights not in _FORMATS or not chips:
        return
    if not requests or not prompts or not outputs:
        row.fault("n", "needs requests, prompt and output tokens above 0")
        return
    prompt, output = round(prompts / requests), round(outputs / requests)
    protocol, assumptions = _protocol(requests, prompt)
    layout = _layout(row)
    if layout is None:
        return
    model, chip = _MODELS[row.text("model")], chips[0]
    weight_dtype = _FORMATS[weights]
    row.reading.add(
        row.line,
        id=f"{row.text('file')} {row.text('section')} {engine} :{row.line}",
        source="gpustack",
        citation=CITATION.format(file=row.text("file")),
        licence=LICENCE,
        date="2025",
        model=model,
        chip=chip,
        engine=_ENGINES[engine],
        parallelism=layout,
        protocol=protocol,
        prompt=Fixed(prompt),
        output=Fixed(output),
        metrics=metrics,
        weight_dtype=weight_dtype,
        activation_dtype="bf16" if weight_dtype == "fp4" or chip == "a100-sxm" else None,
        settings=_settings(row),
        flags=_flags(row),
        assumptions=(*assumptions, "lengths of requests not recorded: all taken as the mean"),
    )


def _protocol(requests: int, prompt_tokens: int) -> tuple[Protocol, tuple[str, ...]]:
    if requests <= _FEW_REQUESTS and prompt_tokens < _SHORT_TOKENS:
        inferred = f"closed loop of {_FEW_CLIENTS} clients inferred from the requests in flight"
        return ClosedLoop(_FEW_CLIENTS, requests), (inferred,)
    return Flood(requests), ()


def _stated(row: Row, name: str) -> int | None:
    found = re.search(_FLAGS[name] + r"[ =](\d+)", row.text("serve"))
    return int(found[1]) if found else None


def _layout(row: Row) -> Parallelism | None:
    tensor, pipeline = _stated(row, "tensor") or 1, _stated(row, "pipeline") or 1
    expert = tensor if "--enable-expert-parallel" in row.text("serve") else 1
    try:
        return Parallelism(tensor, pipeline, _stated(row, "expert") or expert)
    except ValueError as error:
        row.fault("serve", str(error))
        return None


def _settings(row: Row) -> Settings:
    return Settings(_stated(row, "maximum_sequences"), _stated(row, "token_budget"))


def _flags(row: Row) -> tuple[str, ...]:
    found = ["prefix cache not stated"]
    if "speculative" in row.text("serve"):
        found.append("speculative decoding")
    if "--enable-dp-attention" in row.text("serve"):
        found.append("data-parallel attention asked for without a size")
    return tuple(found)


def _metrics(row: Row) -> dict[str, float]:
    in_ms = {"ttft_mean_s": "ttft", "ttft_p99_s": "ttft99", "tpot_mean_s": "tpot"}
    in_ms |= {"tpot_p99_s": "tpot99", "itl_mean_s": "itl"}
    found = {name: row.number(column) for name, column in in_ms.items()}
    metrics = {name: value / 1e3 for name, value in found.items() if value is not None}
    rates = {"output_tps": "out", "total_tps": "tot", "request_rps": "rps"}
    stated = {name: row.number(column) for name, column in rates.items()}
    return metrics | {name: value for name, value in stated.items() if value is not None}
