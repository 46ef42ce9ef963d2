"""Scores on points that the overhead was not fitted to.

Three protocols, each with real replays of the points that are scored:

- unseen: a group (model × chip × engine) is predicted with overheads fitted to other groups;
- calibrated: with overheads fitted to a quarter of the group's own points, the rest is scored;
- one model: chips that are not NVIDIA's, where throughput of static batches is all there is: fitted
  to one model per chip and engine, scored on the others; each model in turn.

The shipped overheads take no part: they were fitted to some of the very points. The prior of a fit
is the untouched `EngineOverhead(engine)`, or the fit without the group that a quarter refines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from planner.calibration.linear import (
    Array,
    Centre,
    Linear,
    descend,
    group_weights,
    linearise,
    solve,
    with_logs,
)
from planner.catalog import Catalog
from planner.curves.engines import EngineOverhead
from planner.measurements import ClosedLoop, Flood, Point, Poisson, StaticBatch
from planner.validation.deployment import Deployment
from planner.validation.record import HoldOut
from planner.validation.runs import replay_one, with_output_rate
from planner.validation.score import Score, aside_of
from planner.validation.split import by_group, share, subsample

CHIP_SCALE: Final = 0.3
"""The chip's own overhead stays near that of all chips: share of the first prior's width."""
QUARTER: Final = 0.25
QUARTER_SCALE: Final = 0.5
"""A group's own overhead stays near that of the others."""
_FEWEST_TO_SCORE: Final = 2
_FEWEST_TO_FIT: Final = 6
"""Groups of fewer points are scored, but no overhead is fitted to them: most of them were typed
off a slide, and one point says nothing about what it has in common with others."""
_OPEN_SCALE: Final = 5.0
"""Width of the prior where an engine on a chip is fitted to its own measurements and no others."""
_ONE_MODEL: Final = 40
"""Points of the one model that are fitted at most."""

Progress = Callable[[float, float], None]


@dataclass
class Counter:
    """Turns replays that were done into progress."""

    total: float
    progress: Progress | None
    done: float = 0.0

    def __call__(self, count: int) -> None:
        """Add `count` replays."""
        self.done += count
        if self.progress is not None:
            self.progress(self.done, self.total)


@dataclass(frozen=True)
class EngineFit:
    """The fit of one engine to all of its groups."""

    host: EngineOverhead
    deployments: tuple[Deployment, ...]
    """Those fitted."""
    groups: Mapping[str, list[int]]
    first: Linear
    """At the prior."""
    linear: Linear
    """At the solution."""
    centre: Centre
    weights: Array
    """Of the loss of each point."""


def hold_out(
    deployments: Sequence[Deployment], catalog: Catalog, *, progress: Progress | None = None
) -> HoldOut:
    """Score points by overheads that know nothing of them; see the module.

    Args:
        deployments: of all points.
        catalog: tells whose chips are whose.
        progress: told how far it is.
    """
    counter = Counter(_expected(deployments), progress)
    training = [each for each in deployments if is_trained_on(each.point)]
    engines = {
        name: fit_engine(name, [training[at] for at in positions], counter)
        for name, positions in by_group(training, lambda each: engine_of(each.point)).items()
    }
    unseen: list[Score] = []
    calibrated: list[Score] = []
    overheads: dict[str, EngineOverhead] = {}
    groups = by_group(deployments, lambda each: each.point.group)
    for group, positions in groups.items():
        members = [deployments[at] for at in positions]
        engine = engines.get(engine_of(members[0].point)) or engines.get("vllm")
        if engine is None:
            continue
        host = _without(engine, group, members[0].point, counter)
        overheads[group] = host
        unseen += _scores(members, host, f"fitted without {group}", counter)
        own = [each for each in members if is_trained_on(each.point)]
        calibrated += _calibrated(own, host, counter)
    one_model = _one_model(deployments, catalog, counter)
    return HoldOut(
        tuple(unseen), tuple(calibrated), tuple(one_model), overheads, _notes(groups, engines)
    )


def is_trained_on(point: Point) -> bool:
    """Tell whether a point is one that overheads are fitted to: latencies of a closed loop."""
    known = {"ttft_mean_s", "tpot_mean_s"} <= set(point.metrics)
    whole = point.disaggregated is None and isinstance(point.protocol, ClosedLoop)
    return known and whole and not aside_of(point)


def engine_of(point: Point) -> str:
    """Return the name under which the overhead of a point's engine is filed."""
    return "generic" if point.engine == "other" else point.engine


def _expected(deployments: Sequence[Deployment]) -> float:
    trained = sum(is_trained_on(each.point) for each in deployments)
    return 2.0 * len(deployments) + 110.0 * trained


def _notes(groups: Mapping[str, object], engines: Mapping[str, EngineFit]) -> tuple[str, ...]:
    found = [
        f"{name}: fitted to {len(engine.deployments)} points of {len(engine.groups)} groups"
        for name, engine in engines.items()
    ]
    if not engines:
        found.append("no closed loop with both latencies: nothing to fit overheads to")
    return tuple(found)


# --- a group unseen -------------------------------------------------------------------------------


def fit_engine(name: str, members: Sequence[Deployment], counter: Counter) -> EngineFit:
    """Fit an engine to a few points of each of its groups."""
    chosen: list[Deployment] = []
    for positions in by_group(members, lambda each: each.point.group).values():
        if len(positions) < _FEWEST_TO_FIT:
            continue
        kept = subsample(positions, lambda at: members[at].point.id)
        chosen += [members[at] for at in kept]
    host = EngineOverhead(name)
    centre = Centre.around(host)
    groups = by_group(chosen, lambda each: each.point.group)
    weights = group_weights(groups.values(), len(chosen))
    first = linearise(chosen, host, centre.logs, weights, counter)
    start = solve(first, centre)
    linear = descend(
        chosen, host, centre, weights=weights, start=start, rounds=3, on_replays=counter
    )
    return EngineFit(host, tuple(chosen), groups, first, linear, centre, weights)


def _without(engine: EngineFit, group: str, point: Point, counter: Counter) -> EngineOverhead:
    """Return the overhead for a group, fitted to the others: over all chips, then on its chip.

    The first step of every fit starts at the prior, where the derivatives of each point are its
    own affair: they are taken once for all groups. From there on only the others are replayed.
    """
    left_out = set(engine.groups.get(group, ()))
    others = [at for at in range(len(engine.deployments)) if at not in left_out]
    used = [engine.deployments[at] for at in others]
    linear = engine.linear
    if left_out and not others:
        return replace(engine.host, source="no other group to fit to")
    if left_out:
        guess = solve(engine.first, engine.centre, engine.first.rows(others))
        linear = descend(
            used,
            engine.host,
            engine.centre,
            weights=engine.weights[others],
            start=guess,
            rounds=3,
            on_replays=counter,
        )
    same_chip = [at for at, each in enumerate(used) if each.point.chip == point.chip]
    logs = linear.logs
    if same_chip:
        near = Centre(logs, engine.centre.spread * CHIP_SCALE)
        logs = solve(linear, near, linear.rows(same_chip))
    host = with_logs(engine.host, logs)
    return replace(host, points=len(others), source=f"fitted without {group}", tier="fitted")


def _scores(
    members: Iterable[Deployment], host: EngineOverhead, name: str, counter: Counter
) -> list[Score]:
    found = []
    for member in members:
        counter(1)
        scored = replay_one(member, host, name)
        if scored is not None:
            found.append(scored)
    return found


# --- a quarter of the group -----------------------------------------------------------------------


def _calibrated(
    members: Sequence[Deployment], host: EngineOverhead, counter: Counter
) -> list[Score]:
    """Fit to a quarter of a group's points and score the rest."""
    fitted, rest = share(
        range(len(members)),
        lambda at: members[at].point.id,
        lambda at: load_of(members[at].point),
        QUARTER,
    )
    if not fitted or len(rest) < _FEWEST_TO_SCORE:
        return []
    own = [members[at] for at in fitted]
    linear = descend(own, host, Centre.around(host, QUARTER_SCALE), rounds=3, on_replays=counter)
    refined = with_logs(host, linear.logs)
    name = f"fitted to {len(fitted)} points of the group"
    return _scores([members[at] for at in rest], refined, name, counter)


def load_of(point: Point) -> tuple[float, ...]:
    """Return what orders the points of a group: devices, load, and lengths."""
    protocol = point.protocol
    match protocol:
        case ClosedLoop():
            size = float(protocol.concurrency)
        case StaticBatch():
            size = float(protocol.batch)
        case Poisson():
            size = protocol.rate_rps
        case Flood():
            size = float(protocol.requests)
        case _:
            size = 0.0
    devices = float(point.parallelism.devices)
    return (size / devices, devices, point.prompt.mean_tokens, point.output.mean_tokens)


# --- chips of other vendors -----------------------------------------------------------------------


def _one_model(
    deployments: Sequence[Deployment], catalog: Catalog, counter: Counter
) -> list[Score]:
    """Fit static batches of one model on each chip and engine, and score the others; in turn."""
    static = [
        with_output_rate(each)
        for each in deployments
        if isinstance(each.point.protocol, StaticBatch)
        and "total_tps" in each.point.metrics
        and catalog.chip(each.point.chip).vendor != "NVIDIA"
        and not aside_of(each.point)
    ]
    found: list[Score] = []
    kinds = by_group(static, lambda each: f"{each.point.chip} {_name(each.point)}")
    for positions in kinds.values():
        found += _others([static[at] for at in positions], counter)
    return found


def _others(members: Sequence[Deployment], counter: Counter) -> list[Score]:
    """Fit one chip and engine to each of its models in turn, and score the other models."""
    models = by_group(members, lambda each: each.point.model)
    host = EngineOverhead(engine_of(members[0].point))
    # Nothing else is known of these chips, so the measurements alone decide.
    centre = Centre.around(host, _OPEN_SCALE)
    found: list[Score] = []
    for model, positions in models.items():
        others = [each for each in members if each.point.model != model]
        if not others or len(positions) < _FEWEST_TO_FIT:
            continue
        chosen = subsample(positions, lambda at: members[at].point.id, _ONE_MODEL)
        own = [members[at] for at in chosen]
        refined = with_logs(host, descend(own, host, centre, rounds=12, on_replays=counter).logs)
        found += _scores(others, refined, f"fitted to {model} on {others[0].point.chip}", counter)
    return found


def _name(point: Point) -> str:
    return point.engine_version if point.engine == "other" else point.engine
