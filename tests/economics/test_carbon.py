"""Energy by what devices do, and carbon by its accounts: by hand, and that nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.economics import ClassUsage, PoolUsage, PowerTerms, device_power_w, pool_energy
from planner.economics.carbon import CarbonTerms, footprint

MakePool = Callable[..., PoolUsage]
PHASES = PowerTerms(
    pue=1.0, idle_rate=0.1, loaded_rate=0.8, memory_bound_rate=0.5, saturation_rate=0.2
)


def test_a_step_draws_by_its_arithmetic(make_pool: MakePool) -> None:
    """Busy half of the time: memory-bound 0.4 of nameplate, from 20% of peak arithmetic on 0.8."""
    for arithmetic_hours, rate in ((0.0, 0.4), (4.0, 0.6), (8.0, 0.8), (40.0, 0.8)):
        usage = make_pool(peak_arithmetic_device_hours=arithmetic_hours)
        energy = pool_energy(usage, PHASES)
        assert energy.workload_kwh == pytest.approx(50.0 * rate)
        assert energy.idle_kwh == pytest.approx(50.0 * 0.1)
        assert device_power_w(1.0, 0.5, PHASES, usage.arithmetic_rate) == pytest.approx(
            energy.total_kwh / 100.0
        )


def test_unknown_arithmetic_counts_as_loaded(make_pool: MakePool) -> None:
    assert make_pool().arithmetic_rate == 1.0
    assert pool_energy(make_pool(), PHASES).workload_kwh == pytest.approx(40.0)


def test_a_busy_device_never_draws_less_than_an_idle_one() -> None:
    terms = PowerTerms(idle_rate=0.3, loaded_rate=0.4, memory_bound_rate=0.1)
    assert terms.busy_rate(0.0) == 0.3
    with pytest.raises(ValueError, match="saturation_rate"):
        PowerTerms(saturation_rate=0.0)


def test_the_shape_is_that_of_the_measurements() -> None:
    """ML.ENERGY, H100 SXM of 700 W, of design power: batch 8 and the largest batch.

    Shares are scaled so that a saturated GPU draws what the fit finds, 0.935 of design power.
    """
    terms = PowerTerms(loaded_rate=0.935, memory_bound_rate=0.66, saturation_rate=0.15)
    measured = {  # share of peak arithmetic → watts
        "Llama-3.1-8B": ((0.018, 486.4), (0.159, 688.3)),
        "Qwen3-14B": ((0.019, 443.0), (0.172, 644.7)),
        "Llama-3.1-70B, 4 GPUs": ((0.017, 441.4), (0.244, 636.9)),
        "gemma-3-27b, 2 GPUs": ((0.015, 406.5), (0.114, 605.2)),
    }
    for name, points in measured.items():
        for arithmetic_rate, watts in points:
            found = 700.0 * terms.busy_rate(arithmetic_rate)
            assert found == pytest.approx(watts, rel=0.13), name


def test_embodied_carbon_is_that_of_the_hours_paid_for(make_pool: MakePool) -> None:
    """A committed node that was handed back stands there all the same; a rented one does not."""
    users = ClassUsage("users", None, 1, 0, 1, pool_weights={"chat": 1.0})
    terms = CarbonTerms(life_years=1.0)
    for kind, kg in (("on_demand", 5.0), ("committed_1y", 10.0)):
        usage = make_pool(terms=kind, node_hours=5.0)
        found = footprint([usage], [users], PHASES, terms, {"chat": 8760.0})
        assert found.total.emissions.embodied_kg == pytest.approx(kg)


def test_embodied_carbon_does_not_depend_on_what_is_paid(make_pool: MakePool) -> None:
    """A commitment of which a part need not be paid stands there as a whole."""
    usage = make_pool(terms="committed_1y", node_hours=5.0)
    lenient = replace(usage, rate=replace(usage.rate, take_or_pay_rate=0.6))
    assert lenient.billed_device_hours < usage.billed_device_hours
    assert lenient.standing_node_hours == usage.standing_node_hours == 10.0
    users = ClassUsage("users", None, 1, 0, 1, pool_weights={"chat": 1.0})
    terms = CarbonTerms(life_years=1.0)
    found = footprint([lenient], [users], PHASES, terms, {"chat": 8760.0})
    assert found.total.emissions.embodied_kg == pytest.approx(10.0)


def test_contracts_lower_one_account_only(make_pool: MakePool) -> None:
    users = ClassUsage("users", None, 10, 0, 1, pool_weights={"chat": 1.0})
    terms = CarbonTerms(400.0, contracted_rate=0.9, contracted_g_per_kwh=10.0)
    found = footprint([make_pool()], [users], PHASES, terms, {"chat": 0.0}).total
    assert found.emissions.location_kg == pytest.approx(0.4 * found.emissions.energy_kwh)
    assert found.emissions.market_kg == pytest.approx(0.049 * found.emissions.energy_kwh)
    assert found.sci_per_request_g == pytest.approx(100.0 * found.emissions.location_kg)


def test_nothing_served_has_no_intensity(make_pool: MakePool) -> None:
    nobody = ClassUsage("nobody", None, 0, 0, 0)
    found = footprint([make_pool()], [nobody], PHASES, CarbonTerms(), {"chat": 1.0})
    frame = found.class_frame()
    assert list(frame["class"]) == ["nobody", "(unallocated)"]
    assert frame["energy_kwh"].tolist() == [0.0, found.total.emissions.energy_kwh]
    assert frame["sci_per_request_g"].isna().all()


@given(
    weights=st.lists(st.floats(0.0, 5.0), min_size=1, max_size=4),
    busy_hours=st.floats(0.0, 80.0),
    contracted=st.floats(0.0, 1.0),
)
def test_classes_bear_all_of_it(weights: list[float], busy_hours: float, contracted: float) -> None:
    from planner.economics import MachineRate

    rate = MachineRate("r", "h100", "on_demand", 1.0, "2026", "s")
    pools = [
        PoolUsage(name, "hgx", "h100", 8, 10.0, 1, 10.0, busy_hours, 10_000.0, rate)
        for name in ("a", "b")
    ]
    classes = [
        ClassUsage(str(number), None, 1, 0, 1, pool_weights={"a": weight})
        for number, weight in enumerate(weights)
    ]
    terms = CarbonTerms(contracted_rate=contracted)
    found = footprint(pools, classes, PHASES, terms, {"a": 100.0, "b": 200.0})
    for name in ("energy_kwh", "location_kg", "market_kg", "embodied_kg"):
        borne = sum(getattr(each.emissions, name) for each in found.classes)
        assert borne == pytest.approx(getattr(found.total.emissions, name))
        assert found.pool_frame()[name].sum() == pytest.approx(borne)
