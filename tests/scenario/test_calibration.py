"""The fields that name calibration files and the batch rules of an engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from planner.calibration.store import calibration_text
from planner.catalog import Catalog
from planner.curves.engines import EngineOverhead
from planner.curves.library import shipped_folder
from planner.curves.store import load_curves, save_curves
from planner.errors import ScenarioError
from planner.scenario import check_scenario, load_checked, load_scenario
from tests.scenario.samples import VALID, changed

pytestmark = pytest.mark.usefixtures("in_folder")

WriteFile = Callable[[str, str], Path]
OVERHEAD = EngineOverhead("vllm")
PRODUCTS = load_curves(shipped_folder() / "h100-sxm" / "gemm.json")[0]
FILES = "calibration:\n  curves:\n    - ours.json\n  overheads: [engine.json]\n"
LINE = VALID.count("\n") + 1
"""Where the calibration starts when it follows the valid scenario."""


def findings(name: str, catalog: Catalog, *sets: str) -> list[str]:
    loaded = load_scenario(name, sets=sets)
    return [str(fault).splitlines()[0] for fault in check_scenario(loaded, catalog)]


def test_missing_files_are_named_with_line_and_remedy(
    write_file: WriteFile, catalog: Catalog
) -> None:
    write_file("q.yaml", VALID + FILES)
    advice = "paths are relative to this file, and `planner {}` writes such files"
    expected = [
        f"q.yaml:{LINE + 2}:7: calibration.curves[0]: no such file: ours.json; "
        + advice.format("fit"),
        f"q.yaml:{LINE + 3}:15: calibration.overheads[0]: no such file: engine.json; "
        + advice.format("calibrate"),
    ]
    assert findings("q.yaml", catalog) == expected
    with pytest.raises(ScenarioError) as caught:
        load_checked("q.yaml", catalog)
    for message in expected:
        assert message in str(caught.value)


def test_files_are_sought_beside_the_scenario(write_file: WriteFile, catalog: Catalog) -> None:
    write_file("there/q.yaml", VALID + FILES)
    assert len(findings("there/q.yaml", catalog)) == 2
    for folder in ("", "there/"):  # those of the working directory are not meant
        save_curves(Path(folder, "ours.json"), [PRODUCTS])
        write_file(f"{folder}engine.json", calibration_text([OVERHEAD]))
        assert len(findings("there/q.yaml", catalog)) == (0 if folder else 2)
    loaded = load_scenario("there/q.yaml")
    assert loaded.file_path(("calibration", "curves", 0)) == Path("there/ours.json")


def test_a_file_given_as_an_option_is_relative_to_the_working_directory(
    write_file: WriteFile, catalog: Catalog
) -> None:
    write_file("there/q.yaml", VALID)
    option = "calibration.overheads=[ours.json]"
    (fault,) = findings("there/q.yaml", catalog, option)
    assert fault.startswith(f"--set {option}: calibration.overheads[0]: no such file: ours.json")
    write_file("ours.json", calibration_text([OVERHEAD]))
    assert findings("there/q.yaml", catalog, option) == []


def test_what_is_wrong_inside_a_file_is_told(write_file: WriteFile, catalog: Catalog) -> None:
    write_file("q.yaml", VALID + FILES)
    write_file("ours.json", "{}")
    write_file("engine.json", '{"engines": [{"engine": "vlm"}]}')
    curves, overheads = findings("q.yaml", catalog)
    assert curves.startswith(f"q.yaml:{LINE + 2}:7: calibration.curves[0]: ")
    assert "ours.json" in curves
    assert "engine.json: engines[0].engine: unknown engine" in overheads
    assert "did you mean vllm?" in overheads


def test_files_that_concern_no_pool_are_refused(write_file: WriteFile, catalog: Catalog) -> None:
    """They would change nothing, without a word."""
    write_file("q.yaml", VALID + FILES)
    elsewhere = replace(PRODUCTS, key=replace(PRODUCTS.key, chip="tpu-v6e"))
    save_curves(Path("ours.json"), [elsewhere])
    write_file("engine.json", calibration_text([replace(OVERHEAD, engine="sglang")]))
    curves, overheads = findings("q.yaml", catalog)
    assert "ours.json holds curves of 'tpu-v6e', and the pools are of " in curves
    assert "engine.json holds overheads of 'sglang', and the pools are of " in overheads
    write_file("engine.json", calibration_text([OVERHEAD]))
    assert len(findings("q.yaml", catalog)) == 1
    generic = [f"pools.{name}.engine.name=generic" for name in ("small", "big")]
    assert len(findings("q.yaml", catalog, *generic)) == 1


def test_a_folder_is_no_calibration_file(write_file: WriteFile, catalog: Catalog) -> None:
    write_file("there/q.yaml", VALID + "calibration: {curves: [.]}\n")
    (fault,) = findings("there/q.yaml", catalog)
    assert "calibration.curves[0]: no such file" in fault


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  - name: big\n", "  - name: big\n    engine: {prefill_first: 1}\n",
         "pools[1].engine.prefill_first: "),
        ("  - name: big\n", "  - name: big\n    engine: {poll_steps: 0}\n",
         "pools[1].engine.poll_steps: "),
        ("  - name: big\n", "  - name: big\n    engine: {pol_steps: 4}\n",
         "pools[1].engine.pol_steps: unknown field; did you mean poll_steps?"),
        ("prices:\n", "calibration: {curvs: [a.json]}\nprices:\n",
         "calibration.curvs: unknown field; did you mean curves?"),
        ("prices:\n", "calibration: {overheads: a.json}\nprices:\n", "calibration.overheads: "),
        ("prices:\n", "calibration: {overheads: [7]}\nprices:\n", "calibration.overheads[0]: "),
    ],
)  # fmt: skip
def test_wrong_values_are_refused(
    write_file: WriteFile, catalog: Catalog, old: str, new: str, message: str
) -> None:
    write_file("q.yaml", changed(old, new))
    with pytest.raises(ScenarioError) as caught:
        load_checked("q.yaml", catalog)
    assert message in str(caught.value)


def test_defaults() -> None:
    from planner.scenario.schema import Calibration
    from planner.scenario.schema.pools import Engine

    assert (Calibration().curves, Calibration().overheads) == ([], [])
    assert (Engine().prefill_first, Engine().poll_steps) == (None, 1)
