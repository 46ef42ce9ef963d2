"""Where the requests of a scenario come from: synthetic streams and traces, as kernel rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planner.errors import ScenarioError
from planner.kernel import dtypes
from planner.kernel.dtypes import NONE
from planner.kernel.plan import ClosedStream
from planner.lowering.merging import merged, until
from planner.lowering.prefixes import PrefixQueue, gathered
from planner.lowering.reuse import ReusableInput
from planner.lowering.sharing import hashed, is_synthetic, owners_of, shared_classes
from planner.lowering.workload import class_workload, class_workloads, distribution
from planner.scenario import LoadedScenario
from planner.scenario.schema.workload import RequestClass, TraceInput
from planner.trace import closed_rows, open_trace, synthesize
from planner.trace.table import HashIds, RequestBlock, Rows, chain_starts

Records = NDArray[np.void]
"""Array of the kernel's `ARRIVAL`."""
Sampler = Callable[[int], NDArray[np.int64]]
"""Draws so many lengths."""
Samplers = dict[tuple[int, str], Sampler]
"""By class and length."""

BLOCK_ROWS: Final = 1 << 17
TRACE_VISITORS: Final = 1 << 20
"""Token buckets of a class whose trace names its visitors: the names are spread over so many."""


def arrival_rows(rows: Rows, first_row: int, offsets: NDArray[np.int64]) -> Records:
    """Turn rows of the trace table into rows of the kernel.

    Args:
        rows: `TRACE_ROW`, their classes known.
        first_row: number of the first.
        offsets: where the visitors of each class begin in the kernel's `visitors`; NONE: no limit.
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


class Traffic:
    """The streams of one scenario.

    Args:
        loaded: the scenario, with the places of its trace files.
        contexts: per class, the longest prompt and output that its pools serve.
        cached: per class, whether a pool of it looks for prompts that begin alike; absent: none.
    """

    def __init__(
        self,
        loaded: LoadedScenario,
        contexts: Sequence[int | None],
        cached: Sequence[bool] = (),
    ) -> None:
        self._loaded = loaded
        self._workload = loaded.scenario.workload
        self._contexts = contexts
        seed = np.random.SeedSequence(loaded.scenario.seed)
        # Named streams, spawned in a fixed order: what changes one leaves the others alone.
        self.kernel_seed, self._open_seed, self._closed_seed, self._trace_seed = seed.spawn(4)
        self._offsets, self.visitors = self._lay_out_visitors()
        self.unused_rows = 0
        """Rows of the shared trace that no class took; counted as the trace is read."""
        self._prefixes = self._prefix_queues(cached)
        self._ids: list[NDArray[np.int64]] = []
        self._ids_before = 0
        self.reusable = ReusableInput(self._workload.classes)
        """What turns of sessions repeat; counted as rows are read."""

    def _lay_out_visitors(self) -> tuple[NDArray[np.int64], int]:
        offsets = np.full(len(self._workload.classes), NONE, np.int64)
        count = 0
        for index, klass in enumerate(self._workload.classes):
            if klass.rate_limit is not None:
                offsets[index] = count
                count += _buckets(klass)
        return offsets, count

    def _prefix_queues(self, cached: Sequence[bool]) -> dict[int, PrefixQueue]:
        """Return a queue of prefix block ids per trace that may have some worth passing on.

        A class that states its own inputs has prompts that are not those of the trace.
        """
        wanted = np.zeros(len(self._workload.classes), bool)
        for index, klass in enumerate(self._workload.classes):
            own = is_synthetic(klass) or klass.input is not None
            wanted[index] = bool(cached) and cached[index] and not own
        return {
            number: PrefixQueue(number, wanted)
            for number in np.unique(self._source_of[wanted]).tolist()
        }

    @property
    def _source_of(self) -> NDArray[np.int64]:
        """Class → number of the trace that it is read from: 0 is the shared one."""
        classes = self._workload.classes
        sources = [
            NONE if is_synthetic(klass) else 0 if klass.trace is None else index + 1
            for index, klass in enumerate(classes)
        ]
        return np.array(sources, np.int64)

    @property
    def has_prefixes(self) -> bool:
        """Whether rows may have ids of prefix blocks."""
        return bool(self._prefixes)

    def prefix_ids(self) -> NDArray[np.int64]:
        """Return the ids of prefix blocks of the open-loop rows yielded since the last call."""
        ids, self._ids = self._ids, []
        return np.concatenate([np.zeros(0, np.int64), *ids])

    def open_blocks(self) -> Iterator[Records]:
        """Yield the kernel's open-loop rows, merged over all sources, up to the end."""
        sources = list(self._trace_sources())
        synthetic = class_workloads(self._workload, self._contexts)
        if synthetic:
            sources.append(
                synthesize(synthetic, self._workload.duration, self._open_seed, BLOCK_ROWS)
            )
        first_row = 0
        for rows in merged(sources):
            kept = until(rows, self._workload.duration)
            if len(kept):
                self.reusable.add(kept)
                block = arrival_rows(kept, first_row, self._offsets)
                if self._prefixes:
                    self._name_prefixes(kept, block)
                yield block
            first_row += len(kept)
            if len(kept) < len(rows):
                return

    def _name_prefixes(self, rows: Rows, block: Records) -> None:
        counts, ids = gathered(self._source_of, rows, self._prefixes)
        block["hashes"] = counts
        block["first_hash"] = self._ids_before + np.cumsum(counts) - counts
        self._ids.append(ids)
        self._ids_before += len(ids)

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
        first_row = 0
        for rows in closed_rows(source, klass.closed.requests, self._closed_seed):
            yield arrival_rows(rows, first_row, self._offsets)
            first_row += len(rows)

    def _trace_sources(self) -> Iterator[Iterator[Rows]]:
        if self._workload.trace is not None:
            path = self._loaded.file_path(("workload", "trace", "file"))
            yield self._shared_rows(path, self._workload.trace)
        for index, klass in enumerate(self._workload.classes):
            if klass.trace is not None:
                path = self._loaded.file_path(("workload", "classes", index, "trace", "file"))
                yield self._own_rows(path, klass.trace, index)

    def _shared_rows(self, path: Path, trace: TraceInput) -> Iterator[Rows]:
        classes = self._workload.classes
        share_seed, seed = self._trace_seeds(0)
        samplers = self._length_samplers(seed)
        names = [klass.name for klass in classes]
        for block, owners in _read(path, trace, seed, names, with_ids=0 in self._prefixes):
            block.rows["class"] = shared_classes(block.rows, owners, classes, share_seed)
            taken = np.flatnonzero(block.rows["class"] != NONE)
            self.unused_rows += len(block.rows) - len(taken)
            chosen = block.take(taken)
            self._keep_prefixes(0, chosen.rows, chosen.hash_ids)
            yield self._completed(chosen.rows, owners[taken], samplers, seed)

    def _own_rows(self, path: Path, trace: TraceInput, index: int) -> Iterator[Rows]:
        _, seed = self._trace_seeds(index + 1)
        samplers = self._length_samplers(seed)
        with_ids = index + 1 in self._prefixes
        for block, owners in _read(path, trace, seed, (), with_ids=with_ids):
            block.rows["class"] = index
            self._keep_prefixes(index + 1, block.rows, block.hash_ids)
            yield self._completed(block.rows, owners, samplers, seed)

    def _keep_prefixes(self, number: int, rows: Rows, ids: HashIds | None) -> None:
        if number in self._prefixes:
            self._prefixes[number].push(rows, ids)

    def _trace_seeds(self, number: int) -> tuple[int, int]:
        """Return seeds for shares and for draws; they depend on the place of the trace alone."""
        share_seed, seed = self._trace_seed.generate_state(2 * number + 2)[-2:]
        return int(share_seed), int(seed)

    def _length_samplers(self, seed: int) -> Samplers:
        """Return what draws the lengths that classes state themselves, each by its own stream."""
        return {
            (index, name): partial(
                distribution(lengths).sample, np.random.default_rng([seed, index, stream])
            )
            for index, klass in enumerate(self._workload.classes)
            for stream, name in enumerate(("input", "output", "reasoning"))
            if (lengths := getattr(klass, name)) is not None
        }

    def _completed(
        self, rows: Rows, owners: NDArray[np.uint64], samplers: Samplers, seed: int
    ) -> Rows:
        """Overwrite what classes state themselves: lengths, and who their visitors are."""
        for (index, name), sample in samplers.items():
            mine = np.flatnonzero(rows["class"] == index)
            lengths = sample(len(mine))
            rows[f"{name}_tokens"][mine] = lengths
            if name == "reasoning":
                rows["output_tokens"][mine] += lengths
        rows["reasoning_tokens"] = np.minimum(rows["reasoning_tokens"], rows["output_tokens"])
        for index, klass in enumerate(self._workload.classes):
            if klass.rate_limit is not None:
                mine = np.flatnonzero(rows["class"] == index)
                visitors = self._visitors_of(rows[mine], owners[mine], index, seed)
                rows["visitor_id"][mine] = visitors
        return rows

    def _visitors_of(
        self, rows: Rows, owners: NDArray[np.uint64], index: int, seed: int
    ) -> NDArray[np.int64]:
        """Return the visitors of requests: those that the trace names, else one by session."""
        klass = self._workload.classes[index]
        named = rows["visitor_id"] >= 0
        if klass.visitors is None and not named.all():
            place = ("workload", "classes", index, "rate_limit")
            message = "limits each visitor, but the trace has requests that name none; add visitors"
            raise ScenarioError([self._loaded.fault(place, f"{message} to the class")])
        drawn = hashed(owners, seed) % np.uint64(klass.visitors or 1)
        return np.where(named, rows["visitor_id"] % _buckets(klass), drawn.astype(np.int64))


def _buckets(klass: RequestClass) -> int:
    """Return the number of token buckets of a class with a rate limit."""
    counted = klass.visitors or 0
    return counted if is_synthetic(klass) else max(counted, TRACE_VISITORS)


def _read(
    path: Path, trace: TraceInput, seed: int, names: Sequence[str], *, with_ids: bool
) -> Iterator[tuple[RequestBlock, NDArray[np.uint64]]]:
    """Yield the blocks of a trace, free to be changed, with what each row belongs to."""
    source = open_trace(
        os.fspath(path),
        trace.format,
        time_jitter_s=trace.time_jitter,
        rate_scale=trace.rate_scale,
        seed=seed,
        block_rows=BLOCK_ROWS,
        class_names=names,
    )
    chains = 0
    for block in source:
        ids = block.hash_ids if with_ids else None
        yield RequestBlock(block.rows.copy(), ids), owners_of(block.rows, chains)
        chains += len(chain_starts(block.rows))
