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
from planner.units import Bandwidth, Duration, Fraction, PositiveDuration


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
    scheduler: Literal["fcfs", "priority", "ageing", "deadline", "shortest_prompt"] = "fcfs"
    """Order of the waiting queue: as requests arrive; by the priority of their class; by both,
    where a step of priority is worth `priority_step` of waiting; by the instant at which the first
    token is due (`objectives` on ttft); or by the length of the prompt."""
    priority_step: PositiveDuration | None = None
    """Waiting that a step of priority is worth, with the scheduler `ageing`."""
    queue_limit: Count | None = None
    """Waiting requests per replica; those beyond are refused. Absent: no limit."""

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
    draft_dtype: Dtype = "bf16"
    """Weights of what drafts."""
    maximum_sequences: Count | None = None
    """With more decoding sequences (of each data-parallel group, as in `engine`) nothing is
    drafted, as by vLLM's `speculative_disable_by_batch_size` until 0.10. Absent: no limit."""
    minimum_length: Annotated[float, Field(ge=1, le=33)] | None = None
    """If steps emit fewer tokens of a sequence than this, in the mean of the pool's classes, it
    does not draft at all. Absent: it drafts."""
    acceptance: list[Fraction] | None = None
    """Your own: the shares of first, second, … drafted tokens accepted if those before were."""

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
        if self.method == "n-gram" and "draft_dtype" in self.model_fields_set:
            raise ValueError("n-gram drafts have no weights; delete draft_dtype")
        if self.acceptance is not None and len(self.acceptance) != self.draft_tokens:
            raise ValueError(
                f"acceptance has {len(self.acceptance)} shares for draft_tokens "
                f"{self.draft_tokens}; state one per position"
            )
        return self

    @property
    def verified(self) -> int:
        """Tokens verified per step, besides the sequence's own."""
        return self.draft_tokens if self.verified_tokens is None else self.verified_tokens

    def sequences_within(self, token_budget: int) -> int:
        """Return for how many sequences a step of that many tokens can verify drafts."""
        return token_budget // (1 + self.verified)


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
    """Attention replicas inside one engine copy."""
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
    router: Literal["round_robin", "least_loaded", "power_of_two", "session_affinity"] = (
        "power_of_two"
    )
    """How a request finds its replica."""
    overflow_waiting: Annotated[float, Field(ge=0, le=1e9)] = 4.0
    """Mean waiting requests per replica above which classes overflow to their next pool."""
    schedule: list[ScheduledNodes] = []
    """Changes of the number of nodes by time of day."""
    cold_start: Duration = 300.0
    """From ordering a node to its first request."""
    price: str | None = None
    """Price in the catalogue or in `prices.nodes`; absent: `prices.default_terms` for its chip."""

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
