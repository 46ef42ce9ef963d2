"""What every form of a curve has in common.

A form gives the seconds of one operation from its shape, the data-sheet peaks of a chip, and a few
parameters: shares of a peak (dimensionless), fixed times (seconds) and sizes at which efficiency is
half reached. As the peaks stand outside the parameters, those fitted on one chip carry over to a
relative whose peaks are known: that is what the tier `estimated` means.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Shape: TypeAlias = Mapping[str, Array]
"""Columns of the timing table by name, all of one length or broadcastable to it."""


@dataclass(frozen=True)
class Parameter:
    """One number that a fit finds."""

    name: str
    unit: str
    start: float
    """Where the fit begins; also the value where no fit exists."""
    lower: float
    upper: float
    meaning: str


@dataclass(frozen=True)
class Peaks:
    """The data-sheet figures that a form scales with; NaN where it needs none."""

    flops: float = float("nan")
    """FLOP/s of the format of the arithmetic."""
    bandwidth: float = float("nan")
    """B/s of the device memory."""
    link: float = float("nan")
    """B/s per device and direction of the fabric that a collective runs over."""


class Form(ABC):
    """A functional form with named parameters."""

    name: ClassVar[str]
    """As curve files spell it."""
    operators: ClassVar[tuple[str, ...]]
    """Operators of the timing table that it describes."""
    shape: ClassVar[tuple[str, ...]]
    """Columns of the timing table that it reads."""
    parameters: ClassVar[tuple[Parameter, ...]]

    @abstractmethod
    def seconds(self, values: Array, shape: Shape, peaks: Peaks) -> Array:
        """Return the seconds of one operation.

        Args:
            values: of `parameters`, in their order.
            shape: the columns named by `self.shape`, in SI units.
            peaks: of the chip.

        """

    def starts(self) -> Array:
        """Return the values that a fit begins with."""
        return np.array([parameter.start for parameter in self.parameters])


def smooth_maximum(x: Array, y: Array, sharpness: float) -> Array:
    """Return (xᵖ + yᵖ)^(1/p), scaled so that powers of small times do not underflow.

    Arithmetic and traffic of a kernel overlap, though not perfectly: where both take equally long
    the whole takes 2^(1/p) as long, and far from there the longer one alone.
    """
    larger = np.maximum(np.maximum(x, y), np.finfo(np.float64).tiny)
    total: Array = larger * ((x / larger) ** sharpness + (y / larger) ** sharpness) ** (
        1.0 / sharpness
    )
    return total
