"""What the explanation of a step says: its load, its operators, and the curves behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

HOST: Final = "host"
KINDS: Final = (
    "matrix products",
    "experts",
    "attention",
    "element-wise",
    "communication",
    HOST,
)
"""What the time of a step is divided into, in the order in which to show it."""


@dataclass(frozen=True)
class StepLoad:
    """The batch of one step of a replica."""

    phase: Literal["decode", "prefill"]
    tokens: int
    """n: of the step."""
    sequences: int
    """b: decoding."""
    context_tokens: int
    """C: of the decoding sequences, summed, those that the step writes included."""
    work: float
    """A: Σ chunk · (prior + chunk/2) [tokens²]."""
    typical_tokens: int
    """Context of one decoding sequence, or length of one prompt."""


@dataclass(frozen=True)
class OperatorTime:
    """One operator in one step, all its layers together, on one device."""

    name: str
    kind: str
    """One of `KINDS`."""
    seconds: float
    share: float
    """Of the step."""
    kernel_s: float
    """The same at the speed of separately measured kernels, before what the engine loses."""
    flops: float
    """Arithmetic; 0 for communication."""
    bytes: float
    """Memory traffic, or for communication what leaves the device."""
    intensity: float
    """FLOP per byte; NaN where nothing is read."""
    ridge: float
    """Intensity at which arithmetic and memory take equally long; NaN for communication."""
    bound: str
    """memory, compute or links: which of the two takes longer at the chip's peaks."""
    peak_share: float
    """Share of the peak that binds which is attained; NaN for communication."""
    tier: str
    basis: str
    """The curve, or that it is the roofline."""
    error: float
    """Mean absolute error of the curve on shapes left out of its fit; NaN without a curve. What the
    straight line that stands for an attention curve adds to it is not counted."""


@dataclass(frozen=True)
class StepAnatomy:
    """One step, taken apart."""

    load: StepLoad
    total_s: float
    """As the simulation counts it."""
    kinds: dict[str, float]
    """Seconds by `KINDS`; they add up to `total_s`."""
    operators: tuple[OperatorTime, ...]
    """Longest first. They add up to `total_s` less the host's time."""
    kernels_s: float
    """The operators at the speed of separately measured kernels."""
    attained_s: float
    """What the engine's attained rates add to that; below 0 where it is faster than them."""
    raised_s: float
    """What is added or taken so that a step of more tokens never takes less time, and none less
    than its memory traffic."""
    host_step_s: float
    """Host time per step."""
    host_sequences_s: float
    """Host time per decoding sequence, of all of them."""


@dataclass(frozen=True)
class CurveUse:
    """A curve that a replica is timed by."""

    operator: str
    dtype: str
    kv_dtype: str
    engine: str
    """Whose kernels were measured."""
    chip: str
    """That was measured; another than the replica's where that has no curves of its own."""
    version: str
    date: str
    source: str
    tier: str
    points: int
    """Timings used."""
    mape_in: float
    """Mean absolute error on the timings used."""
    mape_out: float
    """The same on shapes left out of the fit."""
    valid: dict[str, tuple[float, float]]
    """Measured range of each shape column."""
    outside: tuple[str, ...]
    """Columns of which the replica leaves the measured range: the fitted form extrapolates."""
    warnings: tuple[str, ...]
    """What the fit has to say against itself."""


@dataclass(frozen=True)
class ReplicaAnatomy:
    """One replica: steps of several sizes, and the curves behind them."""

    steps: tuple[StepAnatomy, ...]
    curves: tuple[CurveUse, ...]
    ridges: dict[str, float]
    """FLOP per byte at which the chip turns from memory to arithmetic, by format."""


def decode_load(sequences: int, context_tokens: int) -> StepLoad:
    """Return a step in which `sequences` sequences of `context_tokens` tokens each decode.

    >>> decode_load(8, 2048).context_tokens
    16384
    """
    total = sequences * context_tokens
    return StepLoad("decode", sequences, sequences, total, 0.0, context_tokens)


def prefill_load(tokens: int, prompt_tokens: int) -> StepLoad:
    """Return a step of `tokens` prompt tokens, all of prompts of `prompt_tokens` tokens.

    Prompts are cut as the token budget wants it. However that is, the tokens see half of their
    prompt on average: A = n · prompt / 2.

    >>> prefill_load(8192, 2048).work == 4 * 2048**2 / 2
    True
    """
    return StepLoad("prefill", tokens, 0, 0, 0.5 * tokens * prompt_tokens, prompt_tokens)
