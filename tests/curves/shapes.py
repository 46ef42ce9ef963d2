"""Models, chips and nodes with hand-checkable figures, independent of the catalogue files."""

from __future__ import annotations

from planner.catalog import (
    Attention,
    AttentionKind,
    Chip,
    Ffn,
    Figure,
    LayerRun,
    Model,
    Node,
    Source,
)

_SOURCE = Source("published configuration", "2026-11", "official")


def figure(value: float, unit: str = "") -> Figure:
    return Figure(float(value), unit, f"{value:g} {unit}", "test", "2026-11", "official")


def attention(queries: int, keys: int, width: int, window: int | None = None) -> Attention:
    kind: AttentionKind = "sliding" if window else "full"
    return Attention(kind, queries, keys, width, width, window_tokens=window)


def model(
    name: str,
    hidden: int,
    vocabulary: int,
    *runs: LayerRun,
    context: int = 131072,
    tied: bool = False,
) -> Model:
    unknown = figure(0, "parameters")
    return Model(
        name,
        name,
        hidden,
        vocabulary,
        context,
        tied,
        tuple(runs),
        unknown,
        unknown,
        "bf16",
        _SOURCE,
    )


LLAMA_8B = model(
    "llama-3.1-8b", 4096, 128256, LayerRun(32, attention(32, 8, 128), Ffn("dense", 14336))
)
LLAMA_70B = model(
    "llama-3.1-70b", 8192, 128256, LayerRun(80, attention(64, 8, 128), Ffn("dense", 28672))
)
LLAMA_2_70B = model(
    "llama-2-70b",
    8192,
    32000,
    LayerRun(80, attention(64, 8, 128), Ffn("dense", 28672)),
    context=4096,
)
QWEN_32B = model(
    "qwen3-32b", 5120, 151936, LayerRun(64, attention(64, 8, 128), Ffn("dense", 25600))
)
QWEN_235B = model(
    "qwen3-235b", 4096, 151936, LayerRun(94, attention(64, 4, 128), Ffn("moe", 1536, 128, 8))
)
GPT_OSS_120B = model(
    "gpt-oss-120b",
    2880,
    201088,
    LayerRun(18, attention(64, 8, 64, window=128), Ffn("moe", 2880, 128, 4)),
    LayerRun(18, attention(64, 8, 64), Ffn("moe", 2880, 128, 4)),
)
MLA = Attention(
    "mla",
    query_heads=128,
    kv_heads=128,
    head_dim=192,
    value_head_dim=128,
    q_lora_rank=1536,
    kv_lora_rank=512,
    qk_nope_head_dim=128,
    qk_rope_head_dim=64,
)
DEEPSEEK_V3 = model(
    "deepseek-v3",
    7168,
    129280,
    LayerRun(3, MLA, Ffn("dense", 18432)),
    LayerRun(58, MLA, Ffn("moe", 2048, 256, 8, 1, 2048)),
    context=163840,
)
LINEAR = Attention(
    "linear", 16, 32, 128, 128, state_bytes_per_sequence=32 * 128 * 128 * 4, output_gate=True
)
HYBRID = model(
    "hybrid",
    2048,
    32000,
    LayerRun(9, LINEAR, Ffn("moe", 512, 64, 4, 1, 512)),
    LayerRun(3, attention(16, 2, 256), Ffn("moe", 512, 64, 4, 1, 512)),
    tied=True,
)
MODELS = (LLAMA_8B, LLAMA_70B, QWEN_32B, QWEN_235B, GPT_OSS_120B, DEEPSEEK_V3, HYBRID)


def chip(
    name: str,
    teraflops: dict[str, float],
    memory_bytes: float,
    bandwidth: float,
    link: float | None,
    network: float | None = 50e9,
    domain: int = 8,
) -> Chip:
    return Chip(
        name=name,
        title=name,
        vendor="test",
        peak_flops={dtype: figure(value * 1e12, "FLOP/s") for dtype, value in teraflops.items()},
        memory_bytes=figure(memory_bytes, "B"),
        memory_bandwidth=figure(bandwidth, "B/s"),
        scale_up_domain=domain,
        scale_up_bandwidth=None if link is None else figure(link, "B/s"),
        scale_out_bandwidth=None if network is None else figure(network, "B/s"),
    )


_HOPPER = {"bf16": 989.0, "fp16": 989.0, "fp8": 1979.0, "int8": 1979.0}
H100 = chip("h100-sxm", _HOPPER, 80 * 2**30, 3.35e12, 450e9)
H200 = chip("h200-sxm", _HOPPER, 141e9, 4.8e12, 450e9)
A100 = chip("a100-sxm", {"bf16": 312, "fp16": 312, "int8": 624}, 80 * 2**30, 2.039e12, 300e9)
B200 = chip("b200-sxm", {"bf16": 2250, "fp8": 4500, "fp4": 9000}, 180e9, 8e12, 900e9)
RTX_4090 = chip("rtx-4090", {"bf16": 165.2, "fp8": 330.3}, 25_250_627_584, 1.008e12, None)
BOX = Node("box", "eight devices", "any", 8, "node", figure(10_200, "W"))
PAIR = Node("pair", "two devices", "any", 2, "node", figure(2_000, "W"))
