"""Settings of the engines in InferenceX runs, as its public launch scripts give them.

The rows of the published results do not carry them. Facts from `benchmarks/*.sh` of
github.com/SemiAnalysisAI/InferenceX (Apache-2.0), by model, engine and chip; the file is named at
each. Scripts changed over time: what is filled in here is the state that fits most rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from planner.measurements.point import Settings


@dataclass(frozen=True)
class Launch:
    """How one InferenceX script starts its server."""

    script: str
    kv_dtype: str = "bf16"
    activation_dtype: str | None = None
    settings: Settings = field(default_factory=Settings)
    remarks: tuple[str, ...] = ()


def launch_of(
    model: str, chip: str, engine: str, weight_dtype: str, load: tuple[int, int, int], tensor: int
) -> Launch | None:
    """Return how the system was started; None if no script is known.

    Args:
        model, chip, engine, weight_dtype: names in the catalogue and of a scenario.
        load: concurrency, nominal prompt tokens, nominal output tokens.
        tensor: devices that the attention heads are split over.
    """
    match model, engine, chip:
        case "llama-3.1-70b", "vllm", "h200-sxm":
            return Launch("70b_fp8_h200_slurm.sh", "fp8", None, _vllm(load))
        case "llama-3.1-70b", "tensorrt-llm", "h200-sxm":
            return _llama_tensorrt(load, tensor)
        case "gpt-oss-120b", _, "h100-sxm" | "h200-sxm":
            return _gpt_oss(chip, engine, load)
        case "deepseek-r1", "tensorrt-llm", "h200-sxm" | "b200-sxm":
            return _deepseek_tensorrt(chip, weight_dtype, load, tensor)
        case "deepseek-r1", "sglang", "b200-sxm":
            return _deepseek_sglang(weight_dtype, tensor, load[0])
    return None


def _gpt_oss(chip: str, engine: str, load: tuple[int, int, int]) -> Launch | None:
    if engine == "vllm":
        arithmetic = "experts by Marlin: fp4 weights, 16-bit arithmetic"
        script = f"gptoss_fp4_{chip[:4]}.sh"
        return Launch(script, "bf16", "bf16", _vllm(load), (arithmetic,))
    if engine == "tensorrt-llm":
        arithmetic = "experts by Triton: fp4 weights, 16-bit arithmetic"
        settings = Settings(
            maximum_sequences=load[0],
            token_budget=20_000,
            memory_fraction=0.85,
            memory_fraction_of="free",
            prefix_cache=False,
        )
        script = f"gptoss_fp4_{chip[:4]}_trt.sh"
        return Launch(script, "bf16", "bf16", settings, (arithmetic, _streamed(20)))
    return None


def _vllm(load: tuple[int, int, int]) -> Settings:
    return Settings(load[0], 8192, 0.9, kv_block_tokens=16, prefix_cache=False)


def _streamed(steps: int) -> str:
    return f"the server streams every {steps} tokens: gaps between tokens are not measured"


def _llama_tensorrt(load: tuple[int, int, int], tensor: int) -> Launch:
    _, prompt, output = load
    remarks = [_streamed(10), "token budget taken as prompt + output + 200, the longest request"]
    settings = Settings(
        token_budget=prompt + output + 200,
        memory_fraction=0.9,
        memory_fraction_of="free",
        prefix_cache=False,
        hold_steps=20 if prompt == output == 1024 and tensor < 8 else None,
    )
    return Launch("70b_fp8_h200_trt_slurm.sh", "fp8", None, settings, tuple(remarks))


def _deepseek_tensorrt(
    chip: str, weight_dtype: str, load: tuple[int, int, int], tensor: int
) -> Launch:
    concurrency, prompt, output = load
    hold = None
    if tensor == 1:  # attention in data-parallel groups, which wait for each other's prompts
        hold = 60
    elif (chip, weight_dtype) == ("b200-sxm", "fp8") and prompt == output == 1024:
        hold = 40 if 64 <= concurrency < 256 else None
    settings = Settings(
        token_budget=max(8192, (concurrency + prompt + 64 + 63) // 64 * 64),
        memory_fraction=0.75 if chip == "h200-sxm" else 0.8,
        memory_fraction_of="free",
        prefix_cache=False,
        hold_steps=hold,
    )
    script = f"dsr1_{weight_dtype}_{chip[:4]}_trt.sh"
    return Launch(script, "fp8", None, settings, (_streamed(10),))


def _deepseek_sglang(weight_dtype: str, tensor: int, concurrency: int) -> Launch:
    settings = Settings(
        maximum_sequences=256 if weight_dtype == "fp4" else None,
        token_budget=16_384 if weight_dtype == "fp4" else 32_768,
        memory_fraction=0.85 if weight_dtype == "fp4" else 0.82,
        prefix_cache=False,
        stream_interval=10 if weight_dtype == "fp4" else 30,
        poll_steps=30 if concurrency >= 16 else 10,
    )
    if weight_dtype == "fp8" and tensor == 4:
        settings = replace(settings, token_budget=8192, memory_fraction=0.95, poll_steps=10)
    remark = _streamed(settings.stream_interval or 1)
    return Launch(f"dsr1_{weight_dtype}_b200.sh", "fp8", None, settings, (remark,))
