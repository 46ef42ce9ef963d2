"""Power and place of the site, and what may be optimised: every contradiction with its remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.catalog import load_catalog
from planner.errors import ScenarioError
from planner.scenario import load_checked
from planner.scenario.site_power import power_need, scheduled_needs
from tests.small import SMALL

CATALOG = load_catalog()
SITE = "site: {power: 30 kW, region: france}\n"
OPTIMISE = """\
optimise:
  needed_in: 10 d
  pools:
    - pool: chat
      terms:
        - {name: base, price: h100-sxm-committed-1y, lead_time: 30 d}
        - {name: peak, price: h100-sxm-on-demand}
    - pool: reasoning
      terms: [{name: peak, price: h200-sxm-on-demand}]
"""
HOUR = "workload.duration=2 h"
LAX = (
    "{name: lax, per_device_hour: 2 USD/h, terms: committed_1y, take_or_pay: 80%, "
    'as_of: "2026-11-01", source: offer}'
)


TABLE = """\
sources:
  contract: {citation: our contract, date: 2026-01, tier: official}
machines:
  ours:
    title: reserved H100
    chip: h100-sxm
    terms: committed_1y
    provider: a cloud
    source: contract
    price: 1.9 USD/h
"""


def load(folder: Path, text: str, *sets: str) -> None:
    path = folder / "site.yaml"
    path.write_text(SMALL + text, encoding="utf-8")
    load_checked(path, CATALOG, sets=sets)


def faults(folder: Path, text: str, *sets: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        load(folder, text, *sets)
    return [f"{fault.where}: {fault.message}" for fault in caught.value.faults]


def test_a_site_that_carries_the_fleet_is_fine(tmp_path: Path) -> None:
    load(tmp_path, "site: {power: 35 kW, region: us-texas}\n")


def test_a_fleet_beyond_the_power_is_named_with_its_nodes(tmp_path: Path) -> None:
    """Two HGX H100 and one HGX H200 of 10.2 kW each, at PUE 1.12: 34.3 kW."""
    (fault,) = faults(tmp_path, SITE)
    assert fault.startswith("site.power: the fleet needs 34.3 kW")
    assert "4.27 kW more than the site's 30 kW" in fault
    assert "1 of the 2 nodes of pool chat" in fault
    assert "lower pools[].nodes" in fault


def test_the_schedule_counts_at_its_peak(tmp_path: Path) -> None:
    night = 'pools.chat.schedule=[{at: "02:00", nodes: 1}, {at: "08:00", nodes: 4}]'
    (fault,) = faults(tmp_path, SITE, night)
    assert "needs 57.1 kW" in fault
    load(tmp_path, "site: {power: 58 kW}\n", night)


def test_a_small_pool_is_not_asked_for_more_than_it_has() -> None:
    import tempfile

    from tests.small import load as load_small

    with tempfile.TemporaryDirectory() as folder:
        pools = load_small(Path(folder)).scenario.pools
    need = power_need(pools, {"chat": 9, "reasoning": 1}, CATALOG, 1.0, 51_000.0)
    assert need.excess_nodes == {"chat": 5, "reasoning": 5}
    assert "more than all 1 nodes of pool reasoning" in need.sentence()
    assert power_need(pools, {"chat": 5, "reasoning": 0}, CATALOG, 1.0, 51_000.0).sentence() == ""
    assert power_need(pools, {"chat": 5, "reasoning": 0}, CATALOG, 1.0, None).sentence() == ""
    assert len(list(scheduled_needs(pools, CATALOG, 1.0, None))) == 1


def test_an_unknown_grid_is_named(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "site: {region: texas}\n")
    assert "did you mean us-texas?" in fault
    (fault,) = faults(tmp_path, 'site: {region: france, grid_intensity: "40 g/kWh"}\n')
    assert "delete one of them" in fault


def test_what_can_be_optimised_is_fine(tmp_path: Path) -> None:
    load(tmp_path, OPTIMISE, HOUR)
    load(tmp_path, SITE + OPTIMISE, HOUR)  # the power is a condition of the search, not a fault


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        (("workload.duration=90 min",), "workload.duration: optimise plans by the hour"),
        ((HOUR, "workload.start=19:30"), "workload.start: optimise plans by the hour"),
        ((HOUR, "optimise.pools[0].pool=chit"), "optimise.pools[0].pool: unknown pool"),
        (
            (HOUR, "optimise.pools[1].pool=chat"),
            "optimise.pools[1].pool: 'chat' is listed already",
        ),
        (
            (HOUR, "optimise.pools[0].terms[1].price=h100-sxm-on-demant"),
            "optimise.pools[0].terms[1].price: unknown price",
        ),
        (
            (HOUR, "optimise.pools[0].terms[1].price=h200-sxm-on-demand"),
            "optimise.pools[0].terms[1].price: 'h200-sxm-on-demand' is a price of h200-sxm",
        ),
        (
            (HOUR, "prices.date=2020-01-01"),
            "optimise.pools[0].terms[1].price: no price h100-sxm-on-demand on 2020-01-01",
        ),
        (
            (HOUR, f"prices.nodes=[{LAX}]", "optimise.pools[0].terms[0].price=lax"),
            "optimise.pools[0].terms[0].price: optimise keeps committed nodes for the whole time",
        ),
        (
            (HOUR, "optimise.pools[0].terms[1].name=base"),
            "optimise.pools[0].terms[1].name: 'base' is a term already",
        ),
        (
            (HOUR, "optimise.pools[1].terms[0].maximum_share=40%"),
            "optimise.pools[1].terms: the shares of all terms add up to 40%",
        ),
        (
            (HOUR, "workload.classes.chat.pool=reasoning", "optimise.pools[1].pool=chat2"),
            "none of the pools of reasoning is in optimise.pools",
        ),
        ((HOUR, "workload.classes.chat={name: chat, pool: chat, closed: {clients: 3}}"), "open"),
    ],
)
def test_contradictions_are_named(tmp_path: Path, sets: tuple[str, ...], expected: str) -> None:
    assert any(expected in fault for fault in faults(tmp_path, OPTIMISE, *sets))


def test_lead_times_that_leave_nothing_are_named(tmp_path: Path) -> None:
    late = [f"optimise.pools[{i}].terms[{j}].lead_time=20 d" for i, j in ((0, 1), (1, 0))]
    found = faults(tmp_path, OPTIMISE, HOUR, *late)
    assert len(found) == 3
    assert "offer one that comes within 10 days" in found[0]


def test_an_own_chip_needs_another_to_compare_with(tmp_path: Path) -> None:
    own = (
        "own_chip: {pool: chat, against: chat, engineering: 1e8 USD, unit_cost: 1e4 USD, "
        "source: a guess}\n"
    )
    assert "compares a pool with itself" in faults(tmp_path, own)[0]
    (fault,) = faults(tmp_path, own, "own_chip.against=reasonin")
    assert "did you mean reasoning?" in fault
    load(tmp_path, own, "own_chip.against=reasoning")
    mixed = "pools.reasoning.price_mix=[{price: h200-sxm-on-demand}]"
    (fault,) = faults(tmp_path, own, "own_chip.against=reasoning", mixed)
    assert "pools[1].price_mix: own_chip compares with one price" in fault


def test_terms_may_name_a_price_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "ours.yaml").write_text(TABLE, encoding="utf-8")
    load(
        tmp_path, OPTIMISE, HOUR, f"prices.tables=[{{path: {tmp_path / 'ours.yaml'}}}]",
        "optimise.pools[0].terms[1].price=ours",
    )  # fmt: skip
