"""What prompts have in common, and what becomes of it on replicas: the rules of *Prefix cache*."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from math import ceil, inf

from tests.naive.state import NOWHERE, Pool, PoolTotals, Replica, Request, RequestClass
from tests.naive.store import Segment, Store


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


def attached(replica: Replica, request: Request, rules: RequestClass) -> list[Segment]:
    """The segments that a running request is attached to."""
    segments = segments_of(request, replica.pool, rules)
    return [segment for segment in segments if segment.first < request.shared]


def found_tokens(replica: Replica, request: Request, rules: RequestClass) -> int:
    """How much of a prompt a replica has in its cache; the last token is always computed."""
    pool = replica.pool
    if not pool.prefix_cache:
        return 0
    segments = segments_of(request, pool, rules)
    shared = shared_blocks(request, pool, segments)
    most = min(shared, (request.prompt_tokens - 1) // pool.kv_block_tokens)
    return replica.store.found(segments, shared, most) * pool.kv_block_tokens


def holder(
    active: list[Replica], request: Request, rules: RequestClass, least_loaded: Replica
) -> Replica:
    """The replica that holds most of a prompt, if that is much, and unless it is busy."""
    pool, batch = least_loaded.pool, request.batch
    prompt = max(1, request.row.input_tokens)
    found = {r.number: found_tokens(r, request, rules) for r in active}
    best = max(active, key=lambda r: (found[r.number], -r.load_for(batch), -r.number))
    enough = found[best.number] >= pool.affinity_share * prompt
    least = least_loaded.load_for(batch)
    busy = best.load_for(batch) > max(least + pool.affinity_slack, pool.affinity_ratio * least)
    return best if enough and not busy and found[best.number] else least_loaded


def evict(replica: Replica) -> None:
    """Evict what there is no room for any more."""
    replica.store.shrink(replica.free_blocks)


def _claim(replica: Replica, request: Request, rules: RequestClass) -> tuple[list[Segment], int]:
    """What a prompt is to share: its segments, and how many blocks of them."""
    pool, store = replica.pool, replica.store
    segments = segments_of(request, pool, rules) if pool.prefix_cache else []
    shared = shared_blocks(request, pool, segments)
    if segments and segments[-1].end == inf:
        last = segments[-1]
        if last.key in store.users and last.first + store.blocks[last.key] > shared:
            shared = min(last.first, shared)  # another one has a longer context
    return segments, shared


def _own_blocks(replica: Replica, request: Request, shared: int) -> int:
    tokens = request.prompt_tokens + replica.pool.room(request.class_index)
    return ceil(tokens / replica.pool.kv_block_tokens) - shared


def blocks_taken(replica: Replica, request: Request, rules: RequestClass) -> int:
    """Free blocks that admitting a request takes: its own, and what segments do not hold yet."""
    store = replica.store
    segments, shared = _claim(replica, request, rules)
    taken = _own_blocks(replica, request, shared)
    for key, blocks in parts(segments, shared):
        in_use = store.blocks[key] if key in store.users else 0
        taken += max(0, blocks - in_use)
    return taken


def take_blocks(replica: Replica, request: Request, rules: RequestClass, aside: int) -> None:
    """Give a prompt its blocks, and say what of it was found there."""
    pool, store = replica.pool, replica.store
    segments, shared = _claim(replica, request, rules)
    own = _own_blocks(replica, request, shared)
    store.shrink(replica.free_blocks - aside)
    most = min(shared, (request.prompt_tokens - 1) // pool.kv_block_tokens)
    found = store.found(segments, shared_blocks(request, pool, segments), most)
    for key, blocks in parts(segments, shared):
        store.attach(key, blocks)
    request.shared = shared
    request.blocks = own + shared
    store.shrink(replica.free_blocks - aside - own)  # it is not yet among the running ones
    request.prefilled_tokens = found * pool.kv_block_tokens


def keep(
    replica: Replica, request: Request, rules: RequestClass, context: int, shared: int
) -> None:
    """Leave a context of so many tokens in the cache and its tiers; segments share some."""
    pool, store = replica.pool, replica.store
    if not pool.prefix_cache:
        return
    evict(replica)
    segments = segments_of(request, pool, rules)
    used = [segment for segment in segments if segment.first < shared]
    known = shared
    own: list[Segment] = []
    if segments and segments[-1].end == inf:
        last = segments[-1]
        kept = max(known, kept_blocks(request, pool, rules, context)) - last.first
        if last in used:
            store.blocks[last.key] = max(store.blocks[last.key], kept)
            known = last.first + store.blocks[last.key]
        elif last.key not in store.users and kept > 0:
            own = [last]
            known = last.first + kept
    unknown = max(0, context // pool.kv_block_tokens - known)
    stores = [store, *replica.tiers]
    for each in stores:
        each.put_unknown(unknown)
    for segment in own:
        for each in stores:
            each.put(segment.key, kept)
    for segment in reversed(used):
        for tier in replica.tiers:
            tier.put(segment.key, store.blocks[segment.key])
        store.detach(segment.key)
    for tier, limits in zip(replica.tiers, pool.tiers, strict=True):
        tier.shrink(limits.blocks)


def fetch(
    replica: Replica, request: Request, rules: RequestClass, now_s: float, totals: PoolTotals
) -> None:
    """Fetch what tiers have of a prompt and the replica has not, where that is faster."""
    pool = replica.pool
    block = pool.kv_block_tokens
    found = request.prefilled_tokens
    request.ready_s = now_s
    if request.swapped_blocks:
        tokens = request.prompt_tokens - 1 - found
        _fetch_from(replica, request, 0, tokens, now_s, totals)
        replica.tiers[0].pinned -= request.swapped_blocks
        request.swapped_blocks = 0
    if request.prefilled_tokens == found:
        segments = segments_of(request, pool, rules)
        shared = shared_blocks(request, pool, segments)
        most = min(shared, (request.prompt_tokens - 1) // block)
        for number, tier in enumerate(replica.tiers):
            tokens = tier.found(segments, shared, most) * block - request.prefilled_tokens
            _fetch_from(replica, request, number, tokens, now_s, totals)
    if request.prefilled_tokens > found:
        replica.fetching.append(request)


def _fetch_from(
    replica: Replica,
    request: Request,
    number: int,
    tokens: int,
    now_s: float,
    totals: PoolTotals,
) -> None:
    if tokens <= 0:
        return
    pool, tier, before = replica.pool, replica.pool.tiers[number], request.prefilled_tokens
    link_s = ceil(tokens / pool.kv_block_tokens) * tier.block_s
    wait_s = max(replica.link_free_s[number] - now_s, 0.0)
    token_s = (pool.fixed_s + pool.linear_s[pool.token_budget]) / pool.token_budget
    compute_s = tokens * token_s + pool.prefill_s * (tokens * (before + tokens / 2))
    if tier.latency_s + (wait_s + link_s) < compute_s:
        replica.link_free_s[number] = max(replica.link_free_s[number], now_s) + link_s
        request.ready_s = max(request.ready_s, replica.link_free_s[number] + tier.latency_s)
        request.prefilled_tokens += tokens
        totals.loaded_tokens[number] += tokens


def empty(replica: Replica, shared: Sequence[Store] = ()) -> None:
    """Keep nothing on a replica; what a tier shares with others stays."""
    tiers = replica.pool.tiers
    shared = shared or replica.tiers
    replica.store = Store()
    replica.tiers = [
        store if tier.shared else Store() for tier, store in zip(tiers, shared, strict=True)
    ]
    replica.link_free_s = [-inf for _ in tiers]
