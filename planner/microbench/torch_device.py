"""A PyTorch device as `runner` sees it: kernels of cases, and the state of the machine."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final

from planner.microbench import environment
from planner.microbench.cases import Case
from planner.microbench.chips import chip_of
from planner.microbench.clocks import Clock, DeviceClock, HostClock
from planner.microbench.timing import (
    DeviceMemoryError,
    Kernel,
    MicrobenchError,
    UnsupportedCaseError,
)
from planner.microbench.torch_kernels import Pool, Work, build

KINDS: Final = ("auto", "cuda", "cpu")
_MOST_COPIES: Final = 256
_CACHE_BYTES: Final = 64 * 2**20
"""Where the device does not say how large its cache is."""
_MEMORY_SHARE: Final = 0.4
"""Of the device's memory that one call may touch."""
_CPU_FLOPS: Final = 4e9
_CPU_BYTES: Final = 64 * 2**20


def load_torch() -> Any:
    """Import PyTorch.

    Raises:
        MicrobenchError: it is not installed.
    """
    try:
        return import_module("torch")
    except ImportError as error:
        raise MicrobenchError(
            f"microbenchmarks need PyTorch, which cannot be imported ({error}); "
            "install it with: pip install 'planner[microbench]' (on AMD GPUs install PyTorch's "
            "ROCm build first)"
        ) from None


class TorchDevice:
    """One CUDA or ROCm device, or the processor.

    Args:
        kind: `auto` takes the accelerator if there is one.
        chip: name of the chip; empty: found from the device's.
        flush: keep weights and caches out of the device's cache.
        seed: of the operands.

    Raises:
        MicrobenchError: there is no such device, or no PyTorch.
    """

    def __init__(
        self, kind: str = "auto", *, chip: str = "", flush: bool = True, seed: int = 0
    ) -> None:
        self.torch = load_torch()
        self.kind = self._found(kind)
        self.version = f"torch {self.torch.__version__}"
        self.chip = chip or chip_of(self._name())
        self.flush = flush
        self._pool = Pool(self.torch, self.kind, seed)
        self.limits_flops, self.limits_bytes = self._limits()
        self._cold_bytes = 2 * self._cache_bytes()

    @property
    def count(self) -> int:
        """Number of devices of this kind."""
        return int(self.torch.cuda.device_count()) if self.kind == "cuda" else 1

    def prepare(self, case: Case) -> Kernel:
        """See `Device.prepare`."""
        copies = 1
        if self.flush and self.kind == "cuda":
            wanted = math.ceil(self._cold_bytes / max(case.moved_bytes, 1.0))
            copies = max(1, min(_MOST_COPIES, wanted))
        try:
            return TorchKernel(self, self._runnable(case, copies))
        except DeviceMemoryError:  # operands of earlier cases may fill it: once more without them
            self.release()
            return TorchKernel(self, self._runnable(case, copies))

    def environment(self) -> dict[str, Any]:
        """See `Device.environment`."""
        torch = self.torch
        found: dict[str, Any] = {
            "device": self._name(),
            "devices": self.count,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "flush": self.flush,
            "host": environment.machine(),
        }
        if self.kind == "cuda":
            properties = torch.cuda.get_device_properties(0)
            found |= {
                "cuda": torch.version.cuda,
                "hip": torch.version.hip,
                "memory_bytes": properties.total_memory,
                "cache_bytes": self._cache_bytes(),
                "multiprocessors": properties.multi_processor_count,
                "state": environment.accelerator(str(getattr(properties, "uuid", ""))),
            }
        return found

    def release(self) -> None:
        """Free all memory of the device."""
        self._pool.release()
        if self.kind == "cuda":
            self.torch.cuda.empty_cache()

    def clock(self, *, graphs: bool = True) -> Clock:
        """Return a timer of this device."""
        if self.kind == "cpu":
            return HostClock()
        return DeviceClock(
            self.torch, flush=self.flush, flush_bytes=self._cold_bytes, graphs=graphs
        )

    def guarded(self, work: Work, clock: Clock, calls: int) -> float:
        """Time a work's functions; PyTorch's errors become this package's."""
        with self._faults(), self.torch.inference_mode():
            return clock.seconds(work.functions, calls)

    def _found(self, kind: str) -> str:
        has_accelerator = self.torch.cuda.is_available()
        if kind == "auto":
            return "cuda" if has_accelerator else "cpu"
        if kind == "cuda" and not has_accelerator:
            raise MicrobenchError(
                f"PyTorch {self.torch.__version__} sees no CUDA or ROCm device; check the driver, "
                "install a PyTorch build for it, or measure the processor with --device cpu"
            )
        return kind

    def _name(self) -> str:
        if self.kind == "cpu":
            return "cpu"
        return str(self.torch.cuda.get_device_name(0))

    def _limits(self) -> tuple[float, float]:
        if self.kind == "cpu":
            return _CPU_FLOPS, float(_CPU_BYTES)
        memory = self.torch.cuda.get_device_properties(0).total_memory
        return math.inf, _MEMORY_SHARE * memory

    def _cache_bytes(self) -> int:
        if self.kind == "cpu":
            return _CACHE_BYTES
        properties = self.torch.cuda.get_device_properties(0)
        return max(int(getattr(properties, "L2_cache_size", 0)), _CACHE_BYTES // 2)

    def _runnable(self, case: Case, copies: int) -> Work:
        with self._faults():
            return self._first_that_runs(case, copies)

    def _first_that_runs(self, case: Case, copies: int) -> Work:
        reasons = []
        for make in build(self._pool, case, copies):
            try:
                with self.torch.inference_mode():
                    work = make()
                    work.functions[0]()
            except UnsupportedCaseError as error:
                reasons.append(str(error))
            except self.torch.cuda.OutOfMemoryError:
                raise
            except (RuntimeError, NotImplementedError, TypeError) as error:
                self._unless_broken(error)
                reasons.append(_first_line(error))
            else:
                return work
        raise UnsupportedCaseError("; ".join(dict.fromkeys(reasons)))

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except self.torch.cuda.OutOfMemoryError as error:
            raise DeviceMemoryError(_first_line(error)) from None
        except RuntimeError as error:
            if "alloc" in str(error) and self.kind == "cpu":
                raise DeviceMemoryError(_first_line(error)) from None
            self._unless_broken(error)
            raise UnsupportedCaseError(_first_line(error)) from None

    def _unless_broken(self, error: Exception) -> None:
        """Raise if the device cannot go on: after such a fault every later call fails as well."""
        text = str(error)
        if "CUDA error" in text or "HIP error" in text:
            raise MicrobenchError(
                f"the device failed: {_first_line(error)}; what was measured is kept: run again "
                "to go on"
            ) from error


class TorchKernel:
    """A case whose tensors are on the device."""

    def __init__(self, device: TorchDevice, work: Work) -> None:
        self._device = device
        self._work = work
        self._clock = device.clock()

    @property
    def source(self) -> str:
        """See `Kernel.source`."""
        cold = self._device.flush and self._device.kind == "cuda"
        state = "operands not in cache" if cold else "operands may be in cache"
        return f"{self._work.source}; {self._clock.method}, {state}"

    def seconds(self, calls: int) -> float:
        """See `Kernel.seconds`."""
        return self._device.guarded(self._work, self._clock, calls)

    def close(self) -> None:
        """See `Kernel.close`."""
        self._clock.close()
        self._work = Work(self._work.source, ())  # lets its tensors go


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
