"""The shipped table, and the public sets that it is chosen from."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from planner.catalog import load_catalog
from planner.measurements import (
    ClosedLoop,
    Measurements,
    Point,
    protocol_name,
    published,
    read_collection,
    select_published,
    shipped,
    write_points,
)
from planner.measurements.shipped import LENGTHS, TABLE

LICENCES = {"Apache-2.0", "MIT", "BSD-3-Clause"}
POINTS = published().points


@pytest.fixture(scope="module")
def collection(shared_data: Path) -> dict[str, Measurements]:
    return read_collection(shared_data)


@pytest.fixture(scope="module")
def everything(collection: dict[str, Measurements]) -> list[Point]:
    return [point for part in collection.values() for point in part.points]


def test_the_table_is_small_and_spread() -> None:
    assert 60 <= len(POINTS) <= 120
    spread = {
        "model": 12, "chip": 12, "engine": 4, "weight_dtype": 4, "source": 6,
    }  # fmt: skip
    for name, least in spread.items():
        assert len({getattr(point, name) for point in POINTS}) >= least, name
    kinds = Counter(protocol_name(point.protocol) for point in POINTS)
    assert set(kinds) == {"closed_loop", "poisson", "flood", "static_batch"}
    assert min(kinds.values()) >= 5


def test_every_row_has_origin_licence_and_its_place_in_the_catalogue() -> None:
    catalog = load_catalog()
    for point in POINTS:
        assert point.citation.startswith(("github.com/", "SemiAnalysis InferenceX, as in github"))
        assert point.licence in LICENCES
        assert point.model in catalog.models
        assert point.chip in catalog.chips
    assert len({(point.source, point.id) for point in POINTS}) == len(POINTS)


def test_rows_of_doubt_are_not_shipped() -> None:
    flags = {flag for point in POINTS for flag in point.flags}
    assert not {flag for flag in flags if "suspected" in flag or "differ" in flag}


def test_the_rule_keeps_the_lowest_middle_and_highest_load() -> None:
    loads: dict[tuple[str, str], list[int]] = {}
    for point in POINTS:
        if point.source == "inferencex" and isinstance(point.protocol, ClosedLoop):
            key = (point.group, point.weight_dtype)
            loads.setdefault(key, []).append(point.protocol.concurrency)
    assert loads
    for kept in loads.values():
        assert kept == sorted(kept)
        assert len(kept) == 3


def test_the_rule_gives_the_shipped_table(everything: list[Point]) -> None:
    table, lengths = write_points(select_published(everything))
    remedy = "a reader has changed: write the table again with shipped.rewrite_published"
    assert table == TABLE.read_text(encoding="utf-8"), remedy
    assert lengths == LENGTHS.read_text(encoding="utf-8"), remedy


def test_the_table_can_be_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "TABLE", tmp_path / "table.csv")
    monkeypatch.setattr(shipped, "LENGTHS", tmp_path / "lengths.csv")
    shipped.rewrite_published(POINTS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lengths.csv", "table.csv"]
    chosen = published().points
    assert chosen
    assert {point.id for point in chosen} <= {point.id for point in POINTS}


def test_the_rule_does_not_depend_on_the_order_of_points(everything: list[Point]) -> None:
    assert select_published(reversed(everything)) == select_published(everything)


def test_no_row_of_the_sets_is_lost(collection: dict[str, Measurements]) -> None:
    read = {
        name: (len(part.points), sum(part.skipped.values())) for name, part in collection.items()
    }
    assert read == {
        "inferencex_silicon.csv": (1500, 15),
        "vllm_requests": (3, 0),
        "mlperf.csv": (254, 444),
        "custom_chips_mlperf_v4.0.csv": (3, 5),
        "llm_inference_bench.csv": (2473, 467),
        "trtllm_perf_overview.csv": (666, 170),
        "gpustack_perf_lab.csv": (107, 70),
    }


def test_names_of_the_sets_are_in_the_catalogue(everything: list[Point]) -> None:
    catalog = load_catalog()
    assert {point.model for point in everything} <= set(catalog.models)
    assert {point.chip for point in everything} <= set(catalog.chips)


def test_requests_give_the_summary_that_their_source_prints(
    collection: dict[str, Measurements], shared_data: Path
) -> None:
    words = {"TTFT": "ttft", "TPOT": "tpot", "Latency": "e2e", "Mean": "mean", "Median": "p50"}
    checked = 0
    for point in collection["vllm_requests"].points:
        summary = shared_data / "e2e" / "vllm_requests" / f"{point.id}_summary.txt"
        for line in summary.read_text(encoding="utf-8").splitlines():
            match line.split():
                case [time, statistic, measured_ms, _, _] if time in words:
                    name = f"{words[time]}_{words.get(statistic, statistic.lower())}_s"
                    assert point.metrics[name] * 1e3 == pytest.approx(float(measured_ms), abs=0.051)
                    checked += 1
    assert checked == 3 * 15


def test_derived_throughput_agrees_with_that_of_the_source(
    collection: dict[str, Measurements], shared_data: Path
) -> None:
    path = shared_data / "e2e" / "inferencex_silicon.csv"
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    columns = header.split(",")
    points = {point.id: point for point in collection["inferencex_silicon.csv"].points}
    checked = 0
    for line in lines:
        values = dict(zip(columns, line.split(","), strict=False))
        point = points.get(values["id"])
        derived = values["derived_out_tps_per_gpu"]
        if point is None or not derived or point.disaggregated or not point.devices:
            continue
        assert point.implied_output_tps is not None
        per_device = point.implied_output_tps / point.devices
        # the source divides by the nominal output length, here by its mean: 0.9 of it
        assert per_device == pytest.approx(float(derived), rel=0.12)
        checked += 1
    assert checked > 1000
