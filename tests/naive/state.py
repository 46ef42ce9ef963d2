"""What the naive twin knows: pools and classes, rows, requests, replicas and its books."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, inf, nan

from planner.kernel.dtypes import MOST_TIERS
from planner.kernel.enums import Fate, Leg, Router, Scheduler
from tests.naive.store import Store

NOWHERE = -1


@dataclass(frozen=True)
class Tier:
    blocks: int
    block_s: float
    latency_s: float = 0.0
    shared: bool = False
    """One for the pool; else one for each replica."""


@dataclass
class Pool:
    fixed_s: float
    linear_s: list[float]
    """Seconds by tokens in the step, 0 … token_budget."""
    decode_s: float
    decode_seq_s: float
    prefill_s: float
    token_budget: int
    maximum_sequences: int
    kv_blocks: int
    kv_block_tokens: int
    context_tokens: int
    queue_limit: int | None = None
    overflow_waiting: float = inf
    router: Router = Router.LEAST_LOADED
    scheduler: Scheduler = Scheduler.FCFS
    priority_step_s: float = 0.0
    batch_sequences: int = 0
    batch_blocks: int = 0
    shed_tokens: float = inf
    shed_blocks: float = inf
    shed_ttft: float = inf
    request_s: float = 0.0
    late_steps: float = 0.0
    prefill_first: bool = False
    poll_steps: int = 1
    replicas: int = 1
    draft_tokens: int = 0
    """Verified per sequence and step; what is accepted of them is up to the class."""
    draft_sequences: float = inf
    """With more decoding sequences, nothing is drafted."""
    draft_s: Sequence[float] = ()
    """Seconds to draft by decoding sequences, 0 … maximum_sequences."""
    draft_decode_s: float = 0.0
    """Per context token, in steps with drafts."""
    emitted: Sequence[Sequence[float]] = ()
    """Per class, the probabilities that a step with drafts emits 1, 2, … tokens."""
    prefix_cache: bool = False
    tiers: Sequence[Tier] = ()
    swap: bool = False
    affinity_share: float = 0.3
    affinity_slack: int = 64
    affinity_ratio: float = 1.5
    decode_pool: int | None = None
    """Pool that decodes what this one prefills; None: it does so itself."""
    link_latency_s: float = 0.0
    link_token_s: float = 0.0
    """To send the KV of one prompt token over the link of a replica."""

    @property
    def sheds(self) -> bool:
        """Whether admission control may turn requests away."""
        return min(self.shed_tokens, self.shed_blocks, self.shed_ttft) < inf

    def pace(self, class_index: int) -> float:
        """Tokens that a step emits with drafts, in the mean; 1 in pools that never draft."""
        if not self.draft_tokens:
            return 1.0
        return sum(n * share for n, share in enumerate(self.emitted[class_index], start=1))

    def room(self, class_index: int) -> int:
        """KV tokens kept for drafts that are rejected."""
        return self.draft_tokens + 1 - ceil(self.pace(class_index))


@dataclass
class RequestClass:
    pools: list[int]
    priority: int = 0
    weight: float = 1.0
    batch: bool = False
    sheddable: bool = False
    timeout_s: float = inf
    ttft_limit_s: float = inf
    ttfat_limit_s: float = inf
    tpot_limit_s: float = inf
    e2e_limit_s: float = inf
    bucket_interval_s: float = 0.0
    bucket_burst: float = 1.0
    system_tokens: int = 0
    keeps_reasoning: bool = False
    light_pool: int | None = None
    """Pool of a lighter model that some of its requests go to first."""
    light_share: float = 1.0
    light_input_tokens: float = inf
    """Longest input of those."""
    escalation: float = 0.0
    """Share of what the lighter model has served that its own pools serve again."""


@dataclass
class Row:
    arrival_s: float | None
    """None: a later turn, or a row of a closed stream, of which the first may have one."""
    class_index: int
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int = 0
    session: int = NOWHERE
    visitor: int = NOWHERE
    think_s: float = 0.0
    later_turns: list[Row] = field(default_factory=list)
    """The rest of the session; each is sent its own `think_s` after the turn before was served."""
    number: int = NOWHERE
    hashes: Sequence[int] = ()
    """Of prefix blocks of `hash_tokens` each."""
    hash_tokens: int = 4


@dataclass
class ClosedStream:
    class_index: int
    clients: int
    rows: list[Row]


@dataclass(eq=False)
class Request:
    """A request from its arrival to its end; once ended, its record."""

    key: int
    row: Row
    arrival_s: float
    later_turns: list[Row]
    stream: int
    """The closed stream that sent it, or NOWHERE."""
    deadline_s: float
    rank: float
    """What the scheduler orders by; not read where classes share by weight."""
    batch: bool
    pool: int = NOWHERE
    replica: int = NOWHERE
    started_s: float = nan
    first_token_s: float = nan
    answer_s: float = nan
    """First token after the reasoning; the last token if all is reasoning."""
    last_token_s: float = nan
    finish_s: float = nan
    fate: Fate | None = None
    good: bool = False
    measured: bool = False
    preemptions: int = 0
    prompt_tokens: int = 0
    """To prefill in this admission: the input and what was already emitted."""
    prefilled_tokens: int = 0
    chunk_tokens: int = 0
    """Of these, in the step under way."""
    emitted_tokens: int = 0
    kv_tokens: int = 0
    blocks: int = 0
    """Held, those of segments included."""
    shared: int = 0
    """Of these, the ones of segments that it is attached to."""
    decoding: bool = False
    ready_s: float = nan
    """When its blocks have been fetched."""
    swapped_blocks: int = 0
    cached_tokens: int = 0
    """Of its input, that needed no prefill for the answer that is seen."""
    calls: list[Request] = field(default_factory=list)
    """The turns of its session up to this one."""
    source: Replica | None = None
    """Replica that prefilled it for another pool, as long as it keeps the KV."""
    source_blocks: int = 0
    """That are kept there, besides `source_shared` of segments."""
    source_shared: int = 0
    landed: bool = False
    """Its KV has come over, but it does not decode yet."""
    prefill_replica: int = NOWHERE
    leg: Leg = Leg.MAIN
    pending_tokens: int = 0
    """Of its prompt, to prefill by what was cached when it began to wait."""
    charged: bool = False
    """Its prompt is counted where classes share by weight."""

    @property
    def answer_token(self) -> int:
        """Number of its first answer token."""
        return max(1, min(self.row.reasoning_tokens + 1, self.row.output_tokens))

    @property
    def number(self) -> int:
        return self.row.number

    @property
    def class_index(self) -> int:
        return self.row.class_index


@dataclass(eq=False)
class Replica:
    number: int
    pool_index: int
    pool: Pool
    active: bool = True
    waiting: list[Request] = field(default_factory=list)
    running: list[Request] = field(default_factory=list)
    """In order of admission."""
    fetching: list[Request] = field(default_factory=list)
    """Admitted, but their blocks are on their way, or have come and wait for a boundary."""
    store: Store = field(default_factory=Store)
    tiers: list[Store] = field(default_factory=list)
    link_free_s: list[float] = field(default_factory=list)
    """By tier."""
    prefill_step: bool = False  # decoding requests stand still for it
    drafting: bool = False  # the step under way verifies drafts
    unpolled_steps: int = 0  # of nothing but decodes, since the queue was last looked at
    served_tokens: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    """Per class, what it was served, at cost and divided by its weight."""
    virtual_tokens: float = 0.0
    """The greatest of these counts that a class had when one of its requests was admitted."""
    backlog_since_s: float = nan
    backlog_tokens: int = 0
    """Prompt tokens of interactive requests admitted since then."""
    step_start_s: float = -inf
    step_end_s: float = inf
    """Infinity while idle."""
    accounted_s: float = 0.0
    """Time up to which the integrals of `PoolTotals` are known."""
    kept: list[Request] = field(default_factory=list)
    """Prefilled here for another pool, which has not got all of their KV yet."""
    leaving: list[Request] = field(default_factory=list)
    """Prefilled in the step that ends."""
    link: list[Request] = field(default_factory=list)
    """Whose KV is sent, one after the other; the other pool holds memory for all of them."""
    link_end_s: float = inf
    landing: list[Request] = field(default_factory=list)
    """Prefilled elsewhere, with memory here: sent, or to be sent, or to decode from the next
    boundary on."""

    @property
    def idle(self) -> bool:
        return self.step_end_s == inf

    @property
    def load(self) -> int:
        return len(self.waiting) + len(self.running) + len(self.fetching) + len(self.landing)

    @property
    def parked_blocks(self) -> int:
        """Those of requests on their way from one pool to another."""
        kept = sum(request.source_blocks for request in self.kept)
        return kept + sum(request.blocks for request in self.landing)

    @property
    def used_blocks(self) -> int:
        own = sum(request.blocks - request.shared for request in self.running + self.fetching)
        return own + self.store.used_blocks

    def load_for(self, batch: bool) -> int:
        """What is there; an interactive request does not see the batch requests that wait."""
        return self.load if batch else self.load - len(self.waiting) + len(self.interactive)

    @property
    def interactive(self) -> list[Request]:
        """Those that wait and are not batch."""
        return [request for request in self.waiting if not request.batch]

    def place(self, request: Request) -> tuple[bool, float, int]:
        """Where a request stands in the order of this replica: the least is served first."""
        weighted = self.pool.scheduler == Scheduler.WEIGHTED
        rank = self.served_tokens[request.class_index] if weighted else request.rank
        return request.batch, rank, request.key

    @property
    def free_blocks(self) -> int:
        return self.pool.kv_blocks - self.used_blocks - self.parked_blocks


@dataclass
class PoolTotals:
    busy_s: float = 0.0
    running_s: float = 0.0
    """∫ running sequences dt; likewise below."""
    waiting_s: float = 0.0
    batch_waiting_s: float = 0.0
    kv_block_s: float = 0.0
    landing_s: float = 0.0
    parked_block_s: float = 0.0
    link_s: float = 0.0
    steps: int = 0
    """Completed ones."""
    prefill_tokens: int = 0
    decode_tokens: int = 0
    preemptions: int = 0
    swaps: int = 0
    cached_tokens: int = 0
    loaded_tokens: list[int] = field(default_factory=lambda: [0] * MOST_TIERS)
    routed: int = 0
    overflowed: int = 0
    received: int = 0
    """Of those routed: handed over by a pool that prefills."""
    escalated: int = 0
    """Of those routed: after a lighter model."""


@dataclass
class Task:
    """A session whose last turn was served, or which was given up."""

    calls: list[Request]
    finished: bool
    latency_s: float
    """As its client sees it."""

    @property
    def class_index(self) -> int:
        return self.calls[0].class_index


@dataclass
class Outcome:
    requests: list[Request]
    """Every request that arrived, in order of arrival key."""
    token_gaps: list[list[float]]
    """Per class, the measured gaps before every token but the first of a request."""
    abandoned_turns: int
    unsent: int
    pools: list[PoolTotals]
    tasks: list[Task]
