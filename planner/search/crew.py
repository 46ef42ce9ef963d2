"""Many tasks done: in how many processes, and from which guess of nodes."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

from planner.errors import SimulationError

Task = TypeVar("Task")
Answer = TypeVar("Answer")

PROCESS_S: Final = 3.0
"""What starting the processes takes; less work than that is done without them."""


@dataclass
class Crew(Generic[Task, Answer]):
    """Does tasks, in processes of its own once there is enough to do; use it as a context."""

    jobs: int
    """Processes at most; 1: none."""
    work: Callable[[Task], Answer]
    """What to do with a task: a function of a module, since it goes to other processes."""
    _pool: ProcessPoolExecutor | None = None
    _seconds: list[float] = field(default_factory=list)

    def __enter__(self) -> Crew[Task, Answer]:
        """Start nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the processes go, without waiting for what nobody wants any more."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def measure(self, tasks: Sequence[Task], left: int) -> Iterator[Answer]:
        """Yield the answers to tasks, in any order.

        Args:
            tasks: to do now.
            left: how many there are to do in all, later ones included.

        Raises:
            SimulationError: a process was lost.
        """
        if self._pool is None and not self._is_worth_it(left):
            for task in tasks:
                started_s = time.monotonic()
                yield self.work(task)
                self._seconds.append(time.monotonic() - started_s)
            return
        if self._pool is None:
            # Spawned, not forked: a fork copies the locks of the thread that draws the bar.
            self._pool = ProcessPoolExecutor(
                self.jobs, multiprocessing.get_context("spawn"), _ignore_interrupts
            )
        try:
            for done in as_completed([self._pool.submit(self.work, task) for task in tasks]):
                yield done.result()
        except BrokenProcessPool:
            raise SimulationError(
                "a process ended in the middle of its work, probably for lack of memory; allow "
                "fewer of them with --jobs, or shorten what is simulated with --duration"
            ) from None

    def _is_worth_it(self, left: int) -> bool:
        if self.jobs < 2 or not self._seconds:
            return False
        mean_s = sum(self._seconds) / len(self._seconds)
        return left * mean_s * (1 - 1 / self.jobs) > PROCESS_S


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Sized(Protocol):
    """What is known of a fleet."""

    @property
    def nodes(self) -> Mapping[str, int] | None:
        """Nodes by pool; None: there is no such fleet."""


def guess(
    on: frozenset[str], off: Sequence[str], known: Mapping[frozenset[str], Sized]
) -> dict[str, int]:
    """Return nodes to start sizing from, by what is known with one or two techniques more.

    Two techniques that save nodes each are taken to save the sum.

    Args:
        on: techniques of the subset to size.
        off: the others.
        known: subsets that have been measured.
    """

    def nodes(*more: str) -> Mapping[str, int] | None:
        measured = known.get(on.union(more))
        return None if measured is None else measured.nodes

    if len(off) > 1:
        first, second, both = nodes(off[0]), nodes(off[1]), nodes(off[0], off[1])
        if first and second and both:
            names = first.keys() & second.keys() & both.keys()
            return {name: max(first[name] + second[name] - both[name], 0) for name in names}
    found = [parent for name in off if (parent := nodes(name))]
    return {name: max(each.get(name, 0) for each in found) for each in found for name in each}
