"""A sound point, the deployment that benchmark files lack, and rows of long tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from planner.curves.layout import Parallelism
from planner.measurements import ClosedLoop, Deployment, Fixed, Point, Uniform
from planner.measurements.llm_inference_bench import COLUMNS as LONG

DEPLOYMENT = Deployment("llama-3.1-8b", "h100-sxm", "vllm", "0.11.0", Parallelism(tensor=2))


def point(**changes: Any) -> Point:
    """Return a sound point with some fields changed."""
    values: dict[str, Any] = {
        "id": "p1",
        "source": "invented",
        "citation": "nowhere",
        "licence": "CC0-1.0",
        "date": "2026-03",
        "model": "llama-3.1-8b",
        "chip": "h100-sxm",
        "engine": "vllm",
        "parallelism": Parallelism(tensor=2),
        "protocol": ClosedLoop(8, 80),
        "prompt": Uniform(800, 1000),
        "output": Fixed(101),
        "metrics": {"ttft_mean_s": 0.1, "tpot_mean_s": 0.009},
    }
    return Point(**{**values, **changes})


BENCH = dict.fromkeys(LONG, "") | {
    "source": "LLM-Inference-Bench",
    "model": "meta-llama/Llama-2-7b-hf",
    "hardware": "AMD MI300X GPU",
    "n_chips": "2",
    "tp": "2",
    "pp": "1",
    "precision_weights": "fp16/bf16",
    "precision_kv": "same as weights",
    "engine": "vLLM",
    "isl": "128",
    "osl": "128",
    "concurrency_or_rate": "batch=16",
    "metric": "static_batch_e2e_latency",
    "value": "2",
    "unit": "s",
    "citation": "argonne-lcf/LLM-Inference-Bench@4211f5d4:Plots/All_results.csv",
}
"""A row of the tables that have one metric in each row."""


def table(columns: tuple[str, ...], *rows: Mapping[str, str]) -> str:
    """Return a CSV text."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
