"""From one side's cost and margin to the other's, factor by factor; the parts add up exactly.

Cost and revenue are products and sums of the drivers in `planner.economics.drivers`. With
requests per hour D, share m of a class, work w per request (tokens), device-hours h per token in a
pool, hours g paid per hour in steps, a price p per device-hour and site costs e:

    cost    = Σ pools  [ g · p · (1 + overhead) + e ] · Σ classes  D · m · w · h
    revenue = Σ classes  D · m · ( Σ tokens · share cached or not · price  +  price per request )

What each factor explains is its Shapley share over all ways to replace some factors of the first
side by those of the second. That is exact where log-mean Divisia is not defined: with zeros, and
with classes and pools that appear or vanish. The margin rate, which is no sum, is divided likewise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from planner.economics.attribution import shapley_shares, substitutions, whole_parts
from planner.economics.drivers import FACTORS, Drivers, Key
from planner.economics.margin import DEFINITIONS

RATE_UNITS: Final = 1_000_000_000
"""Margin rates are divided in whole billionths."""

_SAME: Final = 1e-12
"""Relative difference up to which two drivers are equal but for the rounding of floats."""

_ROUNDING: Final = 1e-6
_ROUNDING_UNITS: Final = 10_000
"""How far the lines of a ledger, each rounded to a micro-dollar, may be off: of the whole, and in
units per hour."""

Quantity = tuple[str, str]
"""cost, revenue, profit or margin, and the definition of margin; empty for the first two."""

QUANTITIES: Final[tuple[Quantity, ...]] = (
    ("cost", ""),
    ("revenue", ""),
    *(("profit", definition) for definition in DEFINITIONS),
    *(("margin", definition) for definition in DEFINITIONS),
)

Amount: TypeAlias = "NDArray[np.float64]"
Blend: TypeAlias = Callable[..., Amount]
"""Returns a driver under every substitution."""


@dataclass(frozen=True)
class Change:
    """One quantity on both sides, and what each factor did to it."""

    before: int
    """Micro-dollars per hour, or billionths of a margin rate."""
    after: int
    shares: Mapping[str, float]
    """By factor, in the same unit, not yet rounded."""

    @property
    def change(self) -> int:
        """After − before."""
        return self.after - self.before

    @property
    def parts(self) -> dict[str, int]:
        """By factor, in whole units that add up to the change."""
        parts = whole_parts(self.change, list(self.shares.values()))
        return dict(zip(self.shares, parts, strict=True))


def attribute(before: Drivers, after: Drivers) -> dict[Quantity, Change]:
    """Divide the changes of cost, revenue, profit and margin rate among the factors.

    Args:
        before: the first side.
        after: the second.

    Returns:
        By quantity. A margin rate is left out where a side, or a mixture of both, has no revenue,
        or one of micro-dollars.

    Raises:
        ValueError: a ledger has lines that the drivers do not account for.
    """
    changed = [name for name in FACTORS if _differs(name, before, after)]
    rows = substitutions(len(changed))
    factor_of = {driver: name for name, drivers in FACTORS.items() for driver in drivers}
    flags = {name: rows[:, index] for index, name in enumerate(changed)}

    def blend(*key: str) -> Amount:
        first, second = _pair(key, before, after)
        flag = flags.get(factor_of[key[0]])
        if flag is None or first == second:
            return np.full(len(rows), first)
        return np.where(flag, second, first)

    found = _evaluate(_subjects(before, after), blend)
    ends = (_amounts(before), _amounts(after))
    changes = {}
    for quantity in QUANTITIES:
        values = found[quantity]
        if not np.isfinite(values).all() or any(quantity not in each for each in ends):
            continue
        if not _explained(quantity, ends, values[[0, -1]]):
            continue
        shares = dict.fromkeys(FACTORS, 0.0)
        shares |= dict(zip(changed, shapley_shares(values.tolist(), len(changed)), strict=True))
        changes[quantity] = Change(ends[0][quantity], ends[1][quantity], shares)
    return changes


def _pair(key: Key, before: Drivers, after: Drivers) -> tuple[float, float]:
    """Return a driver on both sides; where one side does not have it, there is no change."""
    first, second = before.value(key), after.value(key)
    if first is None:
        first = 0.0 if second is None else second
    if second is None or math.isclose(first, second, rel_tol=_SAME):
        second = first = first if second is None else min(first, second)
    return first, second


def _explained(
    quantity: Quantity, ends: tuple[Mapping[Quantity, int], ...], values: Amount
) -> bool:
    """Tell whether the drivers account for a quantity, but for rounded lines of the ledger.

    Raises:
        ValueError: they do not account for an amount of money.
    """
    for end, value in zip(ends, values, strict=True):
        amount = end[quantity]
        if abs(value - amount) > _ROUNDING * abs(amount) + _ROUNDING_UNITS:
            if quantity[0] == "margin":  # of a revenue of micro-dollars
                return False
            raise ValueError(
                f"{' '.join(quantity).strip()} is {amount} and its drivers explain {value:.0f}: "
                "the ledger has lines that the bridge does not know"
            )
    return True


def _differs(factor: str, before: Drivers, after: Drivers) -> bool:
    drivers = FACTORS[factor]
    keys = {key for side in (before, after) for key in side.values if key[0] in drivers}
    return any(first != second for first, second in (_pair(key, before, after) for key in keys))


@dataclass(frozen=True)
class _Subjects:
    """What there is on either side, in an order that does not depend on which comes first."""

    classes: list[str]
    pools: list[str]
    prices: dict[str, list[Key]] = field(default_factory=dict)
    """By pool: chip and terms."""
    tokens: dict[str, list[Key]] = field(default_factory=dict)
    """By class: kind and context of tokens billed."""
    parts: dict[Key, list[str]] = field(default_factory=dict)
    """By class, kind and context."""


def _subjects(before: Drivers, after: Drivers) -> _Subjects:
    def of(*names: str) -> list[Key]:
        return sorted(
            {s for side in (before, after) for name in names for s in side.subjects(name)}
        )

    classes = {subject[0] for subject in of("class_share", "stray_hours", "paying")}
    pools = {subject[0] for subject in of("billed_per_busy", "idle_pool_hours")}
    found = _Subjects(sorted(classes), sorted(pools))
    for subject in of("terms_share", "machine_price"):
        found.prices.setdefault(subject[0], []).append(subject[1:])
    for subject in of("tokens"):
        found.tokens.setdefault(subject[0], []).append(subject[1:])
    for name, kind, context, part in of("token_share", "price_ratio"):
        found.parts.setdefault((name, kind, context), []).append(part)
    return found


def _evaluate(subjects: _Subjects, blend: Blend) -> dict[Quantity, Amount]:
    """Return the quantities under every substitution."""
    requests = {name: blend("requests") * blend("class_share", name) for name in subjects.classes}
    costs, unborne = _costs(subjects, blend, requests)
    zero = np.zeros_like(unborne)
    revenue, paid_revenue, partner, paid_cost = zero, zero, zero, unborne
    total_cost = unborne
    for name in subjects.classes:
        earned = requests[name] * _earned_per_request(subjects, blend, name)
        paying = blend("paying", name)
        revenue = revenue + earned
        paid_revenue = paid_revenue + paying * earned
        partner = partner + earned * blend("partner", name)
        paid_cost = paid_cost + paying * costs[name]
        total_cost = total_cost + costs[name]
    profits = {
        "paid_only": (paid_revenue - paid_cost, paid_revenue),
        "all_users_in_cogs": (revenue - total_cost - partner, revenue),
        "free_in_marketing": (revenue - paid_cost - partner, revenue),
    }
    found: dict[Quantity, Amount] = {("cost", ""): total_cost, ("revenue", ""): revenue}
    for definition, (profit, counted) in profits.items():
        found["profit", definition] = profit
        rate = np.full_like(profit, np.nan)
        np.divide(profit, counted, out=rate, where=counted > 0)
        found["margin", definition] = rate * RATE_UNITS
    return found | {key: found[key] * 1e6 for key in found if key[0] != "margin"}


def _costs(
    subjects: _Subjects, blend: Blend, requests: Mapping[str, Amount]
) -> tuple[dict[str, Amount], Amount]:
    """Return the cost of each class, and that of pools which worked for nobody; USD per hour."""
    work = {name: requests[name] * blend("work_tokens", name) for name in subjects.classes}
    costs = {name: np.zeros_like(amount) for name, amount in work.items()}
    unborne = np.zeros_like(blend("requests"))
    for pool in subjects.pools:
        hours = {
            name: work[name] * blend("hours_per_token", name, pool)
            + blend("stray_hours", name, pool)
            for name in subjects.classes
        }
        busy = sum(hours.values(), np.zeros_like(unborne))
        cost = _pool_cost(subjects, blend, pool, busy)
        worked = busy > 0
        left = np.where(worked, 0.0, cost)
        for name, own in hours.items():
            idle = np.where(worked, 0.0, cost * blend("idle_share", name, pool))
            share = np.divide(own, busy, out=np.zeros_like(busy), where=worked)
            costs[name] = costs[name] + cost * share + idle
            left = left - idle
        unborne = unborne + left
    return costs, unborne


def _pool_cost(subjects: _Subjects, blend: Blend, pool: str, busy: Amount) -> Amount:
    billed = busy * blend("billed_per_busy", pool) + blend("idle_pool_hours", pool)
    price = np.zeros_like(busy)
    for chip, terms in subjects.prices.get(pool, []):
        subject = (pool, chip, terms)
        price = price + blend("terms_share", *subject) * blend("machine_price", *subject)
    machine = billed * price * (1.0 + blend("node_overhead", pool))
    site = (
        busy * blend("site_per_busy_hour", pool)
        + (billed - busy) * blend("site_per_idle_hour", pool)
        + blend("site_fixed", pool)
    )
    return machine + site * (1.0 + blend("facility", pool))


def _earned_per_request(subjects: _Subjects, blend: Blend, name: str) -> Amount:
    earned = blend("request_price", name)
    for kind, context in subjects.tokens.get(name, []):
        subject = (name, kind, context)
        price = np.zeros_like(earned)
        for part in subjects.parts.get(subject, []):
            share = blend("token_share", *subject, part)
            price = price + (
                share * blend("price_ratio", *subject, part) if part or context else share
            )
        price = price * blend("token_price", name, kind)
        earned = earned + blend("tokens", *subject) * price / 1e6
    return earned


def _amounts(side: Drivers) -> dict[Quantity, int]:
    """Return the exact amounts of a side."""
    amounts: dict[Quantity, int] = {
        ("cost", ""): side.cost_microusd,
        ("revenue", ""): side.revenue_microusd,
    }
    for definition, profit in side.profits_microusd.items():
        amounts["profit", definition] = profit
        revenue = side.margin_revenues_microusd[definition]
        if revenue > 0:
            amounts["margin", definition] = round(profit * RATE_UNITS / revenue)
    return amounts
