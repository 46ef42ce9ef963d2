"""Make the shipped tables of speculation and quantisation from the collected measurements.

::

    python derive_tables.py FOLDER_WITH_micro_*.csv FOLDER_FOR_TABLES

The sources are collections of published figures, one citation per row. This script brings names to
those of the catalogue, pairs each score with its baseline, merges repeats, drops what is known to
be wrong (each time with the reason beside the code), and writes one compact table per subject.
"""

from __future__ import annotations

import csv
import re
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from planner.curves.tables import family_of, plain_model

Row = Mapping[str, object]
BLOG = "vllm-project/vllm-project.github.io@c3a01c4:_posts/"
ANGELSLIM = "Tencent/AngelSlim@67394ce:docs/source/performance/"

LICENCES = (
    ("SemiAnalysisAI/InferenceX", "Apache-2.0"),
    ("hemingkx/Spec-Bench", "Apache-2.0"),
    ("NVIDIA/TensorRT-Model-Optimizer", "Apache-2.0"),
    ("InternLM/lmdeploy", "Apache-2.0"),
    ("IST-DASLab/marlin", "Apache-2.0"),
)
"""Beginning of a citation, and the licence of its source; the rest are facts, cited."""

DATES = (("arXiv:2503.01840", "2025-03"), ("arXiv:2408.11049", "2024-08"))


def main(arguments: list[str]) -> None:
    """Write the four tables; SystemExit with the usage if the arguments are not two folders."""
    if len(arguments) != 2 or not all(Path(folder).is_dir() for folder in arguments):
        raise SystemExit(__doc__)
    source, target = map(Path, arguments)
    speculation = _read(source / "micro_spec_decode.csv")
    _write(target / "acceptance.csv", acceptance_rows(speculation))
    _write(target / "acceptance_speedup.csv", speedup_rows(speculation))
    _write(target / "quality.csv", quality_rows(_read(source / "micro_quant_accuracy.csv")))
    gemm = _read(source / "micro_gemm_quant_speedup_by_batch.csv")
    _write(target / "quantization_gemm.csv", gemm_rows(gemm))


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _write(path: Path, rows: Iterable[Row]) -> None:
    listed = list(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(listed[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(listed)


def _provenance(citation: str, tier: str = "measured") -> dict[str, str]:
    licence = next((name for start, name in LICENCES if citation.startswith(start)), "fact")
    date = next((day for start, day in DATES if citation.startswith(start)), "")
    if posted := re.search(r"_posts/(\d{4}-\d{2}-\d{2})-", citation):
        date = posted[1]
    return {"source": citation, "date": date, "licence": licence, "tier": tier}


def _number(value: float, digits: int = 4) -> str:
    return f"{round(value, digits):g}"


# --- speculation ---------------------------------------------------------------------------------

METHODS = {
    "MTP": "mtp",
    "EAGLE3": "eagle3",
    "EAGLE-3": "eagle3",
    "Eagle3": "eagle3",
    "EAGLE3.1": "eagle3",
    "EAGLE3 BF16 draft": "eagle3",
    "EAGLE3 FP8 draft": "eagle3",
    "DSpark": "dspark",
    "P-EAGLE": "p-eagle",
    "P-EAGLE vs EAGLE-3": "p-eagle",
    "PLD": "n-gram",
    "n-gram": "n-gram",
    "SpS": "draft-model",
    "draft model Qwama-0.5B": "draft-model",
}
"""The others are left out: tree drafts whose number of drafted tokens is not stated, research code
(Spec-Bench), and self-speculation."""

TASKS = {
    "coding thinking_on": "coding",
    "coding thinking_off": "coding",
    "Coding": "coding",
    "HumanEval": "coding",
    "SPEED-Bench": "coding",
    "SPEED-Bench coding": "coding",
    "math": "math",
    "Math": "math",
    "GSM8K": "math",
    "MT-bench": "chat",
    "MT-Bench": "chat",
    "multi-turn": "chat",
    "Alpaca": "chat",
    "ShareGPT": "chat",
    "summarization": "summarization",
    "Summarization": "summarization",
    "CNN/DailyMail": "summarization",
    "qa": "qa",
    "QA": "qa",
    "rag": "rag",
    "RAG": "rag",
    "translation": "translation",
    "Multilingual": "multilingual",
    "Reasoning": "reasoning",
    "STEM": "stem",
    "Humanities": "humanities",
    "Writing": "writing",
    "Roleplay": "roleplay",
    "1K/1K": "random",
    "overall": "mixed",
}
"""The others are left out: means over tasks also given one by one, and tasks on images and
speech."""


DRAFT_TOKENS = (
    ("AngelSlim docs", "Eagle3", "", 2, "2 drafted tokens, H20, vLLM 0.11.2: README there"),
    ("vLLM blog AMD EAGLE3", "EAGLE3", "MiniMax-M3", 3, "3 drafted tokens: command in the post"),
    ("vLLM blog EAGLE3.1", "EAGLE3.1", "", 3, "3 drafted tokens: command in the post"),
    ("Spec-Bench leaderboard", "PLD", "", 10, "10 drafted tokens: default of model/pld/pld.py"),
    ("Spec-Bench leaderboard", "SpS", "", 5, "5 drafted tokens at first, then adapted"),
)
"""Source, method, model and the draft length that its rows do not state, with where it stands."""


def _draft_tokens(row: Mapping[str, str]) -> tuple[int | None, str]:
    """Return the drafted tokens per step, and where the number comes from if not from the row."""
    if row["draft_tokens"]:
        return int(row["draft_tokens"]), ""
    for source, method, model, drafted, note in DRAFT_TOKENS:
        is_text = "-VL-" not in row["target_model"]  # those drafted 2 or 4: not stated which
        if (row["source"], row["method"]) == (source, method) and model in row["target_model"]:
            return (drafted, note) if is_text else (None, "")
    return None, ""


def acceptance_rows(rows: Iterable[Mapping[str, str]]) -> Iterator[Row]:
    """Yield one row per method, model, task, thinking and draft length, repeats averaged."""
    merged: dict[tuple[str, ...], list[float]] = {}
    notes: dict[tuple[str, ...], str] = {}
    for row in rows:
        method, task = METHODS.get(row["method"]), TASKS.get(row["task"])
        drafted, note = _draft_tokens(row)
        if row["metric"] != "acceptance_length" or not (method and task and drafted):
            continue
        thinking = row["task"].partition("thinking_")[2]
        # variants of one file (attention of the draft, rejection rule) and chips count as repeats
        citation = re.sub(r":golden_al_distribution/.*", ":golden_al_distribution", row["citation"])
        model = plain_model(row["target_model"])
        key: tuple[str, ...] = (method, model, task, thinking, f"{drafted:02d}", citation)
        merged.setdefault(key, []).append(float(row["value"]))
        notes[key] = note
    for key, values in sorted(merged.items()):
        method, model, task, thinking, drafted_text, citation = key
        yield {
            "method": method,
            "model": model,
            "family": family_of(model),
            "task": task,
            "thinking": thinking,
            "draft_tokens": int(drafted_text),
            "acceptance_length": _number(statistics.fmean(values)),
            "low": _number(min(values)),
            "high": _number(max(values)),
            "repeats": len(values),
            "unit": "tokens/step",
            **_provenance(citation),
            "note": notes[key],
        }


SPEEDUPS = {"speedup": "none", "speedup_vs_EAGLE3": "eagle3", "speedup_min": "none",
            "speedup_max": "none"}  # fmt: skip
"""Metric, and what the speed-up is over. `latency_speedup_total` is left out: it mixes a change of
engine and of weight format."""

MACHINES = {
    "GB200 TP4": ("gb200", 4),
    "B200": ("b200-sxm", 1),
    "4xH100": ("h100-sxm", 4),
    "H100 SGLang": ("h100-sxm", 1),
    "MI355X TP4": ("mi355x", 4),
    "vLLM, batch 1 (GPU not stated)": ("h20", 1),
}


def speedup_rows(rows: Iterable[Mapping[str, str]]) -> Iterator[Row]:
    """Yield measured speed-ups by concurrency."""
    listed = list(rows)
    yield from _angelslim_speedups(listed)
    for row in listed:
        method, task = METHODS.get(row["method"]), TASKS.get(row["task"])
        if row["metric"] not in SPEEDUPS or not method or not task:
            continue
        if row["hardware"] not in MACHINES:
            continue
        drafted, note = _draft_tokens(row)
        if method == "p-eagle":
            drafted, note = 7, "best draft length of each: 7 against 3, by the post"
        bound = row["metric"].removeprefix("speedup_") if "_m" in row["metric"] else ""
        yield _speedup_row(row, method, task, drafted, float(row["value"]), note or bound)


def _angelslim_speedups(rows: list[Mapping[str, str]]) -> Iterator[Row]:
    """Yield the ratios of throughput with and without drafts, one sequence at a time."""
    alone = {
        (row["target_model"], row["task"]): float(row["value"])
        for row in rows
        if row["method"] == "Vanilla" and row["metric"] == "throughput_tok_s"
    }
    for row in rows:
        key = (row["target_model"], row["task"])
        drafted, note = _draft_tokens(row)
        if row["method"] != "Eagle3" or row["metric"] != "throughput_tok_s" or not drafted:
            continue
        if (task := TASKS.get(row["task"])) and key in alone:
            yield _speedup_row(row, "eagle3", task, drafted, float(row["value"]) / alone[key], note)


def _speedup_row(
    row: Mapping[str, str], method: str, task: str, drafted: int | None, value: float, note: str
) -> Row:
    chip, devices = MACHINES[row["hardware"]]
    concurrency = row["batch_or_conc"] if row["batch_or_conc"].isdigit() else ""
    load = "" if concurrency else row["batch_or_conc"].split(" (")[0]
    model = plain_model(row["target_model"])
    return {
        "method": method,
        "model": model,
        "family": family_of(model),
        "chip": chip,
        "tensor_parallel": devices,
        "engine": "sglang" if "SGLang" in row["hardware"] else "vllm",
        "draft_tokens": drafted or "",
        "concurrency": concurrency,
        "load": load,
        "task": task,
        "over": SPEEDUPS.get(row["metric"], "none"),
        "speedup": _number(value),
        "unit": "ratio",
        **_provenance(row["citation"]),
        "note": note,
    }


# --- quality -------------------------------------------------------------------------------------

PRECISIONS = {
    "FP8-Static": ("weights", "fp8"),
    "FP8-Dynamic": ("weights", "fp8"),
    "fp8": ("weights", "fp8"),
    "INT8-Dynamic": ("weights", "int8"),
    "INT4-GPTQ": ("weights", "int4"),
    "INT4-AWQ": ("weights", "int4"),
    "INT4-GPTAQ": ("weights", "int4"),
    "int4-awq": ("weights", "int4"),
    "int4 g128": ("weights", "int4"),
    "W4A8-FP8": ("weights", "int4_fp8"),
    "w4a8-awq": ("weights", "int4_fp8"),
    "NVFP4": ("weights", "fp4"),
    "kv int8": ("kv", "int8"),
    "kv int4": ("kv", "int4"),
}
"""Left out: `-ViT`, which quantises an image encoder too."""

BASELINES = ("BF16", "fp16", "kv fp16", "FP8-Block-Wise")
"""FP8-Block-Wise is how DeepSeek-R1 was published."""

BENCHMARKS = {
    "ceval": "knowledge",
    "mmlu": "knowledge",
    "mmlu_redux": "knowledge",
    "simpleqa": "knowledge",
    "triviaqa": "knowledge",
    "gsm8k": "math",
    "gsm8k-strict": "math",
    "gsm8k-flexible": "math",
    "aime 2024": "math",
    "aime25": "math",
    "humaneval": "coding",
    "livecodebench": "coding",
    "gpqa diamond": "reasoning",
    "gpqa_diamond": "reasoning",
    "mmmu_val": "vision",
    "docvqa_val": "vision",
    "chartqa_test": "vision",
}

_FP8_CACHE = BLOG + "2026-04-22-fp8-kvcache.md"
FP8_CACHE = (
    ("llama-3.3-70b", "mrcr to 128k, area under curve", "long_context", 0.975),
    ("qwen3-30b-a3b", "mrcr to 256k, area under curve, Hopper", "long_context", 0.94),
    ("qwen3-30b-a3b", "mrcr to 256k, area under curve, Blackwell", "long_context", 0.93),
    ("qwen3-30b-a3b", "lowest of aime25, gpqa, math500, livecodebench", "reasoning", 0.97),
    ("qwen3.5-27b", "lowest of aime25, gpqa, math500, livecodebench", "reasoning", 0.99),
    ("qwen3.5-27b", "mrcr to 1M, area under curve", "long_context", 1.0),
)
"""Recovery that the post states in words for 16-bit weights with an uncalibrated FP8 cache and FP8
attention; of the reasoning benchmarks it names only the lowest."""


def quality_rows(rows: Iterable[Mapping[str, str]]) -> Iterator[Row]:
    """Yield one row per evaluation of a quantised variant, beside its own baseline."""
    baseline: dict[tuple[str, str, str], tuple[str, float]] = {}
    seen: set[tuple[str, ...]] = set()
    for row in rows:
        # the source lists table after table: the baseline is the last one above
        place = (row["source"], row["model"], row["benchmark"])
        if row["precision"] in BASELINES:
            baseline[place] = (row["precision"], float(row["score"]))
            continue
        kind, precision = PRECISIONS.get(row["precision"], ("", ""))
        if not kind:
            continue
        reference: tuple[str, float | None]
        if row["benchmark"] == "MMLU loss %":
            retention, reference = 1.0 - float(row["score"]) / 100.0, ("BF16", None)
        elif place in baseline:
            reference = baseline[place]
            retention = float(row["score"]) / baseline[place][1]
        else:
            continue
        key = (*place, row["precision"], row["score"])
        if key in seen:  # some tables repeat the rows of others
            continue
        seen.add(key)
        name = "mmlu" if reference[1] is None else row["benchmark"].lower()
        score = (reference[1], row["score"]) if reference[1] is not None else ("", "")
        yield {
            **_evaluated(row["model"], kind, precision, row["precision"], name, BENCHMARKS[name]),
            "baseline": reference[0],
            "baseline_score": score[0],
            "score": score[1],
            "retention": _number(retention),
            "unit": "ratio",
            **_provenance(row["citation"]),
        }
    for model, name, family, retention in FP8_CACHE:
        yield {
            **_evaluated(model, "kv", "fp8", "kv fp8 + fp8 attention", name, family),
            "baseline": "BF16",
            "baseline_score": "",
            "score": "",
            "retention": _number(retention),
            "unit": "ratio",
            **_provenance(_FP8_CACHE),
        }


def _evaluated(
    model: str, kind: str, precision: str, variant: str, benchmark: str, family: str
) -> Row:
    return {
        "model": plain_model(model),
        "family": family_of(model),
        "kind": kind,
        "precision": precision,
        "variant": variant,
        "benchmark": benchmark,
        "benchmark_family": family,
    }


# --- matrix products -----------------------------------------------------------------------------

CHIPS = {
    "a100_sxm": "a100-sxm",
    "l40s": "l40s",
    "h100_sxm": "h100-sxm",
    "h200_sxm": "h200-sxm",
    "b200_sxm": "b200-sxm",
    "b300_sxm": "b300-sxm",
    "gb200": "gb200",
    "gb200_sxm": "gb200",
    "gb300": "gb300",
}
"""The others are not in the catalogue."""
ENGINES = {"trtllm": "tensorrt-llm", "sglang": "sglang", "vllm": "vllm"}
GEMM_DTYPES = {
    "fp8": "fp8",
    "fp8_block": "fp8_block",
    "nvfp4": "fp4",
    "sq": "int8",
    "int8_wo": "int8_wo",
    "int4_wo": "int4_wo",
    "awq": "int4_wo",
}
"""fp8_static is left out: within 4% of fp8 with TensorRT-LLM, 8% above it in the mean on L40S with
SGLang."""

FALLBACK = 0.3
"""Below this speed-up the engine must have run a fallback kernel; such rows say so."""
TOKENS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)


def _is_bogus(rows: list[Mapping[str, str]]) -> bool:
    """Tell a series that stands for no measurement: within 1% of 1 at every number of tokens.

    So are three of `h100_sxm sglang 0.5.1.post1` and `gptq` of `vllm 0.11.0`: the bf16 kernel ran.
    """
    return all(abs(float(row["median_speedup_vs_bf16"]) - 1.0) < 0.01 for row in rows)


def _release(version: str) -> tuple[tuple[int, ...], bool, str]:
    """Return a key that sorts versions by age, release candidates before the release."""
    numbers = re.findall(r"\d+", version.partition("rc")[0].partition(".post")[0])
    return tuple(map(int, numbers)), "rc" not in version, version


def gemm_rows(rows: Iterable[Mapping[str, str]]) -> Iterator[Row]:
    """Yield the newest median speed-up over bf16, with the range over versions."""
    series: dict[tuple[str, str, str, str], dict[str, list[Mapping[str, str]]]] = {}
    for row in rows:
        chip, dtype = CHIPS.get(row["system"]), GEMM_DTYPES.get(row["dtype"])
        if chip and dtype:
            key = (chip, ENGINES[row["backend"]], dtype, row["dtype"])
            series.setdefault(key, {}).setdefault(row["version"], []).append(row)
    for (chip, engine, dtype, _), versions in sorted(series.items()):
        kept = {version: own for version, own in versions.items() if not _is_bogus(own)}
        if not kept:
            continue
        newest = max(kept, key=_release)
        by_version = {
            version: {int(row["m_tokens"]): row for row in own} for version, own in kept.items()
        }
        for tokens in TOKENS:
            if tokens not in by_version[newest]:
                continue
            row = by_version[newest][tokens]
            values = [
                float(table[tokens]["median_speedup_vs_bf16"])
                for table in by_version.values()
                if tokens in table
            ]
            yield {
                "chip": chip,
                "engine": engine,
                "dtype": dtype,
                "tokens": tokens,
                "speedup": row["median_speedup_vs_bf16"],
                "low": _number(min(values)),
                "high": _number(max(values)),
                "unit": "ratio",
                "version": newest,
                "versions": len(values),
                "shapes": row["n_shapes"],
                "source": f"ai-dynamo/aiconfigurator kernel tables, {row['db'].split(' ', 1)[1]}",
                "date": "",
                "licence": "Apache-2.0",
                "tier": "measured",
                "note": _gemm_note(row),
            }


def _gemm_note(row: Mapping[str, str]) -> str:
    if row["dtype"] == "awq":
        return "AWQ kernel, not Marlin"
    slow = float(row["median_speedup_vs_bf16"]) < FALLBACK
    return "so slow for few or many tokens that it must be a fallback kernel" if slow else ""


if __name__ == "__main__":
    main(sys.argv[1:])
