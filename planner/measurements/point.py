"""`Point`: one measurement of a whole serving system, and everything needed to replay it.

Whatever a benchmark or a publication calls its fields, a reader turns every result into this one
record: what ran (model, number formats, chip, parallelism, engine), how it was driven (protocol and
lengths), and what was measured, in seconds and per second.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal

from planner.curves.layout import DTYPE_BYTES, Parallelism
from planner.errors import PlannerError, did_you_mean, shown
from planner.measurements.lengths import Empirical, Lengths
from planner.measurements.protocol import ClosedLoop, Protocol, Replay

ENGINES: Final = ("vllm", "sglang", "tensorrt-llm", "other")

_TIMES: Final = ("ttft", "tpot", "itl", "e2e")
_STATISTICS: Final = ("mean", "p50", "p90", "p95", "p99")
_PERCENTILES: Final = _STATISTICS[1:]
RATES: Final = ("output_tps", "total_tps", "request_rps")
"""Output tokens, prompt and output tokens, and requests per second of the whole system."""
METRICS: Final = (*(f"{t}_{s}_s" for t in _TIMES for s in _STATISTICS), *RATES)
"""What can have been measured. ttft: first token − sent; tpot: (finish − first token) / (output
tokens − 1) by request; itl: gaps between tokens, weighted by tokens; e2e: finish − sent."""

_DATE: Final = re.compile(r"(\d{4}(-\d{2}(-\d{2})?)?)?\Z")
_SLACK: Final = 1.001
"""Published figures are rounded: percentiles may cross by this."""


class MeasurementError(PlannerError):
    """A measurement cannot be read, or its values make no sense."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is known of the engine's settings; None: not recorded."""

    maximum_sequences: int | None = None
    token_budget: int | None = None
    """Tokens of one step at most."""
    memory_fraction: float | None = None
    """Share of the memory that the engine may use."""
    memory_fraction_of: Literal["device", "free"] = "device"
    """device: of all memory, weights included; free: of what the weights leave, for KV alone."""
    kv_blocks: int | None = None
    """Of one replica, per device group with its own cache."""
    kv_block_tokens: int | None = None
    prefix_cache: bool | None = None
    stream_interval: int | None = None
    """Tokens that the server collects before it sends them on, the first ones as well."""
    hold_steps: int | None = None
    """Decode steps for which a prompt is held back to wait for company (TensorRT-LLM's
    `batch_wait_timeout_iters`, `attention_dp_config.timeout_iters`)."""
    poll_steps: int | None = None
    """Decode steps between two looks at the queue (SGLang's `scheduler_recv_interval`)."""

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the values."""
        for name in (
            "maximum_sequences", "token_budget", "kv_blocks", "kv_block_tokens", "stream_interval",
            "hold_steps", "poll_steps",
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value < 1:
                yield f"{name} is {value}; it must be at least 1"
        if self.memory_fraction is not None and not 0 < self.memory_fraction <= 1:
            yield f"memory_fraction is {self.memory_fraction:g}; it must be above 0 and at most 1"


@dataclass(frozen=True, slots=True)
class Disaggregated:
    """Prefill and decode on replicas of their own; a number of replicas is None if not known."""

    prefill: Parallelism
    decode: Parallelism
    prefill_replicas: int | None = None
    decode_replicas: int | None = None

    @property
    def devices(self) -> int | None:
        """Devices in all, if the numbers of replicas are known."""
        if self.prefill_replicas is None or self.decode_replicas is None:
            return None
        return (
            self.prefill.devices * self.prefill_replicas
            + self.decode.devices * self.decode_replicas
        )


@dataclass(frozen=True, slots=True)
class Point:
    """One measured operating point of one serving system."""

    id: str
    """Unique within its source, the same whenever the file is read."""
    source: str
    """Short name of the collection, as in "inferencex"."""
    citation: str
    """Where a reader finds the figures."""
    licence: str
    date: str
    """Of the measurement or else the publication: YYYY, YYYY-MM or YYYY-MM-DD; empty: not known."""
    model: str
    """Name in the catalogue."""
    chip: str
    """Name in the catalogue."""
    engine: str
    parallelism: Parallelism
    """Of one replica; of a decode replica where disaggregated."""
    protocol: Protocol
    prompt: Lengths
    output: Lengths
    metrics: Mapping[str, float] = field(hash=False)
    """Measured values by names of METRICS, of the whole system."""
    engine_version: str = ""
    weight_dtype: str = "bf16"
    activation_dtype: str | None = None
    """None: follows from weight and chip."""
    kv_dtype: str = "bf16"
    replicas: int = 1
    """Copies of the engine that share the requests evenly."""
    devices_per_node: int = 8
    disaggregated: Disaggregated | None = None
    paired: bool = False
    """Prompt i and output i belong to one request."""
    settings: Settings = field(default_factory=Settings)
    objectives: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Limits that the run had to keep, by names of METRICS."""
    flags: tuple[str, ...] = ()
    """Reasons for caution that a program can select by: "multi-token prediction suspected"."""
    assumptions: tuple[str, ...] = ()
    """What the source does not say and the reader filled in."""

    def __post_init__(self) -> None:
        if found := list(problems(self)):
            raise MeasurementError(f"{self.id or 'a point without id'}: " + "; ".join(found))

    @property
    def group(self) -> str:
        """The unit of leave-one-group-out: model × chip × engine."""
        engine = self.engine if self.engine != "other" else self.engine_version or "other"
        return f"{self.model} × {self.chip} × {engine}"

    @property
    def devices(self) -> int | None:
        """Devices of the system in all; None where a disaggregated layout leaves it open."""
        if self.disaggregated is not None:
            return self.disaggregated.devices
        return self.parallelism.devices * self.replicas

    @property
    def clients(self) -> int:
        """Clients of a closed loop that one replica serves, at least 1; 0: another protocol."""
        if not isinstance(self.protocol, ClosedLoop):
            return 0
        return max(1, self.protocol.concurrency // self.replicas)

    @property
    def implied_output_tps(self) -> float | None:
        """Output tokens per second that follow from the latencies, for a closed loop.

        By Little's law: each of `concurrency` clients finishes a request of mean length every
        TTFT + (output − 1) · TPOT. Not a measurement: the ramp at both ends is left out.
        """
        times = [self.metrics.get(f"{time}_mean_s") for time in ("ttft", "tpot")]
        if not isinstance(self.protocol, ClosedLoop) or None in times:
            return None
        ttft_s, tpot_s = (time for time in times if time is not None)
        tokens = self.output.mean_tokens
        return self.protocol.concurrency * tokens / (ttft_s + (tokens - 1) * tpot_s)


def problems(point: Point) -> Iterator[str]:
    """Yield everything that makes no sense in a point, each with its remedy."""
    for name in ("id", "source", "model", "chip"):
        if not getattr(point, name).strip():
            yield f"{name} is empty"
    if not _DATE.match(point.date):
        yield f"date is {shown(point.date)}; write YYYY, YYYY-MM or YYYY-MM-DD"
    if point.engine not in ENGINES:
        yield f"engine is {shown(point.engine)}; {did_you_mean(point.engine, ENGINES)}"
    for name in ("weight_dtype", "activation_dtype", "kv_dtype"):
        dtype = getattr(point, name)
        if dtype not in DTYPE_BYTES and not (name == "activation_dtype" and dtype is None):
            yield f"{name} is {shown(dtype)}; {did_you_mean(str(dtype), DTYPE_BYTES)}"
    for name in ("replicas", "devices_per_node"):
        if getattr(point, name) < 1:
            yield f"{name} is {getattr(point, name)}; it must be at least 1"
    yield from point.protocol.problems()
    yield from (f"prompt: {found}" for found in point.prompt.problems())
    yield from (f"output: {found}" for found in point.output.problems())
    yield from point.settings.problems()
    yield from _unpaired(point)
    yield from metric_problems(point.metrics)
    if point.objectives:
        yield from (f"objectives: {found}" for found in metric_problems(point.objectives))


def _unpaired(point: Point) -> Iterator[str]:
    lengths = [part.values for part in (point.prompt, point.output) if isinstance(part, Empirical)]
    if point.paired and (len(lengths) != 2 or len(lengths[0]) != len(lengths[1])):
        yield "paired lengths need as many prompts as outputs"
    if isinstance(point.protocol, Replay):
        arrivals = len(point.protocol.arrivals_s)
        if not point.paired or any(len(values) != arrivals for values in lengths):
            yield f"a replay of {arrivals} arrivals needs as many paired prompts and outputs"


def metric_problems(metrics: Mapping[str, float]) -> Iterator[str]:
    """Yield what makes no sense in measured values: names, signs, and their order."""
    if not metrics:
        yield "nothing was measured; give at least one metric"
    for name, value in metrics.items():
        if name not in METRICS:
            yield f"unknown metric {shown(name)}; {did_you_mean(name, METRICS)}"
        elif not (math.isfinite(value) and value > 0):
            yield f"{name} is {value:g}; a measured value is above 0 and finite"
    for time in _TIMES:
        known = [f"{time}_{p}_s" for p in _PERCENTILES if f"{time}_{p}_s" in metrics]
        for lower, upper in pairwise(known):
            if metrics[lower] > metrics[upper] * _SLACK:
                yield (
                    f"{lower} {metrics[lower]:g} is above {upper} {metrics[upper]:g}; "
                    "are the columns swapped?"
                )
    for smaller, larger in (
        ("output_tps", "total_tps"),
        ("ttft_mean_s", "e2e_mean_s"),
        ("request_rps", "output_tps"),
    ):
        if {smaller, larger} <= set(metrics) and metrics[smaller] > metrics[larger] * _SLACK:
            yield (
                f"{smaller} {metrics[smaller]:g} is above {larger} {metrics[larger]:g}; "
                "check the units"
            )
