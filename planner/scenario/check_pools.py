"""Whether a pool can exist: the node, the spread of the model over devices, formats and memory."""

from __future__ import annotations

from collections.abc import Iterator

from planner.catalog import Catalog, Chip, Model, Node
from planner.curves.memory import misfit_message
from planner.errors import CatalogError, shown
from planner.scenario.check_cache import check_cache, check_tiers
from planner.scenario.check_quality import check_quality
from planner.scenario.check_speculation import check_speculation
from planner.scenario.nodes import Location
from planner.scenario.replicas import dtypes_of, limits_of, parallelism_of, replicas_of
from planner.scenario.schema.pools import Pool

Finding = tuple[Location, str]

MULTIPLIED_IN = {
    "fp8": ("fp8",),
    "int8": ("int8",),
    "fp4": ("fp4", "fp8"),
    "int4": ("fp8", "int8"),
}
"""Narrow formats in which engines multiply weights held in a format; 16 bits are always open."""


def check_pool(pool: Pool, catalog: Catalog) -> Iterator[Finding]:
    """Yield (location inside the pool, message) for all that makes it impossible.

    An unknown model or node is no fault here: only what can be said without it is checked.
    """
    model = catalog.models.get(pool.model)
    node = catalog.nodes.get(pool.node)
    yield from check_cache(pool)
    if model is not None:
        yield from check_quality(pool, model)
    layout = list(_check_spread(pool, model)) if model else []
    yield from layout
    if node is not None:
        chip = catalog.chip(node.chip)
        spread = [] if layout else list(_check_devices(pool, node))
        yield from spread
        formats = list(_check_formats(pool, chip))
        yield from formats
        if model is not None and not (layout or spread or formats):
            faults = list(_check_memory(pool, model, chip, catalog))
            yield from faults or check_speculation(pool, model, chip, catalog)
            yield from check_tiers(pool, model, node, catalog)


def unknown_entry(kind: str, name: str, find: object) -> str:
    """Return the catalogue's own words on an unknown name."""
    try:
        assert callable(find)
        find(name)
    except CatalogError as error:
        return str(error)
    return f"unknown {kind} {shown(name)}"


def unknown_node(name: str, catalog: Catalog) -> str:
    """Return the catalogue's words; a chip in the place of a node is a common slip."""
    if name in catalog.chips:
        nodes = [node.name for node in catalog.nodes.values() if node.chip == name]
        return (
            f"{shown(name)} is a chip; name a node with it: {', '.join(nodes) or 'there is none'}"
        )
    return unknown_entry("node", name, catalog.node)


def _check_spread(pool: Pool, model: Model) -> Iterator[Finding]:
    """Yield faults of the model's shape against the parallelism."""
    tensor, experts = pool.tensor_parallel, pool.expert_parallel
    for heads in sorted({run.attention.query_heads for run in model.layers}):
        if heads % tensor:
            fits = ", ".join(str(n) for n in range(1, heads + 1) if heads % n == 0 and n <= 64)
            message = f"{tensor} does not divide the {heads} attention heads of {model.name}"
            yield ("tensor_parallel",), f"{message}; what does: {fits}"
            break
    if pool.pipeline_parallel > model.layer_count:
        message = f"{model.name} has only {model.layer_count} layers to share; use fewer stages"
        yield ("pipeline_parallel",), message
    try:
        parallelism_of(pool)
    except ValueError as error:
        yield ("expert_parallel",), str(error)
    counts = sorted({run.ffn.experts for run in model.layers if run.ffn.kind == "moe"})
    copies = pool.redundant_experts or 0
    if experts > 1:
        if not counts:
            yield ("expert_parallel",), f"{model.name} has no experts to spread; delete it"
        elif any((count + copies) % experts for count in counts):
            listed = " and ".join(map(str, counts))
            with_copies = f" with {copies} copies" if copies else ""
            message = f"{experts} does not divide the {listed} experts of {model.name}{with_copies}"
            add = experts - counts[0] % experts
            yield (
                ("expert_parallel",),
                f"{message}; use a divisor, or redundant_experts: {add}",
            )
    yield from _check_unused(pool, is_mixture=bool(counts))
    context = pool.engine.context_tokens
    if context is not None and context > model.context_tokens:
        message = f"{model.name} takes at most {model.context_tokens:,} tokens; found {context:,}"
        yield ("engine", "context_tokens"), message


def _check_unused(pool: Pool, *, is_mixture: bool) -> Iterator[Finding]:
    """Yield settings that nothing in the pool listens to."""
    if pool.micro_batches is not None and pool.pipeline_parallel == 1:
        message = "there is no pipeline to fill; delete it, or raise pipeline_parallel"
        yield ("micro_batches",), message
    spread = is_mixture and pool.expert_parallel > 1
    for field in ("redundant_experts", "expert_skew"):
        if getattr(pool, field) is not None and not spread:
            message = "needs experts on several devices; delete it, or raise expert_parallel"
            yield (field,), message
    travels = pool.expert_exchange != "gather"
    if travels and not (is_mixture and pool.data_parallel > 1):
        yield (
            ("expert_exchange",),
            "experts see all tokens of their data-parallel group already, and there is one; "
            "delete it, or raise data_parallel of a mixture",
        )
    elif pool.two_batch_overlap and not travels:
        yield (
            ("two_batch_overlap",),
            "hides tokens on their way to experts, and with expert_exchange gather none travel; "
            "delete it, or use expert_exchange: auto",
        )


def _check_devices(pool: Pool, node: Node) -> Iterator[Finding]:
    """Yield faults of the replica's size against the node's."""
    layout = replicas_of(pool, node.devices)
    devices, spanned = layout.devices_per_replica, layout.nodes_per_replica
    replica = f"a replica takes {devices} devices ({_product(pool)})"
    if devices > node.devices and devices % node.devices:
        message = f"{replica}, which is not a whole number of nodes of {node.devices}"
        yield (_widest(pool),), f"{message}; use a multiple, or at most {node.devices}"
    elif 0 < pool.nodes < spanned:
        message = f"{replica}, that is {spanned} nodes of {node.devices}; found {pool.nodes}"
        yield ("nodes",), f"{message}: give at least {spanned}"


def _product(pool: Pool) -> str:
    factors = {
        "tensor": pool.tensor_parallel,
        "pipeline": pool.pipeline_parallel,
        "data": pool.data_parallel,
    }
    return " × ".join(f"{name} {count}" for name, count in factors.items() if count > 1)


def _widest(pool: Pool) -> str:
    """Return the field to point at: the parallelism that takes most devices."""
    fields = ("tensor_parallel", "pipeline_parallel", "data_parallel")
    return max(fields, key=lambda field: int(getattr(pool, field)))


def _check_formats(pool: Pool, chip: Chip) -> Iterator[Finding]:
    try:
        dtypes_of(pool).arithmetic(chip)
    except CatalogError as error:
        asked = pool.activation_dtype is not None
        yield ("activation_dtype" if asked else "node",), str(error)
        return
    weight, asked_for = pool.weight_dtype, pool.activation_dtype
    narrow = MULTIPLIED_IN.get(weight, ())
    if asked_for in MULTIPLIED_IN and asked_for not in narrow:
        wide = [dtype for dtype in chip.peak_flops if dtype not in MULTIPLIED_IN]
        choices = [dtype for dtype in narrow if dtype in chip.peak_flops] + wide
        yield (
            ("activation_dtype",),
            f"no engine multiplies {weight} weights in {asked_for}; choose {', '.join(choices)}, "
            f"or weight_dtype: {asked_for}",
        )


def _check_memory(pool: Pool, model: Model, chip: Chip, catalog: Catalog) -> Iterator[Finding]:
    if pool.engine.kv_blocks is not None:
        return  # the scenario states the capacity, as when a measured engine is replayed
    sold = {node.chip for node in catalog.nodes.values()}
    chips = [other for name, other in catalog.chips.items() if name in sold]
    message = misfit_message(
        model,
        chip,
        parallelism_of(pool),
        dtypes_of(pool),
        chips=chips,
        **limits_of(pool),
    )
    if message is not None:
        yield ("model",), message
