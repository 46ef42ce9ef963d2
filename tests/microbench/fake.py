"""A device whose kernels take a known time, so that everything but PyTorch can be tested."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from planner.microbench.cases import Case
from planner.microbench.timing import DeviceMemoryError, UnsupportedCaseError


class FakeKernel:
    """Takes `true_s`, give or take `noise`; its first call takes ten times as long."""

    source = "fake kernel"

    def __init__(self, true_s: float, noise: float, rng: random.Random) -> None:
        self.true_s = true_s
        self.noise = noise
        self.calls: list[int] = []
        self.closed = False
        self._rng = rng

    def seconds(self, calls: int) -> float:
        self.calls.append(calls)
        slow = 10.0 if len(self.calls) == 1 else 1.0
        return slow * self.true_s * (1.0 + self._rng.uniform(-self.noise, self.noise))

    def close(self) -> None:
        self.closed = True


class FakeDevice:
    """Runs every case in the time that a function of the case gives."""

    chip = "h100-sxm"
    version = "fake 1.0"
    limits_flops = float("inf")
    limits_bytes = float("inf")

    def __init__(
        self, true_s: Callable[[Case], float], *, noise: float = 0.0, memory: float = float("inf")
    ) -> None:
        self.true_s = true_s
        self.noise = noise
        self.memory = memory
        self.prepared: list[Case] = []
        self.kernels: list[FakeKernel] = []
        self.stop_after: int | None = None
        self._rng = random.Random(1)

    def prepare(self, case: Case) -> FakeKernel:
        if self.stop_after is not None and len(self.prepared) >= self.stop_after:
            raise KeyboardInterrupt
        self.prepared.append(case)
        if case.moved_bytes > self.memory:
            raise DeviceMemoryError("fake memory is full")
        if case.element == "int8":
            raise UnsupportedCaseError("no int8 here")
        self.kernels.append(FakeKernel(self.true_s(case), self.noise, self._rng))
        return self.kernels[-1]

    def environment(self) -> dict[str, Any]:
        return {"device": "Fake 9000", "flush": True}


def header(device: FakeDevice) -> dict[str, Any]:
    """Return what the command line puts beside the timings of a fake device."""
    return device.environment() | {
        "schema": "planner-microbench/1",
        "chip": device.chip,
        "engine": "generic",
        "version": device.version,
        "sixteen_bit": "bf16",
        "started": "2026-01-01T00:00:00+00:00",
    }
