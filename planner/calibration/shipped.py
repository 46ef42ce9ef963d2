"""Fits the overheads that ship with the package, in the way that `validate --hold-out` tests.

Run `python -m planner.calibration.shipped --data FOLDER`, with the folder of published measurements
that `planner validate` reads. It writes `planner/curves/data/engines.json`: one entry per engine,
and one for each chip on which the engine was measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planner.calibration.diagnose import UNDETERMINED
from planner.calibration.fit import PRIOR
from planner.calibration.hold_out import (
    CHIP_SCALE,
    Counter,
    EngineFit,
    engine_of,
    fit_engine,
    is_trained_on,
)
from planner.calibration.linear import Centre, Linear, solve, with_logs
from planner.calibration.store import calibration_text
from planner.catalog import load_catalog
from planner.curves.engines import SCALARS, EngineOverhead
from planner.measurements import read_collection
from planner.validation.deployment import Deployment, deployment_of
from planner.validation.split import by_group

Array = NDArray[np.float64]

TARGET: Final = Path(__file__).parent.parent / "curves" / "data" / "engines.json"
SOURCE: Final = (
    "closed loops of SemiAnalysis InferenceX and NVIDIA aiconfigurator's silicon points, replayed"
)


def fit_shipped(deployments: Sequence[Deployment]) -> list[EngineOverhead]:
    """Return the overhead of each engine over all chips, and on each chip it was measured on."""
    used = [each for each in deployments if is_trained_on(each.point)]
    counter = Counter(1.0, None)
    found = []
    for name, positions in by_group(used, lambda each: engine_of(each.point)).items():
        fit = fit_engine(name, [used[at] for at in positions], counter)
        everywhere = range(len(fit.deployments))
        general = _covariance(fit.linear, fit.centre, everywhere)
        found.append(_overhead(fit, fit.linear.logs, general, everywhere, ""))
        chips = sorted({each.point.chip for each in fit.deployments})
        for chip in chips:
            rows = [at for at, each in enumerate(fit.deployments) if each.point.chip == chip]
            near = Centre(fit.linear.logs, fit.centre.spread * CHIP_SCALE)
            logs = solve(fit.linear, near, fit.linear.rows(rows))
            # what is not known of the engine is not known of it on this chip either
            own = _covariance(fit.linear, near, rows)
            found.append(_overhead(fit, logs, np.add(general, own), rows, chip))
    return found


def _covariance(linear: Linear, centre: Centre, points: Sequence[int]) -> Array:
    """Return the covariance of the logarithms that curvature and prior give."""
    rows = linear.rows(list(points))
    jacobian = linear.jacobian[rows] * np.sqrt(linear.weights[rows])[:, None]
    known: Array = jacobian.T @ jacobian + np.diag(centre.spread**-2.0)
    return np.asarray(np.linalg.inv(known), dtype=np.float64)


def _overhead(
    fit: EngineFit, logs: Array, covariance: Array, points: Sequence[int], chip: str
) -> EngineOverhead:
    """Return a solution as an overhead; what was not determined has no error: it is estimated."""
    host = with_logs(fit.host, logs)
    sds = dict(zip(SCALARS, np.sqrt(np.diag(covariance)), strict=True))
    used = [fit.deployments[at].point for at in points]
    versions = sorted({point.engine_version for point in used if point.engine_version})
    dates = sorted({point.date for point in used if point.date})
    return replace(
        host,
        chip=chip,
        version=_range(versions),
        date=_range([dates[0], dates[-1]] if dates else []),
        errors={
            name: getattr(host, name) * float(sd)
            for name, sd in sds.items()
            if sd < UNDETERMINED * PRIOR[name]
        },
        points=len(used),
        source=SOURCE if chip else f"{SOURCE}, on all chips",
        # on a chip that was not measured, which is where it is used
        tier="fitted" if chip else "estimated",
    )


def _range(values: Sequence[str]) -> str:
    return " to ".join(dict.fromkeys((values[0], values[-1]))) if values else ""


def main() -> None:
    """Read the measurements, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of measurements")
    parser.add_argument("--out", type=Path, default=TARGET, help="file to write")
    arguments = parser.parse_args()
    catalog = load_catalog()
    points = read_collection(arguments.data)["inferencex_silicon.csv"].points
    deployments = [deployment_of(each, catalog) for each in points if is_trained_on(each)]
    arguments.out.write_text(calibration_text(fit_shipped(deployments)), encoding="utf-8")


if __name__ == "__main__":
    main()
