"""The timer of accelerators, on a fake of the few functions of PyTorch that it calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from planner.microbench.clocks import DeviceClock


class FullError(RuntimeError):
    """Stands for the error of a device whose memory is full."""


class FakeCuda:
    """Notes what is asked of it; one kernel takes one millisecond of device time."""

    OutOfMemoryError = FullError

    def __init__(self, *, captures: bool = True) -> None:
        self.captures = captures
        self.log: list[str] = []
        self.now_ms = 0.0
        self._recorded: list[str] | None = None

    def kernel(self, name: str) -> None:
        if self._recorded is not None:
            if not self.captures:
                raise RuntimeError("operation not permitted when stream is capturing")
            self._recorded.append(name)
            return
        self.log.append(name)
        self.now_ms += 1.0

    def synchronize(self) -> None:
        self.log.append("synchronize")

    def _sleep(self, cycles: int) -> None:
        assert cycles > 0
        self.log.append("sleep")
        self.now_ms += 100.0

    def Event(self, *, enable_timing: bool) -> Any:  # noqa: N802
        assert enable_timing
        event = SimpleNamespace(at_ms=None)

        def record() -> None:
            self.log.append("event")
            event.at_ms = self.now_ms

        event.record = record
        event.elapsed_time = lambda end: end.at_ms - event.at_ms
        return event

    def CUDAGraph(self) -> Any:  # noqa: N802
        graph = SimpleNamespace(kernels=[])
        graph.replay = lambda: [self.kernel(name) for name in graph.kernels]
        return graph

    @contextmanager
    def graph(self, graph: Any) -> Iterator[None]:
        self._recorded = graph.kernels
        try:
            yield
        finally:
            self._recorded = None


def clock_of(cuda: FakeCuda, *, flush: bool = False, graphs: bool = True) -> DeviceClock:
    def empty(size: int, **_: object) -> Any:
        assert size == 100
        return SimpleNamespace(zero_=lambda: cuda.kernel("flush"))

    torch = SimpleNamespace(cuda=cuda, empty=empty, int8="int8")
    return DeviceClock(torch, flush=flush, flush_bytes=100, graphs=graphs)


def test_many_calls_are_replayed_from_one_graph() -> None:
    cuda = FakeCuda()
    clock = clock_of(cuda)
    functions = [lambda: cuda.kernel("a"), lambda: cuda.kernel("b")]
    assert clock.seconds(functions, 5) == pytest.approx(1e-3)
    assert clock.method == "graph replay"
    cuda.log.clear()
    assert clock.seconds(functions, 5) == pytest.approx(1e-3)
    assert cuda.log == ["synchronize", "event", *"ababa", "event", "synchronize"]


def test_a_few_calls_are_queued_behind_an_idle_device() -> None:
    cuda = FakeCuda()
    clock = clock_of(cuda)
    assert clock.seconds([lambda: cuda.kernel("a")], 2) == pytest.approx(1e-3)
    assert cuda.log == ["synchronize", "sleep", "event", "a", "a", "event", "synchronize"]
    assert clock.method == "queued launches"


def test_kernels_that_cannot_be_captured_are_queued() -> None:
    cuda = FakeCuda(captures=False)
    clock = clock_of(cuda)
    assert clock.seconds([lambda: cuda.kernel("a")], 9) == pytest.approx(1e-3)
    assert clock.method == "queued launches"
    assert cuda.log.count("a") == 9


def test_collectives_are_never_captured() -> None:
    cuda = FakeCuda()
    clock = clock_of(cuda, graphs=False)
    clock.seconds([lambda: cuda.kernel("a")], 9)
    assert clock.method == "queued launches"


def test_the_cache_is_written_over_before_each_repeat_and_not_timed() -> None:
    cuda = FakeCuda()
    clock = clock_of(cuda, flush=True)
    assert clock.seconds([lambda: cuda.kernel("a")], 5) == pytest.approx(1e-3)
    assert clock.seconds([lambda: cuda.kernel("a")], 1) == pytest.approx(1e-3)
    assert cuda.log.count("flush") == 2
    assert cuda.log.index("flush") < cuda.log.index("event")


def test_another_number_of_calls_is_another_graph_and_closing_frees_it() -> None:
    cuda = FakeCuda()
    clock = clock_of(cuda)
    for calls in (5, 7):
        cuda.log.clear()
        clock.seconds([lambda: cuda.kernel("a")], calls)
        assert cuda.log[-calls - 2 : -2] == ["a"] * calls
    clock.close()
    assert clock._graph is None


def test_full_memory_is_passed_on() -> None:
    cuda = FakeCuda()

    def full() -> None:
        raise FullError("out of memory")

    with pytest.raises(FullError):
        clock_of(cuda).seconds([full], 5)
