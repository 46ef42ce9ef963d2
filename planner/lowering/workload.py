"""Where the requests of a scenario come from: synthetic streams and traces, as rows of the kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planner.kernel import dtypes
from planner.kernel.dtypes import NONE
from planner.kernel.plan import ClosedStream
from planner.scenario import LoadedScenario
from planner.scenario.schema import Lengths, RequestClass, TraceInput, Workload
from planner.trace import (
    Arrivals,
    ClassWorkload,
    LengthDistribution,
    closed_rows,
    open_trace,
    synthesize,
)
from planner.trace.library import load_shape

Records = NDArray[np.void]

BLOCK_ROWS: Final = 1 << 17
UNCOUNTED_VISITORS: Final = 1 << 20
"""Token buckets of a class whose trace names its visitors but whose scenario does not count them."""
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HASH_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
"""2⁶⁴ divided by the golden ratio: Knuth's multiplicative hash (TAOCP vol. 3, 6.4)."""


def seconds_of_day(time_of_day: str) -> float:
    """Return a time of day in seconds.

    >>> seconds_of_day("19:30")
    70200.0
    """
    hours, minutes = time_of_day.split(":")
    return 3600.0 * int(hours) + 60.0 * int(minutes)


def start_s_of_week(workload: Workload) -> float:
    """Return the time of the week at which the workload starts, in seconds from Monday 00:00."""
    return WEEKDAYS.index(workload.weekday) * 86400.0 + seconds_of_day(workload.start)


def distribution(lengths: Lengths) -> LengthDistribution:
    """Return the distribution that a scenario describes."""
    if lengths.preset is not None:
        shape = LengthDistribution.from_preset(lengths.preset)
    elif lengths.fixed is not None:
        shape = LengthDistribution.fixed(lengths.fixed)
    elif lengths.uniform is not None:
        shape = LengthDistribution.uniform(*lengths.uniform)
    elif lengths.quantiles is not None:
        shape = LengthDistribution.from_quantiles(
            {float(name[1:]) / 100.0: tokens for name, tokens in lengths.quantiles.items()}
        )
    else:
        parts = lengths.lognormal_mixture or []
        shape = LengthDistribution.from_lognormal_mixture(
            [(part.weight, part.median, part.sigma) for part in parts]
        )
    minimum = lengths.minimum if lengths.fixed is None else min(lengths.minimum, lengths.fixed)
    return shape.within(minimum, lengths.maximum)


def _hourly(shape: str | list[float] | None) -> tuple[float, ...] | None:
    if isinstance(shape, str):
        return load_shape(shape).hourly
    return None if shape is None else tuple(shape)


def class_workload(
    index: int, klass: RequestClass, workload: Workload, maximum_context_tokens: int | None
) -> ClassWorkload:
    """Return the synthetic workload of a class that has one."""
    assert klass.input is not None
    assert klass.output is not None
    arrivals = None
    if klass.open is not None:
        arrivals = Arrivals(
            rate_rps=klass.open.rate,
            shape=_hourly(klass.open.shape),
            start_s_of_week=start_s_of_week(workload),
            burstiness=klass.open.burstiness.kind,
            cv=klass.open.burstiness.cv,
        )
    sessions = klass.sessions
    return ClassWorkload(
        class_index=index,
        input=distribution(klass.input),
        output=distribution(klass.output),
        arrivals=arrivals,
        reasoning=None if klass.reasoning is None else distribution(klass.reasoning),
        turns=None if sessions is None else distribution(sessions.turns),
        think_median_s=0.0 if sessions is None else sessions.think_median,
        think_sigma=1.0 if sessions is None else sessions.think_sigma,
        visitors=klass.visitors,
        maximum_context_tokens=maximum_context_tokens,
        pause_s=0.0 if klass.closed is None else klass.closed.think,
    )


def class_workloads(
    workload: Workload, contexts: Sequence[int | None] | None = None
) -> list[ClassWorkload]:
    """Return the open-loop synthetic workloads of a scenario.

    Args:
        workload: of the scenario.
        contexts: per class, the longest prompt and output that its pools serve.
    """
    limits = contexts or [None] * len(workload.classes)
    return [
        class_workload(index, klass, workload, limits[index])
        for index, klass in enumerate(workload.classes)
        if klass.open is not None
    ]


# --- rows ----------------------------------------------------------------------------------------


def arrival_rows(rows: Records, first_row: int, offsets: NDArray[np.int64]) -> Records:
    """Turn rows of the trace table into rows of the kernel.

    Args:
        rows: `TRACE_ROW`, their classes known.
        first_row: number of the first.
        offsets: where the visitors of each class begin in the kernel's `visitors`; NONE: not limited.
    """
    block = np.zeros(len(rows), dtypes.ARRIVAL)
    for name in ("arrival_s", "input_tokens", "output_tokens", "reasoning_tokens", "class", "turn"):
        block[name] = rows[name]
    # Later turns are the rows without an arrival time; elsewhere the pause has no meaning.
    block["think_s"] = np.nan_to_num(rows["think_s"])
    block["session"] = rows["session_id"]
    block["row"] = np.arange(first_row, first_row + len(rows))
    limited = (rows["visitor_id"] >= 0) & (offsets[rows["class"]] != NONE)
    block["visitor"] = np.where(limited, offsets[rows["class"]] + rows["visitor_id"], NONE)
    return block


def shared_classes(rows: Records, workload: Workload, seed: int) -> NDArray[np.int64]:
    """Return the class of every row of the shared trace; NONE: no class takes it.

    A row whose class the trace names keeps it. The others are dealt out by `share`, by a hash of the session (of the
    row's own number where it has none), so that a session stays together and no random stream is used.
    """
    classes = rows["class"].astype(np.int64)
    shares = np.array([klass.share or 0.0 for klass in workload.classes])
    if not shares.any():
        return classes
    chain = np.cumsum(np.isnan(rows["think_s"]))
    mixed = np.where(rows["session_id"] >= 0, rows["session_id"], -chain - 1)
    keys = (mixed.astype(np.uint64) + np.uint64(seed)) * HASH_MULTIPLIER
    position = (keys >> np.uint64(11)).astype(np.float64) / 2.0**53
    dealt = np.searchsorted(np.cumsum(shares), position, side="right")
    dealt = np.where(dealt < len(shares), dealt, NONE)
    return np.where(classes >= 0, classes, dealt)


class Traffic:
    """The streams of one scenario.

    Args:
        loaded: the scenario, with the places of its trace files.
        contexts: per class, the longest prompt and output that its pools serve.
    """

    def __init__(self, loaded: LoadedScenario, contexts: Sequence[int | None]) -> None:
        self._loaded = loaded
        self._workload = loaded.scenario.workload
        self._contexts = contexts
        seed = np.random.SeedSequence(loaded.scenario.seed)
        # Named streams, spawned in a fixed order: what changes one leaves the others alone.
        self.kernel_seed, self._open_seed, self._closed_seed, self._trace_seed = seed.spawn(4)
        self._offsets, self.visitors = self._lay_out_visitors()

    def _lay_out_visitors(self) -> tuple[NDArray[np.int64], int]:
        offsets = np.full(len(self._workload.classes), NONE, np.int64)
        count = 0
        for index, klass in enumerate(self._workload.classes):
            if klass.rate_limit is not None:
                offsets[index] = count
                count += klass.visitors or UNCOUNTED_VISITORS
        return offsets, count

    def open_blocks(self) -> Iterator[Records]:
        """Yield the kernel's open-loop rows, merged over all sources, up to the end of the arrivals."""
        sources = list(self._trace_sources())
        synthetic = class_workloads(self._workload, self._contexts)
        if synthetic:
            sources.append(
                synthesize(synthetic, self._workload.duration, self._open_seed, BLOCK_ROWS)
            )
        first_row = 0
        for rows in _merged(sources):
            kept = _until(rows, self._workload.duration)
            if len(kept):
                yield arrival_rows(kept, first_row, self._offsets)
            first_row += len(kept)
            if len(kept) < len(rows):
                return

    def closed_streams(self) -> tuple[ClosedStream, ...]:
        """Return the closed-loop streams."""
        return tuple(
            ClosedStream(klass.closed.clients, self._closed_blocks(index, klass))
            for index, klass in enumerate(self._workload.classes)
            if klass.closed is not None
        )

    def _closed_blocks(self, index: int, klass: RequestClass) -> Iterator[Records]:
        assert klass.closed is not None
        source = class_workload(index, klass, self._workload, self._contexts[index])
        seed = self._closed_seed.spawn(1)[0]
        first_row = 0
        for rows in closed_rows(source, klass.closed.requests, seed):
            yield arrival_rows(rows, first_row, self._offsets)
            first_row += len(rows)

    def _trace_sources(self) -> Iterator[Iterator[Records]]:
        names = [klass.name for klass in self._workload.classes]
        if self._workload.trace is not None:
            path = self._loaded.file_path(("workload", "trace", "file"))
            yield self._shared_rows(path, self._workload.trace, names)
        for index, klass in enumerate(self._workload.classes):
            if klass.trace is not None:
                path = self._loaded.file_path(("workload", "classes", index, "trace", "file"))
                yield self._own_rows(path, klass.trace, index)

    def _seed_of(self, number: int) -> int:
        """Return the seed of a trace's jitter; it depends on the place of the trace alone."""
        return int(self._trace_seed.generate_state(number + 2)[number + 1])

    def _shared_rows(
        self, path: Path, trace: TraceInput, names: Sequence[str]
    ) -> Iterator[Records]:
        draws = self._length_draws(0)
        for rows in _read(path, trace, self._seed_of(0), names):
            rows["class"] = shared_classes(rows, self._workload, self._loaded.scenario.seed)
            yield self._completed(rows[_whole_chains(rows["class"] >= 0, rows)], draws)

    def _own_rows(self, path: Path, trace: TraceInput, index: int) -> Iterator[Records]:
        draws = self._length_draws(index + 1)
        for rows in _read(path, trace, self._seed_of(index + 1), ()):
            rows["class"] = index
            yield self._completed(rows, draws)

    def _length_draws(self, number: int) -> list[np.random.Generator]:
        """Return one generator per class for lengths that the scenario states instead of the trace."""
        count = len(self._workload.classes)
        return [np.random.default_rng([self._seed_of(number), index]) for index in range(count)]

    def _completed(self, rows: Records, draws: list[np.random.Generator]) -> Records:
        """Overwrite what a class states itself: lengths, and the number of its visitors."""
        for index, klass in enumerate(self._workload.classes):
            mine = np.flatnonzero(rows["class"] == index)
            if klass.input is not None:
                lengths = distribution(klass.input).sample(draws[index], len(mine))
                rows["input_tokens"][mine] = lengths
            if klass.output is not None:
                lengths = distribution(klass.output).sample(draws[index], len(mine))
                rows["output_tokens"][mine] = lengths
                reasoning = np.minimum(rows["reasoning_tokens"][mine], lengths)
                rows["reasoning_tokens"][mine] = reasoning
            if klass.reasoning is not None:
                lengths = distribution(klass.reasoning).sample(draws[index], len(mine))
                rows["reasoning_tokens"][mine] = lengths
                rows["output_tokens"][mine] += lengths
            if klass.rate_limit is not None:
                named = mine[rows["visitor_id"][mine] >= 0]
                rows["visitor_id"][named] %= klass.visitors or UNCOUNTED_VISITORS
        return rows


def _read(path: Path, trace: TraceInput, seed: int, names: Sequence[str]) -> Iterator[Records]:
    source = open_trace(
        os.fspath(path),
        trace.format,
        time_jitter_s=trace.time_jitter,
        rate_scale=trace.rate_scale,
        seed=seed,
        block_rows=BLOCK_ROWS,
        class_names=names,
    )
    for block in source:
        yield block.rows.copy()


def _whole_chains(keep: NDArray[np.bool_], rows: Records) -> NDArray[np.bool_]:
    """Let later turns follow the fate of their session's first row."""
    starts = np.flatnonzero(np.isnan(rows["think_s"]))
    chain = np.cumsum(np.isnan(rows["think_s"])) - 1
    return np.asarray(keep[starts][chain]) if len(starts) else keep


def _until(rows: Records, end_s: float) -> Records:
    """Return the rows that arrive before `end_s`, with their later turns."""
    heads = np.isnan(rows["think_s"])
    late = heads & (rows["arrival_s"] > end_s)
    return rows[: int(np.argmax(late))] if late.any() else rows


def _merged(sources: list[Iterator[Records]]) -> Iterator[Records]:
    """Merge sorted sources into one, block by block."""
    if len(sources) == 1:
        yield from sources[0]
        return
    blocks: list[Records] = []
    feeds: list[Iterator[Records]] = []
    for source in sources:
        first = next(source, None)
        if first is not None and len(first):
            blocks.append(first)
            feeds.append(source)
    while blocks:
        # Up to the earliest last arrival, every source is known completely.
        horizons = [float(np.nanmax(block["arrival_s"])) for block in blocks]
        horizon_s = min(horizons)
        taken, left = [], []
        for block in blocks:
            cut = len(_until(block, horizon_s))
            taken.append(block[:cut])
            left.append(block[cut:])
        yield _interleaved(taken)
        blocks, feeds = _refilled(left, feeds)


def _refilled(
    blocks: list[Records], feeds: list[Iterator[Records]]
) -> tuple[list[Records], list[Iterator[Records]]]:
    """Fetch the next block of every source whose block is used up; drop those that have ended."""
    kept_blocks, kept_feeds = [], []
    for block, feed in zip(blocks, feeds, strict=True):
        following: Records | None = block
        while following is not None and not len(following):
            following = next(feed, None)
        if following is not None:
            kept_blocks.append(following)
            kept_feeds.append(feed)
    return kept_blocks, kept_feeds


def _interleaved(parts: list[Records]) -> Records:
    """Join blocks in order of arrival, each chain of turns in one piece; ties keep the given order."""
    rows = np.concatenate(parts)
    heads = np.isnan(rows["think_s"])
    chain = np.cumsum(heads) - 1
    arrivals = rows["arrival_s"][heads]
    rank = np.empty(len(arrivals), np.int64)
    rank[np.argsort(arrivals, kind="stable")] = np.arange(len(arrivals))
    return rows[np.argsort(rank[chain], kind="stable")]
