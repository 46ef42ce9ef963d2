"""All-reduce over several devices of one machine: one process per device.

Every rank takes the same steps, as the time that each sees is the slowest rank's: how often a case
is repeated follows from nothing else.
"""

from __future__ import annotations

import queue
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from planner.microbench.cases import Case
from planner.microbench.clocks import Clock, DeviceClock, HostClock
from planner.microbench.runner import MEASURED, OUT_OF_MEMORY, UNSUPPORTED, Outcome
from planner.microbench.timing import (
    DeviceMemoryError,
    Discipline,
    MicrobenchError,
    UnsupportedCaseError,
    measure,
)
from planner.microbench.torch_device import load_torch

_POLL_S: Final = 0.2


@dataclass(frozen=True)
class Group:
    """Devices that reduce together."""

    kind: str
    """`cuda` or `cpu`."""
    devices: int
    rendezvous: str
    """File through which the processes find each other."""
    threads: int
    """Of each process on the host."""


def measure_all_reduce(
    kind: str, cases: Sequence[Case], discipline: Discipline
) -> Iterator[Outcome]:
    """Measure all-reduces, one group of processes per number of devices.

    Args:
        kind: `cuda` (NCCL, or RCCL on ROCm) or `cpu` (Gloo).
        cases: of the operator all_reduce.
        discipline: how each is timed.

    Raises:
        MicrobenchError: a process failed.
    """
    for devices in sorted({case["devices"] for case in cases}):
        yield from _measure_group(
            kind, devices, [c for c in cases if c["devices"] == devices], discipline
        )


def _measure_group(
    kind: str, devices: int, cases: list[Case], discipline: Discipline
) -> Iterator[Outcome]:
    load_torch()
    multiprocessing = import_module("torch.multiprocessing")
    outcomes = multiprocessing.get_context("spawn").Queue()
    with tempfile.TemporaryDirectory(prefix="planner-microbench-") as folder:
        group = Group(kind, devices, (Path(folder) / "rendezvous").as_uri(), 1)
        arguments = (group, cases, discipline, outcomes)
        processes = multiprocessing.spawn(rank_main, arguments, nprocs=devices, join=False)
        try:
            for _ in cases:
                yield _next(outcomes, processes)
            while not processes.join(timeout=_POLL_S):
                pass
        except (
            multiprocessing.ProcessRaisedException,
            multiprocessing.ProcessExitedException,
        ) as error:
            reason = str(error).strip().splitlines()[-1]
            raise MicrobenchError(
                f"all-reduce over {devices} devices failed: {reason}; leave it out with "
                "--operator, or see what NCCL_DEBUG=INFO says"
            ) from None
        finally:
            for process in processes.processes:
                if process.is_alive():
                    process.terminate()


def _next(outcomes: Any, processes: Any) -> Outcome:
    """Return the next outcome of the first rank; a rank that fails raises here."""
    ended = False
    while True:
        try:
            found: Outcome = outcomes.get(timeout=_POLL_S)
        except queue.Empty:
            if ended:
                raise MicrobenchError("the processes of an all-reduce ended early") from None
            ended = bool(processes.join(timeout=0))
        else:
            return found


def rank_main(
    rank: int, group: Group, cases: Sequence[Case], discipline: Discipline, outcomes: Any
) -> None:
    """Measure the cases as one rank; the first one reports."""
    torch = load_torch()
    distributed = import_module("torch.distributed")
    torch.set_num_threads(group.threads)
    if group.kind == "cuda":
        torch.cuda.set_device(rank)
    backend = "nccl" if group.kind == "cuda" else "gloo"
    distributed.init_process_group(
        backend, init_method=group.rendezvous, rank=rank, world_size=group.devices
    )
    try:
        for case in cases:
            outcome = _measure(torch, distributed, group, case, discipline)
            if rank == 0:
                outcomes.put(outcome)
        distributed.barrier()
    finally:
        distributed.destroy_process_group()


def _measure(
    torch: Any, distributed: Any, group: Group, case: Case, discipline: Discipline
) -> Outcome:
    try:
        kernel = ReduceKernel(torch, distributed, group, case)
        try:
            return Outcome(case, MEASURED, kernel.source, measure(kernel, discipline))
        finally:
            kernel.close()
    except DeviceMemoryError as error:
        return Outcome(case, OUT_OF_MEMORY, str(error))
    except UnsupportedCaseError as error:
        return Outcome(case, UNSUPPORTED, str(error))


class ReduceKernel:
    """A sum over all ranks, as each of them runs it."""

    def __init__(self, torch: Any, distributed: Any, group: Group, case: Case) -> None:
        self._torch, self._distributed, self._group = torch, distributed, group
        device = "cuda" if group.kind == "cuda" else "cpu"
        dtype = torch.float16 if case.element == "fp16" else torch.bfloat16
        vector, failed = None, torch.zeros(1, device=device)
        try:
            # zeros, as anything else would soon overflow, summed into itself again and again
            vector = torch.zeros(case["bytes"] // 2, dtype=dtype, device=device)
        except torch.cuda.OutOfMemoryError:
            failed += 1
        distributed.all_reduce(failed)  # all ranks leave a case, or none
        if vector is None or failed.item():
            raise DeviceMemoryError("the vector does not fit on every device")
        self._vector = vector
        self._slowest = torch.zeros(1, dtype=torch.float64, device=device)
        self._clock: Clock = HostClock()
        if device == "cuda":
            self._clock = DeviceClock(torch, flush=False, flush_bytes=0, graphs=False)

    @property
    def source(self) -> str:
        """See `Kernel.source`."""
        library = "Gloo" if self._group.kind == "cpu" else self._accelerated()
        return f"torch.distributed all_reduce, {library}; {self._clock.method}, slowest rank"

    def seconds(self, calls: int) -> float:
        """See `Kernel.seconds`; every rank returns the same."""
        self._distributed.barrier()
        found = self._clock.seconds([self._reduce], calls)
        self._slowest.fill_(found)
        self._distributed.all_reduce(self._slowest, op=self._distributed.ReduceOp.MAX)
        return float(self._slowest.item())

    def close(self) -> None:
        """See `Kernel.close`."""
        self._clock.close()

    def _reduce(self) -> None:
        self._distributed.all_reduce(self._vector)

    def _accelerated(self) -> str:
        version = ".".join(map(str, self._torch.cuda.nccl.version()))
        return f"{'RCCL' if self._torch.version.hip else 'NCCL'} {version}"
