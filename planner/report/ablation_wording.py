"""What an ablation says, whatever it is shown on: signed amounts, titles, the headline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from planner.results.formatting import MINUS, MISSING
from planner.version import VERSION

if TYPE_CHECKING:
    from planner.search.ablation import Ablation, Decomposition, Effect
    from planner.search.quantities import Quantity

COLUMNS: Final = ("on its own", "if removed", "its share")
COLUMN_WORDS: Final = (
    ("on its own", "the change when it alone is switched on, and all others are off"),
    ("if removed", "the change when it alone is switched off, and all others are on"),
    (
        "its share",
        "the change when it is switched on, averaged over all orders in which the techniques can "
        "be switched on (Shapley); the shares add up to the change from none to all",
    ),
)
NOTHING: Final = "≈ 0"
"""Said of a change that is there but too small for its column."""
_SMALLEST: Final = "smallest fleet that keeps every promise"
_OWN: Final = "the scenario's own fleet"


@dataclass(frozen=True)
class Scale:
    """How the amounts of one quantity are written, so that they can be compared and added."""

    factor: float
    decimals: int
    prefix: str
    unit: str
    """Of a level."""
    change_unit: str
    """Of a change: percent change by points."""

    def level(self, value: float | None) -> str:
        """Return an amount."""
        if value is None:
            return MISSING
        return self._text(value, self.unit, MINUS if value < 0 else "")

    def change(self, value: float | None) -> str:
        """Return a change with its sign."""
        if value is None:
            return MISSING
        if value == 0:
            return "0"
        if self.is_negligible(value):
            return NOTHING
        return self._text(value, self.change_unit, MINUS if value < 0 else "+")

    def is_negligible(self, value: float | None) -> bool:
        """Tell whether nothing is left of an amount when it is written."""
        return value is None or float(f"{abs(value) * self.factor:.{self.decimals}f}") == 0

    def share(self, effect: Effect) -> str:
        """Return the share of a technique, with its error if it is estimated."""
        text = self.change(effect.share)
        if effect.error is None or not math.isfinite(effect.error):
            return text
        return f"{text} ± {effect.error * self.factor:,.{self.decimals}f}"

    def _text(self, value: float, unit: str, sign: str) -> str:
        return f"{sign}{self.prefix}{abs(value) * self.factor:,.{self.decimals}f}{unit}"


def scale_of(found: Iterable[Decomposition]) -> Scale:
    """Return how to write the amounts of a quantity, of one class or of several beside each other.

    Args:
        found: at least one; all of the same unit.
    """
    together = list(found)
    unit = together[0].quantity.unit
    amounts = [
        abs(value)
        for each in together
        for value in (each.none, each.all, *_amounts(each.effects))
        if value is not None and math.isfinite(value)
    ]
    most = max(amounts, default=0.0)
    if unit == "rate":
        return Scale(100.0, 1, "", "%", " pp")
    if unit == "s":
        return _time_scale(most)
    if unit == "accelerators":
        whole = all(float(amount).is_integer() for amount in amounts)
        return Scale(1.0, 0 if whole else 1, "", "", "")
    return Scale(1.0, 0 if most >= 10_000 else 2 if most >= 1 else 4, "$", "", "")


def _amounts(effects: Sequence[Effect]) -> list[float | None]:
    return [value for e in effects for value in (e.alone, e.removed, e.share, e.error)]


def _time_scale(most_s: float) -> Scale:
    if most_s < 1:
        return Scale(1e3, 1 if most_s < 0.2 else 0, "", " ms", " ms")
    if most_s < 600:
        return Scale(1.0, 2 if most_s < 20 else 1, "", " s", " s")
    return Scale(1 / 60, 1, "", " min", " min")


def title_of(quantity: Quantity) -> str:
    """Return the title of a quantity, and of its class if it has one."""
    title = quantity.title[0].upper() + quantity.title[1:]
    return f"{title}, {quantity.request_class}" if quantity.request_class else title


def fleet_of(quantity: Quantity) -> str:
    """Return of which fleet it is, and which way is up."""
    better = "less is better" if quantity.less_is_better else "more is better"
    if quantity.unit == "accelerators":
        better = "fewer is better"
    return f"{_SMALLEST if quantity.fleet == 'smallest' else _OWN}; {better}"


def is_better(quantity: Quantity, change: float | None) -> bool | None:
    """Tell whether a change is for the better; None where it is none."""
    if not change:
        return None
    return (change < 0) == quantity.less_is_better


def none_words(found: Decomposition) -> str:
    """Return what the baseline is called."""
    return f"only {' and '.join(found.needed)}" if found.needed else "none of them"


def run_words(found: Ablation) -> str:
    """Return one line: what was simulated, with which seed."""
    subsets = f"{len(found.subsets):,} subsets, {found.simulations:,} simulated fleets"
    facts = [found.part, *([subsets] if found.subsets else []), f"seed {found.seed}"]
    text = " · ".join([*facts, f"planner {VERSION}"])
    return text[0].upper() + text[1:]


def headline(found: Ablation) -> list[str]:
    """Return the answer in one sentence or two."""
    if not found.decompositions:
        return []
    first = next(
        (each for each in found.decompositions if each.quantity.unit == "accelerators"),
        next((e for e in found.decompositions if e.quantity.name == "ttft_p99_s"), None),
    )
    if first is None:
        first = found.decompositions[0]
    scale = scale_of([first])
    count = len(found.techniques)
    every = f"all {count} techniques" if count > 1 else found.techniques[0]
    bare = f"only {' and '.join(first.needed)}" if first.needed else "none" if count > 1 else "off"
    if first.quantity.unit == "accelerators":
        what = f"{scale.level(first.all)} accelerators keep every promise"
    else:
        what = f"the {first.quantity.title} is {scale.level(first.all)}"
    joint = "with it off" if bare == "off" else f"with {bare}"
    sentences = [f"With {every} on, {what}; {joint}, {scale.level(first.none)}."]
    if count > 1 and first.change:
        shares = sorted(
            (each for each in first.effects if not scale.is_negligible(each.share)),
            key=lambda each: each.share or 0.0,
            reverse=first.change > 0,
        )
        listed = [f"{each.technique} {scale.change(each.share)}" for each in shares]
        idle = [each.technique for each in first.effects if scale.is_negligible(each.share)]
        idle = [name for name in idle if name not in first.needed]
        listed += [f"{' and '.join(idle)} nothing"] if idle else []
        sentences.append(f"Their shares: {', '.join(listed)}.")
    elif count > 1:
        sentences.append("Together they change nothing.")
    return sentences


def held_sentences(found: Ablation) -> list[str]:
    """Return where techniques cannot be switched off, and why, in short."""
    sentences = [
        f"{name} cannot be switched off: {_short(reason)}." for name, reason in found.fixed.items()
    ]
    for switch in found.switches:
        for pool, reason in switch.held.items():
            sentences.append(
                f"{switch.technique.name} stays on in pool {pool}, where it cannot be switched "
                f"off: {_short(reason)}."
            )
    return sentences


def _short(reason: str) -> str:
    """Return a reason up to its details."""
    return reason.partition(": ")[0].partition("; ")[0]
