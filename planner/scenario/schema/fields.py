"""What the parts of a scenario are made of: names, counts, days, and the base of every part."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

LENGTH_FORMS = ("preset", "fixed", "uniform", "quantiles", "lognormal_mixture")
CLASS_SOURCES = ("open", "closed", "trace", "share")
DISTRIBUTION_FORMS = ("normal", "lognormal", "uniform", "triangular", "quantiles")
ALTERNATIVES = (
    frozenset(LENGTH_FORMS),
    frozenset(CLASS_SOURCES),
    frozenset(DISTRIBUTION_FORMS),
    frozenset({"path", "source"}),
    frozenset({"factor", "value"}),
)
"""Fields of which only one is given: a layer that gives one replaces an inherited other."""

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_TIME_OF_DAY = r"^([01]?[0-9]|2[0-3]):[0-5][0-9]$"
_DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
PATTERN_ADVICE = {
    _NAME: "must be a name of letters, digits, '-', '_' and '.', as in logged-in-chat",
    _TIME_OF_DAY: "must be a time of day, as in 19:30",
    _DAY: "must be a date, as in 2026-11-01",
    r"^[0-9]{4}-Q[1-4]$": "must be a quarter, as in 2027-Q1",
}
"""What a value has to look like, by the pattern that it failed."""

Name = Annotated[str, Field(pattern=_NAME, max_length=64, examples=["logged-in-chat"])]
Count = Annotated[int, Field(ge=1, le=10**12)]
Nodes = Annotated[int, Field(ge=0, le=100_000)]
TokenCount = Annotated[int, Field(ge=0, le=10_000_000)]
DeviceCount = Annotated[int, Field(ge=1, le=65_536)]
StepLimit = Annotated[int, Field(ge=1, le=1_000_000)]
Dtype = Literal["fp32", "bf16", "fp16", "fp8", "int8", "fp4", "int4"]
TimeOfDay = Annotated[str, Field(pattern=_TIME_OF_DAY, examples=["19:30"])]


def _real_day(text: str) -> str:
    try:
        datetime.date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a date: {error}") from None
    return text


Day = Annotated[
    str,
    Field(pattern=_DAY, examples=["2026-11-01"]),
    AfterValidator(_real_day),
]
"""A date, YYYY-MM-DD; the text form sorts by time."""
MAXIMUM_WINDOWS = 100_000


class Part(BaseModel):
    """Base of every part of a scenario: unknown fields are errors, values do not change."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )
