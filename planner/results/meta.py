"""What a table has to know about a class or a pool beside the numbers the kernel counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ObjectiveMeta:
    """A promise on a latency, as the scenario states it."""

    metric: str
    """`ttft`, `ttfat`, `tpot`, `itl`, `e2e` or `task_latency`."""
    percentile: float
    """Share in percent of requests (token gaps for `itl`, tasks for `task_latency`) that must keep
    the limit."""
    limit_s: float


@dataclass(frozen=True)
class ClassMeta:
    """A request class: the row order of `class_windows` and of the histograms."""

    name: str
    pool: str
    """The pool that it prefers."""
    overflow: tuple[str, ...] = ()
    """The pools that take what the first one cannot, in order."""
    priority: int = 0
    service: str = "interactive"
    """`interactive` or `batch`."""
    objectives: tuple[ObjectiveMeta, ...] = ()
    maximum_loss_rate: float = 0.001
    """Share of requests, rate-limited ones apart, that may be lost."""
    plan: str | None = None
    """Price plan; None earns nothing."""
    light_quality: float | None = None
    """Quality of the answers of the class's lighter model, as a share of its own model's; None: not
    stated, or there is no lighter model."""


@dataclass(frozen=True)
class PoolMeta:
    """A pool: the row order of `pool_windows`."""

    name: str
    model: str
    """Name of the model in the catalogue."""
    chip: str
    """Name of the chip in the catalogue."""
    node: str
    """Name of the node in the catalogue."""
    devices_per_node: int
    devices_per_replica: int
    kv_blocks: int
    """KV blocks of one replica."""
    kv_block_tokens: int
    maximum_sequences: int
    """Sequences per step of one replica."""
    parallelism: str = ""
    """As a reader writes it: `TP 4`, `TP 8 · PP 2`."""
    weight_dtype: str = ""
    tier: str = "estimated"
    """Tier of its step times: measured, fitted or estimated."""
    prefix_cache: bool = False
    kv_tiers: tuple[str, ...] = ()
    """Names of the tiers of its KV cache, the nearest first."""
    decode_pool: str = ""
    """The pool that decodes what this one prefills; empty: it does so itself."""
    acceptance: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Tokens that a step with drafts emits, by class; empty if it drafts nothing."""
