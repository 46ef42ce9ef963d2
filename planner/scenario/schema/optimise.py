"""What may be bought to serve the demand: nodes, terms of payment, a chip of one's own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from planner.scenario.schema.fields import Name, Nodes, Part
from planner.units import Duration, Fraction, Money, MoneyPerHour, PositiveDuration, Power, Rate


class Term(Part):
    """One way to pay for nodes of a pool."""

    name: Name
    """Unique in its pool, e.g. `base`, `peak`, `spot`."""
    price: str
    """Price in the catalogue or in `prices.nodes`."""
    block: PositiveDuration | None = None
    """A node is paid for at least so long, in whole blocks from the start of the workload on, as a
    capacity block of `24 h`. Absent: by the hour where the price is on_demand or spot, else for the
    whole time (take-or-pay)."""
    lead_time: Duration = 0.0
    """From ordering to having it, as `90 d`."""
    maximum_nodes: Nodes | None = None
    """Nodes that can be had on these terms; absent: no limit."""
    maximum_share: Annotated[Fraction, Field(gt=0)] = 1.0
    """Most of the pool's nodes, in any hour, that may be on these terms: a reserve against losing
    them all at once."""
    interruptions: Rate | None = None
    """How often a node is taken back, as `0.05 /h`; absent: never."""
    recovery: Duration = 600.0
    """From being told to leave until another node serves in its place."""


class Choice(Part):
    """A pool that may be used, and how its nodes may be paid for."""

    pool: Name
    """Pool of the scenario; its `nodes` and prices are left out of account."""
    maximum_nodes: Nodes | None = None
    """Nodes of all terms together in any hour; absent: no limit."""
    terms: Annotated[list[Term], Field(min_length=1)]
    """At least one."""


class Optimise(Part):
    """What `planner optimise` chooses from.

    A class may be served by its `pool` and by those of `overflow`, as far as they are listed here.
    """

    pools: Annotated[list[Choice], Field(min_length=1)]
    """At least one."""
    needed_in: Duration | None = None
    """When the capacity has to be there: terms with a longer lead time are left out. Absent: all
    can be waited for."""
    operating_time: PositiveDuration = 900.0
    """Simulated time per load that is tried, to find what a node carries."""


class SelfHost(Part):
    """Serving a model oneself against buying the same tokens: from which load is it cheaper?

    What the plans of the classes (of kind `api`) charge is the bill of the one who buys.
    """

    loads: Annotated[
        list[Annotated[float, Field(gt=0, le=1000)]], Field(min_length=2, max_length=24)
    ] = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0]
    """Loads to simulate, in multiples of the scenario's own rates."""
    spare_nodes: Nodes = 1
    """Nodes of each pool beyond the smallest fleet that keeps the promises, for when one fails."""


class OwnChip(Part):
    """A chip of one's own against one that is bought: from which volume is it cheaper?

    Both pools are simulated with the classes that name either of them.
    """

    pool: Name
    """Pool with the own chip."""
    against: Name
    """Pool with the bought chip, at its `price`."""
    engineering: Money
    """Non-recurring: design, verification, masks, software; the same however many are made."""
    unit_cost: Money
    """Making one device, with its share of memory, package, board, host and network."""
    operations: MoneyPerHour = 0.0
    """Staff, maintenance and software per device-hour, as `capital.operations` of a bought one."""
    unit_power: Power | None = None
    """All-in power of one device under load, PUE included; absent: the node's nameplate share at
    the simulated load, times PUE. The rest of the time it draws `prices.power.idle`."""
    life: PositiveDuration = 4 * 365 * 86400.0
    """Years over which engineering and devices are recovered: until the next generation."""
    cost_of_capital: Fraction = 0.10
    """Per year."""
    utilisation: Annotated[Fraction, Field(gt=0)] = 0.75
    """Mean over peak load, of both: the rest of the capacity waits."""
    operating_time: PositiveDuration = 600.0
    """Simulated time per load that is tried, to find what a node carries."""
    source: str
    """Where these figures come from."""
    tier: Literal["official", "measured", "analyst", "estimated", "claimed"] = "estimated"
    """How well they are founded."""
