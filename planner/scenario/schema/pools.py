"""What serves: pools of replicas, their engines and schedules."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from planner.scenario.schema.fields import (
    Count,
    DeviceCount,
    Dtype,
    Name,
    Nodes,
    Part,
    StepLimit,
    TimeOfDay,
)
from planner.scenario.schema.money import PriceShare
from planner.units import Bandwidth, Bytes, Duration, Fraction, PositiveDuration


class Engine(Part):
    """Limits of the serving engine, by the names of its own flags where they differ."""

    name: Literal["vllm", "sglang", "tensorrt-llm", "generic"] = "vllm"
    """Whose kernels and overheads apply."""
    token_budget: StepLimit = 8192
    """Tokens per step (vLLM `max_num_batched_tokens`, SGLang `chunked_prefill_size`)."""
    maximum_sequences: StepLimit = 256
    """Sequences per step (vLLM `max_num_seqs`, SGLang `max_running_requests`)."""
    memory_fraction: Annotated[Fraction, Field(gt=0)] = 0.9
    """Share of device memory the engine may use (vLLM `gpu_memory_utilization`)."""
    kv_block_tokens: Annotated[int, Field(ge=1, le=1024)] = 16
    """Tokens per KV block (vLLM `block_size`, SGLang `page_size`)."""
    kv_blocks: Count | None = None
    """Overrides the number of KV blocks computed from memory."""
    context_tokens: Count | None = None
    """Longest prompt + output (vLLM `max_model_len`); absent: that of the model."""
    prefill_first: bool | None = None
    """Prompts are prefilled in steps of their own; decodes stand still. Absent: for SGLang."""
    poll_steps: Annotated[int, Field(ge=1, le=1000)] = 1
    """Decode steps between two looks at the queue (SGLang `scheduler_recv_interval`)."""
    scheduler: Literal["fcfs", "priority", "ageing", "deadline", "shortest_prompt", "weighted"] = (
        "fcfs"
    )
    """Order of the waiting queue: as requests arrive; by the priority of their class; by both,
    where a step of priority is worth `priority_step` of waiting; by the instant at which the first
    token is due (`objectives` on ttft); by the length of the prompt; or by what the class was
    served so far, so that classes share by `weight`."""
    priority_step: PositiveDuration | None = None
    """Waiting that a step of priority is worth, with the scheduler `ageing`."""
    queue_limit: Count | None = None
    """Waiting requests per replica; those beyond are refused. Absent: no limit."""
    preemption: Literal["recompute", "swap"] = "recompute"
    """What becomes of the KV cache of a sequence that has to make room: computed again when it
    returns (vLLM V1), or moved to the first of the pool's `kv_tiers` (vLLM V0's `swap_space`)."""
    batch_below: Annotated[Fraction, Field(gt=0)] = 0.6
    """Share of the sequences and of the KV blocks of a replica up to which requests of batch
    classes are admitted; the rest is kept for interactive ones."""

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        if (self.priority_step is None) == (self.scheduler == "ageing"):
            raise ValueError(
                "scheduler ageing needs a priority_step: the waiting that a step of priority is "
                "worth, as 5 s"
                if self.priority_step is None
                else "priority_step is only for the scheduler ageing; delete it"
            )
        if self.token_budget < self.maximum_sequences:
            raise ValueError(
                f"token_budget {self.token_budget} is less than maximum_sequences "
                f"{self.maximum_sequences}: the decodes alone would not fit into a step"
            )
        return self


class Admission(Part):
    """Admission control: what is shed on arrival, so that overload does not end in a long queue.

    It looks at the replica that the router names. What it turns away goes to the next pool of the
    class, or is lost as `shed`. Batch classes are not subject to it.
    """

    waiting_tokens: Count | None = None
    """Prompt tokens waiting per replica from which on requests are shed (as Dynamo's
    `active-prefill-tokens-threshold`)."""
    kv_usage: Annotated[Fraction, Field(gt=0)] | None = None
    """Share of the KV blocks in use from which on `sheddable` classes are shed (0.8 in the Gateway
    API inference extension)."""
    predicted_ttft: Annotated[Fraction, Field(gt=0)] | None = None
    """Share of its class's objective on ttft, as `100%`. What is expected to take longer is shed,
    by the prompt tokens that wait before it and the rate at which they have been admitted (as
    Mooncake's early rejection)."""

    @model_validator(mode="after")
    def _has_a_rule(self) -> Self:
        if self.waiting_tokens is None and self.kv_usage is None and self.predicted_ttft is None:
            raise ValueError(
                "needs a rule: waiting_tokens, kv_usage or predicted_ttft; or leave admission out"
            )
        return self


class Speculation(Part):
    """Speculative decoding: several tokens are drafted, and the model verifies them in one step.

    Drafting takes time and memory of the pool's own devices. What is accepted depends on the class
    (`task`), by published measurements unless `acceptance` states your own.
    """

    method: Literal["mtp", "eagle3", "p-eagle", "n-gram", "draft-model"]
    """What drafts: a head trained with the model (mtp), one trained after it (eagle3; p-eagle
    drafts all positions in one pass), a search in the prompt (n-gram), or a smaller model."""
    draft_tokens: Annotated[int, Field(ge=1, le=32)]
    """Drafted one after the other per step (vLLM `num_speculative_tokens`, SGLang
    `speculative_num_steps`)."""
    verified_tokens: Annotated[int, Field(ge=1, le=256)] | None = None
    """Drafted tokens verified per step where they form a tree (SGLang
    `speculative_num_draft_tokens`); absent: as many as `draft_tokens`, a chain."""
    draft_model: str | None = None
    """Model in the catalogue that drafts, with the method draft-model."""
    draft_dtype: Dtype | None = None
    """Weights of what drafts. Absent: bf16, but for a head trained with the model (mtp), which has
    the weights of its pool unless these are of 4 bits: DeepSeek publishes its own in fp8 with the
    model, and NVIDIA's fp4 checkpoints keep them in bf16."""
    draft_vocabulary: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Tokens that a head trained after the model (eagle3, p-eagle) can draft (`draft_vocab_size` of
    its configuration). Absent: 32000, as most have."""
    maximum_sequences: Count | None = None
    """With more decoding sequences (of each data-parallel group, as in `engine`) nothing is
    drafted, as by vLLM's `speculative_disable_by_batch_size` until 0.10. Absent: no limit."""
    minimum_length: Annotated[float, Field(ge=1, le=33)] | None = None
    """If steps emit fewer tokens of a sequence than this, in the mean over the steps of the pool's
    classes, nothing is drafted and what drafts takes no memory. Absent: it drafts."""
    acceptance: list[Fraction] | None = None
    """Your own: the shares of first, second, … drafted tokens accepted if those before were. Of
    n-grams, in steps whose search found something."""
    match_rate: Fraction | None = None
    """Share of a sequence's steps in which an n-gram search finds something; in the others it
    verifies nothing, as in vLLM. Absent: it always drafts."""

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        if (self.draft_model is None) == (self.method == "draft-model"):
            raise ValueError(
                "method draft-model needs a draft_model, the model in the catalogue that drafts"
                if self.draft_model is None
                else f"draft_model is only for the method draft-model, not {self.method}; delete it"
            )
        if self.verified < self.draft_tokens:
            raise ValueError(
                f"verified_tokens {self.verified} are fewer than the draft_tokens "
                f"{self.draft_tokens} of one branch; verify at least these"
            )
        if self.verified > self.draft_tokens and self.acceptance is None:
            raise ValueError(
                "verified_tokens make a tree, and published tables tell of chains; state "
                "`acceptance`, the share accepted at each depth"
            )
        if self.minimum_length is not None and self.minimum_length > 1 + self.draft_tokens:
            raise ValueError(
                f"minimum_length {self.minimum_length:g} is out of reach: a step with draft_tokens "
                f"{self.draft_tokens} emits at most {1 + self.draft_tokens}"
            )
        if self.method == "n-gram" and self.draft_dtype is not None:
            raise ValueError("n-gram drafts have no weights; delete draft_dtype")
        if self.draft_vocabulary is not None and self.method not in ("eagle3", "p-eagle"):
            raise ValueError(
                f"draft_vocabulary is for heads with an output head of their own, eagle3 and "
                f"p-eagle; delete it for {self.method}"
            )
        if self.match_rate is not None and self.method != "n-gram":
            raise ValueError(
                f"match_rate is of n-gram searches; {self.method} drafts in every step: delete it"
            )
        if self.acceptance is not None and len(self.acceptance) != self.draft_tokens:
            raise ValueError(
                f"acceptance has {len(self.acceptance)} shares for draft_tokens "
                f"{self.draft_tokens}; state one per position"
            )
        return self

    def weight_dtype(self, of_model: Dtype) -> Dtype:
        """Return the format of the weights of what drafts, in a pool with weights `of_model`."""
        if self.draft_dtype is not None:
            return self.draft_dtype
        return of_model if self.method == "mtp" and of_model not in ("fp4", "int4") else "bf16"

    @property
    def verified(self) -> int:
        """Tokens verified per step, besides the sequence's own."""
        return self.draft_tokens if self.verified_tokens is None else self.verified_tokens

    def sequences_within(self, token_budget: int) -> int:
        """Return for how many sequences a step of that many tokens can verify drafts."""
        return token_budget // (1 + self.verified)


class KvTier(Part):
    """Memory below that of the accelerators which keeps KV blocks of requests that have ended.

    What a replica no longer holds is fetched from here where that takes less time than computing it
    again. It has no price: the bill holds the node as it is sold, no added memory, disks or store.
    """

    name: Name
    """Unique in its pool, e.g. `host`, `ssd`."""
    capacity: Annotated[Bytes, Field(gt=0)]
    """For KV blocks, of one node or of all (`scope`), as `1 TB`."""
    scope: Literal["node", "pool"] = "node"
    """Whose it is: every node has so much and divides it evenly among its replicas, or all replicas
    of the pool share it (a remote store)."""
    bandwidth: Bandwidth
    """To one replica, over the links of all its devices, as `50 GB/s`. A replica fetches for one
    request at a time."""
    latency: Duration = 0.0
    """From asking to the first block."""


class CacheAffinity(Part):
    """When the router `cache_aware` prefers the replica that holds most of a prompt.

    The names in brackets are the options of SGLang's and vLLM's routers.
    """

    share: Fraction = 0.3
    """… if that is at least this share of the prompt (`--cache-threshold`)"""
    slack: Annotated[int, Field(ge=0, le=1_000_000)] = 64
    """… and it has at most so many requests more than the least loaded
    (`--balance-abs-threshold`)"""
    ratio: Annotated[float, Field(ge=1, le=1e6)] = 1.5
    """… or at most so many times as many, whichever allows more (`--balance-rel-threshold`)."""


class DecodeElsewhere(Part):
    """Disaggregation: this pool only prefills, and another decodes.

    Both serve one model with KV caches of one format. The KV of a prompt goes over a link, of which
    each replica of this pool has one; it carries one prompt at a time.
    """

    pool: Name
    """Pool that decodes. It gets nothing else, but may do so for several pools."""
    bandwidth: Bandwidth
    """Of the link of a replica, as `50 GB/s`: in one direction, as attained."""
    latency: Duration = 0.0
    """From the start of a transfer until its first byte comes, registration included."""


class ScheduledNodes(Part):
    """From a time of day on, the pool has this many nodes."""

    at: TimeOfDay
    """Time of day; repeats every day."""
    nodes: Nodes
    """Nodes from then on. Removed nodes drain, then stop; added ones serve after `cold_start`."""


class Pool(Part):
    """Identical replicas of one model on one kind of node."""

    name: Name
    """Unique among the pools."""
    model: str
    """Model in the catalogue."""
    node: str
    """Node in the catalogue: a priced machine with its chips."""
    nodes: Nodes
    """Number of nodes at the start."""
    tensor_parallel: DeviceCount = 1
    """Devices that share every layer."""
    pipeline_parallel: DeviceCount = 1
    """Groups of devices that share the layers."""
    expert_parallel: DeviceCount = 1
    """Devices over which experts are spread; at most tensor × data parallel."""
    data_parallel: DeviceCount = 1
    """Attention replicas inside one engine copy, each with sequences and KV cache of its own; they
    meet at every mixture layer."""
    micro_batches: Annotated[int, Field(ge=1, le=64)] | None = None
    """Batches in flight in a pipeline; absent: one per stage (vLLM; SGLang `--pp-async-batch-depth`
    adds to them). Fewer leave stages idle."""
    expert_exchange: Literal["gather", "low_latency", "high_throughput", "auto"] = "gather"
    """How tokens of several data-parallel groups get to their experts (vLLM `--all2all-backend`,
    SGLang `--moe-a2a-backend` and `--deepep-mode`): every token to every device; one copy per
    expert; one per node, spread inside it; or the sooner of the latter two in each step."""
    expert_skew: Annotated[float, Field(ge=0, le=8)] | None = None
    """Standard deviation over mean of the tokens of an expert; 0: all alike. Absent: as published
    for DeepSeek-R1 where `redundant_experts` or `expert_exchange` ask for it, else as in the
    measured kernels."""
    redundant_experts: Annotated[int, Field(ge=0, le=1024)] | None = None
    """Copies of popular experts that a load balancer adds and places per layer (vLLM
    `--enable-eplb`, SGLang `--ep-num-redundant-experts`); 0: it places without copying. Absent: no
    balancer."""
    two_batch_overlap: bool = False
    """Two halves of the batch take turns to compute and to exchange tokens (SGLang
    `--enable-two-batch-overlap`, vLLM `--enable-dbo`)."""
    weight_dtype: Dtype = "bf16"
    """Weights in memory."""
    activation_dtype: Dtype | None = None
    """Type of the matrix arithmetic; absent: that of the weights where the chip has it."""
    kv_dtype: Dtype = "bf16"
    """KV cache."""
    minimum_quality: Annotated[Fraction, Field(gt=0)] | None = None
    """Share of the 16-bit model's benchmark scores that must be left, as `98%`: formats of weights
    and cache whose published evaluations average less, or do not exist, are refused."""
    engine: Engine = Engine()
    """Limits of the serving engine."""
    speculation: Speculation | None = None
    """Speculative decoding; absent: none."""
    decode: DecodeElsewhere | None = None
    """Pool that decodes what this one prefills; absent: it does both itself."""
    prefix_cache: bool = False
    """KV blocks of requests that have ended stay while there is room, for prompts that begin the
    same way (vLLM's automatic prefix caching, SGLang's RadixAttention). Shared are the blocks that
    a trace names (`hash_ids`), else the class's `system_prompt` and what its session has said."""
    kv_tiers: Annotated[list[KvTier], Field(max_length=3)] = []
    """Where else KV blocks are kept, the nearest first: host memory, SSD, a remote store."""
    router: Literal[
        "round_robin", "least_loaded", "power_of_two", "session_affinity", "cache_aware"
    ] = "power_of_two"
    """How a request finds its replica."""
    affinity: CacheAffinity | None = None
    """Limits of the router `cache_aware`; absent: the defaults."""
    admission: Admission | None = None
    """Admission control; absent: everything may wait."""
    overflow_waiting: Annotated[float, Field(ge=0, le=1e9)] = 4.0
    """Mean waiting requests per replica above which classes overflow to their next pool."""
    schedule: list[ScheduledNodes] = []
    """Changes of the number of nodes by time of day."""
    cold_start: Duration = 300.0
    """From ordering a node to its first request."""
    price: str | None = None
    """Price in the catalogue, a price table or `prices.nodes`; absent: `prices.default_terms` for
    its chip."""
    price_mix: list[PriceShare] = []
    """Instead of one price: several, for nodes stacked from the first (base load) to the last
    (peaks), as reserved, then on demand, then spot."""

    @model_validator(mode="after")
    def _mix_covers_all_nodes(self) -> Self:
        if not self.price_mix:
            return self
        if self.price is not None:
            raise ValueError("has a price and a price_mix; delete one of them")
        *below, last = self.price_mix
        if last.nodes is not None or any(share.nodes is None for share in below):
            raise ValueError(
                "the last price of price_mix, and it alone, is for all other nodes; leave its "
                "`nodes` out, and state those of the others"
            )
        return self

    @model_validator(mode="after")
    def _budget_holds_drafts(self) -> Self:
        if self.speculation is None:
            return self
        most = self.engine.maximum_sequences
        drafting = min(self.speculation.maximum_sequences or most, most)
        verified = drafting * (1 + self.speculation.verified)
        budget = self.engine.token_budget
        if verified > budget:
            fewer = self.speculation.sequences_within(budget)
            lower = f"lower speculation.maximum_sequences to {fewer}, or " if fewer else ""
            raise ValueError(
                f"{drafting} sequences verify {verified} tokens in a step, more than the "
                f"token_budget {budget}; {lower}raise the budget"
            )
        return self
