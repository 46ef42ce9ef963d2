"""Bridges between small scenarios: techniques, catalogues, stored results, impossible ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import planner
from planner.catalog import Catalog, load_catalog
from planner.results.result import Result
from planner.scenario import LoadedScenario
from planner.search.bridge import bridge
from planner.search.bridge_techniques import Fleet, Game, Work, differing
from planner.search.bridged import CATALOGUE, SPARE, Bridge
from planner.search.sides import BridgeError
from tests.small import ONE_CLIENT, SMALL, load

pytestmark = pytest.mark.compiled  # whole runs, far too long in pure Python

COST, MARGIN = ("cost", ""), ("margin", "all_users_in_cogs")
WEIGHTS, PREFIXES = "weight quantization", "prefix caching"
SHORT = ("workload.duration=60 s",)
BUSY = (
    "workload.duration=60 s",
    "workload.classes.chat.open.rate=70 /s",
    "workload.classes.chat.system_prompt=1000",
    "workload.classes.chat.objectives=[{metric: tpot, percentile: 95, limit: 30 ms}]",
)
SLOW = ("pools.chat.weight_dtype=bf16", "pools.reasoning.weight_dtype=bf16", "pools.chat.nodes=6")
FAST = ("pools.chat.prefix_cache=true",)
SMALL_FORMATS = ("pools.server.weight_dtype=fp8",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bridge")


@pytest.fixture(scope="module")
def small(folder: Path) -> LoadedScenario:
    return load(folder, *SHORT)


@pytest.fixture(scope="module")
def plain(small: LoadedScenario) -> Result:
    return planner.run(small)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def require_exact(found: Bridge) -> None:
    for key, (before, after) in found.ends.items():
        assert sum(part.amounts[key] for part in found.parts) == after - before, key
        assert sum(row.amount for row in found.rows(*key)) == found.change(*key), key


# --- techniques -----------------------------------------------------------------------------------


class Backwards:
    """A crew whose answers come in the order that is the least convenient."""

    def measure(self, tasks: Sequence[Work], _left: int) -> Iterator[Fleet]:
        for task in reversed(tasks):
            yield Fleet(task.side, task.on, None)


def test_fleets_stand_in_the_order_of_the_question(small: LoadedScenario, catalog: Catalog) -> None:
    game = Game((small, small), catalog, False, 8, 1, None, switches=((), ()))
    asked = [(side, frozenset(on)) for on in ("ab", "a", "b", "") for side in (0, 1)]
    game._simulate(asked, Backwards())  # type: ignore[arg-type]
    assert list(game.found) == asked


@pytest.fixture(scope="module")
def faster(folder: Path) -> Bridge:
    return bridge(load(folder, *BUSY, *SLOW), load(folder, *BUSY, *FAST))


def test_techniques_get_a_part_each_and_all_add_up(faster: Bridge) -> None:
    require_exact(faster)
    assert faster.techniques is not None
    assert faster.techniques.players == (WEIGHTS, PREFIXES)
    assert len(faster.techniques.fleets) == 4 + 1  # subsets of the second side; the first has none
    costs = {row.label: row.amount for row in faster.rows("cost")}
    assert costs[WEIGHTS] < 0
    assert costs[PREFIXES] < 0
    assert all(row.error is None for row in faster.rows("cost"))


def test_shares_are_those_of_the_fleets(faster: Bridge) -> None:
    """What the smallest fleets cost says what techniques do, since traffic and prices are equal.

    Not to the cent: of requests at the end, more are served in time where steps are shorter, and
    that is a part of demand.
    """
    assert faster.techniques is not None
    cost = {
        tuple(sorted(fleet.on)): fleet.cost_per_hour_usd
        for fleet in faster.techniques.fleets
        if fleet.side == 1
    }
    none, both = cost[()], cost[PREFIXES, WEIGHTS]
    first, second = cost[PREFIXES,], cost[WEIGHTS,]
    assert None not in (none, both, first, second)
    shares = {row.label: row.amount / 1e6 for row in faster.rows("cost")}
    assert shares[WEIGHTS] == pytest.approx((second - none + both - first) / 2, rel=0.03)
    assert shares[PREFIXES] == pytest.approx((first - none + both - second) / 2, rel=0.03)


def test_own_fleets_that_are_the_smallest_have_nothing_to_spare(faster: Bridge) -> None:
    assert faster.techniques is not None
    for side, own in enumerate((faster.before, faster.after)):
        assert own.loaded is not None
        nodes = {pool.name: pool.nodes for pool in own.loaded.scenario.pools}
        smallest = max(
            (fleet for fleet in faster.techniques.fleets if fleet.side == side),
            key=lambda fleet: len(fleet.on),
        )
        assert smallest.nodes == nodes
    assert not any(part.amounts[COST] for part in faster.parts if part.cause == SPARE)


@pytest.fixture(scope="module")
def client(folder: Path) -> tuple[LoadedScenario, LoadedScenario]:
    """One client of an 8B model in 16 bits, and in 8."""
    return load(folder, text=ONE_CLIENT), load(folder, *SMALL_FORMATS, text=ONE_CLIENT)


def test_the_way_back_has_the_other_sign(client: tuple[LoadedScenario, LoadedScenario]) -> None:
    there, back = bridge(*client, sized=False), bridge(*client[::-1], sized=False)
    require_exact(there)
    assert [(p.factor, p.cause) for p in there.parts] == [(p.factor, p.cause) for p in back.parts]
    for one, other in zip(there.parts, back.parts, strict=True):
        assert one.amounts == {key: -amount for key, amount in other.amounts.items()}
    assert SPARE not in {part.cause for part in there.parts}


def test_many_techniques_are_sampled_with_errors(
    client: tuple[LoadedScenario, LoadedScenario], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planner.search.bridge_techniques.EXACT_AT_MOST", 0)
    found = bridge(*client, sized=False, pairs=2)
    require_exact(found)
    assert found.techniques is not None
    assert found.techniques.orders == 4
    errors = [row.error for row in found.rows("cost", every=True) if row.group == "techniques"]
    assert len(errors) == 1
    assert all(error is not None and math.isfinite(error) for error in errors)
    assert "over 4 orders" in " ".join(found.notes)


def test_which_techniques_differ(folder: Path) -> None:
    base = load(folder, *SHORT).scenario
    assert differing(base, base) == []
    other = load(folder, *SHORT, "pools.chat.weight_dtype=fp4", "pools.chat.node=hgx-b200").scenario
    assert [technique.name for technique in differing(base, other)] == [WEIGHTS]
    cached = load(folder, *SHORT, *FAST).scenario
    assert [technique.name for technique in differing(cached, base)] == [PREFIXES]


def test_a_technique_that_is_indispensable_is_not_divided_off(folder: Path) -> None:
    """Weights of 16 bits take longer to read than the promise allows, however many nodes."""
    promise = "workload.classes.client.objectives=[{metric: tpot, percentile: 50, limit: 5 ms}]"
    slow = load(folder, promise, text=ONE_CLIENT)
    fast = load(folder, promise, *SMALL_FORMATS, text=ONE_CLIENT)
    found = bridge(slow, fast, maximum_nodes=2)
    require_exact(found)
    assert found.techniques is not None
    assert found.techniques.needed == ()
    assert not found.techniques.shares  # not even the first side keeps the promise
    assert "Nothing is divided by technique" in " ".join(found.notes)


# --- the catalogue --------------------------------------------------------------------------------


def dearer(catalog: Catalog) -> Catalog:
    """Return the catalogue with H100 at twice the price on demand."""
    name = "h100-sxm-on-demand"
    price = catalog.machine_prices[name]
    figure = replace(price.per_device_hour, value=2 * price.per_device_hour.value)
    prices = dict(catalog.machine_prices) | {name: replace(price, per_device_hour=figure)}
    return replace(catalog, machine_prices=prices)


def test_a_changed_catalogue_is_no_change_of_behaviour(
    client: tuple[LoadedScenario, LoadedScenario], catalog: Catalog
) -> None:
    small = client[0]
    found = bridge(small, small, catalog_before=catalog, catalog=dearer(catalog))
    require_exact(found)
    causes = {part.factor for part in found.parts if any(part.amounts.values())}
    assert causes == {CATALOGUE}
    assert [figure.name for figure in found.figures] == ["price h100-sxm-on-demand (on_demand)"]
    back = bridge(small, small, catalog_before=dearer(catalog), catalog=catalog)
    assert back.change("cost") == -found.change("cost")


def test_catalogue_and_traffic_at_once(
    folder: Path, small: LoadedScenario, catalog: Catalog
) -> None:
    more = load(folder, *SHORT, "workload.classes.chat.open.rate=24 /s")
    found = bridge(small, more, catalog_before=catalog, catalog=dearer(catalog))
    require_exact(found)
    parts = {part.factor: part.amounts[COST] for part in found.parts if not part.cause}
    h100 = 16 * 1.1 * catalog.machine_prices["h100-sxm-on-demand"].per_device_hour.value
    assert parts[CATALOGUE] == pytest.approx(h100 * 1e6, rel=1e-6)
    assert parts["machine prices"] == 0
    assert parts["demand"] > 0


# --- results --------------------------------------------------------------------------------------


def test_stored_results_and_scenarios_mix(
    folder: Path, small: LoadedScenario, plain: Result
) -> None:
    written = plain.write(folder / "stored")
    found = bridge(written, small)
    assert found.before.label == "small (before)"
    assert all(not any(part.amounts.values()) for part in found.parts)
    assert "cannot be simulated again" in " ".join(found.notes)
    assert bridge(written / "result.json", plain).change("cost") == 0


def test_lengths_of_time_are_scaled(folder: Path, plain: Result) -> None:
    longer = load(folder, "workload.duration=120 s", "prices.margin=paid_only")
    found = bridge(plain, longer)
    text = " ".join(found.notes)
    assert (
        "All amounts are scaled to one hour: small (before) covers 60 s, small (after) 120 s"
        in text
    )
    assert "states its margin as all_users_in_cogs" in text
    before, after = found.ends[COST]
    assert before == pytest.approx(after, rel=1e-6)
    assert found.definitions[0] == "paid_only"


def test_other_chips_and_pools_are_named(folder: Path, plain: Result) -> None:
    moved = planner.run(load(folder, *SHORT, "pools.chat.node=hgx-h200"))
    found = bridge(plain, moved)
    assert "Pool chat went from h100-sxm to h200-sxm" in " ".join(found.notes)
    assert {row.label for row in found.rows("cost")} >= {"purchase terms", "throughput"}


def test_what_has_no_bridge_is_named(folder: Path, plain: Result) -> None:
    with pytest.raises(BridgeError, match="has no money in it"):
        bridge(replace(plain, finance=None), plain)
    assert plain.finance is not None
    ledger = plain.finance.ledger.assign(currency="EUR")
    euros = replace(plain, finance=replace(plain.finance, ledger=ledger))
    with pytest.raises(BridgeError, match="is in EUR, dollars in USD"):
        bridge(euros, replace(plain, name="dollars"))
    with pytest.raises(BridgeError, match="covers no time"):
        bridge(replace(plain, finance=replace(plain.finance, hours=0.0)), plain)
    stored = plain.write(folder / "fixed")
    with pytest.raises(BridgeError, match="in which nothing can be set"):
        bridge(stored, stored, sets=["pools.chat.nodes=3"])


def test_named_scenarios_of_one_file(folder: Path) -> None:
    path = folder / "named.yaml"
    text = SMALL.replace("duration: 3 min", "duration: 60 s")
    text += (
        "scenarios: {now: [], then: [cheap]}\noverrides: {cheap: {prices.default_terms: spot}}\n"
    )
    path.write_text(text, encoding="utf-8")
    found = bridge(f"{path}@now", f"{path}@then")
    assert (found.before.label, found.after.label) == ("now", "then")
    assert [row.label for row in found.rows("cost")] == ["purchase terms"]
    with pytest.raises(planner.PlannerError, match="later"):
        bridge(f"{path}@now", f"{path}@later")


# --- the scenario that ships ----------------------------------------------------------------------


def test_margin_bridge_goes_from_the_thirties_beyond_fifty() -> None:
    """As published: 33% (2025) and 39% (first quarter of 2026), target 52%, claimed 65%."""
    path = Path(__file__).resolve().parents[2] / "scenarios" / "economics" / "margin_bridge.yaml"
    found = bridge(f"{path}@last-quarter", f"{path}@this-quarter", techniques=False)
    require_exact(found)
    before, after = (amount / 1e9 for amount in found.ends[MARGIN])
    assert 0.33 <= before <= 0.39
    assert 0.52 <= after <= 0.65
    margin = {row.label: row.amount for row in found.rows(*MARGIN)}
    assert margin["throughput"] > 0
    assert margin["purchase terms"] > 0
    assert margin["mix"] < 0
    assert margin["revenue prices"] < 0
    for side in (found.before, found.after):
        assert not side.result.overloaded
