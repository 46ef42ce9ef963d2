"""Statistics of a trace that matter for planning, in one pass and bounded memory.

Arrival statistics are over the rows that arrive by themselves. Windows run from second 0, empty
ones included; the unfinished last window is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from planner.jsonable import plain
from planner.trace.reuse import repeated_tokens
from planner.trace.table import HashIds, RequestBlock, Rows, chain_starts

WINDOWS_S: Final = (1.0, 10.0, 60.0, 600.0, 3600.0)
QUANTILES: Final = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
_DENSE_IDS: Final = 1 << 27
"""Ids below this are remembered in a bitmap of at most 128 MiB, others in a set."""


@dataclass(frozen=True)
class LengthStats:
    """Lengths of one kind, in tokens."""

    mean: float
    cv: float
    maximum: int
    quantiles: dict[str, int]
    """`p50` → tokens: the smallest length that at least half of the requests do not exceed."""


@dataclass(frozen=True)
class WindowStats:
    """Counts of arrivals in windows of one width."""

    window_s: float
    windows: int
    peak_to_mean: float
    """Busiest window over the mean one."""
    dispersion: float
    """Variance over mean of the counts: 1 for a Poisson process of constant rate."""


@dataclass(frozen=True)
class PrefixStats:
    """Prompt tokens that an infinite prefix cache would have held."""

    hit_rate: float
    """Share of prompt tokens."""
    requests_with_hit_rate: float
    """Share of requests that reuse more than one block."""
    unique_blocks: int


@dataclass(frozen=True)
class TraceStats:
    """Statistics of a trace, or of one class of it."""

    requests: int
    later_turns: int
    """Rows without an arrival of their own."""
    first_arrival_s: float
    last_arrival_s: float
    rate_rps: float
    """Arrivals per second from the first to the last."""
    gap_cv: float
    """Coefficient of variation of the gaps between arrivals: 1 for Poisson."""
    distinct_arrivals_rate: float
    """Distinct arrival times per arrival; far below 1 means that time stamps are coarse: jitter
    them."""
    input_tokens: LengthStats
    output_tokens: LengthStats
    reasoning_tokens: LengthStats
    windows: tuple[WindowStats, ...]
    sessions: int
    turns_per_session: float
    session_reuse_rate: float
    """Share of the prompt tokens of session turns that the turn before had in its context, its
    reasoning dropped (chained turns); see `repeated_tokens`."""
    prefix: PrefixStats | None
    classes: dict[str, TraceStats] = field(default_factory=dict)
    """The same by class; empty if there is one class or none."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, lists and dicts; a figure that cannot be computed is None."""
        found: dict[str, Any] = plain(asdict(self))
        return found


def trace_stats(blocks: Iterable[RequestBlock], class_names: Sequence[str] = ()) -> TraceStats:
    """Read all blocks and return their statistics.

    Args:
        blocks: in order of arrival.
        class_names: names behind the class index; may grow while `blocks` is read.
    """
    total = _Accumulator()
    by_class: dict[int, _Accumulator] = {}
    for block in blocks:
        total.add(block.rows, block.hash_ids)
        for index in np.unique(block.rows["class"]).tolist():
            chosen = block.rows[block.rows["class"] == index]
            by_class.setdefault(index, _Accumulator()).add(chosen, None)
    names = {i: class_names[i] if 0 <= i < len(class_names) else "other" for i in by_class}
    classes = {names[i]: by_class[i].result({}) for i in sorted(by_class)}
    return total.result(classes if len(classes) > 1 else {})


class _Accumulator:
    """Sums of one set of rows."""

    def __init__(self) -> None:
        self._requests = 0
        self._arrivals = 0
        self._first_s = math.nan
        self._last_s = math.nan
        self._gap_squares = 0.0
        self._repeats = 0
        self._lengths = {f"{kind}_tokens": _Lengths() for kind in ("input", "output", "reasoning")}
        self._windows = [_Windows(width_s) for width_s in WINDOWS_S]
        self._session_ids = _SeenIds()
        self._session_rows = 0
        self._session_input = 0
        self._session_reused = 0
        self._prefix = _Prefixes()

    def add(self, rows: Rows, hash_ids: HashIds | None) -> None:
        self._requests += len(rows)
        for name, lengths in self._lengths.items():
            lengths.add(rows[name])
        arrival_s = rows["arrival_s"][chain_starts(rows)]
        self._add_arrivals(arrival_s[~np.isnan(arrival_s)])
        self._add_sessions(rows)
        if hash_ids is not None:
            self._prefix.add(rows["input_tokens"], hash_ids)

    def _add_arrivals(self, arrival_s: NDArray[np.float64]) -> None:
        if not len(arrival_s):
            return
        if self._arrivals == 0:
            self._first_s = self._last_s = float(arrival_s[0])
            gaps = np.diff(arrival_s)
        else:
            gaps = np.diff(arrival_s, prepend=self._last_s)
        self._gap_squares += float(np.sum(gaps * gaps))
        self._repeats += int(np.count_nonzero(gaps == 0))
        self._arrivals += len(arrival_s)
        self._last_s = float(arrival_s[-1])
        for windows in self._windows:
            windows.add(arrival_s)

    def _add_sessions(self, rows: Rows) -> None:
        session = rows["session_id"]
        self._session_ids.add(session[session >= 0])
        self._session_rows += int(np.count_nonzero(session >= 0))
        self._session_reused += int(repeated_tokens(rows).sum())
        self._session_input += int(rows["input_tokens"][session >= 0].sum())

    def result(self, classes: dict[str, TraceStats]) -> TraceStats:
        gaps = self._arrivals - 1
        span_s = self._last_s - self._first_s
        mean_gap = span_s / gaps if gaps > 0 else math.nan
        variance = self._gap_squares / gaps - mean_gap**2 if gaps > 0 else math.nan
        sessions = self._session_ids.count
        return TraceStats(
            requests=self._requests,
            later_turns=self._requests - self._arrivals,
            first_arrival_s=self._first_s,
            last_arrival_s=self._last_s,
            rate_rps=_ratio(self._arrivals, span_s),
            gap_cv=_ratio(math.sqrt(max(variance, 0.0)), mean_gap) if gaps > 0 else math.nan,
            distinct_arrivals_rate=_ratio(self._arrivals - self._repeats, self._arrivals),
            input_tokens=self._lengths["input_tokens"].result(),
            output_tokens=self._lengths["output_tokens"].result(),
            reasoning_tokens=self._lengths["reasoning_tokens"].result(),
            windows=tuple(result for w in self._windows if (result := w.result())),
            sessions=sessions,
            turns_per_session=_ratio(self._session_rows, sessions),
            session_reuse_rate=_ratio(self._session_reused, self._session_input),
            prefix=self._prefix.result(),
            classes=classes,
        )


class _Lengths:
    """Exact counts of every length."""

    def __init__(self) -> None:
        self._counts: NDArray[np.int64] = np.zeros(1, np.int64)

    def add(self, tokens: NDArray[np.int64]) -> None:
        counts = np.bincount(tokens, minlength=len(self._counts))
        counts[: len(self._counts)] += self._counts
        self._counts = counts

    def result(self) -> LengthStats:
        total = int(self._counts.sum())
        if not total:
            return LengthStats(math.nan, math.nan, 0, {})
        tokens = np.arange(len(self._counts))
        mean = float(np.dot(self._counts, tokens)) / total
        variance = float(np.dot(self._counts, (tokens - mean) ** 2)) / total
        cumulative = np.cumsum(self._counts)
        places = np.searchsorted(cumulative, np.array(QUANTILES) * total)
        quantiles = {f"p{100 * p:g}": int(n) for p, n in zip(QUANTILES, places, strict=True)}
        maximum = int(np.flatnonzero(self._counts)[-1])
        return LengthStats(mean, _ratio(math.sqrt(variance), mean), maximum, quantiles)


class _Windows:
    """Mean, variance and maximum of the counts in windows, one window open at a time."""

    def __init__(self, width_s: float) -> None:
        self._width_s = width_s
        self._open = 0
        self._open_count = 0
        self._sum = 0
        self._squares = 0
        self._peak = 0

    def add(self, arrival_s: NDArray[np.float64]) -> None:
        index = (arrival_s // self._width_s).astype(np.int64)
        found, counts = np.unique(index, return_counts=True)
        if found[0] == self._open:
            counts[0] += self._open_count
        else:
            found = np.append(self._open, found)
            counts = np.append(self._open_count, counts)
        closed = counts[:-1]
        self._sum += int(closed.sum())
        self._squares += int(np.dot(closed, closed))
        self._peak = max(self._peak, int(closed.max(initial=0)))
        self._open, self._open_count = int(found[-1]), int(counts[-1])

    def result(self) -> WindowStats | None:
        """Return the statistics of the closed windows; None if there are fewer than two."""
        windows = self._open
        if windows < 2 or not self._sum:
            return None
        mean = self._sum / windows
        variance = self._squares / windows - mean**2
        return WindowStats(self._width_s, windows, self._peak / mean, variance / mean)


class _SeenIds:
    """A set of ids: a bitmap for small ones, a set for the rest."""

    def __init__(self) -> None:
        self._dense = np.zeros(1 << 10, dtype=bool)
        self._sparse: set[int] = set()

    @property
    def count(self) -> int:
        return int(np.count_nonzero(self._dense)) + len(self._sparse)

    def add(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Add ids and return which of them were there before, or earlier in `ids`."""
        unique, first = np.unique(ids, return_index=True)
        known = np.ones(len(ids), dtype=bool)
        dense = (unique >= 0) & (unique < _DENSE_IDS)
        small = unique[dense]
        if len(small) and small[-1] >= len(self._dense):
            size = 1 << int(small[-1]).bit_length()
            self._dense = np.concatenate((self._dense, np.zeros(size - len(self._dense), bool)))
        before = np.ones(len(unique), dtype=bool)
        before[dense] = self._dense[small]
        before[~dense] = [one in self._sparse for one in unique[~dense].tolist()]
        self._dense[small] = True
        self._sparse.update(unique[~dense].tolist())
        known[first] = before
        return known


class _Prefixes:
    """Reuse of prefix blocks in a cache that forgets nothing."""

    def __init__(self) -> None:
        self._seen = _SeenIds()
        self._requests = 0
        self._requests_with_hit = 0
        self._tokens = 0
        self._hit_tokens = 0

    def add(self, input_tokens: NDArray[np.int64], ids: HashIds) -> None:
        """Count the leading blocks of each prompt that came before."""
        known = self._seen.add(ids.values)
        position = np.arange(len(known))
        stops = np.append(position[~known], len(known))
        starts, ends = ids.offsets[:-1], ids.offsets[1:]
        first_new = stops[np.searchsorted(stops, starts)]
        blocks = np.minimum(first_new, ends) - starts
        self._hit_tokens += int(np.minimum(blocks * ids.block_tokens, input_tokens).sum())
        self._tokens += int(input_tokens.sum())
        self._requests += len(input_tokens)
        self._requests_with_hit += int(np.count_nonzero(blocks > 1))

    def result(self) -> PrefixStats | None:
        if not self._requests:
            return None
        return PrefixStats(
            _ratio(self._hit_tokens, self._tokens),
            _ratio(self._requests_with_hit, self._requests),
            self._seen.count,
        )


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else math.nan
