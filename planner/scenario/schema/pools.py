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
from planner.units import Duration, Fraction


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
    scheduler: Literal["fcfs", "priority"] = "fcfs"
    """Order of the waiting queue."""
    queue_limit: Count | None = None
    """Waiting requests per replica; those beyond are refused. Absent: no limit."""

    @model_validator(mode="after")
    def _budget_holds_decodes(self) -> Self:
        if self.token_budget < self.maximum_sequences:
            raise ValueError(
                f"token_budget {self.token_budget} is less than maximum_sequences "
                f"{self.maximum_sequences}: the decodes alone would not fit into a step"
            )
        return self


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
