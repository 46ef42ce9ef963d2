"""What prompts have in common: the segments of *Prefix cache*."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from math import inf

from tests.naive.state import NOWHERE, Pool, Request, RequestClass
from tests.naive.store import Segment


def segments_of(request: Request, pool: Pool, rules: RequestClass) -> list[Segment]:
    """The chain of a request."""
    row, block = request.row, pool.kv_block_tokens
    if row.hashes:
        edges = [index * row.hash_tokens // block for index in range(len(row.hashes) + 1)]
        spans = zip(row.hashes, edges, edges[1:], strict=False)
        return [Segment(("hash", h), first, end) for h, first, end in spans if end > first]
    segments = []
    first = rules.system_tokens // block
    if first:
        segments.append(Segment(("system", request.class_index), 0, first))
    if row.session != NOWHERE:
        segments.append(Segment(("session", request.class_index, row.session), first, inf))
    return segments


def shared_blocks(request: Request, pool: Pool, segments: Sequence[Segment]) -> int:
    """Whole blocks of the input that its segments cover."""
    blocks = max(1, request.row.input_tokens) // pool.kv_block_tokens
    return int(min(blocks, segments[-1].end)) if segments else 0


def parts(segments: Sequence[Segment], shared: int) -> Iterator[tuple[Hashable, int]]:
    """The segments that a prompt of `shared` blocks is attached to, and how much it needs."""
    for segment in segments:
        if segment.first < shared:
            yield segment.key, int(min(segment.end, shared)) - segment.first


def kept_blocks(request: Request, pool: Pool, rules: RequestClass, tokens: int) -> int:
    """Whole blocks of a context of `tokens` that the next turn of its session begins with."""
    if request.row.reasoning_tokens and not rules.keeps_reasoning:
        tokens = min(tokens, max(1, request.row.input_tokens))
    return tokens // pool.kv_block_tokens
