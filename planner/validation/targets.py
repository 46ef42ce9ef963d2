"""The accuracy that planner sets out to reach, beside the accuracy found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from planner.measurements import Flood, Poisson
from planner.validation.record import HoldOut, Target
from planner.validation.score import THROUGHPUT, Score, errors_of, headline
from planner.validation.serving import Capacity, Regime
from planner.validation.wording import words

LATENCY_SETS: Final = ("inferencex", "nvidia-silicon")
_NEEDS: Final = "needs --hold-out"
_ABSENT: Final = "not in the data"


def targets(
    scores: Sequence[Score],
    held: HoldOut | None,
    regimes: Sequence[Regime],
    capacities: Sequence[Capacity],
    curve_errors: Sequence[float],
) -> tuple[Target, ...]:
    """Return every target with what was found.

    Args:
        scores: replays with the overheads in use.
        held: scores on groups unseen, which count where they are there.
        regimes: of open loops.
        capacities: of Poisson streams with objectives.
        curve_errors: mean errors of the operator curves on shapes left out.
    """
    unseen = headline(scores if held is None else held.unseen)
    found = [*_latencies(held), *_split(scores)]
    found += _mlperf([each for each in unseen if each.point.source == "mlperf"], capacities)
    found += _profiles([each for each in unseen if each.point.source == "vllm-requests"])
    found += [_overload(regimes), _curves(curve_errors), _other_chips(held)]
    return tuple(found)


def _latencies(held: HoldOut | None) -> list[Target]:
    rows: list[Target] = []
    for name, attribute, limits in (
        (
            "closed loops, group unseen",
            "unseen",
            (("tpot_mean_s", 0.08), ("ttft_mean_s", 0.18), (THROUGHPUT, 0.08)),
        ),
        (
            "closed loops, calibrated on a quarter of the group",
            "calibrated",
            (("tpot_mean_s", 0.05), ("ttft_mean_s", 0.08)),
        ),
    ):
        for metric, reach in limits:
            if held is None:
                rows.append(Target(name, words(metric), reach, None, 0, _NEEDS))
                continue
            used = [s for s in headline(getattr(held, attribute)) if s.point.source in LATENCY_SETS]
            rows.append(_median(name, used, metric, reach))
    return rows


def _split(scores: Iterable[Score]) -> list[Target]:
    used = [score for score in scores if score.point.disaggregated is not None]
    name = "prefill and decode apart"
    if not used:
        text = "not replayed yet"
        return [Target(name, words(m), 0.15, None, 0, text) for m in ("tpot_mean_s", THROUGHPUT)]
    return [_median(name, used, metric, 0.15) for metric in ("tpot_mean_s", THROUGHPUT)]


def _mlperf(scores: Sequence[Score], capacities: Sequence[Capacity]) -> list[Target]:
    offline = [score for score in scores if isinstance(score.point.protocol, Flood)]
    server = [score for score in scores if isinstance(score.point.protocol, Poisson)]
    rows = [_median("MLPerf Offline", offline, THROUGHPUT, 0.12, "tokens/s per chip")]
    errors = [abs(each.error) for each in capacities if each.point.source == "mlperf"]
    rows.append(
        _judged("MLPerf Server", "most tokens/s within the objectives", 0.12, _middle(errors),
                len(errors))
    )  # fmt: skip
    limits = (
        *(("ttft_p50_s", 0.25), ("ttft_p99_s", 0.30)),
        *(("tpot_p50_s", 0.10), ("tpot_p99_s", 0.12)),
    )
    return rows + [_median("MLPerf Server, at its rate", server, m, reach) for m, reach in limits]


def _profiles(scores: Sequence[Score]) -> list[Target]:
    limits = (
        *(("tpot_mean_s", 0.02), ("e2e_mean_s", 0.02)),
        *(("ttft_mean_s", 0.05), ("ttft_p99_s", 0.05)),
    )
    return [_median("recorded arrivals, profiled machines", scores, m, reach)
            for m, reach in limits]  # fmt: skip


def _overload(regimes: Sequence[Regime]) -> Target:
    over = [each for each in regimes if each.overloaded]
    wrong = sum(not each.right for each in over)
    share = wrong / len(over) if over else None
    return _judged("overload", "rows with the wrong regime", 0.0, share, len(over))


def _curves(errors: Sequence[float]) -> Target:
    return _judged(
        "operator curves", "error on shapes left out, median curve", 0.06, _middle(errors),
        len(errors),
    )  # fmt: skip


def _other_chips(held: HoldOut | None) -> Target:
    name = "static batches, chips not NVIDIA's, calibrated on one model"
    if held is None:
        return Target(name, words(THROUGHPUT), 0.2, None, 0, _NEEDS)
    return _median(name, held.one_model, THROUGHPUT, 0.20)


def _median(
    name: str, scores: Sequence[Score], metric: str, reach: float, measure: str = ""
) -> Target:
    found = errors_of(scores, metric)
    value = None if found is None else found.median
    points = 0 if found is None else found.points
    return _judged(name, measure or words(metric), reach, value, points)


def _judged(name: str, measure: str, reach: float, found: float | None, points: int) -> Target:
    if found is None:
        return Target(name, measure, reach, None, points, _ABSENT)
    return Target(name, measure, reach, found, points, "reached" if found <= reach else "short")


def _middle(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if len(values) else None
