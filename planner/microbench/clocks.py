"""Timers of PyTorch devices: seconds of one call, from many calls back to back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeAlias

Call: TypeAlias = Callable[[], Any]
_FEW_CALLS: Final = 3
"""So many calls are not worth a graph: they only estimate how long one takes."""
_LAUNCH_S: Final = 40e-6
"""More than the host needs to launch one kernel."""
_HERTZ: Final = 2.0e9
"""About the clock of a device, for how long it has to idle."""


class Clock(Protocol):
    """Runs functions and says how long they took."""

    method: str
    """How, for the column `source`."""

    def seconds(self, functions: Sequence[Call], calls: int) -> float:
        """Call the functions in turn, `calls` calls in all; return the mean seconds of one."""

    def close(self) -> None:
        """Give back what was kept from one repeat to the next."""


def in_turn(functions: Sequence[Call], calls: int) -> None:
    """Call the functions one after the other, from the first, until `calls` calls are made."""
    for number in range(calls):
        functions[number % len(functions)]()


class HostClock:
    """Of devices whose calls return when the work is done."""

    method = "host clock"

    def seconds(self, functions: Sequence[Call], calls: int) -> float:
        """See `Clock.seconds`."""
        started_s = time.perf_counter()
        in_turn(functions, calls)
        return (time.perf_counter() - started_s) / calls

    def close(self) -> None:
        """Nothing is kept."""


class DeviceClock:
    """Of CUDA and ROCm devices: events around a graph of calls, so that no launch is waited for.

    Where a kernel cannot be captured, the calls are queued behind an idle loop instead: by the time
    it ends all of them have been launched.

    Args:
        torch: the module.
        flush: write over the cache before every repeat.
        flush_bytes: how much to write.
        graphs: capture graphs; collectives must not, as ranks could fail apart.
    """

    def __init__(self, torch: Any, *, flush: bool, flush_bytes: int, graphs: bool = True) -> None:
        self._torch = torch
        self._graphs = graphs
        self._graph: Any = None
        self._captured = 0
        self._scratch = None
        if flush:
            self._scratch = torch.empty(flush_bytes, dtype=torch.int8, device="cuda")
        self.method = "events"

    def seconds(self, functions: Sequence[Call], calls: int) -> float:
        """See `Clock.seconds`."""
        graph = self._captured_graph(functions, calls) if calls > _FEW_CALLS else None
        self.method = "graph replay" if graph is not None else "queued launches"
        cuda = self._torch.cuda
        start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
        cuda.synchronize()
        if self._scratch is not None:
            self._scratch.zero_()
        if graph is None:
            cuda._sleep(int(calls * _LAUNCH_S * _HERTZ))
        start.record()
        if graph is None:
            in_turn(functions, calls)
        else:
            graph.replay()
        end.record()
        cuda.synchronize()
        return float(start.elapsed_time(end)) * 1e-3 / calls

    def _captured_graph(self, functions: Sequence[Call], calls: int) -> Any:
        if not self._graphs:
            return None
        if self._captured != calls:
            self._graph = self._capture(functions, calls)
            self._captured = calls
        return self._graph

    def _capture(self, functions: Sequence[Call], calls: int) -> Any:
        cuda = self._torch.cuda
        graph = cuda.CUDAGraph()
        try:
            with cuda.graph(graph):
                in_turn(functions, calls)
            graph.replay()
            cuda.synchronize()
        except cuda.OutOfMemoryError:
            raise
        except RuntimeError:  # not every kernel can be captured
            cuda.synchronize()
            return None
        return graph

    def close(self) -> None:
        """Free the graph; the next case has another."""
        self._graph, self._captured = None, 0
