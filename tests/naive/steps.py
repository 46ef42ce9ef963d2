"""Lengths, blocks and ranks: what the rules compute from requests and pools, and change nothing."""

from __future__ import annotations

from math import ceil

from planner.kernel.enums import Scheduler
from tests.naive.state import Pool, Replica, Request, RequestClass, Row


def rank_of(pool: Pool, rules: RequestClass, request: Request) -> float:
    """What the scheduler of a pool orders requests by."""
    return {
        Scheduler.FCFS: 0.0,
        Scheduler.PRIORITY: float(rules.priority),
        Scheduler.AGEING: request.arrival_s + rules.priority * pool.priority_step_s,
        Scheduler.DEADLINE: request.arrival_s + rules.ttft_limit_s,
        Scheduler.SHORTEST_PROMPT: float(max(1, request.row.input_tokens)),
        Scheduler.WEIGHTED: 0.0,
    }[pool.scheduler]


def too_long(pool: Pool, row: Row, output_tokens: int) -> bool:
    prompt = max(1, row.input_tokens)
    written = prompt + max(output_tokens, 1) - 1 + pool.draft_tokens
    blocks = ceil(written / pool.kv_block_tokens)
    return prompt + output_tokens > pool.context_tokens or blocks > pool.kv_blocks


def context_of(row: Row) -> int:
    """Tokens of a served request that were written."""
    return max(1, row.input_tokens) + max(row.output_tokens, 1) - 1


def width(replica: Replica) -> int:
    """Tokens of a decoding request in a step: the one that is due, and drafts."""
    return 1 + replica.pool.draft_tokens * replica.drafting


def new_blocks(request: Request, replica: Replica) -> int:
    """Blocks that the tokens which the next decode step writes begin."""
    if not request.decoding:
        return 0
    pool = replica.pool
    written = 1 + (pool.draft_tokens if replica.drafting else pool.room(request.class_index))
    blocks = ceil((request.kv_tokens + written) / pool.kv_block_tokens)
    return max(blocks - request.blocks, 0)  # what was taken for rejected drafts is kept


def blocks_needed(replica: Replica) -> int:
    return sum(new_blocks(request, replica) for request in replica.running)


def step_length_s(replica: Replica) -> float:
    """Return the length of the step that the running requests of a replica make."""
    pool = replica.pool
    sequences = context = chunks = 0
    work = 0.0
    for request in replica.running:
        if request.decoding:
            if replica.prefill_step:
                continue
            sequences += 1
            context += request.kv_tokens + width(replica)
        else:
            chunk = request.chunk_tokens
            chunks += chunk
            work += chunk * (request.prefilled_tokens + chunk / 2)
    return (
        pool.fixed_s
        + pool.linear_s[sequences * width(replica) + chunks]
        + (pool.draft_s[sequences] if replica.drafting and sequences else 0.0)
        + (pool.decode_s + pool.draft_decode_s * replica.drafting) * context
        + pool.decode_seq_s * sequences
        + pool.prefill_s * work
    )
