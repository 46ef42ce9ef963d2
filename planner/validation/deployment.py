"""From a measured point to the pool that the kernel simulates: step times, memory, batching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from planner.catalog import Catalog, Figure, Model, Node
from planner.curves.device import Device, curves_for
from planner.curves.efficiency import DEFAULT
from planner.curves.engines import EngineOverhead
from planner.curves.layout import Dtypes, Parallelism
from planner.curves.library import CurveSet
from planner.curves.memory import memory_plan
from planner.curves.operators import inventory
from planner.curves.steptime import DeviceTime, device_time, with_overhead
from planner.kernel.plan import PoolPlan
from planner.measurements import Point, StaticBatch, protocol_name
from planner.measurements.protocol import ClosedLoop, Flood

USUAL_BUDGET = {"vllm": 8192, "sglang": 16384, "tensorrt-llm": 8192, "other": 8192}
"""Tokens per step where a point does not say, by engine: the defaults of the engines on large GPUs
(vLLM's `max_num_batched_tokens` for a server, SGLang's `chunked_prefill_size` from 80 GB on,
TensorRT-LLM's `max_num_tokens`)."""
USUAL_SEQUENCES = {"vllm": 1024, "sglang": 1024, "tensorrt-llm": 2048, "other": 1024}
USUAL_FRACTION = {"vllm": 0.9, "sglang": 0.88, "tensorrt-llm": 0.9, "other": 0.9}
PROMPTS_PER_STEP = {"vllm": 2.0, "tensorrt-llm": 1.0}
"""Where the settings are unknown, but made for one prompt length: prompts that a step has room for.
Published launch scripts give vLLM the default or twice the prompt length, and TensorRT-LLM one to
two prompt lengths, of which it prefills one, since it does not cut prompts by default."""


@dataclass(frozen=True)
class Deployment:
    """One replica of a point, ready to be simulated."""

    point: Point
    device: DeviceTime
    token_budget: int
    maximum_sequences: int
    kv_blocks: int
    kv_block_tokens: int
    prefill_first: bool
    poll_steps: int
    stream_interval: int
    hold_steps: int

    def pool(self, host: EngineOverhead) -> PoolPlan:
        """Return its pool with the overhead of an engine."""
        time = with_overhead(self.device, host)
        # an offline run is no server: nothing travels, and nobody waits for single tokens
        served = not isinstance(self.point.protocol, Flood | StaticBatch)
        return PoolPlan(
            name=self.point.id,
            fixed_s=time.fixed_s,
            linear_s=time.linear_s,
            decode_s=time.decode_s,
            decode_seq_s=time.decode_seq_s,
            prefill_s=time.prefill_s,
            token_budget=self.token_budget,
            maximum_sequences=self.maximum_sequences,
            kv_blocks=self.kv_blocks,
            kv_block_tokens=self.kv_block_tokens,
            prefill_first=self.prefill_first,
            poll_steps=self.poll_steps,
            request_s=host.request_s if served else 0.0,
            late_steps=host.late_steps + self.hold_steps if served else 0.0,
        )


def deployment_of(
    point: Point,
    catalog: Catalog,
    *,
    parallelism: Parallelism | None = None,
    curves: Sequence[CurveSet] | None = None,
) -> Deployment:
    """Return the deployment of a point; what its source leaves open is filled with usual values.

    Args:
        point: a measurement.
        catalog: knows its model and chip.
        parallelism: instead of the point's, for one side of a disaggregated system.
        curves: of the chip, then those it borrows from; None: those shipped.

    Raises:
        CatalogError: an unknown model or chip, or a figure that is missing.
    """
    model, chip = catalog.model(point.model), catalog.chip(point.chip)
    layout = point.parallelism if parallelism is None else parallelism
    dtypes = Dtypes(point.weight_dtype, point.activation_dtype, point.kv_dtype)
    budget, sequences = _limits(point, layout)
    engine = "generic" if point.engine == "other" else point.engine
    node = _node(catalog, point)
    device = Device(
        model, chip, node, dtypes, engine, curves_for(chip) if curves is None else curves, DEFAULT
    )
    time = device_time(
        inventory(model, layout, dtypes),
        device,
        layout,
        dtypes,
        token_budget=budget,
        maximum_sequences=sequences,
        typical_context_tokens=point.prompt.mean_tokens + point.output.mean_tokens / 2,
    )
    settings = point.settings
    return Deployment(
        point=point,
        device=time,
        token_budget=budget,
        maximum_sequences=sequences,
        # a device works on one micro-batch at a time
        kv_blocks=_kv_blocks(
            point, model, catalog, layout, dtypes, budget // layout.batches, sequences
        ),
        kv_block_tokens=settings.kv_block_tokens or 16,
        prefill_first=engine == "sglang",
        poll_steps=settings.poll_steps or 1,
        stream_interval=settings.stream_interval or 1,
        hold_steps=settings.hold_steps or 0,
    )


def _limits(point: Point, layout: Parallelism) -> tuple[int, int]:
    """Return tokens and sequences of one step of the whole replica."""
    settings, engine = point.settings, point.engine
    longest = point.prompt.maximum_tokens
    sequences = settings.maximum_sequences or USUAL_SEQUENCES[engine]
    budget = settings.token_budget or USUAL_BUDGET[engine]
    clients = point.clients
    made_for_prompt = settings.token_budget is None and "protocol assumed" in point.flags
    if made_for_prompt and engine in PROMPTS_PER_STEP:
        budget = int(PROMPTS_PER_STEP[engine] * longest)
        budget += clients
    if clients:
        sequences = min(sequences, clients)
    if isinstance(point.protocol, StaticBatch):
        # a static batch is prefilled at once and decoded together, by definition
        sequences = point.protocol.batch
        budget = max(budget, min(point.protocol.batch * longest, 65536))
    groups = layout.data
    sequences = max(sequences, 1) * groups
    return max(budget * groups * layout.batches, sequences), sequences


def _kv_blocks(
    point: Point,
    model: Model,
    catalog: Catalog,
    layout: Parallelism,
    dtypes: Dtypes,
    budget: int,
    sequences: int,
) -> int:
    """Return the KV blocks of the replica; too few, and its requests are refused as too long."""
    settings = point.settings
    block_tokens = settings.kv_block_tokens or 16
    if settings.kv_blocks is not None:
        return settings.kv_blocks * layout.data
    longest = point.prompt.maximum_tokens + point.output.maximum_tokens
    fraction = settings.memory_fraction or USUAL_FRACTION[point.engine]
    of_free = settings.memory_fraction_of == "free" and settings.memory_fraction is not None
    plan = memory_plan(
        model,
        catalog.chip(point.chip),
        layout,
        dtypes,
        memory_fraction=1.0 if of_free else fraction,
        kv_block_tokens=block_tokens,
        token_budget=budget,
        maximum_sequences=sequences,
        context_tokens=longest + 16,
        typical_context_tokens=point.prompt.mean_tokens + point.output.mean_tokens / 2,
    )
    blocks = int(plan.kv_blocks * fraction) if of_free else plan.kv_blocks
    return max(blocks, 1)


def _node(catalog: Catalog, point: Point) -> Node:
    """Return a node with the point's chip: of the catalogue and the right size if there is one.

    Only its number of devices matters here, so a chip that nobody prices by the node will do.
    """
    nodes = [node for node in catalog.nodes.values() if node.chip == point.chip]
    if nodes:
        return min(nodes, key=lambda node: abs(node.devices - point.devices_per_node))
    unpriced = Figure(0.0, "W", "0 W", "not used", point.date, "estimated")
    name = f"{point.chip}-{point.devices_per_node}"
    return Node(name, name, point.chip, point.devices_per_node, "node", unpriced)


def describe(point: Point) -> str:
    """Return a point in a few words."""
    load = point.protocol
    size = ""
    if isinstance(load, ClosedLoop):
        size = f" {load.concurrency}"
    elif isinstance(load, Flood):
        size = f" {load.requests}"
    return f"{point.group}, {protocol_name(load)}{size}"
