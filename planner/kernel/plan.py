"""What the kernel needs to know of a cluster, in plain numbers: what becomes of a scenario."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from planner.kernel.enums import Router, Scheduler

UNLIMITED = 2**62
"""Stands for "no limit" in a count."""


@dataclass(frozen=True)
class DraftPlan:
    """How a pool drafts tokens, which its model then verifies in one step."""

    tokens: int
    """Verified per sequence and step besides its own, at least 1."""
    emitted: tuple[tuple[float, ...], ...]
    """Per class, the probabilities that a step emits 1, 2, … tokens of a sequence: up to `tokens` +
    1 of a chain, fewer of a tree."""
    seconds: NDArray[np.float64]
    """To draft for b decoding sequences, besides what grows with their contexts [s], shape
    `(maximum_sequences + 1,)`."""
    sequences: int = UNLIMITED
    """With more decoding sequences, nothing is drafted."""
    decode_s: float = 0.0
    """To draft, per context token of the decoding sequences [s]."""
    compute_s: NDArray[np.float64] | None = None
    """Part of `seconds` that is arithmetic at peak rate [s]; absent: none."""
    memory_s: NDArray[np.float64] | None = None
    """Part of `seconds` that is memory traffic at peak bandwidth [s]; absent: none."""

    def __post_init__(self) -> None:
        if len({len(probabilities) for probabilities in self.emitted}) != 1:
            raise ValueError("the classes' distributions must be of one length")
        for probabilities in self.emitted:
            if not 2 <= len(probabilities) <= self.tokens + 1 or min(probabilities) < 0.0:
                raise ValueError(f"{probabilities} is no distribution over 1 to {self.tokens + 1}")
            if not math.isclose(sum(probabilities), 1.0, rel_tol=1e-9):
                raise ValueError(f"the probabilities {probabilities} do not add up to 1")

    def pace(self, klass: int) -> float:
        """Return the tokens that a step emits of a sequence of a class, in the mean."""
        return sum(tokens * share for tokens, share in enumerate(self.emitted[klass], start=1))


@dataclass(frozen=True)
class TierPlan:
    """Memory below that of the accelerators, which keeps the KV blocks of requests that ended."""

    name: str
    blocks: int
    """It holds, per replica or shared."""
    block_s: float
    """To bring one block to a replica [s], on a link that carries one request's at a time."""
    latency_s: float = 0.0
    """Between asking and the first block [s]."""
    shared: bool = False
    """One for all replicas of the pool; else each has its own."""


@dataclass(frozen=True)
class PoolPlan:
    """One pool: the step time of its replicas, their limits, and its nodes."""

    name: str
    fixed_s: float
    """Per step [s]."""
    linear_s: NDArray[np.float64]
    """Per step of n tokens [s], shape `(token_budget + 1,)`."""
    decode_s: float
    """Per context token of the decoding sequences [s]."""
    decode_seq_s: float
    """Per decoding sequence [s]."""
    prefill_s: float
    """Per token² of prefill attention work [s]."""
    token_budget: int
    maximum_sequences: int
    kv_blocks: int
    kv_block_tokens: int = 16
    context_tokens: int = UNLIMITED
    """Longest prompt + output."""
    queue_limit: int = UNLIMITED
    """Waiting requests per replica; those beyond are refused."""
    overflow_waiting: float = math.inf
    """Mean waiting per active replica above which classes overflow."""
    request_s: float = 0.0
    """Time that a request spends between client and engine, there and back [s]: its client sees the
    first token and the end later by this."""
    late_steps: float = 0.0
    """Decode steps by which the first token is sent later than it was computed; as `request_s`,
    seen by the client only."""
    prefill_first: bool = False
    """Prompts are prefilled in steps of their own, for which decoding sequences stand still
    (SGLang's default); otherwise chunks ride along with the decodes (vLLM V1)."""
    poll_steps: int = 1
    """While sequences decode, the queue is looked at every so many steps (SGLang's
    `scheduler_recv_interval`)."""
    router: Router = Router.POWER_OF_TWO
    scheduler: Scheduler = Scheduler.FCFS
    priority_step_s: float = 0.0
    """Waiting that a step of priority is worth, where the scheduler lets requests age [s]."""
    batch_sequences: int = 0
    """With fewer running sequences, batch requests are admitted …"""
    batch_blocks: int = 0
    """… as long as no more KV blocks are in use; both 0 where no class is batch."""
    shed_tokens: int = UNLIMITED
    """Prompt tokens waiting per replica from which on requests are shed."""
    shed_blocks: int = UNLIMITED
    """KV blocks in use from which on requests of sheddable classes are shed."""
    shed_ttft: float = math.inf
    """Share of the limit on TTFT of its class; a request whose predicted one is above is shed."""
    compute_s: NDArray[np.float64] | None = None
    """Part of `linear_s` that is arithmetic at peak rate [s]; absent: none."""
    memory_s: NDArray[np.float64] | None = None
    """Part of `linear_s` that is memory traffic at peak bandwidth [s]; absent: none."""
    decode_memory_s: float = 0.0
    """Part of `decode_s` that is memory traffic at peak bandwidth [s]."""
    prefill_compute_s: float = 0.0
    """Part of `prefill_s` that is arithmetic at peak rate [s]."""
    draft: DraftPlan | None = None
    """Speculative decoding; absent: none."""
    prefix_cache: bool = False
    """KV blocks of requests that ended are kept while there is room, for prompts that begin the
    same way."""
    tiers: tuple[TierPlan, ...] = ()
    """Where else blocks are kept, the nearest first; only with `prefix_cache`."""
    swap: bool = False
    """A sequence that is preempted goes to the first tier, if it has room; else it is computed
    again."""
    affinity_share: float = 0.3
    """Router CACHE_AWARE: least share of a prompt that a replica must hold to be preferred."""
    affinity_slack: int = 64
    """… and by how many requests it may have more than the least loaded one …"""
    affinity_ratio: float = 1.5
    """… or how many times as many, whichever allows more."""
    decode_pool: int | None = None
    """Pool that decodes what this one prefills; absent: it does so itself."""
    link_latency_s: float = 0.0
    """Before the KV of a request flows to that pool [s]."""
    link_token_s: float = 0.0
    """To send the KV of a prompt token over the link of a replica [s]."""
    nodes: int = 1
    """Nodes at the start."""
    replicas_per_node: int = 1
    nodes_per_replica: int = 1
    """One of the last two is 1."""

    def __post_init__(self) -> None:
        most = self.maximum_sequences if self.prefill_first else 0
        if self.draft is not None:
            drafting = min(self.draft.sequences, self.maximum_sequences)
            most = max(most, drafting * (1 + self.draft.tokens))
        if most > self.token_budget:
            raise ValueError(
                f"pool {self.name}: {self.maximum_sequences} sequences cannot all decode in a step "
                f"of {self.token_budget} tokens"
            )

    @property
    def sheds(self) -> bool:
        """Whether admission control may turn requests away."""
        return self.shed_ttft < math.inf or min(self.shed_tokens, self.shed_blocks) < UNLIMITED

    def late_tokens(self, klass: int) -> float:
        """Return `late_steps` in tokens that a class's decoding sequence emits in the mean."""
        pace = 1.0 if self.draft is None else self.draft.pace(klass)
        return self.late_steps * pace

    def replicas_of(self, nodes: int) -> int:
        """Return the number of replicas that `nodes` nodes hold."""
        return nodes * self.replicas_per_node // self.nodes_per_replica


@dataclass(frozen=True)
class ClassPlan:
    """One request class: where it may go and what it was promised."""

    name: str
    pools: tuple[int, ...]
    """Its pools in order of preference."""
    priority: int = 0
    weight: float = 1.0
    """Of its share, where classes share by weight."""
    batch: bool = False
    """It is served where interactive classes leave room."""
    sheddable: bool = False
    """It is shed when the KV memory of a replica is nearly full."""
    timeout_s: float = math.inf
    ttft_limit_s: float = math.inf
    ttfat_limit_s: float = math.inf
    tpot_limit_s: float = math.inf
    e2e_limit_s: float = math.inf
    bucket_interval_s: float = 0.0
    """Seconds per request of a visitor's token bucket; 0: no rate limit."""
    bucket_burst: int = 1
    """Requests that a full bucket holds."""
    system_tokens: int = 0
    """Tokens with which every prompt of the class begins."""
    keeps_reasoning: bool = False
    """The next turn of a session repeats the reasoning tokens of this one."""
    light_pool: int | None = None
    """Pool of a lighter model; absent: none."""
    light_share: float = 1.0
    """Share of the requests with a short enough input that go there first."""
    light_input_tokens: int = UNLIMITED
    """Longest input of these."""
    escalation: float = 0.0
    """Share of what the lighter model has served that the class's own pools serve again."""


@dataclass(frozen=True)
class ClosedStream:
    """A closed loop: `clients` requests in flight, each followed by the next row when it ends."""

    clients: int
    blocks: Iterator[NDArray[np.void]]
    """Blocks of `ARRIVAL` rows. The arrival times of the first `clients` rows say when each client
    starts (NaN: at 0); those of the others are not read."""


@dataclass(frozen=True)
class Plan:
    """A whole simulation."""

    pools: tuple[PoolPlan, ...]
    classes: tuple[ClassPlan, ...]
    blocks: Iterator[NDArray[np.void]]
    """Blocks of `ARRIVAL` rows of the open loop. A row whose arrival time is NaN is a later turn of
    the row before it; the others are in order of time."""
    closed: tuple[ClosedStream, ...] = ()
    visitors: int = 0
    """Number of distinct visitors, all classes together."""
    duration_s: float = math.inf
    """Nothing arrives later."""
    warmup_s: float = 0.0
    drain_s: float = math.inf
    """How long the simulation goes on after `duration_s` to serve what is left."""
    window_s: float = 60.0
    seed: np.random.SeedSequence = field(default_factory=lambda: np.random.SeedSequence(0))
    keep_finished: bool = False
    """Hand out one row per ended request."""
    hashes: Callable[[], NDArray[np.int64]] | None = None
    """Returns the ids of prefix blocks that belong to the rows of `blocks` yielded since it was
    called last: `ARRIVAL.first_hash` counts them from the first of all."""
    hash_tokens: int = 512
    """Tokens of such a block."""
