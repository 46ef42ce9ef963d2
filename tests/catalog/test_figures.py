"""Every figure that ships says where it comes from, in the unit that it claims."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

import planner.catalog
from planner.catalog import TIERS, ApiPrice, Catalog, Entry, Figure, load_catalog
from planner.catalog.reader import read_sources

FOLDER = Path(planner.catalog.__file__).parent
BASE_UNITS = {"B", "B/s", "FLOP/s", "W", "USD", "USD/h", "USD/Mtok", "parameters", "kg", "g/kWh"}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def entries(catalog: Catalog) -> Iterator[Entry]:
    yield from catalog.models.values()
    yield from catalog.chips.values()
    yield from catalog.nodes.values()
    yield from catalog.machine_prices.values()
    yield from catalog.api_prices.values()
    yield from catalog.grids.values()


def figures(catalog: Catalog) -> Iterator[tuple[str, Figure]]:
    for entry in entries(catalog):
        for field in fields(entry):
            value = getattr(entry, field.name)
            if isinstance(value, Figure):
                yield f"{entry.name}.{field.name}", value
            elif isinstance(value, dict) and not isinstance(entry, ApiPrice):
                yield from ((f"{entry.name}.{field.name}.{k}", v) for k, v in value.items())
        if isinstance(entry, ApiPrice):
            long = {} if entry.long_context is None else entry.long_context.tiers
            for prices in (*entry.tiers.values(), *long.values()):
                parts = (prices.input, prices.output, prices.cached_input, prices.cache_write)
                yield from ((f"{entry.name}.{p.note}", p) for p in parts if p is not None)


def test_every_figure_has_its_provenance(catalog: Catalog) -> None:
    found = list(figures(catalog))
    assert len(found) > 400
    for where, figure in found:
        assert figure.value > 0, where
        assert figure.unit in BASE_UNITS, where
        assert figure.source, where
        assert figure.tier in TIERS, where
        assert re.fullmatch(r"20\d\d(-\d\d){0,2}", figure.date), where
        assert figure.date <= "2026-12", where


def test_arithmetic_names_its_inputs(catalog: Catalog) -> None:
    for where, figure in figures(catalog):
        if figure.source.startswith("own arithmetic, inputs"):
            assert figure.note, where


def test_every_source_is_used() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.yaml"))
    unused = [
        name
        for name in read_sources(FOLDER / "sources.yaml")
        if not re.search(rf"source: {re.escape(name)}\b(?!-)", text)
    ]
    assert not unused


def test_values_are_si_and_text_is_as_written(catalog: Catalog) -> None:
    chip = catalog.chip("h100-sxm")
    assert float(chip.peak("fp8")) == 1979e12
    assert chip.peak("fp8").unit == "FLOP/s"
    assert str(chip.peak("fp8")) == "1979 TFLOPS"
    assert float(chip.memory_bytes) == 81559 * 2**20
    assert float(chip.memory_bandwidth) == 3.35e12
    assert chip.scale_out_bandwidth is not None
    assert float(chip.scale_out_bandwidth) == 50e9
    assert float(catalog.node("gb200-nvl72").power_w) == 120e3
    assert str(catalog.model("deepseek-v3").total_parameters) == "671.03 billion parameters"


def test_entries_are_keyed_by_their_own_names(catalog: Catalog) -> None:
    names = [entry.name for entry in entries(catalog)]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z0-9]+([.-][a-z0-9]+)*", name) for name in names)
    assert all(catalog.entry(name).name == name for name in names)


def test_the_catalogue_travels_between_processes_and_does_not_change(catalog: Catalog) -> None:
    assert pickle.loads(pickle.dumps(catalog)) == catalog
    assert copy.deepcopy(catalog) == catalog == load_catalog()
    assert len({catalog.chip("h100-sxm"), catalog.chip("h200-sxm")}) == 2
    with pytest.raises(FrozenInstanceError):
        catalog.chip("h100-sxm").name = "other"  # type: ignore[misc]
