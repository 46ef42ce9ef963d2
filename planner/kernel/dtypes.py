"""Record layouts of the simulation: one structured array per entity, one field per line.

Only numpy is imported here, so that lowering and results can read the layouts without Numba. Times
are seconds since the start of the trace, lengths are tokens, memory is KV blocks. `NONE` marks an
empty link.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from planner.kernel.enums import Fate

NONE: Final = -1
"""An index that points nowhere."""


LEVELS: Final = 8
"""Tokens emitted in 1, 2, 4, … 128 steps have tables of their own."""

MOST_TIERS: Final = 3
"""Tiers below the memory of the accelerators."""

RETRY_PAUSE_S: Final = 1.0
"""A closed-loop client whose request is turned away at once sends the next no sooner than this."""

OUTPUT_COST: Final = 2.0
"""What an output token counts where classes share by weight, if a prompt token counts 1 (w_q and
w_p of Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024)."""

HISTOGRAM_GROWTH: Final = 1.005 / 0.995
"""Ratio of neighbouring bin edges: a quantile given as a bin's harmonic middle is off by ≤ 0.5%."""
HISTOGRAM_MIN_S: Final = 1e-6
HISTOGRAM_BINS: Final = 3300
"""Bin 0 holds values ≤ 1 µs, the last everything above; 3,300 bins end above 10⁸ s."""


def histogram_upper_edges() -> NDArray[np.float64]:
    """Return the upper edge of every bin, in seconds, shape `(HISTOGRAM_BINS,)`."""
    return HISTOGRAM_MIN_S * HISTOGRAM_GROWTH ** np.arange(HISTOGRAM_BINS, dtype=np.float64)


STATE = np.dtype(
    [
        ("now_s", "f8"),
        ("event_s", "f8"),  # instant of the latest replica event …
        ("event_replica", "i8"),  # … and the greatest replica that had one at that instant
        ("end_s", "f8"),  # nothing arrives after this; generated arrivals beyond are not sent
        ("warmup_s", "f8"),  # requests that arrive earlier are simulated but not measured
        ("window_s", "f8"),  # width of a reporting window
        ("windows", "i8"),  # how many there are; the last takes everything after it
        ("latest_window", "i8"),  # the last one that anything fell into, …
        ("latest_from_s", "f8"),  # … its start …
        ("latest_upto_s", "f8"),  # … and its end
        ("next_key", "i8"),  # arrival sequence number, the last resort of every tie
        ("free_request", "i8"),  # head of the list of free slots
        ("in_flight", "i8"),  # requests that have arrived and not ended
        ("returns_count", "i8"),  # generated arrivals in the heap
        ("next_return_key", "i8"),
        ("finished_count", "i8"),  # rows waiting in the per-request buffer
        ("keep_finished", "i8"),  # 1: write per-request rows
        ("abandoned_turns", "i8"),  # turns never sent because an earlier one was not served
        ("unsent", "i8"),  # generated arrivals that would have come after end_s
        ("starved_stream", "i8"),
        ("events", "i8"),
        ("draw_seed", "i8"),  # of the draws that belong to requests
        ("free_turn", "i8"),
        ("turns_in_use", "i8"),
        ("free_entry", "i8"),
        ("entries_in_use", "i8"),
        ("hash_base", "i8"),  # number of the first id in `hashes`
        ("hash_tokens", "i8"),  # of the block that an id stands for
        ("longest_chain", "i8"),  # most segments of a request so far
    ],
    align=True,
)

STREAM = np.dtype(
    [
        ("cursor", "i8"),  # into `arrivals`
        ("last_row", "i8"),  # one past the last loaded row
        ("ended", "i8"),  # 1: no more rows will be loaded
        ("closed", "i8"),  # 0: rows carry their arrival time; 1: a row is sent when another ends
    ],
    align=True,
)
"""Where requests come from. Stream 0 is open loop; each closed-loop class has its own stream."""

ARRIVAL = np.dtype(
    [
        ("arrival_s", "f8"),
        ("think_s", "f8"),  # closed loop: pause between the end of one request and the next
        ("session", "i8"),
        ("visitor", "i8"),  # dense index into `visitors`, or NONE
        ("next_turn", "i8"),  # index into `turns`, or NONE
        ("row", "i8"),  # number of the row in the trace, for per-request output
        ("input_tokens", "i8"),
        ("output_tokens", "i8"),
        ("reasoning_tokens", "i8"),
        ("first_hash", "i8"),  # of its ids of prefix blocks; see `Plan.hashes`
        ("hashes", "i8"),  # how many
        ("task_start_s", "f8"),  # first arrival of its session; not read where `call` is 0
        ("task_tokens", "i8"),  # prompt and output tokens of the turns before
        ("class", "i4"),
        ("turn", "i4"),
        ("stream", "i4"),
        ("call", "i4"),  # turns of the session that were served before this one
    ],
    align=True,
)
"""A request that is to arrive: in the arrival buffer, a later turn, or on its way (`sent`)."""

TURN = np.dtype([("arrival", ARRIVAL), ("next", "i8")], align=True)
"""A later turn of a session: sent `think_s` after the turn before it was served."""

RETURN = np.dtype([("arrival_s", "f8"), ("key", "i8"), ("slot", "i8")], align=True)
"""An entry of the heap of generated arrivals, ordered by (arrival_s, key): its row of `sent`."""

REQUEST = np.dtype(
    [
        # What the end of a request reads stands together: by then it is in no cache.
        ("arrival_s", "f8"),
        ("started_s", "f8"),  # first scheduled; NaN while it has never been
        ("first_token_s", "f8"),  # NaN before
        ("answer_s", "f8"),  # first token after the reasoning; NaN before, and without reasoning
        ("key", "i8"),
        ("session", "i8"),
        ("next_turn", "i8"),
        ("input_tokens", "i8"),
        ("output_tokens", "i8"),
        ("prompt_tokens", "i8"),  # to prefill in this admission: the input, what was emitted
        ("emitted_tokens", "i8"),  # up to the prompt of this admission, its token included
        ("decode_start_tokens", "i8"),  # position of its group when it began to decode
        ("plan_step", "i8"),  # step counter of its replica when its end was planned …
        ("next", "i8"),  # queue, list of prefills or fetches, or free list
        ("reasoning_tokens", "i4"),
        ("plan_tokens", "i4"),  # … and what it had emitted by then since it began to decode
        ("shared_blocks", "i4"),  # that segments hold for it in this admission
        ("cached_tokens", "i4"),  # of its input, needed no prefill for the answer seen
        ("replica", "i4"),
        ("class", "i4"),
        ("pool", "i4"),
        ("stream", "i4"),
        ("preemptions", "i4"),
        ("leg", "i4"),
        ("fate", "i4"),  # NONE from arrival to end; a free slot has the fate of its last request
        # The rest.
        ("last_token_s", "f8"),  # last token before a preemption; NaN otherwise
        ("task_start_s", "f8"),  # first arrival of its session
        ("think_s", "f8"),
        ("visitor", "i8"),
        ("row", "i8"),
        ("first_hash", "i8"),
        ("ready_s", "f8"),  # when its blocks have been fetched
        ("task_tokens", "i8"),  # of the turns before
        ("prefilled_tokens", "i8"),
        ("chunk_tokens", "i8"),  # prefilled in the step under way
        ("hashes", "i4"),
        ("swapped_blocks", "i4"),  # in the first tier
        ("turn", "i4"),
        ("call", "i4"),
        ("handover", "i4"),
        ("prefill_replica", "i4"),  # that prefilled it for another pool, or NONE
        ("kept_blocks", "i4"),  # that this one keeps for it until its KV is sent
        ("pending_tokens", "i4"),  # of its prompt, to prefill by what was cached when it queued
        ("charged", "i4"),  # 1: its prompt is counted where classes share by weight
    ],
    align=True,
)

REPLICA = np.dtype(
    [
        # What every boundary reads, and then what every arrival does, stands together.
        ("run_start_s", "f8"),
        ("run_end_s", "f8"),  # infinity while idle
        ("step_s", "f8"),  # first step of the run
        ("step_growth_s", "f8"),  # each further step is longer by this
        ("run_growth_tokens", "f8"),  # by which the contexts grow in a step, summed
        ("timeout_s", "f8"),  # no waiting request times out before this; infinity if none waits
        ("fetch_s", "f8"),  # the next end of a fetch; infinity: none
        ("link_end_s", "f8"),  # when the KV that is being sent has come; infinity: none is
        ("waiting", "i8"),
        ("decoding", "i8"),  # sequences that decode
        ("prefilling", "i8"),
        ("fetching", "i8"),
        ("landing", "i8"),  # requests that come from another pool and have memory here
        ("batch_waiting", "i8"),  # of those waiting, of batch classes
        ("advancing", "i8"),  # of those decoding, in this run: all, or none while they stand still
        ("context_tokens", "i8"),  # KV tokens of those decoding; with drafts at the mean pace
        ("run_steps", "i8"),  # planned steps of the run under way
        ("settled_steps", "i8"),  # of these, already in the books
        ("run_tokens", "i8"),  # tokens per step: decoding sequences and prefill chunks
        ("step", "i8"),  # steps completed since the start; without prefill steps of their own
        ("unpolled_steps", "i8"),  # decode steps since the queue was last looked at
        ("answers", "i8"),  # decoding ones that have yet to emit the first token of their answer
        ("prefill_head", "i8"),  # requests with a chunk in this step, in order of admission
        ("prefill_tail", "i8"),
        ("prefill_work", "i8"),  # 2·A: Σ chunk·(2·prior + chunk) of the step under way
        ("prefill_tokens", "i8"),  # Σ chunk of the step under way
        ("landed_head", "i8"),  # of those landing, the ones whose KV has come
        ("leaving_head", "i8"),  # prefilled for another pool in the step that ends
        ("fetch_head", "i8"),  # admitted requests whose blocks are fetched, by end of the fetch
        ("kv_used_blocks", "i8"),
        ("parked_blocks", "i8"),  # besides: kept for other pools, or reserved for what comes
        ("slots_first", "i8"),  # its finish heap in `slots` …
        ("growth_first", "i8"),  # its rows in `kv_growth`, one per group
        ("paused_s", "f8"),  # since when decoding sequences stand still for prefills; NaN: they run
        ("answers_first", "i8"),  # … and its heap of first tokens of answers
        ("backlog_tokens", "i8"),  # … and the prompt tokens of those that it has admitted since
        ("backlog_since_s", "f8"),  # since when interactive requests have waited, if any do …
        ("pool", "i4"),
        ("status", "i4"),
        ("cut", "i4"),  # 1: the run under way already ends at the next boundary
        ("drafting", "i4"),  # 1: its steps verify drafted tokens
        # The rest.
        ("stopped_s", "f8"),  # when it stopped after draining; NaN before
        ("virtual_tokens", "f8"),  # greatest count of a class when one of its own was admitted
        ("shelf_first", "i8"),  # its own store in `shelves`, followed by its tiers
        ("leaving_tail", "i8"),
        ("link_head", "i8"),  # whose KV is sent, then those whose is to be sent
        ("link_tail", "i8"),
        ("landed_tail", "i8"),
        ("kept", "i8"),  # requests prefilled for another pool, whose KV it still has
        ("node", "i4"),
    ],
    align=True,
)

QUEUE = np.dtype(
    [
        ("head", "i8"),
        ("tail", "i8"),
        ("decoding", "i8"),  # sequences of the class that decode on the replica
        ("waiting_tokens", "i8"),  # to prefill, of the requests in it
        ("served_tokens", "f8"),  # weighted, for sharing by weight; at the settled steps
        ("busy_s", "f8"),  # step time, shared by the tokens in each step
        ("position_tokens", "f8"),  # of the group, at the start of the run (see speculate.py)
    ],
    align=True,
)
"""Per replica and class, row `replica · classes + class`; FIFO by arrival key."""

SLOT = np.dtype([("finish_step", "i8"), ("key", "i8"), ("request", "i8")], align=True)
"""Entry of a replica's heap of decoding sequences, ordered by (finish_step, request key); also of
its heap of answers, whose step is the one that emits the first token of the answer."""

STORE = np.dtype(
    [
        ("idle_blocks", "i8"),  # kept, and not in use
        ("pinned_blocks", "i8"),  # swapped out
        ("oldest", "i8"),  # entry that has been out of use longest, …
        ("newest", "i8"),  # … and the one that has been so for the shortest time
    ],
    align=True,
)
"""What a replica or a tier keeps of prompts: a list of `ENTRY`, and entries in use outside it."""

ENTRY = np.dtype(
    [
        ("key", "i8"),  # of the segment; NONE: one that nobody asks for
        ("store", "i8"),
        ("blocks", "i8"),  # kept of the segment, from its start on
        ("users", "i8"),  # running requests that are attached to it
        ("older", "i8"),  # neighbours in the list of its store
        ("newer", "i8"),  # or the next free entry
    ],
    align=True,
)
"""Part of a segment in a store (see prefix.py)."""

SHELF = np.dtype([("store", "i8"), ("link_free_s", "f8")], align=True)
"""Which store a replica reaches, and until when its link to it is busy."""

TIER = np.dtype(
    [
        ("block_s", "f8"),  # to bring a block to a replica
        ("latency_s", "f8"),
        ("blocks", "i8"),  # room
        ("store", "i8"),  # for all replicas of the pool; NONE: each has its own
    ],
    align=True,
)

CALENDAR = np.dtype([("event_s", "f8"), ("winner", "i8")], align=True)
"""Tournament over the replicas: row `i` is a node with the earliest event under it and the replica
that has it. Node 1 is the root, node `i` has the children `2·i` and `2·i + 1`, and the second half
are the leaves, one per replica. The length is a power of two ≥ 4; node 0 is none."""

POOL = np.dtype(
    [
        ("fixed_s", "f8"),
        ("decode_s", "f8"),  # per context token of the decoding sequences
        ("decode_seq_s", "f8"),  # per decoding sequence
        ("draft_decode_s", "f8"),  # per context token, in steps with drafts
        ("prefill_s", "f8"),  # per token² of prefill attention work
        ("decode_memory_s", "f8"),  # share of decode_s that is memory traffic at peak bandwidth
        ("prefill_compute_s", "f8"),  # share of prefill_s that is arithmetic at peak rate
        ("request_s", "f8"),  # between client and engine, there and back, per request
        ("priority_step_s", "f8"),  # of waiting, that a step of priority is worth when ageing
        ("waiting_since_s", "f8"),  # last change of `waiting`, for its integral
        ("handover_since_s", "f8"),  # last change of `landing`, `parked_blocks` or `sending`
        ("link_latency_s", "f8"),  # before the KV of a request flows to the pool that decodes it
        ("link_token_s", "f8"),  # to send the KV of a prompt token
        ("overflow_waiting", "f8"),  # mean waiting per active replica above which classes overflow
        ("full_token_s", "f8"),  # a prompt's token in full steps, attention apart
        ("affinity_share", "f8"),  # of the prompt, that a replica must hold to be preferred …
        ("affinity_ratio", "f8"),  # … while its load is at most so many times the least …
        ("affinity_slack", "i8"),  # … or the least and so much
        ("tiers_first", "i8"),  # in `tiers`
        ("tiers", "i8"),
        ("step_table", "i8"),  # first row of its table in `steps`
        ("draft_table", "i8"),  # first row of the time to draft, by decoding sequences
        ("draft_tokens", "i8"),  # verified per sequence and step, besides its own; 0: none
        ("draft_depth", "i8"),  # of these, how many can be accepted: fewer where they are a tree
        ("draft_sequences", "i8"),  # with more decoding sequences, nothing is drafted
        ("groups", "i8"),  # of sequences that advance at one pace: 1, or one per class
        ("token_budget", "i8"),
        ("maximum_sequences", "i8"),
        ("kv_blocks", "i8"),
        ("kv_block_tokens", "i8"),
        ("step_blocks", "i8"),  # that a sequence takes in a step at most
        ("context_tokens", "i8"),  # longest prompt + output
        ("queue_limit", "i8"),  # waiting per replica; a request beyond is refused
        ("poll_steps", "i8"),  # decode steps between two looks at the queue
        ("active_first", "i8"),  # its active replicas in `active`
        ("active_count", "i8"),
        ("cursor", "i8"),  # round robin
        ("batch_sequences", "i8"),  # with fewer running, batch requests are admitted …
        ("batch_blocks", "i8"),  # … up to so many blocks in use; 0 and 0: no class is batch
        ("shed_ttft", "f8"),  # predicted ttft, as a share of its limit, above which one is shed
        ("shed_tokens", "i8"),  # prompt tokens waiting per replica above which requests are shed
        ("shed_blocks", "i8"),  # blocks in use from which sheddable classes are shed
        ("waiting", "i8"),  # summed over replicas
        ("batch_waiting", "i8"),  # of these, of batch classes
        ("landing", "i8"),  # likewise
        ("parked_blocks", "i8"),
        ("sending", "i8"),  # replicas whose link is in use
        ("decode_pool", "i4"),  # that decodes what this one prefills; NONE: it does so itself
        ("fed", "i4"),  # 1: requests come to it from other pools, not in order of arrival
        ("router", "i4"),
        ("scheduler", "i4"),
        ("prefix_cache", "i4"),  # 1: what ended requests leave is kept
        ("swap", "i4"),  # 1: preempted sequences go to the first tier
        ("sheds", "i4"),  # 1: admission control has a rule
        ("prefill_first", "i4"),  # 1: prompts are prefilled in steps of their own, before decodes
    ],
    align=True,
)

STEP_COST = np.dtype(
    [
        ("linear_s", "f8"),  # time of everything that depends on tokens only
        ("compute_s", "f8"),  # its arithmetic at peak rate
        ("memory_s", "f8"),  # its memory traffic at peak bandwidth
    ],
    align=True,
)
"""Row `pool.step_table + n` for a step of n tokens, n = 0 … token_budget; then row
`pool.draft_table + b` for drafting for b sequences."""

CLASS = np.dtype(
    [
        ("timeout_s", "f8"),  # infinity: never
        ("ttft_limit_s", "f8"),  # objectives per request; infinity where there is none
        ("ttfat_limit_s", "f8"),
        ("tpot_limit_s", "f8"),
        ("e2e_limit_s", "f8"),
        ("bucket_interval_s", "f8"),  # per request of the visitor's token bucket; 0: no limit
        ("bucket_burst_s", "f8"),  # (burst − 1) · interval
        ("weight", "f8"),  # of its share, where classes share by weight
        ("priority", "i8"),  # smaller is served first
        ("system_tokens", "i8"),  # every prompt begins with the same so many
        ("keeps_reasoning", "i8"),  # 1: the next turn repeats the reasoning
        ("light_share", "f8"),  # of the requests that may, how many go to a lighter model first
        ("escalation", "f8"),  # of what that has served, how much is served again
        ("light_input_tokens", "i8"),  # longest input of those; −1: there is no lighter model
        ("first_pool", "i8"),  # its pools, in order of preference, in `routes`, behind the lighter
        ("pools", "i8"),
        ("batch", "i4"),  # 1: served where interactive classes leave room
        ("sheddable", "i4"),  # 1: shed when the KV memory of a replica is nearly full
    ],
    align=True,
)

DRAFT = np.dtype(
    [
        ("pace", "f8"),  # tokens that a step with drafts emits, in the mean
        ("late_tokens", "f8"),  # emitted before the client sees the first, in the mean
        ("room", "i8"),  # KV tokens kept for drafts that are rejected
        ("first", "i8"),  # of its cumulative tables in `acceptance`, by number of steps
    ],
    align=True,
)
"""Row `pool · classes + class`."""

CLASS_WINDOW = np.dtype(
    [
        ("arrived", "i8"),
        ("ended", "i8", (len(Fate),)),  # by fate, in the window in which they ended
        ("good", "i8"),  # served within all objectives
        ("light", "i8"),  # served by a lighter model, and not again
        ("escalated", "i8"),  # served by a lighter model and again
        ("measured", "i8"),  # arrived after the warm-up; counted in the window of arrival
        ("measured_ended", "i8", (len(Fate),)),
        ("measured_good", "i8"),
        ("input_tokens", "i8"),  # of requests served
        ("output_tokens", "i8"),
        ("reasoning_tokens", "i8"),
        ("cached_tokens", "i8"),  # of input_tokens, found in a cache
        ("preemptions", "i8"),
        ("tasks_finished", "i8"),  # sessions whose last turn was served in the window
        ("measured_tasks", "i8"),  # sessions that began after the warm-up, by window of that …
        ("measured_tasks_finished", "i8"),
        ("measured_tasks_abandoned", "i8"),  # … and ended in any other way
        ("task_calls", "i8"),  # turns of the measured ones that finished
        ("task_tokens", "i8"),  # their prompt and output tokens
    ],
    align=True,
)
"""Row `window · classes + class`."""

POOL_WINDOW = np.dtype(
    [
        ("busy_s", "f8"),  # replica-seconds spent in steps
        ("compute_s", "f8"),  # of these, arithmetic at peak rate
        ("memory_s", "f8"),  # of these, memory traffic at peak bandwidth
        ("active_s", "f8"),  # replica-seconds in service (filled by the engine)
        ("running_s", "f8"),  # ∫ running sequences dt
        ("waiting_s", "f8"),  # ∫ waiting requests dt, without those of batch classes …
        ("batch_waiting_s", "f8"),  # … and those
        ("kv_block_s", "f8"),  # ∫ KV blocks in use dt, of what runs
        ("parked_block_s", "f8"),  # ∫ KV blocks dt of what is between two pools
        ("landing_s", "f8"),  # ∫ requests dt that come from another pool and have memory in this
        ("link_s", "f8"),  # ∫ links in use dt
        ("steps", "i8"),
        ("prefill_tokens", "i8"),
        ("decode_tokens", "i8"),
        ("preemptions", "i8"),
        ("swaps", "i8"),  # of these, to the first tier
        ("cached_tokens", "i8"),  # of prompts, found on the replica
        ("loaded_tokens", "i8", (MOST_TIERS,)),  # … and fetched from each tier
        ("routed", "i8"),
        ("overflowed", "i8"),  # of these, not their class's first pool
        ("received", "i8"),  # of those routed, handed over by a pool that prefills
        ("escalated", "i8"),  # of those routed, after a lighter model
    ],
    align=True,
)
"""Row `window · pools + pool`."""

FINISHED = np.dtype(
    [
        ("row", "i8"),
        ("arrival_s", "f8"),
        ("started_s", "f8"),
        ("first_token_s", "f8"),
        ("first_answer_token_s", "f8"),  # without reasoning, the first token
        ("finish_s", "f8"),
        ("session", "i8"),
        ("visitor", "i8"),
        ("input_tokens", "i8"),
        ("output_tokens", "i8"),
        ("reasoning_tokens", "i8"),
        ("cached_tokens", "i8"),  # of the input, found in a cache
        ("class", "i4"),
        ("pool", "i4"),
        ("replica", "i4"),
        ("turn", "i4"),
        ("preemptions", "i4"),
        ("fate", "i4"),
        ("prefill_replica", "i4"),
        ("leg", "i4"),
    ],
    align=True,
)
"""One ended request, for per-request output."""
