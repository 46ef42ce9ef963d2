"""What a reader should know before trusting a calibration."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from planner.calibration.fit import BOUNDS, PRIOR, TOLERANCE, Calibration
from planner.curves.engines import SCALARS, EngineOverhead
from planner.measurements import ClosedLoop
from planner.validation.deployment import Deployment
from planner.validation.replay import Replayed, replay

FEWEST_POINTS: Final = 3
"""Fewer operating points say nothing about how the overhead depends on load."""
GOOD_POINTS: Final = 6
MEANINGS: Final[Mapping[str, str]] = {
    "step_s": "host time per step that the device does not hide",
    "sequence_s": "host time per decoding sequence and step",
    "request_s": "time per request outside the steps",
    "late_steps": "steps by which the first token is sent late",
    "compute_rate": "attained share of the kernels' arithmetic",
    "experts_rate": "attained share of the expert kernels' arithmetic",
    "bandwidth_rate": "attained share of the kernels' memory traffic",
    "link_rate": "attained share of the collectives' speed",
}
_FAR: Final = 3.0
UNDETERMINED: Final = 0.8
"""Standard deviation after the fit over that before it, above which the data said nothing."""
_AT_BOUND: Final = 0.01


@dataclass(frozen=True)
class PointError:
    """The error of one metric of one point before and after a fit."""

    point: int
    metric: str
    measured: float
    before: float
    """Signed relative error, like `after`."""
    after: float


def point_errors(
    deployments: Sequence[Deployment],
    before: Mapping[str, Sequence[float]],
    after: Mapping[str, Sequence[float]],
) -> list[PointError]:
    """Return errors by point from logarithms of replayed over measured, as `log_errors` gives."""
    return [
        PointError(
            position,
            metric,
            deployment.point.metrics[metric],
            math.expm1(before[metric][position]),
            math.expm1(after[metric][position]),
        )
        for position, deployment in enumerate(deployments)
        for metric in TOLERANCE
        if math.isfinite(before[metric][position]) and math.isfinite(after[metric][position])
    ]


def at_bounds(host: EngineOverhead) -> list[str]:
    """Return the scalars that stand at the edge of what a fit may choose."""
    found = []
    for name in SCALARS:
        low, high = BOUNDS[name]
        place = math.log(max(getattr(host, name), low) / low) / math.log(high / low)
        if place < _AT_BOUND or place > 1 - _AT_BOUND:
            found.append(name)
    return found


def undetermined(calibration: Calibration, prior: float = 1.0) -> list[str]:
    """Return the fitted scalars that the measurements said next to nothing about."""
    spread = np.sqrt(np.diag(calibration.covariance))
    return [
        name
        for index, name in enumerate(SCALARS)
        if name in calibration.overhead.errors
        and spread[index] > UNDETERMINED * prior * PRIOR[name]
    ]


def warnings(calibration: Calibration, deployments: Sequence[Deployment]) -> Iterator[str]:
    """Yield what is doubtful about a calibration, each with what to do."""
    if len(deployments) < GOOD_POINTS:
        yield (
            f"{len(deployments)} points determine few scalars; {GOOD_POINTS} or more at different "
            "concurrencies and lengths determine most"
        )
    for name in at_bounds(calibration.overhead):
        low, high = BOUNDS[name]
        yield (
            f"{name} stands at the edge of {low:g} to {high:g}: something else is off; check "
            "layout, number formats and lengths, or fit curves of the kernels first"
        )
    for name in undetermined(calibration):
        yield (
            f"{name} is not determined by these measurements and stays near its start: "
            f"{MEANINGS.get(name, name)}; {_REMEDIES.get(name, 'measure at more loads')}"
        )
    yield from _outliers(calibration, deployments)


_REMEDIES: Final[Mapping[str, str]] = {
    "step_s": "measure at concurrency 1",
    "sequence_s": "measure at concurrencies above 64",
    "request_s": "measure the TTFT of short prompts at concurrency 1",
    "late_steps": "measure the TTFT at low and high concurrency",
    "compute_rate": "measure long prompts",
    "experts_rate": "only models with experts determine it",
    "bandwidth_rate": "measure the TPOT at low concurrency",
    "link_rate": "only replicas of several devices determine it",
}


def _outliers(calibration: Calibration, deployments: Sequence[Deployment]) -> Iterator[str]:
    for metric, errors in calibration.residuals.items():
        for position, error in enumerate(errors):
            limit = _FAR * TOLERANCE[metric]
            if math.isfinite(error) and abs(error) > limit:
                deployment = deployments[position]
                reason = reason_to_look(deployment, replay(deployment, calibration.overhead))
                yield (
                    f"{deployment.point.id}: {metric} is replayed {math.expm1(error):+.0%} off, "
                    f"more than 3 sigma ({math.expm1(limit):.0%}): {reason}"
                )


def reason_to_look(deployment: Deployment, replayed: Replayed) -> str:
    """Return what to check first about a point that does not fit."""
    point = deployment.point
    clients = point.protocol.concurrency if isinstance(point.protocol, ClosedLoop) else 0
    reasons = (
        (bool(point.flags), f"flagged: {', '.join(point.flags)}"),
        (
            not replayed.complete,
            "not every request could be served in the replay; check the memory fraction",
        ),
        (
            replayed.preemptions > 0,
            f"KV blocks run out in the replay ({replayed.preemptions:,} preemptions); state "
            "--kv-blocks as the engine's log has it",
        ),
        (
            clients > deployment.maximum_sequences * point.replicas,
            "more clients than sequences in a step; is --maximum-sequences right?",
        ),
        (
            point.prompt.maximum_tokens > deployment.token_budget,
            "prompts are prefilled in chunks; is --token-budget right?",
        ),
        (bool(point.assumptions), f"was assumed: {'; '.join(point.assumptions[:1])}"),
    )
    usual = "repeat this measurement, and check lengths and settings against the engine's log"
    return next((text for applies, text in reasons if applies), usual)
