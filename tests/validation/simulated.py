"""Points whose measurements are replays with a known overhead: what a right fit has to find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from planner.catalog import Catalog
from planner.curves.engines import EngineOverhead
from planner.measurements import ClosedLoop, Fixed, Point
from planner.validation.deployment import Deployment, deployment_of
from planner.validation.replay import replay
from tests.measurements.samples import point

TRUE = EngineOverhead(
    "vllm",
    step_s=2e-3,
    sequence_s=1.2e-5,
    request_s=1.2e-2,
    compute_rate=0.85,
    bandwidth_rate=0.9,
)


def measured(
    catalog: Catalog,
    host: EngineOverhead = TRUE,
    *,
    noise: float = 0.0,
    loads: Sequence[tuple[int, int]] = ((1, 512), (8, 512), (32, 512), (8, 2048), (32, 2048)),
    **changes: Any,
) -> list[Deployment]:
    """Return points of several loads, as (clients, prompt tokens), measured by replays.

    Args:
        catalog: knows model and chip.
        host: the truth.
        noise: standard deviation of the logarithm of each measurement.
        loads: of the points.
        changes: fields of the points.
    """
    rng = np.random.default_rng(7)
    found = []
    for clients, tokens in loads:
        blank = point(
            **{
                "id": f"{changes.get('model', 'llama-3.1-8b')} {clients} × {tokens}",
                "protocol": ClosedLoop(clients, 4 * clients),
                "prompt": Fixed(tokens),
                "output": Fixed(64),
                **changes,
            }
        )
        deployment = deployment_of(blank, catalog)
        metrics = replay(deployment, host).metrics
        kept = {
            name: metrics[name] * float(np.exp(noise * rng.normal()))
            for name in ("ttft_mean_s", "tpot_mean_s")
        }
        found.append(with_metrics(deployment, kept))
    return found


def with_metrics(deployment: Deployment, metrics: dict[str, float]) -> Deployment:
    """Return a deployment whose point measured something else."""
    return replace(deployment, point=replace(deployment.point, metrics=metrics))


def scaled(deployment: Deployment, factor: float) -> Deployment:
    """Return a deployment whose measured latencies are `factor` times as long."""
    metrics = {name: value * factor for name, value in deployment.point.metrics.items()}
    return with_metrics(deployment, metrics)


def points_of(deployments: Sequence[Deployment]) -> list[Point]:
    """Return the points of deployments."""
    return [deployment.point for deployment in deployments]
