"""Which prices of a new forecast are those of its baseline, and what is said of the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from planner.catalog import Catalog, load_catalog
from planner.pricing import Books
from planner.regress.old_prices import _as_before, _section, price_changes, prices_left

DAY = "2026-11-01"


def machine(name: str, value: float, *, reference: bool = True, note: str = "") -> dict[str, Any]:
    figure = {"value": value, "unit": "USD/h", "note": note}
    kind = {"chip": "h100-sxm", "terms": "on_demand"}
    return {"name": name, "reference": reference, "per_device_hour": figure, **kind}


def kept(*machines: dict[str, Any], **section: Any) -> dict[str, Any]:
    return {"section": section, "machine_prices": list(machines), "api_prices": []}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def test_a_newer_reference_under_another_name_is_not_used(catalog: Catalog) -> None:
    old = catalog.price_for("h100-sxm", "on_demand", DAY)
    figure = replace(old.per_device_hour, value=99.0, date="2026-10-01")
    dearer = replace(old, name="h100-sxm-october", series="", per_device_hour=figure)
    newer = catalog.with_prices([dearer])
    assert newer.price_for("h100-sxm", "on_demand", DAY).name == "h100-sxm-october"
    before = Books((), (), {}, machine_prices=(old,))
    found = _as_before(newer, before).with_prices(before.machine_prices, whole_series=False)
    assert found.price_for("h100-sxm", "on_demand", DAY) == old
    assert "h100-sxm-october" in found.machine_prices  # may still be chosen by its name


def test_it_is_said_as_a_change_of_price() -> None:
    old, new = kept(machine("august", 3.99)), kept(machine("october", 4.5))
    assert list(price_changes(old, new)) == ["august, now october, 3.99 → 4.5 USD/h"]
    assert list(prices_left(old, new)) == []


def test_a_note_is_no_change_of_price() -> None:
    old, new = kept(machine("august", 3.99)), kept(machine("august", 3.99, note="9 quotes"))
    assert list(price_changes(old, new)) == []
    figure = {"value": 2.0, "unit": "USD/Mtok", "source": "a"}
    tiers = [{"name": "standard", "prices": {"input": figure}}]
    listed = {"name": "gpt", "title": "a", "tiers": tiers, "long_context": None, "until": ""}
    other = listed | {
        "title": "b",
        "tiers": [tiers[0] | {"prices": {"input": figure | {"source": "b"}}}],
    }
    dearer = listed | {"tiers": [tiers[0] | {"prices": {"input": figure | {"value": 3.0}}}]}
    before = kept() | {"api_prices": [listed]}
    assert list(price_changes(before, kept() | {"api_prices": [other]})) == []
    assert list(price_changes(before, kept() | {"api_prices": [dearer]})) == ["API price gpt"]


def test_an_own_price_under_a_name_of_the_catalogue_is_not_laid_over_the_old_one() -> None:
    own = [{"name": "august", "price": "9 USD/h"}, {"name": "mine", "price": "1 USD/h"}]
    section = _section(kept(machine("august", 3.99)), {"nodes": own})
    assert [each["name"] for each in section["nodes"]] == ["mine"]


def test_a_price_that_is_paid_no_more_is_named() -> None:
    old = kept(machine("august", 3.99, reference=False))
    assert list(prices_left(old, kept(machine("spot", 1.0, reference=False)))) == ["august"]
    assert list(prices_left(old, kept(nodes=[{"name": "august"}]))) == []


def test_what_counts_into_the_margin_is_no_price() -> None:
    old = kept(margin="all_users_in_cogs", partner_revenue_share=0.0)
    new = kept(margin="paid_only", partner_revenue_share=0.2)
    assert _section(old, new["section"]) == new["section"]
    assert list(price_changes(old, new)) == []
