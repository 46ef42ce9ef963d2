"""What step times stand on besides the catalogue: overheads and curves of the scenario's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from planner.calibration.store import calibration_text
from planner.catalog import Catalog, load_catalog
from planner.curves.curve import Curve
from planner.curves.engines import EngineOverhead
from planner.curves.library import CurveSet
from planner.curves.store import save_curves
from planner.errors import CatalogError
from planner.kernel.plan import PoolPlan
from planner.lowering.lower import lower
from planner.lowering.pools import LoweredPool, basis_of, lower_pool
from planner.scenario import LoadedScenario
from tests.lowering.scenarios import POOLS, load

CLASSES = "- {name: a, pool: small, open: {rate: 1 /s}, input: {fixed: 9}, output: {fixed: 5}}\n"
PLAIN = EngineOverhead("vllm", "h100-sxm", step_s=2e-3, sequence_s=1e-4, late_steps=0.0)
"""All kernels as fast as they were measured alone."""
PRODUCTS = 32 * 4 + 1
"""Matrix products of a step of Llama 3.1 8B: four per layer, and the output head."""


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def calibrated(folder: Path, **files: list[str]) -> LoadedScenario:
    """Return a scenario that names these calibration and curve files."""
    listed = ", ".join(f"{kind}: [{', '.join(names)}]" for kind, names in files.items())
    return load(folder, CLASSES, rest=f"calibration: {{{listed}}}\n" if files else "")


def lowered(loaded: LoadedScenario, catalog: Catalog) -> LoweredPool:
    return lower_pool(loaded.scenario.pools[0], catalog, basis_of(loaded))


def write_overheads(path: Path, *overheads: EngineOverhead) -> None:
    path.write_text(calibration_text(overheads), encoding="utf-8")


def same_steps(one: PoolPlan, other: PoolPlan) -> bool:
    names = ("fixed_s", "decode_s", "decode_seq_s", "prefill_s", "request_s")
    return np.array_equal(one.linear_s, other.linear_s) and all(
        getattr(one, name) == getattr(other, name) for name in names
    )


# --- Overheads -----------------------------------------------------------------------------------


def test_a_calibration_file_changes_the_step_time(tmp_path: Path, catalog: Catalog) -> None:
    write_overheads(tmp_path / "own.json", PLAIN)
    write_overheads(tmp_path / "quick.json", replace(PLAIN, step_s=1e-3, sequence_s=0.0))
    shipped = lowered(calibrated(tmp_path), catalog)
    slow = lowered(calibrated(tmp_path, overheads=["own.json"]), catalog)
    quick = lowered(calibrated(tmp_path, overheads=["quick.json"]), catalog)
    assert not same_steps(shipped.plan, slow.plan)
    assert (slow.plan.fixed_s, quick.plan.fixed_s) == (2e-3, 1e-3)
    assert slow.plan.decode_seq_s - quick.plan.decode_seq_s == pytest.approx(1e-4, rel=1e-9)
    assert slow.curve.host == PLAIN
    # The whole of lowering takes the same basis.
    (whole,) = lower(calibrated(tmp_path, overheads=["own.json"]), catalog).plan.pools
    assert same_steps(whole, slow.plan)


def test_of_two_calibration_files_the_later_one_wins(tmp_path: Path, catalog: Catalog) -> None:
    write_overheads(tmp_path / "one.json", PLAIN)
    write_overheads(tmp_path / "two.json", replace(PLAIN, step_s=7e-3))
    for names, step_s in ((["one.json", "two.json"], 7e-3), (["two.json", "one.json"], 2e-3)):
        assert lowered(calibrated(tmp_path, overheads=names), catalog).plan.fixed_s == step_s


def test_an_overhead_without_a_chip_holds_on_the_chips_that_shipped_ones_name(
    tmp_path: Path, catalog: Catalog
) -> None:
    write_overheads(tmp_path / "own.json", replace(PLAIN, chip=""))
    assert lowered(calibrated(tmp_path, overheads=["own.json"]), catalog).plan.fixed_s == 2e-3
    write_overheads(tmp_path / "own.json", replace(PLAIN, chip=""), replace(PLAIN, step_s=3e-3))
    assert lowered(calibrated(tmp_path, overheads=["own.json"]), catalog).plan.fixed_s == 3e-3


@pytest.mark.parametrize("other", [{"engine": "sglang"}, {"chip": "b200-sxm"}])
def test_an_overhead_of_something_else_changes_nothing(
    tmp_path: Path, catalog: Catalog, other: dict[str, str]
) -> None:
    write_overheads(tmp_path / "own.json", replace(PLAIN, **other))  # type: ignore[arg-type]
    own = lowered(calibrated(tmp_path, overheads=["own.json"]), catalog)
    assert same_steps(own.plan, lowered(calibrated(tmp_path), catalog).plan)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('{"engine": "vllm", "setp_s": 1}', r"setp_s: unknown field; did you mean step_s\?"),
        ('{"engine": "vlm"}', r"engine: unknown engine 'vlm'; did you mean vllm\?"),
        ('{"engine": "x"}', r"engine: unknown engine 'x'; choose one of vllm, sglang, "),
    ],
)
def test_a_calibration_file_with_faults_is_named(
    tmp_path: Path, catalog: Catalog, entry: str, message: str
) -> None:
    (tmp_path / "own.json").write_text(f'{{"engines": [{entry}]}}')
    with pytest.raises(CatalogError, match=r"own\.json: engines\[0\]\." + message):
        lower(calibrated(tmp_path, overheads=["own.json"]), catalog)


def test_what_a_request_spends_outside_is_the_engines(tmp_path: Path, catalog: Catalog) -> None:
    """It makes no step longer."""
    write_overheads(tmp_path / "own.json", PLAIN)
    write_overheads(tmp_path / "late.json", replace(PLAIN, request_s=0.25, late_steps=4.0))
    plain = lowered(calibrated(tmp_path, overheads=["own.json"]), catalog).plan
    late = lowered(calibrated(tmp_path, overheads=["late.json"]), catalog).plan
    assert (plain.request_s, plain.late_steps) == (PLAIN.request_s, 0.0)
    assert (late.request_s, late.late_steps) == (0.25, 4.0)
    assert same_steps(replace(late, request_s=plain.request_s), plain)


# --- Curves --------------------------------------------------------------------------------------


def slower(launch_s: float, **key: str) -> Curve:
    """Return the shipped curve of 16-bit products, each launched later by `launch_s`."""
    found = CurveSet("h100-sxm").find("gemm", "bf16", engine="vllm")
    assert found is not None
    values = found.values.copy()
    (launch,) = [n for n, each in enumerate(found.form.parameters) if each.name == "launch"]
    values[launch] += launch_s
    return replace(
        found, values=values, correction=None, key=replace(found.key, engine="vllm", **key)
    )


def one_token_s(folder: Path, catalog: Catalog, *names: str) -> float:
    """Return the device time of a step of one token, with these curve files."""
    loaded = calibrated(folder, curves=list(names), overheads=["own.json"])
    return float(lowered(loaded, catalog).plan.linear_s[1])


def test_a_curve_file_wins_over_those_shipped(tmp_path: Path, catalog: Catalog) -> None:
    write_overheads(tmp_path / "own.json", PLAIN)
    for name, launch_s in (("same.json", 0.0), ("late.json", 1e-4), ("later.json", 2e-4)):
        save_curves(tmp_path / name, [slower(launch_s)])
    same_s = one_token_s(tmp_path, catalog, "same.json")
    late_s = one_token_s(tmp_path, catalog, "late.json")
    assert late_s - same_s == pytest.approx(PRODUCTS * 1e-4, rel=1e-3)
    # Later files win over earlier ones.
    both_s = one_token_s(tmp_path, catalog, "late.json", "later.json")
    assert both_s - same_s == pytest.approx(PRODUCTS * 2e-4, rel=1e-3)
    assert one_token_s(tmp_path, catalog, "later.json", "late.json") == late_s


def test_curves_of_another_chip_are_passed_over(tmp_path: Path, catalog: Catalog) -> None:
    write_overheads(tmp_path / "own.json", PLAIN)
    save_curves(tmp_path / "other.json", [slower(1e-4, chip="b200-sxm")])
    assert one_token_s(tmp_path, catalog, "other.json") == one_token_s(tmp_path, catalog)


def test_notes_name_the_curve_that_was_used(tmp_path: Path, catalog: Catalog) -> None:
    save_curves(tmp_path / "own.json", [replace(slower(1e-4), source="our own machine")])
    (note,) = [
        note
        for note in lowered(calibrated(tmp_path, curves=["own.json"]), catalog).notes
        if note.name == "curve.h100-sxm.gemm bf16"
    ]
    assert note.source.startswith("our own machine")


# --- What differs by engine ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "prefill_first", "poll_steps"),
    [
        ("", False, 1),
        ("{name: vllm}", False, 1),
        ("{name: tensorrt-llm}", False, 1),
        ("{name: generic}", False, 1),
        ("{name: sglang}", True, 1),
        ("{name: sglang, prefill_first: false, poll_steps: 10}", False, 10),
        ("{name: vllm, prefill_first: true, poll_steps: 30}", True, 30),
    ],
)
def test_rules_of_the_batch_by_engine(
    tmp_path: Path, catalog: Catalog, engine: str, prefill_first: bool, poll_steps: int
) -> None:
    pools = POOLS + (f"  engine: {engine}\n" if engine else "")
    plan = lowered(load(tmp_path, CLASSES, pools=pools), catalog).plan
    assert (plan.prefill_first, plan.poll_steps) == (prefill_first, poll_steps)
