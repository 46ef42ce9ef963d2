from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from planner import units
from planner.units import BASE_UNITS, DIMENSIONS, parse_quantity

DIMENSION = st.sampled_from(sorted(DIMENSIONS))


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("500 ms", "duration", 0.5),
        ("500ms", "duration", 0.5),
        (" 1.5 h ", "duration", 5400.0),
        ("2 week", "duration", 1_209_600.0),
        ("7 µs", "duration", 7e-6),
        ("7 \N{GREEK SMALL LETTER MU}s", "duration", 7e-6),
        ("-0 s", "duration", 0.0),
        ("40 /s", "rate", 40.0),
        ("40 req/s", "rate", 40.0),
        ("36 /h", "rate", 0.01),
        ("24 GiB", "bytes", 24 * 2.0**30),
        ("24 GB", "bytes", 24e9),
        ("3.35 TB/s", "bandwidth", 3.35e12),
        ("400 Gbit/s", "bandwidth", 50e9),
        ("989 TFLOPS", "flops", 989e12),
        ("0.7 kW", "power", 700.0),
        ("3.20 USD/h", "money_per_hour", 3.2),
        ("240 USD/year", "money_per_month", 20.0),
        ("80 USD/MWh", "money_per_kwh", 0.08),
        ("0.002 USD/ktok", "money_per_mtok", 2.0),
        ("15%", "fraction", 0.15),
        ("0.15", "fraction", 0.15),
        (0.15, "fraction", 0.15),
        ("1_000 s", "duration", 1000.0),
        ("1e3 s", "duration", 1000.0),
    ],
)
def test_parse(text: object, dimension: str, value: float) -> None:
    assert parse_quantity(text, dimension) == pytest.approx(value, rel=1e-15)
    assert math.copysign(1.0, parse_quantity(text, dimension)) == 1.0


@pytest.mark.parametrize(
    ("value", "dimension", "problem"),
    [
        (500, "duration", "500 is a bare number"),
        (True, "duration", "true is not a quantity"),
        (None, "duration", "nothing is not a quantity"),
        ([1, "s"], "duration", "is not a quantity"),
        ("", "duration", "'' is not a quantity"),
        ("ms", "duration", "'ms' is not a quantity"),
        ("500", "duration", "'500' has no unit"),
        ("500 GB", "duration", "'500 GB' has unknown unit 'GB'"),
        ("5 S", "duration", "unknown unit 'S'"),
        ("5 gb", "bytes", "unknown unit 'gb'"),
        ("5 s s", "duration", "unknown unit 's s'"),
        ("1__0 s", "duration", "unknown unit '__0 s'"),
        ("٣ s", "duration", "is not a quantity"),
        ("1e400 s", "duration", "is not a finite number"),
        ("inf s", "duration", "is not a quantity"),
        (math.inf, "fraction", "inf is not a finite number"),
        (10**399, "fraction", "is not a finite number"),
        (math.nan, "fraction", "nan is not a finite number"),
        ("20 EUR", "money", "unknown currency EUR"),
        ("3 €/h", "money_per_hour", "unknown currency €"),
        ("3 USD/fortnight", "money_per_hour", "unknown unit 'USD/fortnight'"),
    ],
)
def test_reject(value: object, dimension: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        parse_quantity(value, dimension)


@pytest.mark.parametrize("dimension", sorted(DIMENSIONS))
def test_a_rejection_says_what_to_write(dimension: str) -> None:
    with pytest.raises(ValueError, match="write for example") as caught:
        parse_quantity("many", dimension)
    example = re.findall(r'write for example "([^"]+)"', str(caught.value))[0]
    assert parse_quantity(example, dimension) > 0


@pytest.mark.parametrize("dimension", sorted(DIMENSIONS))
def test_the_base_unit_has_factor_one(dimension: str) -> None:
    assert parse_quantity(f"3 {BASE_UNITS[dimension]}", dimension) == 3.0


@given(DIMENSION, st.floats(0, 1e12), st.data())
def test_units_scale(dimension: str, number: float, data: st.DataObject) -> None:
    unit, factor = data.draw(st.sampled_from(sorted(DIMENSIONS[dimension].items())))
    assert parse_quantity(f"{number!r} {unit}", dimension) == number * factor


@given(st.one_of(st.text(), st.floats(), st.integers(), st.none()), DIMENSION)
def test_anything_is_a_finite_float_or_a_value_error(value: object, dimension: str) -> None:
    try:
        number = parse_quantity(value, dimension)
    except ValueError as error:
        message = str(error)
    else:
        message = ""
        assert math.isfinite(number)
    assert len(message) < 400


@pytest.mark.parametrize(
    ("kind", "good", "bad", "problem"),
    [
        ("Duration", "0 s", "-1 s", "must not be negative"),
        ("Duration", "100 year", "101 year", "must be at most 100 years"),
        ("PositiveDuration", "1 ms", "0 s", "must be greater than zero"),
        ("Rate", "1 /h", "0 /s", "must be greater than zero"),
        ("Fraction", "100%", "101%", "must be between 0 and 1"),
        ("MoneyPerHour", "0 USD/h", "-1 USD/h", "must not be negative"),
    ],
)
def test_bounds(kind: str, good: str, bad: str, problem: str) -> None:
    adapter = TypeAdapter(getattr(units, kind))
    assert adapter.validate_python(good) >= 0
    with pytest.raises(ValidationError, match=problem):
        adapter.validate_python(bad)


@given(DIMENSION, st.sampled_from(["5 s", "5", "5 GB", "3 /s", "3 req/s", "15%", "2 USD/h", "x"]))
def test_the_json_schema_agrees_with_the_parser(dimension: str, text: str) -> None:
    kinds = [
        "Duration", "Rate", "Bytes", "Bandwidth", "Flops", "Power", "Money", "MoneyPerHour",
        "MoneyPerMonth", "MoneyPerKwh", "MoneyPerKwMonth", "MoneyPerMtok", "Fraction",
    ]  # fmt: skip
    for kind in kinds:
        schema = TypeAdapter(getattr(units, kind)).json_schema()
        pattern = schema.get("pattern") or schema["anyOf"][1]["pattern"]
        stored_in = schema.get("x-stored-in", "")
        if stored_in != BASE_UNITS[dimension]:
            continue
        matches = re.search(pattern, text) is not None
        try:
            parse_quantity(text, dimension)
        except ValueError:
            assert not matches, json.dumps(schema)
        else:
            assert matches, json.dumps(schema)
