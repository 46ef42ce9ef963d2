"""What cost and revenue are made of: the numbers per class, pool and price that a bridge compares.

Every number is a *driver* with a name and a subject (a class, a pool, a price), and every driver
belongs to one *factor*. A number that a side does not have (the price of a pool that is not there,
the length of requests that nobody sent) is absent, and its change is none: what appears or vanishes
is booked by the number that says how much of it there is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pandas as pd

from planner.economics.allocation import UNALLOCATED
from planner.economics.ledger import COST_KINDS, LineKind

Key = tuple[str, ...]
"""Name of a driver and its subject."""

FACTORS: Final[Mapping[str, tuple[str, ...]]] = {
    "demand": ("requests",),
    "mix": ("class_share",),
    "request size": ("work_tokens", "tokens"),
    "cache hits": ("token_share",),
    "throughput": ("hours_per_token", "stray_hours"),
    "utilisation": ("billed_per_busy", "idle_pool_hours", "idle_share"),
    "machine prices": ("machine_price", "node_overhead"),
    "purchase terms": ("terms_share",),
    "power": ("site_per_busy_hour", "site_per_idle_hour", "site_fixed", "facility"),
    "revenue prices": ("token_price", "price_ratio", "request_price", "paying"),
    "partner's share": ("partner",),
}
"""Factor → its drivers."""

FACTOR_TEXT: Final[Mapping[str, str]] = {
    "demand": "requests served per hour",
    "mix": "share of each class in the requests",
    "request size": "tokens per request, by class",
    "cache hits": "share of the input that was cached, which is billed at its own price",
    "throughput": "device-hours of steps per token, by class and pool",
    "utilisation": "hours paid for per hour in steps: spare, idle and starting nodes",
    "machine prices": "price of a device-hour, by chip and terms, with node overhead",
    "purchase terms": "which chips on which terms (on demand, committed, owned) a pool is made of",
    "power": "electricity, cooling and housing of owned machines, per device-hour",
    "revenue prices": "what classes pay per token, seat or request, and who pays at all",
    "partner's share": "share of revenue that goes to a partner",
}
"""What each factor is."""

BEHAVIOUR: Final = ("cache hits", "throughput", "utilisation")
"""Factors by which serving techniques act: how requests are served."""

OUTPUT_WEIGHT: Final = 5.0
"""Work of an output token in input tokens: list prices are at 4 to 8 times those of input."""

SIBLINGS: Final[Mapping[str, int]] = {"class_share": 0, "terms_share": 1, "hours_per_token": 1}
"""Parts of a whole (all requests, a pool's machines, a class's work) → how much of the subject
names the whole. A part that is absent is nothing, if the side has other parts of the whole; if not,
there is no whole to have a part of."""

AMOUNTS: Final = frozenset({"stray_hours", "idle_pool_hours", "idle_share", "site_fixed"})
"""Drivers whose absence means nothing of them."""

_MICRO: Final = 1e6
_PRICE_UNITS: Final = frozenset({"device-hour", "USD"})
_TOKENS: Final = {
    "input tokens": ("input", ""),
    "cached input tokens": ("input", "cached"),
    "input tokens written to the cache": ("input", "written"),
    "output tokens": ("output", ""),
}
"""Revenue lines by token → kind of tokens, and which part of them."""
_LONG: Final = "long context"
_ROUNDED_USD: Final = 1e-5
"""Dollars by which a sum of a few rounded amounts may be off."""
_NO_IDLE_RATE: Final = 1e-9
"""Share of idle hours below which there are none but for rounding."""


@dataclass(frozen=True)
class Drivers:
    """The drivers of one side, per hour, and the exact amounts that they explain."""

    values: Mapping[Key, float]
    """Absent keys are numbers that the side does not have."""
    cost_microusd: int = 0
    """Of an hour."""
    revenue_microusd: int = 0
    profits_microusd: Mapping[str, int] = field(default_factory=dict)
    """Definition of margin → gross profit of an hour."""
    margin_revenues_microusd: Mapping[str, int] = field(default_factory=dict)
    """Definition of margin → revenue of an hour that it counts."""

    def subjects(self, name: str) -> Iterator[Key]:
        """Yield the subjects of a driver."""
        return (key[1:] for key in self.values if key[0] == name)

    def has_whole(self, key: Key) -> bool:
        """Tell whether there is a whole that the driver is a part of."""
        return any(
            other[: SIBLINGS[key[0]]] == key[1 : 1 + SIBLINGS[key[0]]]
            for other in self.subjects(key[0])
        )

    def value(self, key: Key) -> float | None:
        """Return a driver: what is not there is nothing, or None where it cannot even be that."""
        found = self.values.get(key)
        if found is None and (key[0] in AMOUNTS or (key[0] in SIBLINGS and self.has_whole(key))):
            return 0.0
        return found


def read_drivers(
    *,
    hours: float,
    ledger: pd.DataFrame,
    class_costs: pd.DataFrame,
    pool_costs: pd.DataFrame,
    class_pools: pd.DataFrame,
    margins: pd.DataFrame,
) -> Drivers:
    """Return the drivers of a statement.

    Args:
        hours: length of its period, above 0.
        ledger: the tables of a result, as `planner.results.columns` describes them.
        class_costs: …
        pool_costs: …
        class_pools: …
        margins: …
    """
    classes = class_costs[class_costs["class"] != UNALLOCATED]
    pools = sorted({str(name) for name in pool_costs["pool"]})
    values: dict[Key, float] = {}
    values.update(_traffic(classes, hours))
    values.update(_work(classes, class_pools, pools, hours))
    values.update(_pools(ledger, pool_costs, class_pools, hours))
    values.update(_revenue(ledger, classes))
    cost = ledger["kind"].isin([kind.value for kind in COST_KINDS])
    revenue = ledger["kind"] == LineKind.REVENUE.value
    return Drivers(
        values,
        cost_microusd=round(int(ledger.loc[cost, "amount_microusd"].sum()) / hours),
        revenue_microusd=round(int(ledger.loc[revenue, "amount_microusd"].sum()) / hours),
        profits_microusd=_per_hour(margins, "gross_profit_usd", hours),
        margin_revenues_microusd=_per_hour(margins, "revenue_usd", hours),
    )


def _per_hour(margins: pd.DataFrame, column: str, hours: float) -> dict[str, int]:
    amounts = zip(margins["definition"], margins[column], strict=True)
    return {str(name): round(float(usd) * _MICRO / hours) for name, usd in amounts}


def _traffic(classes: pd.DataFrame, hours: float) -> Iterator[tuple[Key, float]]:
    total = float(classes["requests"].sum())
    yield ("requests",), total / hours
    for row in _rows(classes):
        name, requests = str(row["class"]), float(row["requests"])
        yield ("paying", name), float(bool(row["paying"]))
        if total:
            yield ("class_share", name), requests / total
        if requests:
            yield ("work_tokens", name), _work_tokens(row) / requests


def _work_tokens(row: Mapping[str, Any]) -> float:
    """Return the tokens of a class in input tokens, whether cached or not: caching is no size."""
    return float(row["input_tokens"]) + OUTPUT_WEIGHT * float(row["output_tokens"])


def _work(
    classes: pd.DataFrame, class_pools: pd.DataFrame, pools: list[str], hours: float
) -> Iterator[tuple[Key, float]]:
    """Yield device-hours per token; of a class that was served nothing, the hours themselves."""
    work = {str(row["class"]): _work_tokens(row) for row in _rows(classes)}
    taken = {(str(r["class"]), str(r["pool"])): r["busy_device_hours"] for r in _rows(class_pools)}
    for pool in pools:
        for name, tokens in work.items():
            busy = float(taken.get((name, pool), 0.0))
            if tokens:
                yield ("hours_per_token", name, pool), busy / tokens
            elif busy:
                yield ("stray_hours", name, pool), busy / hours


def _pools(
    ledger: pd.DataFrame, pool_costs: pd.DataFrame, class_pools: pd.DataFrame, hours: float
) -> Iterator[tuple[Key, float]]:
    for pool, rows in pool_costs.groupby("pool", sort=True):
        name = str(pool)
        lines = ledger[ledger["pool"] == name]
        busy = float(rows["busy_device_hours"].sum())
        billed = float(rows["billed_device_hours"].sum())
        bearers = class_pools[class_pools["pool"] == name]
        if busy and bearers.empty:
            yield ("stray_hours", UNALLOCATED, name), busy / hours
            yield ("paying", UNALLOCATED), 1.0  # as in every margin
        if busy:
            yield ("billed_per_busy", name), billed / busy
        else:
            yield ("idle_pool_hours", name), billed / hours
            for row in _rows(bearers):  # classes that it worked for only after the period
                yield ("idle_share", str(row["class"]), name), float(row["cost_share_rate"])
        yield from _machine_prices(name, lines, rows, billed)
        yield from _site(name, lines, busy, billed - busy, hours)


def _machine_prices(
    pool: str, lines: pd.DataFrame, rows: pd.DataFrame, billed: float
) -> Iterator[tuple[Key, float]]:
    for (chip, terms), layer in rows.groupby(["chip", "terms"], sort=True):
        subject = (pool, str(chip), str(terms))
        layer_hours = float(layer["billed_device_hours"].sum())
        if not billed:
            continue
        yield ("terms_share", *subject), layer_hours / billed
        prices = {float(price) for price in layer["per_device_hour_usd"]}
        paid = float((layer["per_device_hour_usd"] * layer["billed_device_hours"]).sum())
        if len(prices) == 1:
            yield ("machine_price", *subject), prices.pop()
        elif layer_hours:
            yield ("machine_price", *subject), paid / layer_hours
    on_top = lines[lines["unit"] == "USD"]
    rates = {float(rate) for rate in on_top["unit_price_usd"]}
    machine_usd = _usd(lines[lines["unit"] == "device-hour"])
    if len(rates) == 1:
        yield ("node_overhead", pool), _overhead(rates.pop(), on_top, machine_usd)
    elif machine_usd:
        yield ("node_overhead", pool), _usd(on_top) / machine_usd


def _overhead(rate: float, on_top: pd.DataFrame, machine_usd: float) -> float:
    """Return the overhead on all machine time; only part of it bears one where terms are mixed."""
    borne_usd = float(on_top["quantity"].sum())
    on_all = math.isclose(borne_usd, machine_usd, rel_tol=1e-6, abs_tol=_ROUNDED_USD)
    return rate if on_all else _usd(on_top) / machine_usd


def _site(
    pool: str, lines: pd.DataFrame, busy: float, idle: float, hours: float
) -> Iterator[tuple[Key, float]]:
    """Yield what the site charges beside machine time: electricity, housing, cooling."""
    site = lines[~lines["unit"].isin(_PRICE_UNITS)]
    by_kind = {kind: _usd(site[site["kind"] == kind.value]) for kind in COST_KINDS}
    worked, waited = by_kind[LineKind.WORKLOAD], by_kind[LineKind.IDLE]
    if busy:
        yield ("site_per_busy_hour", pool), worked / busy
    if idle > _NO_IDLE_RATE * (busy + idle):
        yield ("site_per_idle_hour", pool), waited / idle
    else:
        yield ("site_fixed", pool), waited / hours
    if worked + waited:
        yield ("facility", pool), by_kind[LineKind.OVERHEAD] / (worked + waited)


def _revenue(ledger: pd.DataFrame, classes: pd.DataFrame) -> Iterator[tuple[Key, float]]:
    for row in _rows(classes):
        name, requests = str(row["class"]), float(row["requests"])
        lines = ledger[ledger["class"] == name]
        earned = lines[lines["kind"] == LineKind.REVENUE.value]
        by_token = earned[earned["line"].map(_base).isin(list(_TOKENS))]
        revenue = _usd(earned)
        if requests:
            yield ("request_price", name), (revenue - _usd(by_token)) / requests
            yield from _tokens(name, row, by_token, requests)
        if revenue:
            partner = lines[lines["kind"] == LineKind.PARTNER_SHARE.value]
            rates = {float(rate) for rate in partner["unit_price_usd"]}
            yield ("partner", name), rates.pop() if len(rates) == 1 else _usd(partner) / revenue


def _tokens(
    name: str, row: Mapping[str, Any], lines: pd.DataFrame, requests: float
) -> Iterator[tuple[Key, float]]:
    """Yield what is billed by the token: how many, how many of them cached, and at what price.

    All tokens of a class are counted also where it pays nothing for them.
    """
    billed: dict[Key, float] = {}
    prices: dict[Key, float] = {}
    for line in _rows(lines):
        subject = _subject(str(line["line"]))
        billed[subject] = billed.get(subject, 0.0) + float(line["quantity"]) * _MICRO
        prices[subject] = float(line["unit_price_usd"])
    if not billed:
        cached = float(row["cached_input_tokens"])
        billed = {
            ("input", "", ""): float(row["input_tokens"]) - cached,
            ("input", "", "cached"): cached,
            ("output", "", ""): float(row["output_tokens"]),
        }
        prices = {("input", "", ""): 0.0, ("output", "", ""): 0.0}
    yield from _token_prices(name, prices)
    for context in ("", _LONG):
        for kind in ("input", "output"):
            parts = [part for found, part in _TOKENS.values() if found == kind]
            total = sum(billed.get((kind, context, part), 0.0) for part in parts)
            yield ("tokens", name, kind, context), total / requests
            for part in parts if total else ():
                share = billed.get((kind, context, part), 0.0) / total
                yield ("token_share", name, kind, context, part), share


def _token_prices(name: str, prices: Mapping[Key, float]) -> Iterator[tuple[Key, float]]:
    """Yield the price of each kind of tokens, and what its parts cost in proportion.

    A discount that nobody used is not in the ledger: it is then that of the other side, not its
    price.
    """
    for kind in ("input", "output"):
        own = {subject: price for subject, price in prices.items() if subject[0] == kind}
        base = own.get((kind, "", ""), next(iter(own.values()), None))
        if base is None:
            continue
        yield ("token_price", name, kind), base
        for subject, price in own.items():
            if base and subject != (kind, "", ""):
                yield ("price_ratio", name, *subject), price / base


def _base(line: str) -> str:
    return line.partition(", ")[0]


def _subject(line: str) -> Key:
    """Return the kind of tokens of a revenue line, their context, and which part of them it is.

    The service tier is left out: the same tokens at another price.

    >>> _subject("cached input tokens, batch, long context")
    ('input', 'long context', 'cached')
    """
    base, *notes = line.split(", ")
    kind, part = _TOKENS[base]
    return kind, _LONG if _LONG in notes else "", part


def _usd(lines: pd.DataFrame) -> float:
    # not the amounts, which are rounded: what did not change has to be the same on both sides
    return float((lines["quantity"] * lines["unit_price_usd"]).sum())


def _rows(frame: pd.DataFrame) -> Iterable[Mapping[str, Any]]:
    columns = {str(name): frame[name].tolist() for name in frame.columns}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
