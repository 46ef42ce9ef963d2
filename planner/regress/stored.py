"""What a baseline file must look like to be compared with: what is off is named, with its place.

A number that is not finite, or a name that is not known, would switch a gate off in silence.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from planner.errors import CatalogError
from planner.pricing import Books

SCHEMA: Final = "planner-baseline/v1"
_SHOWN: Final = 3
"""Faults that are named; the others are counted."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
Number = Finite | None


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Metric(_Part):
    better: Literal["lower", "higher", "neither"]
    unit: str
    values: Annotated[tuple[Number, ...], Field(min_length=1)]


class _Origin(_Part):
    planner: str
    seed: int
    scenario: str
    catalog: str
    curves: str
    traces: dict[str, str]


class _Rate(_Part):
    model_config = ConfigDict(extra="allow")
    value: Finite
    unit: str


class _MachinePrice(_Part):
    model_config = ConfigDict(extra="allow")
    name: str
    chip: str
    terms: str
    reference: bool
    per_device_hour: _Rate


class _ApiPrice(_Part):
    model_config = ConfigDict(extra="allow")
    name: str


class _Prices(_Part):
    section: dict[str, Any]
    machine_prices: list[_MachinePrice]
    api_prices: list[_ApiPrice]


class _File(_Part):
    schema_: Annotated[str, Field(alias="schema")]
    name: str
    origin: Annotated[_Origin, Field(alias="from")]
    metrics: dict[str, _Metric]
    prices: _Prices | None
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _as_many_values_as_seeds(self) -> _File:
        if self.seeds[0] != self.origin.seed:
            raise ValueError(f"seeds begin with {self.seeds[0]}, from.seed is {self.origin.seed}")
        for name, metric in self.metrics.items():
            if len(metric.values) != len(self.seeds):
                raise ValueError(
                    f"{name} has {len(metric.values)} values for {len(self.seeds)} seeds"
                )
        return self


def read_content(path: Path) -> dict[str, Any]:
    """Return what stands in a file, checked.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON, of another schema, or damaged; the message says where.
    """
    text = path.read_text(encoding="utf-8")
    try:
        content = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"cannot be read: {error}") from None
    found = content.get("schema") if isinstance(content, dict) else None
    if found != SCHEMA:
        stated = f"schema {found}" if found else "no baseline"
        raise ValueError(f"is of {stated}, not {SCHEMA}")
    try:
        _File.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(f"is damaged: {_faults(error)}") from None
    known: dict[str, Any] = content
    _check_prices(known["prices"])
    return known


def _check_prices(prices: dict[str, Any] | None) -> None:
    """Raise if the prices cannot be laid over a catalogue."""
    if prices is None:
        return
    entries = {name: prices[name] for name in ("machine_prices", "api_prices")}
    try:
        Books.of_json({"prices": {}, "pools": [], "classes": [], **entries})
    except (KeyError, TypeError, AttributeError, CatalogError) as error:
        raise ValueError(f"is damaged: prices: {error!r}") from None


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _faults(error: ValidationError) -> str:
    known = error.errors(include_url=False, include_context=False, include_input=False)
    words = [
        f"{'.'.join(map(str, each['loc'])) or 'as a whole'}: {each['msg']}"
        for each in known[:_SHOWN]
    ]
    more = [f"and {len(known) - _SHOWN} more"] if len(known) > _SHOWN else []
    return "; ".join([*words, *more])
