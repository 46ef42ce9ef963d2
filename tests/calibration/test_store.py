"""Calibration files come back as they were, and what is doubtful about a fit is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from planner.calibration.diagnose import (
    MEANINGS,
    at_bounds,
    point_errors,
    reason_to_look,
    undetermined,
    warnings,
)
from planner.calibration.fit import BOUNDS, PRIOR, Calibration
from planner.calibration.store import calibration_text
from planner.catalog import load_catalog
from planner.curves.engines import SCALARS, EngineOverhead, EngineTable, read_overheads
from planner.validation.replay import Replayed
from tests.validation.simulated import TRUE, measured, scaled


def fitted(spread: float = 0.1, host: EngineOverhead = TRUE, **residuals: object) -> Calibration:
    errors = dict.fromkeys(SCALARS, 0.1)
    return Calibration(
        replace(host, errors=errors, tier="fitted"),
        np.diag([(spread * PRIOR[name]) ** 2 for name in SCALARS]),
        {name: np.array(values) for name, values in residuals.items()},
    )


@given(
    st.fixed_dictionaries({name: st.floats(*BOUNDS[name]) for name in SCALARS}),
    st.text(max_size=20),
)
def test_overheads_come_back_from_their_file(
    tmp_path_factory: object, values: dict[str, float], source: str
) -> None:
    folder: Path = tmp_path_factory.mktemp("files")  # type: ignore[attr-defined]
    host = EngineOverhead(
        "vllm", "h100-sxm", "0.11", "2026-01", **values, errors={"step_s": 1e-4},
        points=7, source=source, tier="fitted",
    )  # fmt: skip
    path = folder / "calibration.json"
    path.write_text(calibration_text([host]), encoding="utf-8")
    (found,) = read_overheads(path).values()
    for name in SCALARS:
        np.testing.assert_allclose(getattr(found, name), values[name], rtol=1e-7)
    rest = {name: getattr(host, name) for name in SCALARS}
    assert replace(found, **rest) == host
    assert EngineTable({}).with_file(path).find("vllm", "h100-sxm") == found


def test_the_order_of_overheads_does_not_matter() -> None:
    hosts = [EngineOverhead("vllm"), EngineOverhead("sglang", "h100-sxm")]
    assert calibration_text(hosts) == calibration_text(hosts[::-1])


def test_every_scalar_has_a_meaning() -> None:
    assert set(MEANINGS) == set(SCALARS)


def test_scalars_at_their_bounds_are_named() -> None:
    host = replace(TRUE, step_s=BOUNDS["step_s"][1], compute_rate=BOUNDS["compute_rate"][0])
    assert at_bounds(host) == ["step_s", "compute_rate"]
    assert at_bounds(TRUE) == []
    assert at_bounds(replace(TRUE, step_s=0.0)) == ["step_s"]


def test_what_the_data_do_not_determine_is_named() -> None:
    assert undetermined(fitted(0.1)) == []
    assert undetermined(fitted(0.95)) == list(SCALARS)


def test_warnings_name_the_scalar_and_the_remedy() -> None:
    deployments = measured(load_catalog(), loads=((1, 256),))
    residuals = {"tpot_mean_s": [0.0], "ttft_mean_s": [1.0], "output_tps": [np.nan]}
    found = list(warnings(fitted(0.95, **residuals), deployments))
    assert "1 points determine few" in found[0]
    assert any(text.startswith("link_rate is not determined") for text in found)
    outlier = found[-1]
    assert "ttft_mean_s is replayed +172% off, more than 3 sigma" in outlier
    assert not any("tpot_mean_s is replayed" in text for text in found)


def test_reasons_to_look() -> None:
    (deployment,) = measured(load_catalog(), loads=((8, 256),))
    sound = Replayed({}, 8, 8, 0)
    assert "repeat this measurement" in reason_to_look(deployment, sound)
    assert "--kv-blocks" in reason_to_look(deployment, Replayed({}, 8, 8, 3))
    assert "memory fraction" in reason_to_look(deployment, Replayed({}, 7, 8, 0))
    assert "--token-budget" in reason_to_look(replace(deployment, token_budget=100), sound)
    assert "--maximum-sequences" in reason_to_look(replace(deployment, maximum_sequences=4), sound)
    flagged = replace(deployment, point=replace(deployment.point, flags=("3 requests failed",)))
    assert "3 requests failed" in reason_to_look(flagged, sound)


def test_errors_of_points_are_signed() -> None:
    deployments = [scaled(each, 2.0) for each in measured(load_catalog(), loads=((1, 256),))]
    half = {"tpot_mean_s": [np.log(0.5)], "ttft_mean_s": [np.nan], "output_tps": [np.nan]}
    found = point_errors(deployments, half, {**half, "tpot_mean_s": [0.0]})
    assert [(each.metric, round(each.before, 9), each.after) for each in found] == [
        ("tpot_mean_s", -0.5, 0.0)
    ]
