"""Collectives: devices exchange a vector over the scale-up fabric.

Each way of doing it takes a latency, which grows with the number of devices, and the time that the
bytes of one device need through its link. An all-reduce is done in one of two ways, whichever is
sooner: everybody sends its whole vector to everybody (one shot), or parts are reduced and then
gathered (two shots, as rings and trees do). Traffic per device, with d devices and a vector of b
bytes (Patarasuk and Yuan, J. Parallel Distrib. Comput. 69, 2009)::

    all-reduce, one shot     (d − 1) b
    all-reduce, two shots    2 (d − 1) b / d
    gather, scatter          (d − 1) b / d     b: the whole vector, of which each device holds 1 / d
    all-to-all               (d − 1) b / d     b: what one device sends, its own part included
    send                     b
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from planner.curves.forms.base import Array, Form, Parameter, Peaks, Shape, smooth_maximum

_CHOICE_SHARPNESS = 4.0
"""How sharply the sooner of two ways is taken: libraries switch near, not at, the crossing."""

_LATENCY = Parameter("latency", "s", 5e-6, 2e-7, 3e-4, "time of two devices with nothing to send")
_PER_DEVICE = Parameter("per_device", "s", 5e-7, 1e-9, 1e-4, "added by each device beyond two")
_SHARE = Parameter("share", "", 0.7, 0.01, 2.5, "share of the link that long vectors attain")


@dataclass(frozen=True)
class AllReduce(Form):
    """The sooner of one shot and two shots."""

    dtype: str = "bf16"
    kv_dtype: str = ""

    name: ClassVar[str] = "all_reduce"
    operators: ClassVar[tuple[str, ...]] = ("all_reduce",)
    shape: ClassVar[tuple[str, ...]] = ("devices", "bytes")
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("one_latency", "s", 3e-6, 2e-7, 3e-4, "one shot between two devices"),
        Parameter("one_per_device", "s", 2e-7, 1e-9, 1e-4, "one shot, per device beyond two"),
        Parameter("one_share", "", 0.5, 0.01, 2.5, "share of the link that one shot attains"),
        Parameter("two_latency", "s", 1e-5, 2e-7, 1e-3, "two shots between two devices"),
        Parameter("two_per_device", "s", 1e-6, 1e-9, 1e-4, "two shots, per device beyond two"),
        Parameter("two_share", "", 0.7, 0.01, 2.5, "share of the link that two shots attain"),
    )

    def seconds(self, values: Array, shape: Shape, peaks: Peaks) -> Array:
        """Return the sooner of the two ways; see the module's text."""
        devices, size = shape["devices"], shape["bytes"]
        peers = devices - 1.0
        one = values[0] + values[1] * (devices - 2.0)
        one = one + peers * size / (peaks.link * values[2])
        two = values[3] + values[4] * (devices - 2.0)
        two = two + 2.0 * peers * size / (devices * peaks.link * values[5])
        sooner: Array = 1.0 / smooth_maximum(1.0 / one, 1.0 / two, _CHOICE_SHARPNESS)
        return sooner


@dataclass(frozen=True)
class AllGather(Form):
    """Latency and a link that long vectors fill; reduce-scatter and all-to-all alike."""

    dtype: str = "bf16"
    kv_dtype: str = ""

    name: ClassVar[str] = "all_gather"
    operators: ClassVar[tuple[str, ...]] = ("all_gather",)
    shape: ClassVar[tuple[str, ...]] = ("devices", "bytes")
    parameters: ClassVar[tuple[Parameter, ...]] = (_LATENCY, _PER_DEVICE, _SHARE)

    def seconds(self, values: Array, shape: Shape, peaks: Peaks) -> Array:
        """Return latency + traffic; see the module's text."""
        devices, size = shape["devices"], shape["bytes"]
        moved = (devices - 1.0) * size / devices
        time: Array = values[0] + values[1] * (devices - 2.0) + moved / (peaks.link * values[2])
        return time


@dataclass(frozen=True)
class ReduceScatter(AllGather):
    """As `AllGather`, the other way round."""

    name: ClassVar[str] = "reduce_scatter"
    operators: ClassVar[tuple[str, ...]] = ("reduce_scatter",)


@dataclass(frozen=True)
class AllToAll(AllGather):
    """Every device sends a part of its buffer to every other.

    Expert parallelism: `bytes` is tokens of a device × experts per token × hidden size × bytes per
    element, so for every copy routed, those that stay included; dispatch and combine are two calls.
    """

    name: ClassVar[str] = "all_to_all"
    operators: ClassVar[tuple[str, ...]] = ("all_to_all",)


@dataclass(frozen=True)
class Send(Form):
    """From one device to another."""

    dtype: str = "bf16"
    kv_dtype: str = ""

    name: ClassVar[str] = "send"
    operators: ClassVar[tuple[str, ...]] = ("send",)
    shape: ClassVar[tuple[str, ...]] = ("bytes",)
    parameters: ClassVar[tuple[Parameter, ...]] = (_LATENCY, _SHARE)

    def seconds(self, values: Array, shape: Shape, peaks: Peaks) -> Array:
        """Return latency + traffic."""
        time: Array = values[0] + shape["bytes"] / (peaks.link * values[1])
        return time
