"""What a new run would cost at the prices of its baseline: a dearer catalogue is no regression.

A baseline keeps the section `prices` as it was written and the catalogue's entries that it used.
New behaviour is priced with them; what is left of the change of cost and margin is the prices'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from pydantic import ValidationError

from planner.catalog import Catalog, MachinePrice, load_catalog
from planner.errors import CatalogError
from planner.jsonable import plain
from planner.pricing import Books
from planner.regress.metrics import Values, money_of, rounded
from planner.results.result import Finance, Result
from planner.scenario.schema.money import Prices

_CHOICES: Final = ("default_terms", "margin", "partner_revenue_share")
"""Of the section: how machines are bought, and what counts into the margin, is no price."""
_NAMED: Final = ("nodes", "plans")

Kept = Mapping[str, Any]
"""`section`, `machine_prices` and `api_prices`, as JSON."""


def kept_prices(result: Result) -> Kept | None:
    """Return the prices of a result; None if it has none."""
    if result.books is None:
        return None
    stated = {k: v for k, v in result.books["prices"].items() if k != "tables"}
    section = {"date": Prices().date} | stated
    own = {name: result.books[name] for name in ("machine_prices", "api_prices")}
    kept: dict[str, Any] = plain({"section": section} | own)
    return kept


def at_old_prices(result: Result, old: Kept | None) -> Values | None:
    """Return the money of a result at the prices of a baseline.

    Returns:
        None where it cannot be told: a side has no prices, or the run did not count what they are
        for, such as the tokens of long contexts.
    """
    if result.books is None or old is None:
        return None
    new = Books.of_json(result.books)
    before = Books.of_json({"prices": {}, "pools": [], "classes": [], **_entries(old)})
    catalog = load_catalog().with_prices(new.machine_prices, new.api_prices, whole_series=False)
    catalog = _as_before(catalog, before).with_prices(before.machine_prices, before.api_prices)
    section = _section(old, new.prices)
    try:
        prices = Prices.model_validate(section)
        statement = replace(new, prices=section).statement(prices, catalog)
    except (CatalogError, ValidationError):
        return None
    return {name: rounded(value) for name, value in money_of(Finance.of(statement)).items()}


def _entries(kept: Kept) -> dict[str, Any]:
    return {name: kept[name] for name in ("machine_prices", "api_prices")}


def _as_before(catalog: Catalog, before: Books) -> Catalog:
    """Return a catalogue that refers to nothing else where the baseline has a reference.

    A newer quote often comes under another name. It stays to be chosen by that name.
    """
    known = {_kind(price) for price in before.machine_prices if price.reference}
    return catalog.with_prices(
        [
            replace(price, reference=False)
            for price in catalog.machine_prices.values()
            if price.reference and _kind(price) in known
        ],
        whole_series=False,
    )


def _kind(price: MachinePrice) -> tuple[str, str]:
    return price.chip, price.terms


def _section(kept: Kept, new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the old section, with the new choices and what only the new one has a price for."""
    old = kept["section"]
    section = {name: value for name, value in old.items() if name not in _CHOICES}
    section |= {name: new[name] for name in _CHOICES if name in new}
    listed = {each["name"] for each in kept["machine_prices"]}
    for field in _NAMED:
        known = {each["name"] for each in old.get(field, [])}
        if field == "nodes":
            known |= listed  # the scenario may have its own price under a name of the catalogue
        added = [each for each in new.get(field, []) if each["name"] not in known]
        if added or field in old:
            section[field] = [*old.get(field, []), *added]
    return section


# --- in words ------------------------------------------------------------------------------------


def price_changes(old: Kept, new: Kept) -> Iterator[str]:
    """Yield in words which prices are no longer as they were; what is noted on them is none."""
    for was, now in _pairs(old["machine_prices"], new["machine_prices"]):
        before, after = was["per_device_hour"], now["per_device_hour"]
        if _bare(before) != _bare(after):
            name = (
                f"{was['name']}, now {now['name']}," if was["name"] != now["name"] else now["name"]
            )
            yield f"{name} {before['value']:g} → {after['value']:g} {after['unit']}"
    listed = {each["name"]: each for each in old["api_prices"]}
    for entry in new["api_prices"]:
        known = listed.get(entry["name"])
        if known is not None and _billed(known) != _billed(entry):
            yield f"API price {entry['name']}"
    for field in sorted({*old["section"], *new["section"]} - {*_CHOICES}):
        if old["section"].get(field) != new["section"].get(field):
            yield f"prices.{field}"


def prices_left(old: Kept, new: Kept) -> Iterator[str]:
    """Yield the names of machine prices that the baseline paid and nothing pays any more."""
    paid = {was["name"] for was, _ in _pairs(old["machine_prices"], new["machine_prices"])}
    own = {each["name"] for each in new["section"].get("nodes", [])}
    for entry in old["machine_prices"]:
        if entry["name"] not in paid | own:
            yield entry["name"]


def _pairs(
    old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield prices that stand for one another: of one name, or references of a chip and terms."""
    names = {each["name"]: each for each in old}
    references = {(each["chip"], each["terms"]): each for each in old if each["reference"]}
    for now in new:
        was = names.get(now["name"])
        if was is None and now["reference"]:
            was = references.get((now["chip"], now["terms"]))
        if was is not None:
            yield was, now


def _billed(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of an API price is billed: not who lists it, where and under which title."""
    return {name: _bare(entry.get(name)) for name in ("tiers", "long_context", "until")}


def _bare(value: Any) -> Any:
    """Return figures as value and unit, without their sources and notes."""
    if isinstance(value, dict):
        if {"value", "unit"} <= value.keys():
            return value["value"], value["unit"]
        return {name: _bare(each) for name, each in value.items()}
    return [_bare(each) for each in value] if isinstance(value, (list, tuple)) else value
