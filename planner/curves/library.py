"""The curves of one chip: those shipped, and the user's own on top of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Final

from planner.curves.curve import Curve, CurveKey
from planner.curves.forms.base import Peaks
from planner.curves.store import describe, load_curves
from planner.curves.timings import CurveError

FALL_BACK: Final = ("vllm", "sglang", "tensorrt-llm", "generic")
"""Order in which another engine's curve stands in. The engines' kernels come from the same few
libraries, so another engine on the same chip is closer than any other chip."""


class CurveSet:
    """Curves of one chip, read file by file as they are asked for.

    `find` looks in this order, and takes the first that it finds:

    1. the user's files, the one given last first; then the curves that ship with the package;
    2. in each: the engine asked for, then `FALL_BACK` in its order.

    So a user's curve of another engine wins over a shipped one of the same engine: it was measured
    on the user's machine. Collectives prefer the engine's own kernels to those of `generic` (NCCL).
    Curves of whole steps belong to one model and are never found this way; `keys` lists them.
    """

    def __init__(
        self, chip: str, *, layers: Sequence[Path] = (), shipped: Path | None = None
    ) -> None:
        """Name the chip and the user's files.

        Args:
            chip: as in the catalogue.
            layers: the user's curve files; later ones win. Curves of other chips are passed over.
            shipped: folder of the shipped curves; None: those of the package.

        Raises:
            CurveError: a file of `layers` has faults.

        """
        self.chip = chip
        self._shipped = shipped_folder() if shipped is None else shipped
        self._layers = [
            {curve.key: curve for curve in load_curves(path) if curve.key.chip == chip}
            for path in layers
        ]
        self._by_operator: dict[str, dict[CurveKey, Curve]] = {}

    def find(
        self, operator: str, dtype: str, *, kv_dtype: str = "", engine: str = "generic"
    ) -> Curve | None:
        """Return the curve to use, or None if nobody measured this operator in this dtype.

        Args:
            operator: as in the timing table.
            dtype: of weights and arithmetic.
            kv_dtype: of the cache, for attention.
            engine: that is planned for.

        Raises:
            CurveError: the curve file has faults.

        """
        engines = dict.fromkeys((engine, *FALL_BACK))
        for curves in (*reversed(self._layers), self._of(operator)):
            for name in engines:
                key = CurveKey(operator, self.chip, name, dtype, kv_dtype)
                if key in curves:
                    return curves[key]
        return None

    def find_own(
        self, operator: str, dtype: str, *, kv_dtype: str = "", engine: str = "generic"
    ) -> Curve | None:
        """Return the curve of the user's files only; arguments as for `find`."""
        for curves in reversed(self._layers):
            for name in dict.fromkeys((engine, *FALL_BACK)):
                key = CurveKey(operator, self.chip, name, dtype, kv_dtype)
                if key in curves:
                    return curves[key]
        return None

    def keys(self, operator: str) -> tuple[CurveKey, ...]:
        """Return what there are curves for, sorted."""
        found = {key for curves in self._layers for key in curves if key.operator == operator}
        found |= self._of(operator).keys()
        return tuple(sorted(found, key=_order))

    def _of(self, operator: str) -> dict[CurveKey, Curve]:
        if operator not in self._by_operator:
            path = self._shipped / self.chip / f"{operator}.json"
            curves = load_curves(path) if path.is_file() else ()
            self._by_operator[operator] = {curve.key: curve for curve in curves}
        return self._by_operator[operator]


def _order(key: CurveKey) -> tuple[str | int, ...]:
    return (key.engine, key.dtype, key.kv_dtype, key.model, key.tensor_parallel)


def shipped_folder() -> Path:
    """Return the folder of the curves that ship with the package."""
    return Path(str(resources.files("planner.curves"))) / "data"


def shipped_chips(folder: Path | None = None) -> tuple[str, ...]:
    """Return the chips that have curves, sorted."""
    root = shipped_folder() if folder is None else folder
    return tuple(sorted(path.name for path in root.iterdir() if any(path.glob("*.json"))))


def borrowed(curve: Curve, chip: str, peaks: Peaks) -> Curve:
    """Return `curve` as an estimate for a relative of its chip, which has other peaks.

    Shares of peaks, fixed times and ratios carry over; the valid range does too. Its key goes on
    naming the chip that was measured.

    Raises:
        CurveError: the curve is of whole steps: their seconds do not scale with peaks.
    """
    if curve.key.is_whole_step:
        raise CurveError(
            f"{describe(curve.key)}: whole steps cannot stand in for those of {chip}, since their "
            "form knows no peaks; fit timings of that chip"
        )
    return replace(curve, peaks=peaks, tier="estimated")
