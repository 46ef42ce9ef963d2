"""InferenceX and NVIDIA silicon points, as collected in aiconfigurator's `silicon_sample.csv`.

Two origins with two protocols. InferenceX (public): random tokens, lengths uniform in [0.8, 1.0]
of the nominal ones, end-of-sequence ignored, no prefix cache, 10 × concurrency requests of which
the first `concurrency` come at once. NVIDIA's own runs do not say how they were driven; a closed
loop of fixed lengths is assumed and flagged.

Defects of the source, and what is done: rows that count devices twice carry a corrected `n_gpus`,
which is taken; multi-token prediction is not marked, so DeepSeek rows whose repeats differ by more
than 20% are flagged; disaggregated rows mostly lack the numbers of workers, which stay unknown.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from planner.curves.layout import Parallelism
from planner.errors import did_you_mean, shown
from planner.measurements.inferencex_settings import launch_of
from planner.measurements.lengths import Fixed, Lengths, Uniform
from planner.measurements.point import Disaggregated, Settings
from planner.measurements.protocol import ClosedLoop
from planner.measurements.reading import Measurements, Reading, Row, csv_rows

COLUMNS: Final = (
    "id", "source", "model", "system", "backend", "backend_version", "precision", "mode",
    "parallel", "n_gpus", "n_gpus_note", "isl", "osl", "concurrency", "ttft_ms", "tpot_ms",
    "measured", "wip", "tpot_spread",
)  # fmt: skip

CITATION: Final = "github.com/ai-dynamo/aiconfigurator at 095f58a51c4c, silicon_sample.csv"
LICENCE: Final = "Apache-2.0"

_MODELS: Final = {
    "deepseek-ai/deepseek-r1": ("deepseek-r1", "fp8"),
    "nvidia/deepseek-r1-nvfp4": ("deepseek-r1", "fp4"),
    "nvidia/deepseek-v3.1-nvfp4": ("deepseek-v3", "fp4"),
    "qwen/qwen3-32b": ("qwen3-32b", "bf16"),
    "nvidia/qwen3-32b-nvfp4": ("qwen3-32b", "fp4"),
    "qwen/qwen3-235b-a22b-fp8": ("qwen3-235b-a22b", "fp8"),
    "meta-llama/llama-3.1-8b-instruct": ("llama-3.1-8b", "bf16"),
    "meta-llama/llama-3.1-70b": ("llama-3.1-70b", "bf16"),
    "openai/gpt-oss-120b": ("gpt-oss-120b", "fp4"),
}
"""Catalogue name and the format that the checkpoint has where no precision is given."""
_CHIPS: Final = {
    "h100_sxm": ("h100-sxm", 8),
    "h200_sxm": ("h200-sxm", 8),
    "b200_sxm": ("b200-sxm", 8),
    "gb200": ("gb200", 4),
}
"""Catalogue name and devices of a node."""
_ENGINES: Final = {"trtllm": "tensorrt-llm", "vllm": "vllm", "sglang": "sglang"}
_AGGREGATED: Final = re.compile(
    r"agg tp(?P<tensor>\d+) pp(?P<pipeline>\d+) attn_dp(?P<data>\d+) "
    r"moe_tp\d+ ep(?P<expert>\d+)\Z"
)
_SIDE: Final = r"(?P<{0}n>None|\d+)x\(tp(?P<{0}t>\d+),dp(?P<{0}d>\d+),ep(?P<{0}e>\d+)\)"
_DISAGGREGATED: Final = re.compile(f"disagg P:{_SIDE.format('p')} D:{_SIDE.format('d')}\\Z")
_SUSPICIOUS_SPREAD: Final = 1.2
_REQUESTS_PER_CLIENT: Final = 10
_LOWEST_SHARE: Final = 0.8


def read_inferencex(path: Path) -> Measurements:
    """Read the table of InferenceX and NVIDIA silicon points; see the module.

    Raises:
        MeasurementError: faults, each with its line.
    """
    reading = Reading(path)
    for row in csv_rows(reading, COLUMNS):
        _read_row(row)
    return reading.done()


def _read_row(row: Row) -> None:
    reading = row.reading
    known = _known_names(row)
    load = tuple(row.count(name) for name in ("concurrency", "isl", "osl"))
    times = {
        f"{name}_mean_s": value / 1e3
        for name in ("ttft", "tpot")
        if (value := row.number(f"{name}_ms")) is not None
    }
    layout = _layout_of(row)
    if known is None or layout is None:
        return
    concurrency, prompt, output = load
    if concurrency is None:
        if not row.text("concurrency"):
            reading.skip("the concurrency is not recorded")
        return
    if not prompt or not output:
        row.fault("isl" if not prompt else "osl", "needs a nominal length of at least 1 token")
        return
    model, chip, engine, weight_dtype = known
    parallelism, disaggregated = layout
    is_public = row.text("source").startswith("InferenceX")
    launch = (
        launch_of(
            model, chip, engine, weight_dtype, (concurrency, prompt, output), parallelism.tensor
        )
        if is_public and not disaggregated
        else None
    )
    assumptions = _assumptions(row, is_public)
    if launch:
        assumptions += (f"settings from InferenceX {launch.script}", *launch.remarks)
    else:
        assumptions += ("settings of the engine are not recorded; format of the cache assumed",)
    kv_dtype = launch.kv_dtype if launch else _usual_kv_dtype(engine, model, weight_dtype)
    reading.add(
        row.line,
        id=row.text("id"),
        source="inferencex" if is_public else "nvidia-silicon",
        citation=CITATION if not is_public else f"SemiAnalysis InferenceX, as in {CITATION}",
        licence=LICENCE,
        date=row.text("measured")[:10],
        model=model,
        chip=chip,
        engine=engine,
        engine_version=row.text("backend_version"),
        parallelism=parallelism,
        protocol=ClosedLoop(concurrency, _REQUESTS_PER_CLIENT * concurrency),
        prompt=_lengths(prompt, is_public),
        output=_lengths(output, is_public),
        metrics=times,
        weight_dtype=weight_dtype,
        activation_dtype=launch.activation_dtype if launch else _usual_arithmetic(model, chip),
        kv_dtype=kv_dtype,
        devices_per_node=_CHIPS[row.text("system")][1],
        disaggregated=disaggregated,
        settings=launch.settings if launch else Settings(prefix_cache=False),
        flags=_flags(row, model, is_public, disaggregated),
        assumptions=assumptions,
    )


def _known_names(row: Row) -> tuple[str, str, str, str] | None:
    """Return model, chip, engine and weight format; None for a skip or a fault, which is noted."""
    model, chip = row.text("model").lower(), row.text("system")
    engine, precision = row.text("backend"), row.text("precision")
    if engine not in _ENGINES:
        row.fault("backend", f"unknown engine {shown(engine)}; {did_you_mean(engine, _ENGINES)}")
        return None
    if precision not in ("", "bf16", "fp8", "fp4"):
        row.fault("precision", f"{shown(precision)} is none of bf16, fp8, fp4, or empty")
        return None
    if model not in _MODELS:
        row.reading.skip(f"model {row.text('model')} is not mapped to the catalogue")
        return None
    if chip not in _CHIPS:
        row.reading.skip(f"chip {chip} is not mapped to the catalogue")
        return None
    name, published = _MODELS[model]
    # gpt-oss exists with fp4 experts only: "fp8" there is the arithmetic or the cache
    weight_dtype = published if name == "gpt-oss-120b" else precision or published
    return name, _CHIPS[chip][0], _ENGINES[engine], weight_dtype


def _layout_of(row: Row) -> tuple[Parallelism, Disaggregated | None] | None:
    text = row.text("parallel")
    try:
        if match := _AGGREGATED.match(text):
            return _aggregated(row, match), None
        if match := _DISAGGREGATED.match(text):
            disaggregated = _disaggregated(match)
            return disaggregated.decode, disaggregated
    except ValueError as error:
        row.fault("parallel", f"{shown(text)}: {error}")
        return None
    row.fault("parallel", f"{shown(text)} is not `agg tpN ppN attn_dpN moe_tpN epN` or `disagg …`")
    return None


def _aggregated(row: Row, match: re.Match[str]) -> Parallelism:
    tensor, pipeline, data = (int(match[name]) for name in ("tensor", "pipeline", "data"))
    expert = max(int(match["expert"]), 1)
    devices = row.count("n_gpus")
    if devices and tensor * data * pipeline != devices:
        # counted twice, as TP8 × EP8 for 8 devices: the split that is not 1 has them all
        if data > 1:
            data = devices // (tensor * pipeline)
        else:
            tensor = devices // pipeline
    found = Parallelism(tensor, pipeline, expert, data)
    if devices and found.devices != devices:
        raise ValueError(f"makes {found.devices} devices where n_gpus is {devices}")
    return found


def _disaggregated(match: re.Match[str]) -> Disaggregated:
    sides = [
        Parallelism(int(match[f"{s}t"]), 1, max(int(match[f"{s}e"]), 1), int(match[f"{s}d"]))
        for s in "pd"
    ]
    counts = [None if match[f"{s}n"] == "None" else int(match[f"{s}n"]) for s in "pd"]
    return Disaggregated(sides[0], sides[1], counts[0], counts[1])


def _lengths(nominal: int, is_public: bool) -> Lengths:
    return Uniform(max(int(_LOWEST_SHARE * nominal), 1), nominal) if is_public else Fixed(nominal)


def _usual_kv_dtype(engine: str, model: str, weight_dtype: str) -> str:
    """Return the cache format where no script tells: fp8 where the engine or checkpoint sets it."""
    deepseek = model.startswith("deepseek") and engine == "tensorrt-llm"
    return "fp8" if deepseek or (weight_dtype == "fp4" and model != "gpt-oss-120b") else "bf16"


def _usual_arithmetic(model: str, chip: str) -> str | None:
    """Return the arithmetic where it is not that of the weights: Hopper has none for fp4."""
    return "bf16" if model == "gpt-oss-120b" and chip.startswith("h") else None


def _assumptions(row: Row, is_public: bool) -> tuple[str, ...]:
    found = []
    if not row.text("precision"):
        found.append("precision is not recorded: taken as that of the checkpoint")
    if row.text("model") == "openai/gpt-oss-120b" and row.text("precision") == "fp8":
        found.append("weights are fp4, as the model is published; recorded as fp8")
    if not is_public:
        found.append("protocol is not recorded: closed loop, fixed lengths, 10 requests per client")
    if row.text("model") == "meta-llama/Llama-3.1-70B":
        found.append("some runs under this name are of Llama 3.3 70B, which has the same shape")
    return tuple(found)


def _flags(
    row: Row, model: str, is_public: bool, disaggregated: Disaggregated | None
) -> tuple[str, ...]:
    found = []
    if (row.number("tpot_spread") or 1.0) > _SUSPICIOUS_SPREAD:
        is_deepseek = model.startswith("deepseek")
        found.append(
            "multi-token prediction suspected" if is_deepseek else "repeats differ by over 20%"
        )
    if row.text("n_gpus_note").startswith("corrected"):
        found.append("device count corrected")
    if disaggregated and disaggregated.devices is None:
        found.append("numbers of workers unknown")
    if row.text("wip").lower() == "true":
        found.append("work in progress")
    if not is_public:
        found.append("protocol assumed")
    return tuple(found)
