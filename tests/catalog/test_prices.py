"""Prices: which one holds on a day, and what is inside it."""

from __future__ import annotations

from collections import Counter

import pytest

from planner.catalog import ApiPrice, Catalog, load_catalog
from planner.errors import CatalogError

CATALOG: Catalog = load_catalog()
HOUSING_PER_KW_HOUR = 0.08 + 130 / 730  # electricity and colocation, USD

# SemiAnalysis, USD per GPU hour with power and housing: specialised cloud, hyperscaler
OWNING = {
    "h100-sxm": (1.69, 1.30),
    "h200-sxm": (1.74, 1.41),
    "b200-sxm": (2.34, 1.95),
    "b300-sxm": (2.81, 2.34),
    "gb200": (2.75, 2.21),
    "gb300": (3.30, 2.65),
    "mi300x": (1.40, 1.12),
    "mi325x": (1.59, 1.28),
    "mi355x": (1.90, 1.48),
}


@pytest.mark.parametrize(
    ("date", "name"),
    [
        ("2025-10-01", "h100-sxm-committed-1y-2025-10"),
        ("2026-02-28", "h100-sxm-committed-1y-2025-10"),
        ("2026-03-01", "h100-sxm-committed-1y"),
        ("2026-11-01", "h100-sxm-committed-1y"),
    ],
)
def test_the_latest_price_that_holds(date: str, name: str) -> None:
    assert CATALOG.price_for("h100-sxm", "committed_1y", date).name == name


def test_prices_rise_as_well_as_fall() -> None:
    earlier = CATALOG.price_for("h100-sxm", "committed_1y", "2025-12-31")
    later = CATALOG.price_for("h100-sxm", "committed_1y", "2026-12-31")
    assert float(later.per_device_hour) > float(earlier.per_device_hour)


def test_no_price_yet_lists_what_there_is() -> None:
    with pytest.raises(
        CatalogError, match=r"no on_demand price for h100-sxm on 2020-01-01; .*spot"
    ):
        CATALOG.price_for("h100-sxm", "on_demand", "2020-01-01")
    with pytest.raises(CatalogError, match=r"no spot price for groq-lpu .*no price of that chip"):
        CATALOG.price_for("groq-lpu", "spot", "2026-11-01")
    with pytest.raises(CatalogError, match=r"unknown chip 'h10'; did you mean h100-sxm or "):
        CATALOG.price_for("h10", "spot", "2026-11-01")


def test_one_reference_price_per_chip_terms_and_day() -> None:
    count = Counter(
        (p.chip, p.terms, p.date) for p in CATALOG.machine_prices.values() if p.reference
    )
    assert max(count.values()) == 1


@pytest.mark.parametrize(
    "chip",
    ["a100-sxm", "h100-sxm", "h200-sxm", "h800-sxm", "b200-sxm", "b300-sxm", "gb200", "mi300x"],
)
def test_common_chips_have_an_on_demand_price_by_default(chip: str) -> None:
    assert float(CATALOG.price_for(chip, "on_demand", "2026-11-01").per_device_hour) > 1


@pytest.mark.parametrize("chip", ["h100-sxm", "h200-sxm", "b200-sxm"])
def test_commitment_and_interruption_are_cheaper(chip: str) -> None:
    terms = ("on_demand", "committed_1y", "committed_3y", "owned")
    prices = [float(CATALOG.price_for(chip, t, "2026-11-01").per_device_hour) for t in terms]
    assert prices == sorted(prices, reverse=True)
    assert float(CATALOG.price_for(chip, "spot", "2026-11-01").per_device_hour) < prices[0]


@pytest.mark.parametrize("chip", OWNING)
def test_owned_prices_leave_out_power_and_housing(chip: str) -> None:
    power = CATALOG.chip(chip).system_w
    assert power is not None
    housing = float(power) / 1000 * HOUSING_PER_KW_HOUR
    for name, all_in in zip(
        (f"{chip}-owned", f"{chip}-owned-hyperscaler"), OWNING[chip], strict=True
    ):
        price = CATALOG.machine_price(name)
        assert price.terms == "owned"
        assert float(price.per_device_hour) == pytest.approx(all_in - housing, abs=0.0006)


@pytest.mark.parametrize(("name", "chip"), [("gaudi-3-owned", "gaudi-3"), ("cs-3-owned", "wse-3")])
def test_owned_prices_from_capital(name: str, chip: str) -> None:
    recovery = 0.1 * 1.1**5 / (1.1**5 - 1)
    capex = CATALOG.chip(chip).capex_usd
    assert capex is not None
    expected = float(capex) * recovery / 8760
    assert float(CATALOG.machine_price(name).per_device_hour) == pytest.approx(expected, rel=2e-3)


def test_deepseek_day_can_be_priced() -> None:
    lease = CATALOG.price_for("h800-sxm", "on_demand", "2026-11-01")
    assert float(lease.per_device_hour) == 2.0
    assert lease.per_device_hour.tier == "official"
    r1 = CATALOG.api_price("deepseek-reasoner-2025-02")
    assert r1.cached_input is not None
    assert (float(r1.input), float(r1.cached_input), float(r1.output)) == (0.55, 0.14, 2.19)


@pytest.mark.parametrize("price", CATALOG.api_prices.values(), ids=lambda price: price.name)
def test_cached_input_is_cheaper_than_input_and_input_than_output(price: ApiPrice) -> None:
    assert float(price.input) < float(price.output)
    if price.cached_input is not None:
        assert float(price.cached_input) < float(price.input)
