"""Shipped shapes and length presets: complete, sane, and true to the data they came from."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

from planner.errors import TraceError
from planner.trace.library import (
    length_preset_names,
    load_length_preset,
    load_shape,
    shape_names,
)

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("PLANNER_SHARED_DATA", ROOT / ".." / "shared" / "data"))
HEAVY_TAILS = ("servegen-m-mid", "servegen-m-small", "azure-2024", "wildchat")


@pytest.mark.parametrize("name", shape_names())
def test_a_shape_has_mean_one_and_an_origin(name: str) -> None:
    shape = load_shape(name)
    assert len(shape.hourly) == (168 if name.endswith("-week") else 24)
    assert np.mean(shape.hourly) == pytest.approx(1.0, abs=1e-3)
    assert min(shape.hourly) > 0
    assert 1.1 < shape.peak_to_mean < 3.1
    assert shape.origin
    assert shape.licence
    assert shape.url.startswith("https://")
    assert shape.time_zone in ("UTC", "UTC+8")


@pytest.mark.parametrize("name", length_preset_names())
def test_a_preset_meets_the_mean_of_its_source(name: str) -> None:
    preset = load_length_preset(name)
    tolerance = 0.15 if name.startswith(HEAVY_TAILS) else 0.02
    print(f"{name}: {preset.distribution.mean():.1f}, source {preset.mean:.1f}")
    assert preset.distribution.mean() == pytest.approx(preset.mean, rel=tolerance)
    assert preset.origin
    assert preset.licence
    assert preset.url.startswith("https://")
    assert preset.requests > 0


def test_known_values() -> None:
    assert load_length_preset("azure-2023-conversation-input").distribution.quantile(
        [0.01, 0.5, 0.9, 0.99, 1]
    ).tolist() == [29, 1020, 2735, 4142, 14050]
    assert load_length_preset("servegen-deepseek-r1-output").distribution.quantile(
        [0.5, 0.99]
    ).tolist() == [792, 12607]
    assert load_shape("deepseek-2025-day").peak_to_mean == pytest.approx(1.326, abs=1e-3)
    assert load_shape("azure-2024-coding-week").peak_to_mean == pytest.approx(3.01, abs=0.01)


def test_the_week_starts_on_monday() -> None:
    days = np.reshape(load_shape("azure-2024-coding-week").hourly, (7, 24)).mean(axis=1)
    assert days[:5].min() > 1.0 > days[5:].max()


def test_unknown_names_get_advice() -> None:
    with pytest.raises(TraceError, match="did you mean azure-2024-coding-week"):
        load_shape("azure-2024-codingweek")
    with pytest.raises(TraceError, match="unknown length preset 'chat'"):
        load_length_preset("chat")


@pytest.mark.slow
def test_the_shipped_files_are_what_the_script_derives(tmp_path: Path) -> None:
    if not (SHARED / "traces").is_dir():
        pytest.skip(f"no public traces at {SHARED}")
    path = ROOT / "traces" / "derive_presets.py"
    spec = importlib.util.spec_from_file_location("derive_presets", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main([str(SHARED), str(tmp_path)])
    for name in ("lengths.yaml", "shapes.yaml"):
        shipped = ROOT / "planner" / "trace" / "data" / name
        assert (tmp_path / name).read_text() == shipped.read_text()
