"""Curve files: round trip, stable bytes, hostile files, and the set of curves of a chip."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.curves.curve import Curve, CurveKey
from planner.curves.forms.base import Peaks
from planner.curves.forms.collective import Send
from planner.curves.forms.gemm import Gemm
from planner.curves.grid import Grid, Grids
from planner.curves.library import CurveSet, borrowed, shipped_chips
from planner.curves.store import curves_text, load_curves, save_curves
from planner.curves.timings import CurveError

KEY = CurveKey("gemm", "h100-sxm", "vllm", "bf16")
SHAPE = {"m": np.array([1.0, 100.0]), "n": np.array([4096.0]), "k": np.array([512.0, 9000.0])}


def curve(key: CurveKey = KEY, launch: float = 4e-6) -> Curve:
    values = Gemm().starts()
    values[0] = launch
    covariance = np.diag(values**2 / 1e4)
    covariance[3, :] = covariance[:, 3] = np.nan
    nodes = (np.array([1.0, 128.0, 4096.0]), np.array([256.0, 8192.0]))
    return Curve(
        key=key,
        form=Gemm(key.dtype),
        values=values,
        covariance=covariance,
        peaks=Peaks(flops=9.89e14, bandwidth=3.35e12),
        valid={"m": (1.0, 4096.0), "n": (32.0, 65536.0), "k": (32.0, 65536.0)},
        correction=Grids(
            (
                Grid(("m", "n*k"), nodes, np.array([[900, 1000], [1100, 1200], [1000, 950]])),
                Grid(("m",), nodes[:1], np.array([1000, 1010, 990]), "one"),
            )
        ),
        points=100,
        mape_in=0.031234567,
        mape_out=0.05,
        source="made up",
        version="1",
        date="2026-01-01",
        licence="CC0-1.0",
        tier="measured",
        warnings=("fill_m is at its lower bound",),
    )


def test_a_stored_curve_gives_the_same_seconds(tmp_path: Path) -> None:
    path = tmp_path / "new" / "c.json"
    save_curves(path, [curve()])
    (back,) = load_curves(path)
    assert back.seconds(SHAPE) == pytest.approx(curve().seconds(SHAPE), rel=1e-5)
    assert back.covariance == pytest.approx(curve().covariance, rel=1e-5, nan_ok=True)
    assert back.key == KEY
    assert back.tier == "measured"
    assert back.warnings == curve().warnings
    assert np.isnan(back.peaks.link)
    assert back.valid["n"] == (32.0, 65536.0)


def test_what_is_read_is_written_again_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    sglang = curve(replace(KEY, engine="sglang"), launch=7.654321e-6)
    save_curves(path, [curve(), sglang])
    text = path.read_text(encoding="utf-8")
    assert text == curves_text([sglang, curve()])
    assert curves_text(load_curves(path)) == text
    assert list(tmp_path.iterdir()) == [path]


def test_a_person_can_read_unit_error_and_meaning() -> None:
    launch = json.loads(curves_text([curve()]))["curves"][0]["parameters"]["launch"]
    assert launch == {
        "value": 4e-06,
        "unit": "s",
        "standard_error": 4e-08,
        "meaning": "fixed time of the kernels of one product",
    }


def test_two_curves_for_one_key_are_refused() -> None:
    with pytest.raises(CurveError, match="two curves for gemm of h100-sxm, vllm, bf16"):
        curves_text([curve(), curve()])


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CurveError, match="cannot be written"):
        save_curves(tmp_path / "file" / "c.json", [curve()])


def spoiled(change: Callable[[dict[str, Any]], Any]) -> str:
    document = json.loads(curves_text([curve()]))
    change(document)
    return json.dumps(document)


def first(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["curves"][0]
    return found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(schema="planner-curves/9"), "schema: must be 'planner-curves/1'"),
        (lambda d: d.update(curves=3), "curves: must be a list of curves, was 3"),
        (lambda d: d["curves"].append(7), r"curves\[1\]: must be a mapping, was 7"),
        (lambda d: d["curves"].append(first(d)), r"curves\[1\]: has the same key as curves\[0\]"),
        (lambda d: first(d).pop("licence"), r"curves\[0\].licence: must be a text, was nothing"),
        (lambda d: first(d).update(formm=1), "formm: unknown field; did you mean form"),
        (lambda d: first(d).update(form="gem"), r"unknown form 'gem'; did you mean gemm\?"),
        (lambda d: first(d).update(form="send"), "send does not describe 'gemm'"),
        (lambda d: first(d).update(dtype="fp9"), "unknown dtype 'fp9'"),
        (lambda d: first(d).update(tier="guess"), "tier: must be one of measured, fitted"),
        (lambda d: first(d).update(points=-1), "points: must not be negative"),
        (lambda d: first(d).update(mape_in="low"), "mape_in: must be a number, was 'low'"),
        (lambda d: first(d).update(mape_in=10**400), "mape_in: must be a finite number"),
        (lambda d: first(d)["parameters"].pop("launch"), "launch: is absent"),
        (lambda d: first(d)["parameters"].update(x={}), "parameters.x: unknown field"),
        (
            lambda d: first(d)["parameters"]["launch"].update(value=1.0),
            r"launch.value: must lie in \[5e-07, 0.0003\], was 1",
        ),
        (
            lambda d: first(d)["parameters"]["launch"].update(unit="us"),
            "launch.unit: must be 's', was 'us'",
        ),
        (lambda d: first(d)["covariance"].pop(), "covariance: must be the lower triangle of a 7"),
        (lambda d: first(d)["valid"].update(m=[9, 1]), "valid.m: must ascend"),
        (lambda d: first(d)["valid"].pop("m"), "valid.m: must be a list of 2 numbers"),
        (lambda d: first(d)["grids"][0].update(columns=["m", "q"]), "'q' is not made of m, n, k"),
        (lambda d: first(d)["grids"][0]["nodes"][0].reverse(), r"nodes\[0\]: must ascend"),
        (lambda d: first(d)["grids"][0]["per_mille"].pop(), "must hold 6 numbers, was 5"),
        (lambda d: first(d)["grids"][0]["per_mille"].insert(0, 0), "must hold 6 numbers, was 7"),
        (
            lambda d: first(d)["grids"][1].update(per_mille=[1000, 1.5, -3]),
            "must be whole numbers in 1",
        ),
        (lambda d: first(d)["grids"][0].update(outside="x"), "outside: must be hold or one"),
        (lambda d: first(d).update(warnings=[1]), "warnings: must be a list of texts"),
    ],
)
def test_a_fault_is_named_with_its_place(
    change: Callable[[dict[str, Any]], Any], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "c.json"
    path.write_text(spoiled(change), encoding="utf-8")
    with pytest.raises(CurveError, match=said) as caught:
        load_curves(path)
    assert str(caught.value).startswith(str(path))


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        document["curves"].append({**first(document), "engine": 3})
        first(document).update(form="gem")

    path = tmp_path / "c.json"
    path.write_text(spoiled(change), encoding="utf-8")
    with pytest.raises(CurveError) as caught:
        load_curves(path)
    assert "curves[0].form" in str(caught.value)
    assert "curves[1].engine" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not JSON"),
        (b'{"schema": "planner-curves/1", "curves": [}', r"c.json:1:\d+: not JSON"),
        (b"\xff\xfe{}", "byte 0 is not UTF-8"),
        (b'{"schema": NaN}', "NaN is no number in JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "schema: must be"),
        (b"null", "schema: must be 'planner-curves/1', was nothing"),
    ],
)
def test_a_file_that_is_none_says_so(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(content)
    with pytest.raises(CurveError, match=said):
        load_curves(path)


def test_a_file_that_is_absent_says_so(tmp_path: Path) -> None:
    with pytest.raises(CurveError, match="cannot be read: No such file"):
        load_curves(tmp_path / "none.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_anywhere_is_read_or_refused(data: st.DataObject, tmp_path: Path) -> None:
    document = json.loads(curves_text([curve()]))
    place: Any = document
    while True:
        keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        inside = place[key]
        if isinstance(inside, dict | list) and inside and data.draw(st.booleans()):
            place = inside
            continue
        place[key] = data.draw(JSON)
        break
    path = tmp_path / "c.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    try:
        found = load_curves(path)
    except CurveError:
        return
    assert all(np.isfinite(each.seconds(SHAPE)).all() for each in found)


def test_curves_fall_back_to_another_engine_of_the_chip(tmp_path: Path) -> None:
    keys = [replace(KEY, engine=name) for name in ("generic", "tensorrt-llm", "sglang")]
    save_curves(tmp_path / "h100-sxm" / "gemm.json", [curve(key) for key in keys])
    curves = CurveSet("h100-sxm", shipped=tmp_path)
    for asked, found in (("tensorrt-llm",) * 2, ("vllm", "sglang"), ("unheard-of", "sglang")):
        curve_found = curves.find("gemm", "bf16", engine=asked)
        assert curve_found is not None
        assert curve_found.key.engine == found
    assert curves.find("gemm", "fp8", engine="vllm") is None
    assert curves.find("stream", "bf16") is None
    assert CurveSet("tpu-v6e", shipped=tmp_path).find("gemm", "bf16") is None
    assert [key.engine for key in curves.keys("gemm")] == ["generic", "sglang", "tensorrt-llm"]


def test_the_users_file_lies_on_top_and_the_last_one_wins(tmp_path: Path) -> None:
    save_curves(tmp_path / "h100-sxm" / "gemm.json", [curve(launch=1e-6)])
    mine, newer = tmp_path / "mine.json", tmp_path / "newer.json"
    save_curves(mine, [curve(replace(KEY, engine="sglang"), launch=2e-6)])
    save_curves(newer, [curve(replace(KEY, chip="l40s"), launch=3e-6)])
    curves = CurveSet("h100-sxm", layers=[mine, newer], shipped=tmp_path)
    found = curves.find("gemm", "bf16", engine="vllm")
    assert found is not None
    # measured on the user's machine, though in another engine
    assert found.values[0] == 2e-6
    assert {key.engine for key in curves.keys("gemm")} == {"sglang", "vllm"}


def test_a_borrowed_curve_says_that_it_is_an_estimate() -> None:
    peaks = Peaks(flops=2e15, bandwidth=6.7e12)
    other = borrowed(curve(), "mi300x", peaks)
    assert (other.key, other.tier, other.peaks) == (curve().key, "estimated", peaks)
    large = {name: np.array([16384.0]) for name in ("m", "n", "k")}
    assert other.seconds(large) / curve().seconds(large) == pytest.approx(9.89 / 20, rel=0.02)


def test_a_correction_of_another_kind_cannot_be_stored() -> None:
    class Other:
        def ratio(self, shape: object) -> Any:
            return 1.0

        def __len__(self) -> int:
            return 0

    with pytest.raises(CurveError, match="of type Other cannot be stored"):
        curves_text([replace(curve(), correction=Other())])


@pytest.mark.parametrize("chip", shipped_chips())
def test_shipped_curves_load_and_give_sane_seconds(chip: str) -> None:
    curves = CurveSet(chip)
    found = curves.find("gemm", "bf16", engine="vllm")
    assert found is not None
    # five matrices are all that was profiled on the TPU
    assert found.mape_out < (0.25 if chip == "tpu-v6e" else 0.15)
    seconds = found.seconds(
        {"m": np.array([1.0, 8192.0]), "n": np.array([8192.0]), "k": np.array([8192.0])}
    )
    weights = 2.0 * 8192.0**2 / found.peaks.bandwidth
    flops = 2.0 * 8192.0**3 / found.peaks.flops
    assert weights < seconds[0] < 2.5 * weights
    # the RTX 4090 clocks above the figure of its data sheet
    assert 0.95 * flops < seconds[1] < 2.5 * flops
    reduce = curves.find("all_reduce", "bf16", engine="vllm")
    if chip in ("rtx-4090", "tpu-v6e"):
        assert reduce is None, "profiled alone"
        return
    assert reduce is not None
    assert np.all(
        np.diff(reduce.seconds({"devices": np.array([4.0]), "bytes": 2.0 ** np.arange(12, 28, 4)}))
        > 0
    )


def test_send_is_stored_without_a_grid(tmp_path: Path) -> None:
    form = Send()
    plain = replace(
        curve(),
        key=replace(KEY, operator="send"),
        form=form,
        values=form.starts(),
        covariance=np.full((2, 2), np.nan),
        valid={"bytes": (1.0, 1e9)},
        correction=None,
        tier="fitted",
    )
    save_curves(tmp_path / "c.json", [plain])
    (back,) = load_curves(tmp_path / "c.json")
    assert back.correction is None
