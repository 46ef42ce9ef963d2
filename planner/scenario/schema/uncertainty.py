"""What is not known exactly: inputs as distributions, and how many samples are drawn of them."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from planner.scenario.schema.fields import DISTRIBUTION_FORMS, Name, Part
from planner.units import Fraction

Source = Literal[
    "demand", "curves", "overheads", "step_times", "acceptance", "machine_prices", "plans"
]
KNOWN_ERRORS = ("curves", "overheads")
"""Sources that know their own errors, so that no distribution is stated."""

Amount = float | str
"""A bare number, or text with a unit where the distribution is of a `value` that has one."""


class Normal(Part):
    """A normal distribution."""

    mean: Amount
    """Mean and median."""
    deviation: Amount
    """Standard deviation."""


class Lognormal(Part):
    """A distribution whose logarithm is normal."""

    median: Amount
    """Half of the draws are below."""
    sigma: Annotated[float, Field(ge=0, le=3)]
    """Standard deviation of the logarithm: 0.1 is about 10%."""


class Distribution(Part):
    """What an input may be; exactly one form is given."""

    normal: Normal | None = None
    """Mean and standard deviation."""
    lognormal: Lognormal | None = None
    """Median and standard deviation of the logarithm; never negative."""
    uniform: Annotated[tuple[Amount, Amount], Field(strict=False)] | None = None
    """Anything from the first to the second is as likely."""
    triangular: Annotated[tuple[Amount, Amount, Amount], Field(strict=False)] | None = None
    """Least, likeliest and most."""
    quantiles: dict[str, Amount] | None = None
    """As `{p10: 0.8, p50: 1, p90: 1.3}`: at least two; between and beyond them as a normal, or, if
    all are positive, as a lognormal that bends at each."""
    minimum: Amount | None = None
    """Smaller draws are raised to this."""
    maximum: Amount | None = None
    """Larger draws are cut to this."""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        given = [form for form in DISTRIBUTION_FORMS if getattr(self, form) is not None]
        if len(given) != 1:
            found = f"found {', '.join(given)}" if given else "found none"
            raise ValueError(f"needs exactly one of {', '.join(DISTRIBUTION_FORMS)}; {found}")
        return self

    @field_validator("quantiles")
    @classmethod
    def _quantile_names(cls, value: dict[str, Amount] | None) -> dict[str, Amount] | None:
        if value is None:
            return value
        if len(value) < 2:
            raise ValueError("needs at least two quantiles, as p10 and p90")
        for key in value:
            if not re.fullmatch(r"p(\d{1,2}(\.\d+)?)", key) or float(key[1:]) == 0:
                raise ValueError(f"{key!r} is no quantile here; write p0.1 … p10, p50, p90 … p99.9")
        if len({float(key[1:]) for key in value}) < len(value):
            raise ValueError(f"states a quantile twice: {', '.join(value)}")
        return value


class UncertainInput(Part):
    """One input that is not known exactly."""

    name: Name
    """Unique name, as it stands in the tables and figures."""
    path: str | None = None
    """Where the number stands in the scenario, as `workload.classes.chat.open.rate`; `*` stands
    for every item of a list that has such a number. Or `source`."""
    source: Source | None = None
    """Instead of a path. demand: arrivals of the classes, open, closed or of traces; curves: times
    of fitted kernels, by the covariance of their parameters and their error on shapes left out of
    the fit; overheads: of engines, by the standard errors of their calibration; step_times: what a
    step takes on the devices; acceptance: drafted tokens accepted; machine_prices: of the pools'
    machines; plans: what is paid for answers."""
    of: list[str] = []
    """What a source concerns: names of classes (demand), pools (overheads, step_times, acceptance,
    machine_prices), plans, or operators (curves). Empty: all."""
    factor: Distribution | None = None
    """Of a factor on what the scenario says."""
    value: Distribution | None = None
    """Of the number itself, with its unit; for a path."""
    group: Name | None = None
    """Inputs of one group move together: each is at the same quantile of its own distribution."""
    basis: str = ""
    """Where the distribution comes from."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if (self.path is None) == (self.source is None):
            raise ValueError("needs either a path into the scenario or a source")
        stated = [name for name in ("factor", "value") if getattr(self, name) is not None]
        if self.source in KNOWN_ERRORS:
            if stated:
                raise ValueError(
                    f"{self.source} know their own errors; delete {stated[0]}, or use step_times"
                )
            return self
        if len(stated) != 1:
            raise ValueError("needs either a factor or a value with its distribution")
        if self.source is not None and self.value is not None:
            raise ValueError(f"{self.source} is changed by a factor; write factor instead of value")
        if self.path is not None and self.of:
            raise ValueError("`of` goes with a source; a path says itself what it concerns")
        return self


class Uncertainty(Part):
    """What `planner risk` draws, and how often."""

    inputs: Annotated[list[UncertainInput], Field(min_length=1)]
    """What is not known exactly; all but those of one group are independent."""
    samples: Annotated[int, Field(ge=8, le=65_536)] = 64
    """Draws of all inputs at once, a power of two."""
    method: Literal["sobol", "halton", "latin_hypercube", "random"] = "sobol"
    """How draws are spread: evenly (scrambled Sobol or Halton points, Latin hypercube) or at
    random."""
    confidence: Annotated[Fraction, Field(gt=0, lt=1)] = 0.9
    """Share of the draws inside an interval; the tails beyond both ends are equal."""
    sensitivity: bool = True
    """Also compute Sobol indices, which takes samples / 2 more draws per input or group."""

    @field_validator("samples")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            below = 1 << (value.bit_length() - 1)
            raise ValueError(f"must be a power of two, as {below} or {2 * below}; found {value}")
        return value
