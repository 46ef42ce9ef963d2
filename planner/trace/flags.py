"""Class descriptions in one line, as `planner trace synth --class` takes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from planner.errors import TraceError, did_you_mean
from planner.trace.lengths import LengthDistribution
from planner.trace.library import load_shape
from planner.trace.table import MAXIMUM_TOKENS
from planner.trace.workload import Arrivals, Burstiness, ClassWorkload
from planner.units import parse_quantity

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RANGE: Final = re.compile(r"(\d+)\.\.(\d+)")
_FAMILIES: Final[Mapping[str, Burstiness]] = {
    "poisson": "poisson",
    "gamma": "gamma",
    "weibull": "weibull",
}


def parse_lengths(text: str) -> LengthDistribution:
    """Return a distribution: `512` is fixed, `100..900` uniform, anything else a shipped preset.

    >>> parse_lengths("100..900").mean()
    500.0
    """
    if match := _RANGE.fullmatch(text):
        low, high = int(match[1]), int(match[2])
        if low > high or high > MAXIMUM_TOKENS:
            raise TraceError(f"{text!r}: a range rises, and ends at {MAXIMUM_TOKENS:,} at most")
        return LengthDistribution.uniform(low, high)
    if text.isascii() and text.isdigit():
        return LengthDistribution.fixed(min(int(text), MAXIMUM_TOKENS + 1))
    return LengthDistribution.from_preset(text).within(1, None)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 1 << 40:
        raise TraceError(f"{text!r} must be a whole number above 0")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise TraceError(f"{text!r} is not a number") from None


def _family(text: str) -> Burstiness:
    if text not in _FAMILIES:
        raise TraceError(f"{text!r} is no family of gaps; {did_you_mean(text, _FAMILIES)}")
    return _FAMILIES[text]


def _quantity(dimension: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            return parse_quantity(text, dimension)
        except ValueError as error:
            raise TraceError(str(error)) from None

    return parse


FIELDS: Final[Mapping[str, Callable[[str], Any]]] = {
    "rate": _quantity("rate"),
    "shape": lambda text: load_shape(text).hourly,
    "gaps": _family,
    "cv": _number,
    "input": parse_lengths,
    "output": parse_lengths,
    "reasoning": parse_lengths,
    "turns": parse_lengths,
    "think": _quantity("duration"),
    "think_sigma": _number,
    "visitors": _count,
    "context": _count,
}
"""What a class description may say."""


def parse_class(text: str, index: int, start_s_of_week: float) -> tuple[str, ClassWorkload]:
    """Parse `NAME:rate=3 /s,input=PRESET,output=100..900,…`.

    Args:
        text: name and fields; see `FIELDS`.
        index: class index of the rows.
        start_s_of_week: time of the week at which the trace starts.

    Returns:
        the name and the workload.

    Raises:
        TraceError: a field is unknown, missing or makes no sense; names the class and the field.
    """
    name, _, rest = text.partition(":")
    if not _NAME.fullmatch(name):
        raise TraceError(f"--class {text!r}: write NAME:rate=3 /s,input=512,output=100..900")
    fields: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if key not in FIELDS or not equals:
            raise TraceError(f"--class {name}: unknown field {key!r}; {did_you_mean(key, FIELDS)}")
        try:
            fields[key] = FIELDS[key](value)
        except TraceError as error:
            raise TraceError(f"--class {name}: {key}: {error}") from None
    missing = [key for key in ("rate", "input", "output") if key not in fields]
    if missing:
        raise TraceError(f"--class {name}: needs {', '.join(missing)}")
    cv = fields.get("cv", 1.0)
    gaps = fields.get("gaps", "poisson" if cv == 1 else "gamma")
    workload = ClassWorkload(
        index,
        fields["input"],
        fields["output"],
        Arrivals(fields["rate"], fields.get("shape"), start_s_of_week, gaps, cv),
        fields.get("reasoning"),
        fields.get("turns"),
        fields.get("think", 0.0),
        fields.get("think_sigma", 1.0),
        fields.get("visitors"),
        fields.get("context"),
    )
    return name, workload
