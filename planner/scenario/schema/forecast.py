"""What changes in the quarters and years ahead: demand, mix, models, chips, prices, learning.

The scenario itself is the first quarter: its classes, pools and prices hold until something here
says otherwise. Every rate of change is per year and compounds by the quarter.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from planner.scenario.schema.fields import Name, Part
from planner.units import Change, Fraction, PositiveDuration, RateOrZero

QUARTER = r"^[0-9]{4}-Q[1-4]$"
QUARTERS_PER_YEAR = 4
MAXIMUM_QUARTERS = 60

Quarter = Annotated[str, Field(pattern=QUARTER, examples=["2027-Q1"])]
"""A calendar quarter; the text form sorts by time."""
QuarterCount = Annotated[int, Field(ge=0, le=MAXIMUM_QUARTERS)]
Settings = Annotated[dict[str, Any], Field(examples=[{"pools.chat.model": "llama-3.1-405b"}])]
"""Dotted paths into the scenario → values, as under `overrides`."""


def number_of(quarter: str) -> int:
    """Return a quarter as a number; those that follow each other differ by 1.

    >>> number_of("2027-Q1") - number_of("2026-Q3")
    2
    """
    year, _, part = quarter.partition("-Q")
    return int(year) * QUARTERS_PER_YEAR + int(part) - 1


def quarter_of(number: int) -> str:
    """Return the quarter of a number.

    >>> quarter_of(number_of("2026-Q4") + 1)
    '2027-Q1'
    """
    return f"{number // QUARTERS_PER_YEAR}-Q{number % QUARTERS_PER_YEAR + 1}"


def first_day_of(quarter: str) -> str:
    """Return the day on which a quarter begins, YYYY-MM-DD.

    >>> first_day_of("2027-Q3")
    '2027-07-01'
    """
    year, _, part = quarter.partition("-Q")
    return f"{year}-{3 * int(part) - 2:02d}-01"


class DemandPoint(Part):
    """Demand of a class in one quarter."""

    quarter: Quarter
    """When."""
    rate: RateOrZero
    """Mean over the quarter, as `40 /s`."""


class Demand(Part):
    """How much is asked of a class, over time."""

    name: Name
    """The class."""
    start: RateOrZero | None = None
    """Mean rate of requests (sessions, tasks) over the first quarter, of the whole business.
    Absent: the rate of the class in the scenario, over `peak_to_mean`."""
    growth: Change | None = None
    """Per year, from the first quarter or the last point of `path`. Absent: none."""
    path: list[DemandPoint] = []
    """Dated rates; between them demand grows at a constant rate."""
    source: str = ""
    """Where it comes from."""


class Shift(Part):
    """Demand that moves from one class to another: chat that becomes reasoning, say."""

    name: Name
    """Unique among the shifts."""
    of: Name
    """Class that it leaves."""
    to: Name
    """Class that it becomes part of."""
    share: Fraction
    """Of the demand of the first class, when the shift is complete."""
    start: Quarter
    """First quarter in which some of it has moved; in equal steps from then on."""
    end: Quarter
    """First quarter in which all of `share` has moved."""
    requests: Annotated[float, Field(gt=0, le=10_000)] = 1.0
    """Requests (sessions, tasks) of the new class that take the place of one of the old."""
    source: str = ""
    """Where it comes from."""

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"ends in {self.end}, before it starts in {self.start}")
        return self


class Upgrade(Part):
    """A change of the service from a quarter on: a larger model, another format, a technique."""

    name: Name
    """Unique among the upgrades."""
    quarter: Quarter
    """First quarter in which it holds."""
    classes: list[Name] = []
    """Classes that it is about, for the report."""
    set: Settings
    """Anything of the scenario that is another from then on. Where nodes of an older generation are
    still there, they serve the new model too, if it fits."""
    source: str = ""
    """Where it comes from."""


class ChipGeneration(Part):
    """New nodes of a pool: what is delivered from a quarter on is of another kind.

    Nodes that are there stay for their term: owned ones for `capacity.life_quarters`, committed
    ones for theirs; on-demand and spot nodes are replaced at once.
    """

    name: Name
    """Unique among the generations."""
    pool: Name
    """The pool."""
    quarter: Quarter
    """First quarter in which one can be delivered."""
    node: str
    """Node in the catalogue."""
    price: str | None = None
    """Price in the catalogue or in `prices.nodes`; absent: `prices.default_terms` for its chip."""
    lead_quarters: QuarterCount | None = None
    """From order to delivery; absent: that of `capacity`."""
    set: Settings = {}
    """Other fields of the pool that differ there, as `{tensor_parallel: 4}`."""
    source: str = ""
    """Where it comes from."""


class PricePoint(Part):
    """A price in one quarter, as a multiple of that of the scenario."""

    quarter: Quarter
    """When."""
    factor: Annotated[float, Field(gt=0, le=1000)]
    """1: as in the scenario."""


class PricePath(Part):
    """How a price moves. Prices move both ways."""

    name: str
    """Of machine time: the node type; of a plan: its name."""
    change: Change | None = None
    """Per year, from the first quarter or the last point of `path`. Absent: none."""
    path: list[PricePoint] = []
    """Dated multiples; between them the price moves at a constant rate."""
    source: str = ""
    """Where it comes from."""


class Learning(Part):
    """Throughput that a pool gains without new chips or models: engine, kernels, operations."""

    name: Name
    """The pool."""
    per_year: Change | None = None
    """Gain per year, as 25%."""
    per_doubling: Change | None = None
    """Gain with each doubling of all that was ever served (Wright's law)."""
    quarters_before: Annotated[float, Field(gt=0, le=400)] = 4.0
    """With `per_doubling`: what had been served before, in quarters at the rate of the first."""
    until: Quarter | None = None
    """Last quarter in which it gains; absent: to the end."""
    source: str = ""
    """Where it comes from."""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.per_year is None) == (self.per_doubling is None):
            raise ValueError("needs one of per_year and per_doubling")
        return self


class Capacity(Part):
    """How much is ordered, and when."""

    reserve: Annotated[Fraction, Field(lt=1)] = 0.0
    """Nodes on top of what the peak needs: failures, maintenance, error of the forecast."""
    lead_quarters: QuarterCount = 0
    """From order to delivery. What is on demand or spot comes at once."""
    life_quarters: Annotated[int, Field(ge=1, le=MAXIMUM_QUARTERS)] = 20
    """Of owned nodes. Those of the first quarter retire evenly over it."""
    foresight: Literal["plan", "trend"] = "plan"
    """What an order goes by: the forecast itself, or the growth seen when it is placed, continued
    until delivery. With `trend`, demand that grows faster finds too few nodes."""


class Surface(Part):
    """Where the simulator is sampled: fleets of several sizes, between which is interpolated."""

    points: Annotated[int, Field(ge=3, le=12)] = 3
    """Loads at which fleets are sized, to begin with."""
    largest: Annotated[float, Field(gt=0, le=10_000)] = 4.0
    """Largest load that is simulated as one fleet, in multiples of the scenario's own rates. Fleets
    start at these rates and grow while half a node is a large part of them. What is beyond the
    largest is so many cells of its size."""
    smallest: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Smallest load, as a share of the largest, where the forecast itself needs nothing smaller."""
    tolerance: Annotated[Fraction, Field(gt=0)] = 0.05
    """Error of the nodes above which points are added, where the forecast needs them."""
    simulations: Annotated[int, Field(ge=1, le=100_000)] = 300
    """Simulations after which no point is added."""
    duration: PositiveDuration | None = None
    """Length of the busiest part that is simulated; absent: an hour, or all that is shorter."""


class Forecast(Part):
    """The quarters ahead."""

    start: Quarter
    """First quarter: that of the scenario itself."""
    until: Quarter
    """Last quarter."""
    peak_to_mean: Annotated[float, Field(ge=1, le=100)] = 1.0
    """Peak over mean demand of a quarter, on top of what the shapes of the classes say."""
    peak_source: str = ""
    """Where that comes from."""
    work: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Work of a request, as a multiple of that simulated: for models that stand in for others whose
    figures are not public. `planner forecast --solve work` finds what makes a known bill true."""
    work_source: str = ""
    """Where that comes from."""
    demand: list[Demand] = []
    """Demand by class; classes that are not named stay as they are."""
    shifts: list[Shift] = []
    """Shifts of the mix."""
    upgrades: list[Upgrade] = []
    """Changes of models and techniques."""
    chips: list[ChipGeneration] = []
    """The chip roadmap, by pool."""
    machine_prices: list[PricePath] = []
    """Prices of machine time, by node type. A node that is owned or committed keeps the price of
    the quarter in which it was delivered."""
    plan_prices: list[PricePath] = []
    """What classes pay, by plan."""
    learning: list[Learning] = []
    """Gains of throughput, by pool."""
    capacity: Capacity = Capacity()
    """Orders, reserve, lead times."""
    surface: Surface = Surface()
    """Sampling of the simulator."""

    @model_validator(mode="after")
    def _has_quarters(self) -> Self:
        if self.until < self.start:
            raise ValueError(f"until {self.until} is before start {self.start}")
        if self.quarters > MAXIMUM_QUARTERS:
            raise ValueError(
                f"{self.start} to {self.until} are {self.quarters} quarters; at most "
                f"{MAXIMUM_QUARTERS} are forecast"
            )
        return self

    @property
    def quarters(self) -> int:
        """Number of quarters."""
        return number_of(self.until) - number_of(self.start) + 1

    def index(self, quarter: str) -> int:
        """Return how many quarters after the first one lies; negative before it."""
        return number_of(quarter) - number_of(self.start)

    def labels(self) -> tuple[str, ...]:
        """Return all quarters."""
        first = number_of(self.start)
        return tuple(quarter_of(first + step) for step in range(self.quarters))
