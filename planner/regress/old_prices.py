"""What a new run would cost at the prices of its baseline: a dearer catalogue is no regression.

A baseline keeps the section `prices` as it was written and the catalogue's entries that it used.
New behaviour is priced with them; what is left of the change of cost and margin is the prices'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from pydantic import ValidationError

from planner.catalog import load_catalog
from planner.errors import CatalogError
from planner.jsonable import plain
from planner.pricing import Books
from planner.regress.metrics import Values, money_of, rounded
from planner.results.result import Finance, Result
from planner.scenario.schema.money import Prices

_CHOICES: Final = ("default_terms",)
"""Of the section: how machines are bought is behaviour, not a price."""
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
    catalog = catalog.with_prices(before.machine_prices, before.api_prices)
    section = _section(old["section"], new.prices)
    try:
        prices = Prices.model_validate(section)
        statement = replace(new, prices=section).statement(prices, catalog)
    except (CatalogError, ValidationError):
        return None
    return {name: rounded(value) for name, value in money_of(Finance.of(statement)).items()}


def _entries(kept: Kept) -> dict[str, Any]:
    return {name: kept[name] for name in ("machine_prices", "api_prices")}


def _section(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the old section, with the new choices and what only the new one has a price for."""
    section = {name: value for name, value in old.items() if name not in _CHOICES}
    section |= {name: new[name] for name in _CHOICES if name in new}
    for field in _NAMED:
        known = {each["name"] for each in old.get(field, [])}
        added = [each for each in new.get(field, []) if each["name"] not in known]
        if known or added:
            section[field] = [*old.get(field, []), *added]
    return section


def price_changes(old: Kept, new: Kept) -> Iterator[str]:
    """Yield in words which prices are no longer as they were."""
    before = {each["name"]: each for each in old["machine_prices"]}
    for entry in new["machine_prices"]:
        known = before.get(entry["name"])
        if known is not None and known["per_device_hour"] != entry["per_device_hour"]:
            was, now = known["per_device_hour"], entry["per_device_hour"]
            yield f"{entry['name']} {was['value']:g} → {now['value']:g} {now['unit']}"
    listed = {each["name"]: each for each in old["api_prices"]}
    for entry in new["api_prices"]:
        if entry["name"] in listed and listed[entry["name"]] != entry:
            yield f"API price {entry['name']}"
    for field in sorted({*old["section"], *new["section"]} - {*_CHOICES}):
        if old["section"].get(field) != new["section"].get(field):
            yield f"prices.{field}"
