"""The one door for quantities: `"500 ms"`, `"24 GiB"`, `"3.20 USD/h"` become SI floats.

Everything behind this door is a plain float in seconds, bytes, watts, joules or US dollars, and
names carry the unit as a suffix (`_s`, `_bytes`, `_usd`). Decimal (`GB`) and binary (`GiB`)
prefixes differ and are never guessed.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from planner.errors import shown

HOUR_S: Final = 3600.0
YEAR_S: Final = 365 * 86400.0

_SECONDS = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": HOUR_S,
    "d": 86400.0, "day": 86400.0, "week": 7 * 86400.0, "year": YEAR_S,
}  # fmt: skip
_BYTES = {
    "B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15,
    "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40,
}  # fmt: skip
_BITS = {"bit": 0.125, "kbit": 125.0, "Mbit": 125e3, "Gbit": 125e6, "Tbit": 125e9}
_PER_HOUR = {"USD/h": 1.0, "USD/day": 1 / 24, "USD/year": 1 / 8760, "USD/month": 1 / 730}

DIMENSIONS: dict[str, dict[str, float]] = {
    "duration": _SECONDS,
    "rate": {f"/{unit}": 1.0 / seconds for unit, seconds in _SECONDS.items()},
    "bytes": _BYTES,
    "bandwidth": {f"{unit}/s": size for unit, size in (_BYTES | _BITS).items()},
    "flops": {
        "FLOP/s": 1.0,
        "GFLOPS": 1e9,
        "TFLOPS": 1e12,
        "PFLOPS": 1e15,
        "GOPS": 1e9,
        "TOPS": 1e12,
        "POPS": 1e15,
    },
    "power": {"W": 1.0, "kW": 1e3, "MW": 1e6, "GW": 1e9},
    "money": {"USD": 1.0},
    "money_per_hour": _PER_HOUR,
    "money_per_month": {"USD/month": 1.0, "USD/year": 1 / 12},
    "money_per_kwh": {"USD/kWh": 1.0, "USD/MWh": 1e-3},
    "money_per_kw_month": {"USD/kW-month": 1.0, "USD/kW/month": 1.0},
    "money_per_mtok": {"USD/Mtok": 1.0, "USD/ktok": 1e3},
    "fraction": {"%": 0.01},
    "carbon_intensity": {"g/kWh": 1.0, "kg/kWh": 1e3, "kg/MWh": 1.0},
    "mass": {"kg": 1.0, "g": 1e-3, "t": 1e3},
}
"""Unit → factor to the base unit, by dimension; the base units are `BASE_UNITS`."""

BASE_UNITS = {
    "duration": "s", "rate": "/s", "bytes": "B", "bandwidth": "B/s", "flops": "FLOP/s",
    "power": "W", "money": "USD", "money_per_hour": "USD/h", "money_per_month": "USD/month",
    "money_per_kwh": "USD/kWh", "money_per_kw_month": "USD/kW-month",
    "money_per_mtok": "USD/Mtok", "fraction": "", "carbon_intensity": "g/kWh", "mass": "kg",
}  # fmt: skip

_EXAMPLES = {
    "duration": "500 ms", "rate": "40 /s", "bytes": "24 GiB", "bandwidth": "3.35 TB/s",
    "flops": "989 TFLOPS", "power": "700 W", "money": "20 USD", "money_per_hour": "3.20 USD/h",
    "money_per_month": "20 USD/month", "money_per_kwh": "0.08 USD/kWh",
    "money_per_kw_month": "130 USD/kW-month", "money_per_mtok": "0.60 USD/Mtok", "fraction": "15%",
    "carbon_intensity": "400 g/kWh", "mass": "1300 kg",
}  # fmt: skip

_NUMBER = r"[+-]?(?:[0-9]+(?:_[0-9]+)*\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_QUANTITY = re.compile(rf"\s*({_NUMBER})\s*(\S*(?:\s+\S+)*)\s*")
_CURRENCY = re.compile(r"(?!USD)([A-Z]{3}|[€£¥₹])(?=/|$)")
_CENTURY_S = 100 * _SECONDS["year"]


def parse_quantity(value: object, dimension: str) -> float:
    """Return `value` in the base unit of `dimension`.

    Args:
        value: text such as `"500 ms"`. A bare number is accepted only for `fraction` (0.15 is 15%).
        dimension: a key of `DIMENSIONS`.

    Raises:
        ValueError: the text has no number, no unit or one of another dimension, or is not
            finite; the message names the units that fit.

    >>> parse_quantity("500 ms", "duration")
    0.5
    >>> parse_quantity("24 GiB", "bytes")
    25769803776.0
    >>> parse_quantity("20", "money")
    Traceback (most recent call last):
    ValueError: '20' has no unit; write for example "20 USD" (units: USD)
    """
    units = DIMENSIONS[dimension]
    advice = f'write for example "{_EXAMPLES[dimension]}" (units: {", ".join(units)})'
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if dimension == "fraction":
            return _finite(value, 1.0, value)
        raise ValueError(f"{shown(value)} is a bare number; {advice}")
    match = _QUANTITY.fullmatch(value[:200]) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{shown(value)} is not a quantity; {advice}")
    number, unit = match.groups()
    unit = unit.replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}")
    if dimension == "rate" and unit.startswith("req/"):
        unit = unit.removeprefix("req")
    if not unit and dimension != "fraction":
        raise ValueError(f"{shown(value)} has no unit; {advice}")
    if dimension == "rate" and unit.lower() in ("rps", "qps", "req/sec", "/sec"):
        raise ValueError(f'{shown(value)} has unknown unit {shown(unit)}; write "{number} /s"')
    if unit and unit not in units:
        if dimension.startswith("money") and (other := _CURRENCY.match(unit)):
            raise ValueError(
                f"{shown(value)} has unknown currency {other[1]}; amounts are in USD: convert it "
                "at the rate of its day, and say so in the source"
            )
        raise ValueError(f"{shown(value)} has unknown unit {shown(unit)}; {advice}")
    return _finite(float(number), units.get(unit, 1.0), value)


def _finite(number: float, factor: float, value: object) -> float:
    """Return the product, without a negative zero. Whole numbers may be too large for a float."""
    try:
        product = number * factor + 0.0
    except OverflowError:
        product = math.inf
    if not math.isfinite(product):
        raise ValueError(f"{shown(value)} is not a finite number")
    return product


def _quantity_type(dimension: str) -> Any:
    """Return the annotations that make a float a quantity: its converter and its JSON Schema."""
    example = _EXAMPLES[dimension]
    units = "|".join(re.escape(unit).replace("/", "\\/") for unit in DIMENSIONS[dimension])
    prefix = "(req)?" if dimension == "rate" else ""
    pattern = rf"^\s*{_NUMBER}\s*{prefix}({units})\s*$"
    base = BASE_UNITS[dimension]
    schema: dict[str, Any] = {
        "type": "string", "pattern": pattern, "examples": [example], "x-stored-in": base,
    }  # fmt: skip
    if dimension == "fraction":
        number = {"type": "number", "minimum": 0, "maximum": 1}
        text = {"type": "string", "pattern": rf"^\s*{_NUMBER}\s*%?\s*$"}
        schema = {"anyOf": [number, text], "examples": [example, 0.15]}

    def convert(value: object) -> float:
        return parse_quantity(value, dimension)

    return (BeforeValidator(convert), WithJsonSchema(schema))


def _at_least_zero(number: float) -> float:
    if number < 0:
        raise ValueError("must not be negative")
    return number


def _above_minus_one(number: float) -> float:
    if number <= -1:
        raise ValueError("must be more than -100%: nothing can shrink by more than all of it")
    return number


def _above_zero(number: float) -> float:
    if number <= 0:
        raise ValueError("must be greater than zero")
    return number


def _within_a_century(number: float) -> float:
    if number > _CENTURY_S:
        raise ValueError("must be at most 100 years")
    return number


def _at_most_one(number: float) -> float:
    if number > 1:
        raise ValueError("must be between 0 and 1, or 0% and 100%")
    return number


_NON_NEGATIVE = AfterValidator(_at_least_zero)
_POSITIVE = AfterValidator(_above_zero)
_CENTURY = AfterValidator(_within_a_century)

Duration = Annotated[float, *_quantity_type("duration"), _NON_NEGATIVE, _CENTURY]
"""Seconds, zero allowed."""
PositiveDuration = Annotated[float, *_quantity_type("duration"), _POSITIVE, _CENTURY]
"""Seconds, greater than zero."""
Rate = Annotated[float, *_quantity_type("rate"), _POSITIVE]
"""Events per second, greater than zero."""
RateOrZero = Annotated[float, *_quantity_type("rate"), _NON_NEGATIVE]
"""Events per second."""
Bytes = Annotated[float, *_quantity_type("bytes"), _NON_NEGATIVE]
Bandwidth = Annotated[float, *_quantity_type("bandwidth"), _POSITIVE]
"""Bytes per second."""
Flops = Annotated[float, *_quantity_type("flops"), _POSITIVE]
"""Floating-point (or integer) operations per second."""
Power = Annotated[float, *_quantity_type("power"), _NON_NEGATIVE]
"""Watts."""
Money = Annotated[float, *_quantity_type("money"), _NON_NEGATIVE]
MoneyPerHour = Annotated[float, *_quantity_type("money_per_hour"), _NON_NEGATIVE]
MoneyPerMonth = Annotated[float, *_quantity_type("money_per_month"), _NON_NEGATIVE]
MoneyPerKwh = Annotated[float, *_quantity_type("money_per_kwh"), _NON_NEGATIVE]
MoneyPerKwMonth = Annotated[float, *_quantity_type("money_per_kw_month"), _NON_NEGATIVE]
MoneyPerMtok = Annotated[float, *_quantity_type("money_per_mtok"), _NON_NEGATIVE]
"""US dollars per million tokens."""
Fraction = Annotated[
    float, *_quantity_type("fraction"), _NON_NEGATIVE, AfterValidator(_at_most_one)
]
"""A share between 0 and 1, written 0.15 or 15%."""
Change = Annotated[
    float,
    _quantity_type("fraction")[0],
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number"},
                {"type": "string", "pattern": rf"^\s*{_NUMBER}\s*%?\s*$"},
            ],
            "examples": ["25%", "-10%"],
        }
    ),
    AfterValidator(_above_minus_one),
]
"""A relative change, as 25% or -10%; more than -100%."""
CarbonIntensity = Annotated[float, *_quantity_type("carbon_intensity"), _NON_NEGATIVE]
"""Grams of CO2e per kWh."""
Mass = Annotated[float, *_quantity_type("mass"), _NON_NEGATIVE]
"""Kilograms."""
