"""Seconds of each kind of work on one device: from fitted curves, else from the roofline.

Which curve serves an operator follows from its weight format and the arithmetic it runs in. A chip
without curves of its own borrows those of a relative, with its own peaks: tier `estimated`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from planner.curves.collectives import Fabric
from planner.curves.curve import Curve, Tier
from planner.curves.efficiency import Efficiency
from planner.curves.forms.base import Array, Shape
from planner.curves.layout import Dtypes
from planner.curves.library import CurveSet, borrowed
from planner.curves.operators import STATE_UPDATE, Collective, ExpertExchange, Operator
from planner.curves.peaks import peaks_of
from planner.curves.provenance import Provenance
from planner.curves.quantization import SpeedupTable, ratio_at
from planner.curves.roofline import Roofline

if TYPE_CHECKING:
    from planner.catalog import Chip, Model, Node

RELATIVES: Final[Mapping[str, str]] = {
    "a100-sxm-40gb": "a100-sxm",
    "h100-pcie": "h100-sxm",
    "h100-nvl": "h100-sxm",
    "h800-sxm": "h100-sxm",
    "gh200": "h100-sxm",
    "gh200-144gb": "h200-sxm",
    "h200-nvl": "h200-sxm",
    "l4": "l40s",
    "rtx-4090": "l40s",
    "mi250": "a100-sxm",
    "mi300x": "h200-sxm",
    "mi325x": "h200-sxm",
    "mi355x": "b200-sxm",
    "gaudi-2": "a100-sxm",
    "gaudi-3": "h100-sxm",
    "max-1550": "a100-sxm",
    "trainium2": "h100-sxm",
    "trainium3": "h200-sxm",
    "tpu-v5e": "tpu-v6e",
    "tpu-v5p": "tpu-v6e",
    "tpu-7x": "tpu-v6e",
}
"""Whose efficiencies a chip borrows where it has no curve of its own: the same architecture, or the
GPU of the same years and class. Chips without off-chip memory have none: the roofline."""

SAME_CORES: Final[Mapping[str, str]] = {
    "h200-sxm": "h100-sxm",
    "gb200": "b200-sxm",
    "b300-sxm": "b200-sxm",
    "gb300": "b200-sxm",
}
"""Chips with the same arithmetic, where the speed-up of a format was measured instead."""

SUBSTITUTES: Final[Mapping[str, tuple[str, ...]]] = {
    "fp8": ("fp8_block",),
    "fp8_block": ("fp8",),
    "fp8_wo": ("int8_wo",),
    "int8_wo": ("fp8_wo",),
    "fp4_wo": ("int4_wo",),
    "int4_wo": ("fp4_wo",),
    "fp4_fp8": ("fp4",),
    "int4_fp8": ("fp4_fp8",),
    "fp16": ("bf16",),
}
"""Formats of the same number of bytes, whose curve stands in for one that nobody measured."""


BLOCK_SCALED: Final = ("deepseek", "qwen3", "kimi-k2", "minimax")
"""Families whose published fp8 checkpoints have one scale per block of 128 by 128 weights (their
`quantization_config.weight_block_size`), which other kernels multiply."""


@dataclass(frozen=True)
class Timed:
    """The time of one operator over a grid of token counts, and what it stands on."""

    seconds: Array
    tier: Tier
    basis: str
    """The curve, or that it is the roofline."""


class Device:
    """One device of a replica, as an engine uses it."""

    def __init__(
        self,
        model: Model,
        chip: Chip,
        node: Node,
        dtypes: Dtypes,
        engine: str,
        curves: Sequence[CurveSet],
        efficiency: Efficiency,
    ) -> None:
        self.chip = chip
        self.engine = engine
        self.roofline = Roofline(chip, dtypes, efficiency)
        self._dtypes = dtypes
        self._curves = curves
        self._fabric = Fabric(chip, node, efficiency)
        self._in_blocks = model.name.startswith(BLOCK_SCALED)
        self.used: dict[str, Curve] = {}
        """Curves that were asked for, by what they are."""
        self.outside: set[str] = set()
        """Operators and columns for which a measured range was left."""
        self._remarks: dict[str, str] = {}

    def curve(self, operator: str, dtype: str, kv_dtype: str = "") -> Curve | None:
        """Return the curve of an operator in a format; None if nobody measured a like one.

        The user's own comes first; then, on this chip and after it on its relative, the engine's
        kernel in this format, in one of the same size, and those of other engines. What is not
        the kernel asked for is at best `fitted`; what another chip runs is `estimated`.
        """
        names = (dtype, *SUBSTITUTES.get(dtype, ()))
        for curves in self._curves:
            own = curves.find_own(operator, dtype, kv_dtype=kv_dtype, engine=self.engine)
            found = [
                curves.find(operator, name, kv_dtype=kv_dtype, engine=self.engine) for name in names
            ]
            known = [curve for curve in found if curve is not None]
            # the engine's own kernel in a like format is closer than another engine's in the same
            same_engine = [curve for curve in known if curve.key.engine == self.engine]
            best = own or next(iter((*same_engine, *known)), None)
            if best is None:
                continue
            peaks = peaks_of(self.chip, best.key.dtype)
            if curves.chip != self.chip.name:
                return borrowed(best, self.chip.name, peaks)
            asked = best is own or (best.key.engine == self.engine and best.key.dtype == dtype)
            tier: Tier = best.tier if asked else lowest_tier((best.tier, "fitted"))
            # what is asked of a chip with other figures than the measured one scales with them
            return replace(best, peaks=peaks, tier=tier)
        return None

    def uses(self, curve: Curve) -> str:
        """Note that a curve is used, and return what it is called in notes."""
        name = " ".join((curve.key.operator, curve.key.dtype, curve.key.kv_dtype)).strip()
        self.used[name] = curve
        return name

    def remark(self, curve: Curve, what: str, remark: str) -> None:
        """Note something about the use of a curve."""
        self._remarks[f"{self.uses(curve)}.{what}"] = remark

    def time(
        self, curve: Curve, shape: Mapping[str, Array | float], repeats: float | Array = 1.0
    ) -> Timed:
        """Return a curve's time, and note which measured ranges are left."""
        size = max(np.size(value) for value in shape.values())
        full: Shape = {
            name: np.broadcast_to(np.asarray(value, dtype=np.float64), (size,))
            for name, value in shape.items()
        }
        name = self.uses(curve)
        for column, (low, high) in curve.valid.items():
            if column in full and not (low <= full[column].min() and full[column].max() <= high):
                self.outside.add(f"{name}: {column}")
        seconds = repeats * curve.seconds(full)
        return Timed(seconds, curve.tier, basis_of(curve))

    def is_in_attention(self, operator: Operator) -> bool:
        """Return whether the curve of attention holds an operator: timed as one kernel."""
        return operator.name == STATE_UPDATE and self.curve("linear_decode", "bf16") is not None

    def operator(self, operator: Operator, share: Array) -> Timed:
        """Return an operator's time, all its layers and launches included."""
        timed = self._from_curve(operator, np.maximum(share, 1.0))
        if timed is None:
            return Timed(self.roofline.operator(operator, share), "estimated", "roofline")
        # A separately timed kernel may find its weights in the cache; in a step none does.
        arithmetic, traffic = self.roofline.ideal(operator, share)
        slowest = np.maximum(np.maximum(timed.seconds, arithmetic), traffic)
        return replace(timed, seconds=slowest)

    def collective(self, collective: Collective, share: Array) -> Timed:
        """Return the time of all repetitions of a collective; `share` rises."""
        curve = self.collective_curve(collective)
        if curve is None:
            seconds = self._fabric.time(collective, share)
            return Timed(seconds, "estimated", "link figures")
        devices = float(collective.devices)
        size = collective.bytes_per_token * np.maximum(share, 1.0)
        if isinstance(collective, ExpertExchange):  # timed with all copies, those that stay too
            size = size * collective.choices / min(collective.choices, devices - 1.0)
            if collective.load is not None:
                size = size * collective.load.factor(share)
        elif collective.kind == "gather":
            size = size * devices / (devices - 1.0)
        timed = self.time(curve, {"devices": devices, "bytes": size}, collective.count)
        # What is measured falls here and there with the size; but a message can be padded.
        padded = np.minimum.accumulate(timed.seconds[::-1])[::-1]
        return replace(timed, seconds=padded)

    def collective_curve(self, collective: Collective) -> Curve | None:
        """Return the curve of a collective inside the scale-up fabric; None: its links tell.

        Kernels of the exchange were timed on one number of devices, beyond which nothing is known
        of them.
        """
        if self.chip.scale_up_bandwidth is None or not self._fabric.holds(collective):
            return None
        if isinstance(collective, ExpertExchange):
            curve = self.curve("all_to_all", collective.dtype)
            low, high = (0.0, 0.0) if curve is None else curve.valid["devices"]
            return curve if low <= collective.devices <= high else None
        operator = {"all_reduce": "all_reduce", "gather": "all_to_all"}.get(collective.kind)
        return None if operator is None else self.curve(operator, "bf16")

    def format_of(self, operator: Operator) -> str:
        """Return the format of the timing table in which an operator runs.

        >>> weight_format("fp4", "bf16"), weight_format("fp8", "fp8")
        ('fp4_wo', 'fp8')
        """
        if not operator.quantised:
            return "bf16"
        name = weight_format(operator.weight_dtype, self.roofline.narrow)
        return "fp8_block" if name == "fp8" and self._in_blocks else name

    def _from_curve(self, operator: Operator, tokens: Array) -> Timed | None:
        if operator.experts:
            curve = self.curve("experts", self.format_of(operator))
            shape: dict[str, Array | float] = {
                "tokens": tokens,
                "hidden": float(operator.inner),
                "inner": float(operator.outer),
                "active_experts": float(operator.active_experts),
                "experts": float(operator.experts),
                "tensor_parallel": float(operator.expert_slices),
                "expert_parallel": float(operator.expert_groups),
            }
            if operator.load is not None:
                shape["load"] = operator.load.factor(tokens)
                shape["scattered"] = float(operator.scattered)
            repeats = operator.layers
        elif operator.outer:
            name = self.format_of(operator)
            if (timed := self._by_speedup(operator, name, tokens)) is not None:
                return timed
            curve = self.curve("gemm", name)
            shape = {"m": tokens, "n": float(operator.outer), "k": float(operator.inner)}
            repeats = operator.layers
        elif operator.flops_per_token == 0.0 and operator.kernels:
            curve = self.curve("stream", "bf16")
            repeats = operator.kernels
            shape = {"bytes": operator.activation_bytes_per_token * tokens / repeats}
        else:
            return None
        if curve is None:
            return None
        return self.time(curve, shape, repeats)

    @cached_property
    def _speedups(self) -> SpeedupTable:
        """The shipped speed-ups, read once per device and not once per operator."""
        return SpeedupTable.load()

    def _by_speedup(self, operator: Operator, name: str, tokens: Array) -> Timed | None:
        """Return the bf16 curve divided by a format's measured speed-up by tokens.

        For formats without a curve of their own: the speed-up is a median over shapes, so it knows
        of batch size what a flat factor does not. Formats that stand in for one are asked the same
        way, so that weights of equal size unpacked by one kind of kernel cost the same.
        """
        if not self._curves or name == "bf16":
            return None
        chip = self._curves[-1].chip
        kin = (self.chip.name, chip, SAME_CORES.get(chip, chip))
        table, rows = self._speedups, None
        for likeness in (name, *SUBSTITUTES.get(name, ())):
            rows = table.measured_on(kin, likeness)
            if self._multiplies(likeness, by_any=rows is None):
                return None
            if rows is not None:
                name = likeness
                break
        curve = self.curve("gemm", "bf16")
        if rows is None or curve is None:
            return None
        shape: dict[str, Array | float] = {
            "m": tokens,
            "n": float(operator.outer),
            "k": float(operator.inner),
        }
        timed = self.time(curve, shape, operator.layers / ratio_at(rows, tokens))
        tier = lowest_tier((timed.tier, "fitted"))
        return replace(timed, tier=tier, basis=f"{timed.basis}, measured {name} speed-up")

    def _multiplies(self, name: str, *, by_any: bool) -> bool:
        """Return whether a curve of matrix products in this very format is to be used.

        It is the user's, the engine's or TensorRT-LLM's, which the speed-ups are of as well; or
        `by_any` other engine where there are no speed-ups. SGLang's weight-only kernels are not
        those that others run: in int8 they take longer than bf16 at any number of tokens.
        """
        trusted = (self.engine, "tensorrt-llm")
        return any(
            (key.dtype == name and (by_any or key.engine in trusted))
            or curves.find_own("gemm", name, engine=self.engine) is not None
            for curves in self._curves
            for key in curves.keys("gemm")
        )

    def notes(self) -> tuple[Provenance, ...]:
        """Return the curves used, with fit error and source."""
        rows = [
            Provenance(
                f"curve.{self.chip.name}.{name}",
                f"{curve.mape_out:.1%} error on shapes left out of the fit",
                "",
                f"{curve.source}, {curve.key.engine} {curve.version}".rstrip(),
                curve.date,
                curve.tier,
            )
            for name, curve in sorted(self.used.items())
        ]
        rows += [
            Provenance(
                f"curve.{self.chip.name}.{name}.warning", warning, "", "the fit", "", "fitted"
            )
            for name, curve in sorted(self.used.items())
            for warning in curve.warnings
            if "bound" in warning or "singular" in warning
        ]
        rows += [
            Provenance(f"curve.{self.chip.name}.{name}", remark, "", "the fit", "", "fitted")
            for name, remark in sorted(self._remarks.items())
        ]
        if self.outside:
            rows.append(
                Provenance(
                    f"curve.{self.chip.name}.extrapolated",
                    "; ".join(sorted(self.outside)),
                    "",
                    "beyond the measured range the fitted form extrapolates",
                    "",
                    "estimated",
                )
            )
        return tuple(rows)


def weight_format(weight: str, arithmetic: str) -> str:
    """Return the name in the timing table of weights held in one format, multiplied in another."""
    wide = ("bf16", "fp16", "fp32")
    if weight in wide:
        return "bf16"
    if weight == arithmetic:
        return weight
    return f"{weight}_wo" if arithmetic in wide else f"{weight}_{arithmetic}"


def basis_of(curve: Curve) -> str:
    """Return in a few words where a curve comes from."""
    return f"{curve.key.engine} {curve.version} {curve.key.dtype}".replace("  ", " ").strip()


def lowest_tier(tiers: Iterable[Tier]) -> Tier:
    """Return the weakest of some tiers: estimated below fitted below measured."""
    order: tuple[Tier, ...] = ("estimated", "fitted", "measured")
    return min(tiers, key=order.index, default="estimated")


def curves_for(chip: Chip, files: Sequence[Path] = ()) -> tuple[CurveSet, ...]:
    """Return the curves of a chip, and after them those of the relative that it borrows from.

    Args:
        chip: of the pool.
        files: the user's curve files; later ones win over earlier ones, and all over those shipped.

    Raises:
        CurveError: a file has faults.
    """
    own = CurveSet(chip.name, layers=files)
    relative = RELATIVES.get(chip.name)
    return (own,) if relative is None else (own, CurveSet(relative))
