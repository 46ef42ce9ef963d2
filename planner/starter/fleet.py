"""A first guess at the fleet: devices per replica, and nodes.

The estimate weighs the mean step. A replica that decodes b sequences, of which each has a prompt of
P and writes O tokens, does in every step b·P/O tokens of prefill beside its b tokens of decoding.
The largest b whose step is short enough makes b/(O · step) requests per second. `planner size`
replaces the guess by a simulation with bursts, queues and tails.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil

from planner.catalog import Catalog
from planner.curves.memory import fitting_options
from planner.errors import CatalogError
from planner.lowering.pools import LoweredPool, lower_pool
from planner.scenario import dtypes_of, parallelism_of, replicas_of
from planner.scenario.check_pools import check_pool
from planner.scenario.schema.pools import Pool
from planner.starter.traffic import Traffic
from planner.starter.wishes import Wishes

PACE = 0.7
"""Mean step over the promised p99 of the time per token: prompts make some steps long."""
LOAD = 0.7
"""Mean load over what a node carries: the rest is for bursts."""
FEW = 8
"""Batches smaller than this leave most of a device idle."""
WIDEST = 64
"""Most devices of a replica that are tried."""


@dataclass(frozen=True)
class Fleet:
    """What a first scenario runs on.

    Args:
        tensor_parallel: devices that share every layer.
        nodes: of the pool.
        devices_per_node: of a node.
        node_rps: requests per second that a node is guessed to carry.
        batch: sequences that a replica then decodes at a time.
        notes: what to mind.
    """

    tensor_parallel: int
    nodes: int
    devices_per_node: int
    node_rps: float
    batch: int
    notes: tuple[str, ...] = ()

    @property
    def devices(self) -> int:
        """Accelerators."""
        return self.nodes * self.devices_per_node


@dataclass(frozen=True)
class _Option:
    """One way to spread the model."""

    tensor: int
    node_rps: float
    batch: int
    spanned: int
    step_s: float
    """Of the batch: longer than promised where even one sequence takes longer."""


def choose_fleet(wishes: Wishes, traffic: Traffic, catalog: Catalog) -> Fleet:
    """Return the spread that carries most requests per node, and nodes for the traffic.

    Raises:
        CatalogError: the model does not fit on any number of devices that is tried; the message
            says what is missing.
    """
    node, faults, notes = wishes.node, [], []
    options: list[_Option] = []
    for tensor in _spreads(wishes):
        if options and tensor > node.devices:
            break  # a replica over several nodes only if it fits on none
        pool = pool_of(wishes, tensor, nodes=max(1, tensor // node.devices))
        found = [message for _, message in check_pool(pool, catalog)]
        if found:
            faults.append(found[0])
            continue
        lowered = lower_pool(pool, catalog)
        options.append(_option(lowered, pool, node.devices, wishes, traffic))
        if tensor > node.devices:
            notes.append(_spanning(wishes, tensor, options[-1].spanned, catalog))
            break
    if not options:
        raise CatalogError(faults[-1] if faults else _nothing_divides(wishes))
    keeping = [option for option in options if option.step_s <= wishes.tpot_s]
    best = max(keeping, key=lambda option: option.node_rps) if keeping else _fastest(options)
    if not keeping:
        notes.append(
            f"even a single request gets a token every {best.step_s * 1e3:.0f} ms, more than the "
            f"promised {wishes.tpot_s * 1e3:.0f} ms: the promise will be missed; choose another "
            "chip or a narrower --weight-dtype, or promise less with --tpot"
        )
    elif best.batch < FEW:
        notes.append(
            f"a replica keeps the promised {wishes.tpot_s * 1e3:.0f} ms per token only with "
            f"{best.batch} requests at a time, which takes many nodes; another chip, a narrower "
            "--weight-dtype or a longer --tpot takes fewer"
        )
    wanted = ceil(traffic.rate_rps / (LOAD * best.node_rps))
    nodes = wishes.nodes or ceil(wanted / best.spanned) * best.spanned
    return Fleet(best.tensor, nodes, node.devices, best.node_rps, best.batch, tuple(notes))


def pool_of(wishes: Wishes, tensor: int, nodes: int) -> Pool:
    """Return the pool of a scenario that has these wishes."""
    fields = {
        "name": "serving",
        "model": wishes.model.name,
        "node": wishes.node.name,
        "nodes": nodes,
        "tensor_parallel": tensor,
        "weight_dtype": wishes.weight_dtype,
    }
    return Pool.model_validate(fields)


def _spreads(wishes: Wishes) -> Iterator[int]:
    """Yield numbers of devices that can share the model, within a node and over whole ones."""
    if wishes.tensor_parallel is not None:
        yield wishes.tensor_parallel
        return
    heads = [run.attention.query_heads for run in wishes.model.layers]
    devices = wishes.node.devices
    for tensor in range(1, WIDEST + 1):
        lies_well = devices % tensor == 0 or tensor % devices == 0
        if lies_well and not any(count % tensor for count in heads):
            yield tensor


def _option(
    lowered: LoweredPool, pool: Pool, devices: int, wishes: Wishes, traffic: Traffic
) -> _Option:
    layout = replicas_of(pool, devices)
    batch, step_s = _largest_batch(lowered, traffic, PACE * wishes.tpot_s)
    replica_rps = batch / (traffic.emitted_tokens * step_s)
    per_node = layout.replicas_per_node or 1 / layout.nodes_per_replica
    return _Option(
        pool.tensor_parallel, replica_rps * per_node, batch, layout.nodes_per_replica, step_s
    )


def _largest_batch(lowered: LoweredPool, traffic: Traffic, longest_s: float) -> tuple[int, float]:
    """Return the most sequences whose mean step is no longer than that, at least one; and its time.

    They have to fit into the KV cache, and their tokens into a step.
    """
    prompt, output = traffic.input.mean, traffic.emitted_tokens
    plan, curve = lowered.plan, lowered.curve
    context = prompt + output / 2
    held = plan.kv_blocks * plan.kv_block_tokens / (prompt + output)
    tokens = 1 + prompt / output
    most = int(min(plan.maximum_sequences, held, plan.token_budget / tokens))

    def step_s(batch: int) -> float:
        work = batch / output * prompt**2 / 2
        return curve.step_s(round(batch * tokens), batch, batch * context, work)

    low, high = 1, max(most, 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if step_s(middle) <= longest_s else (low, middle - 1)
    if round(low * tokens) > plan.token_budget:  # a prompt of several steps for one short answer
        steps = low * tokens / plan.token_budget
        full = curve.step_s(plan.token_budget, low, context, plan.token_budget * prompt / 2)
        return low, full * steps
    return low, step_s(low)


def _spanning(wishes: Wishes, tensor: int, spanned: int, catalog: Catalog) -> str:
    """Return a note on a replica that is larger than a node, and what would fit on one."""
    node = wishes.node
    pool = pool_of(wishes, node.devices, nodes=1)
    options = fitting_options(
        wishes.model, catalog.chip(node.chip), parallelism_of(pool), dtypes_of(pool)
    )
    one = [option for option in options if not option.startswith("tensor")]
    would = f"; one node would do with {', or '.join(one)}" if one else ""
    return (
        f"{wishes.model.name} in {wishes.weight_dtype} needs {tensor} {node.chip}, more than the "
        f"{node.devices} of one {node.name}: a replica spans {spanned} nodes{would}"
    )


def _fastest(options: Iterable[_Option]) -> _Option:
    return min(options, key=lambda option: option.step_s)


def _nothing_divides(wishes: Wishes) -> str:
    return (
        f"no number of {wishes.node.chip} up to {WIDEST} divides the heads of {wishes.model.name}"
    )
