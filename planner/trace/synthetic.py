"""Synthetic requests: streamed, reproducible, and independent of how they are cut into blocks.

Arrivals of a class are a renewal process in operational time, where the mean gap is 1; the inverse
of the integrated rate maps them to seconds (Cinlar's time change), so that the rate follows the
shape exactly and the gaps keep their CV at any moment. The first gap has the equilibrium
distribution, otherwise a bursty class would start with (CV² − 1)/2 requests too many.

Every class and every purpose (arrivals, input, output, …) has a random stream of its own, named by
the class index: changing one class, or one of its distributions, leaves all else as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planner.trace.table import Rows, Words, new_rows, rows_as_words, words_as_rows
from planner.trace.workload import Arrivals, Burstiness, ClassWorkload
from planner.units import HOUR_S

BLOCK_ROWS: Final = 1 << 16
_CHUNK: Final = 1 << 14
"""Rows drawn at a time: they stay in the processor's cache. Fixed, so that no result depends on
it."""
_SESSIONS_PER_CLASS: Final = 1 << 40
"""Session ids of class c start at c times this."""
_REGULAR_CV: Final = 1e-4
"""Gaps with a smaller CV are as good as equal."""
_MAXIMUM_TURNS: Final = 10_000
_Floats = NDArray[np.float64]


class _Stream(IntEnum):
    """What a random stream of a class is for; the numbers are part of every result."""

    ARRIVALS = 0
    INPUT = 1
    OUTPUT = 2
    REASONING = 3
    TURNS = 4
    THINK = 5
    VISITORS = 6
    FOLLOW_UP = 7


def synthesize(
    workloads: Sequence[ClassWorkload],
    duration_s: float,
    seed_sequence: np.random.SeedSequence,
    block_rows: int = BLOCK_ROWS,
) -> Iterator[Rows]:
    """Yield the requests of all open-loop classes, merged by arrival.

    Equal arrivals are in order of `workloads`. Classes without `arrivals` yield nothing.

    Args:
        workloads: the classes; their class indices are distinct.
        duration_s: sessions and requests start before this; later turns may follow after it.
        seed_sequence: root of the random streams; it is not advanced.
        block_rows: rows per block. A session is never split, so a block may exceed this by one
            session.

    Returns:
        arrays of `TRACE_ROW`, with memory bounded by the block and 16,384 rows per class.
    """
    feeds = [
        _Feed(_class_chunks(workload, duration_s, seed_sequence))
        for workload in workloads
        if workload.arrivals is not None
    ]
    return _reblock(_merge(feeds), block_rows)


def closed_rows(
    workload: ClassWorkload,
    count: int | None,
    seed_sequence: np.random.SeedSequence,
    block_rows: int = BLOCK_ROWS,
) -> Iterator[Rows]:
    """Yield closed-loop requests: `arrival_s` is NaN, `think_s` the pause before the request.

    Args:
        workload: its class; `arrivals` and `turns` are not used.
        count: how many requests; None: without end.
        seed_sequence: root of the random streams; it is not advanced.
        block_rows: rows per block.
    """
    draw = _Draws(workload, seed_sequence)

    def chunks() -> Iterator[Words]:
        left = math.inf if count is None else count
        while left > 0:
            rows = draw.requests(np.full(int(min(left, _CHUNK)), np.nan))
            rows["think_s"] = workload.pause_s
            left -= len(rows)
            yield rows_as_words(rows)

    return _reblock(chunks(), block_rows, chained=False)


def renewal_times(
    rng: np.random.Generator,
    burstiness: Burstiness,
    cv: float,
    end: float,
    chunk_gaps: int = _CHUNK,
) -> Iterator[_Floats]:
    """Yield the points of an equilibrium renewal process of rate 1 on [0, end), in rising order.

    Args:
        rng: consumed in steps of `chunk_gaps` gaps.
        burstiness: family of the gaps.
        cv: their coefficient of variation; the mean is 1.
        end: length in operational time: the expected number of points.
        chunk_gaps: gaps drawn at a time.
    """
    first_gap, gaps = gap_sampler(burstiness, max(cv, _REGULAR_CV))
    last = first_gap(rng)
    chunk = np.array([last])
    while last < end:
        yield chunk
        chunk = gaps(rng, chunk_gaps)
        chunk[0] += last
        np.cumsum(chunk, out=chunk)
        last = float(chunk[-1])
    yield chunk[: np.searchsorted(chunk, end)]


def gap_sampler(
    burstiness: Burstiness, cv: float
) -> tuple[Callable[[np.random.Generator], float], Callable[[np.random.Generator, int], _Floats]]:
    """Return samplers of the first gap (equilibrium) and of the following gaps, of mean 1.

    The equilibrium gap has density (1 − F(x)) / mean: a length-biased gap times a uniform number.
    Length-biased Gamma(k) is Gamma(k + 1); for Weibull, (X / scale)^k is Gamma(1 + 1/k).
    """
    if burstiness == "poisson":
        return _first_exponential, lambda rng, n: rng.standard_exponential(n)
    if burstiness == "gamma":
        shape = 1 / cv**2
        return (
            lambda rng: float(rng.random() * rng.standard_gamma(shape + 1) / shape),
            lambda rng, n: rng.standard_gamma(shape, n) / shape,
        )
    shape = weibull_shape(cv)
    scale = math.exp(-math.lgamma(1 + 1 / shape))
    return (
        lambda rng: float(rng.random() * scale * rng.standard_gamma(1 + 1 / shape) ** (1 / shape)),
        lambda rng, n: scale * rng.standard_exponential(n) ** (1 / shape),
    )


def _first_exponential(rng: np.random.Generator) -> float:
    return float(rng.standard_exponential())


def weibull_shape(cv: float) -> float:
    """Return the Weibull shape k whose CV is `cv`: 1 + cv² = Γ(1 + 2/k) / Γ(1 + 1/k)².

    >>> round(weibull_shape(1.0), 9)
    1.0
    """
    low, high = math.log(0.05), math.log(1e4)
    target = math.log1p(cv**2)
    for _ in range(100):
        middle = (low + high) / 2
        k = math.exp(middle)
        excess = math.lgamma(1 + 2 / k) - 2 * math.lgamma(1 + 1 / k) - target
        low, high = (middle, high) if excess > 0 else (low, middle)
    return math.exp((low + high) / 2)


def operational_clock(arrivals: Arrivals, duration_s: float) -> tuple[_Floats, _Floats]:
    """Return the knots of the integrated rate.

    Returns:
        instants in seconds, from 0 to `duration_s`, and the expected number of arrivals before
        each.
    """
    if arrivals.shape is None:
        edges = np.array([0.0, duration_s])
        rates = np.array([arrivals.rate_rps])
    else:
        shape = np.array(arrivals.shape) / np.mean(arrivals.shape)
        first_hour = math.floor(arrivals.start_s_of_week / HOUR_S)
        last_hour = math.ceil((arrivals.start_s_of_week + duration_s) / HOUR_S)
        hours = np.arange(first_hour, max(last_hour, first_hour + 1))
        edges = np.append(hours, hours[-1] + 1) * HOUR_S - arrivals.start_s_of_week
        edges = np.clip(edges, 0.0, duration_s)
        rates = arrivals.rate_rps * shape[hours % len(shape)]
    return edges, np.concatenate(([0.0], np.cumsum(rates * np.diff(edges))))


class _Draws:
    """The random streams of one class, and rows drawn from them."""

    def __init__(self, workload: ClassWorkload, seed_sequence: np.random.SeedSequence) -> None:
        self.workload = workload
        self._rngs = [
            np.random.Generator(
                np.random.PCG64(
                    np.random.SeedSequence(
                        seed_sequence.entropy,
                        spawn_key=(*seed_sequence.spawn_key, workload.class_index, stream),
                    )
                )
            )
            for stream in _Stream
        ]
        self._sessions = 0

    def rng(self, stream: _Stream) -> np.random.Generator:
        return self._rngs[stream]

    def requests(self, arrival_s: _Floats) -> Rows:
        """Return one single-turn request per arrival."""
        workload, count = self.workload, len(arrival_s)
        template = new_rows(1)
        template["class"] = workload.class_index
        rows = words_as_rows(rows_as_words(template).repeat(count, axis=0))
        rows["arrival_s"] = arrival_s
        rows["input_tokens"] = workload.input.sample(self.rng(_Stream.INPUT), count)
        self._draw_output(rows)
        if workload.visitors is not None:
            rows["visitor_id"] = self.rng(_Stream.VISITORS).integers(0, workload.visitors, count)
        return rows

    def sessions(self, start_s: _Floats, turns: NDArray[np.int64]) -> tuple[_Floats, Rows]:
        """Return the turns of sessions, and with each row the start of its session.

        A turn's prompt is the system prompt, everything said before (prompts and outputs, without
        reasoning unless the class keeps it) and its new tokens.
        """
        workload = self.workload
        owner = np.repeat(np.arange(len(turns)), turns)
        first = np.cumsum(turns) - turns
        rows = self.requests(start_s[owner])
        rows["turn"] = np.arange(len(owner)) - first[owner]
        rows["session_id"] = workload.class_index * _SESSIONS_PER_CLASS + self._sessions + owner
        self._sessions += len(turns)
        if workload.visitors is not None:
            rows["visitor_id"] = rows["visitor_id"][first[owner]]
        later = rows["turn"] > 0
        if workload.follow_up is not None:
            new = workload.follow_up.sample(self.rng(_Stream.FOLLOW_UP), int(later.sum()))
            rows["input_tokens"][later] = new
        kept = rows["output_tokens"].copy()
        if not workload.keeps_reasoning:
            kept -= rows["reasoning_tokens"]
        said = np.cumsum(rows["input_tokens"] + kept)
        before = said[first] - (rows["input_tokens"] + kept)[first]
        rows["input_tokens"] = workload.system_tokens + said - kept - before[owner]
        pause = self.rng(_Stream.THINK).standard_normal(len(rows))
        pause = workload.think_median_s * np.exp(workload.think_sigma * pause)
        rows["think_s"] = np.where(later, pause, np.nan)
        rows["arrival_s"] = np.where(later, np.nan, rows["arrival_s"])
        keys = start_s[owner]
        if workload.maximum_context_tokens is not None:
            if workload.compact_to is not None:
                _compact(rows, owner, first, workload.compact_to, workload.maximum_context_tokens)
            context = rows["input_tokens"] + rows["output_tokens"]
            over = np.cumsum((context > workload.maximum_context_tokens) & later)
            over -= over[first][owner]
            keys, rows = keys[over == 0], rows[over == 0]
        return keys, rows

    def _draw_output(self, rows: Rows) -> None:
        output = self.workload.output.sample(self.rng(_Stream.OUTPUT), len(rows))
        if self.workload.reasoning is not None:
            reasoning = self.workload.reasoning.sample(self.rng(_Stream.REASONING), len(rows))
            rows["reasoning_tokens"] = reasoning
            output = output + reasoning
        rows["output_tokens"] = output


def _compact(
    rows: Rows,
    owner: NDArray[np.int64],
    first: NDArray[np.int64],
    compact_to: int,
    maximum_context_tokens: int,
) -> None:
    """Shorten the prompts of sessions whose context is full; the turns after it grow from there.

    Args:
        rows: turns of sessions, in order.
        owner: number of the session of each.
        first: place of each session's first turn.
        compact_to: tokens that are left besides the first prompt.
        maximum_context_tokens: longest prompt and output. A turn that is longer even then is left
            as it is.
    """
    short = (rows["input_tokens"][first] + compact_to)[owner]
    fits = short + rows["output_tokens"] <= maximum_context_tokens
    stuck = np.zeros(len(first), bool)
    while True:
        full = rows["input_tokens"] + rows["output_tokens"] > maximum_context_tokens
        full &= (rows["turn"] > 0) & ~stuck[owner]
        sessions, places = np.unique(owner[full], return_index=True)
        if not len(sessions):
            return
        places = np.flatnonzero(full)[places]
        stuck[sessions[~fits[places]]] = True
        cut = np.zeros(len(rows), np.int64)
        cut[places] = np.where(fits[places], rows["input_tokens"][places] - short[places], 0)
        running = np.cumsum(cut)
        rows["input_tokens"] -= running - (running - cut)[first][owner]


def _class_chunks(
    workload: ClassWorkload, duration_s: float, seed_sequence: np.random.SeedSequence
) -> Iterator[tuple[_Floats, Words]]:
    """Yield (sort keys, rows) of one class: a session is sorted by its start."""
    arrivals = workload.arrivals
    assert arrivals is not None
    draws = _Draws(workload, seed_sequence)
    edges_s, expected = operational_clock(arrivals, duration_s)
    points = renewal_times(
        draws.rng(_Stream.ARRIVALS), arrivals.burstiness, arrivals.cv, float(expected[-1])
    )
    for chunk in points:
        start_s = np.interp(chunk, expected, edges_s)
        if workload.turns is None:
            yield start_s, rows_as_words(draws.requests(start_s))
            continue
        turns = workload.turns.sample(draws.rng(_Stream.TURNS), len(start_s))
        turns = np.clip(turns, 1, _MAXIMUM_TURNS)
        parts = np.flatnonzero(np.diff(np.cumsum(turns) // _CHUNK)) + 1
        for part in np.split(np.arange(len(start_s)), parts):
            keys, rows = draws.sessions(start_s[part], turns[part])
            yield keys, rows_as_words(rows)


class _Feed:
    """The rows of one class that have been drawn and not yet been merged."""

    def __init__(self, chunks: Iterator[tuple[_Floats, Words]]) -> None:
        self.chunks = chunks
        self.keys: _Floats = np.empty(0)
        self.words: Words = rows_as_words(new_rows(0))
        self.horizon_s = 0.0
        """All rows with smaller keys are here."""
        self.refill()

    def refill(self) -> None:
        """Draw one more chunk that is not empty."""
        for keys, words in self.chunks:
            if len(keys):
                self.keys = np.concatenate((self.keys, keys))
                self.words = np.concatenate((self.words, words))
                self.horizon_s = float(keys[-1])
                return
        self.horizon_s = math.inf

    def take_before(self, key: float) -> tuple[_Floats, Words]:
        """Remove and return the rows with keys below `key`."""
        count = int(np.searchsorted(self.keys, key))
        taken = self.keys[:count], self.words[:count]
        self.keys, self.words = self.keys[count:], self.words[count:]
        return taken


def _merge(feeds: list[_Feed]) -> Iterator[Words]:
    """Yield the rows of all feeds in order of (key, feed)."""
    while feeds:
        horizon_s = min(feed.horizon_s for feed in feeds)
        parts = [part for feed in feeds if len((part := feed.take_before(horizon_s))[0])]
        for feed in feeds:
            if feed.horizon_s == horizon_s < math.inf:
                feed.refill()
        feeds = [feed for feed in feeds if len(feed.keys)]
        if len(parts) == 1:
            yield parts[0][1]
        elif parts:
            order = np.argsort(np.concatenate([keys for keys, _ in parts]), kind="stable")
            yield np.concatenate([words for _, words in parts]).take(order, axis=0)


def _reblock(pieces: Iterator[Words], block_rows: int, *, chained: bool = True) -> Iterator[Rows]:
    """Yield blocks of `block_rows` rows, or a few more where a session would be split."""
    held: list[Words] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += len(piece)
        if count <= block_rows:
            continue
        words = np.concatenate(held)
        start = 0
        while count - start > block_rows:
            stop = start + block_rows
            if chained:
                heads = np.isnan(words_as_rows(words[stop:])["think_s"])
                if not heads.any():
                    break
                stop += int(np.argmax(heads))
            yield words_as_rows(words[start:stop])
            start = stop
        held, count = [words[start:]], count - start
    if count:
        yield words_as_rows(np.concatenate(held))
