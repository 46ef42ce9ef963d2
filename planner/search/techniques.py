"""Serving techniques that can be switched off, to see what they are worth: one entry each.

A technique is found in a scenario by what switching it off would change, so an entry is a name, a
few words and one function. The function returns a new scenario and leaves everything else alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from planner.curves.layout import DTYPE_BYTES
from planner.errors import PlannerError, did_you_mean, shown
from planner.scenario.routes import decoders_of, own_pools
from planner.scenario.schema import Scenario
from planner.scenario.schema.fields import Part
from planner.scenario.schema.pools import Pool
from planner.scenario.schema.workload import RequestClass

Change = Mapping[str, Any]
"""Fields and their new values; empty: nothing to change."""


class TechniqueError(PlannerError):
    """A technique that was asked for is unknown, or not on in the scenario."""


@dataclass(frozen=True)
class Technique:
    """A way to serve more with less that a scenario may use."""

    name: str
    meaning: str
    """One sentence: what it is."""
    setting: str
    """What switches it on, as a scenario writes it."""
    instead: str
    """What there is without it."""
    without: Callable[[Scenario], Scenario]
    """Returns the scenario without it: an equal one where it is off already."""

    def is_on(self, scenario: Scenario) -> bool:
        """Tell whether a scenario uses it."""
        return self.without(scenario) != scenario


def _in_pools(change: Callable[[Pool], Change]) -> Callable[[Scenario], Scenario]:
    """Return what makes a change in every pool."""

    def without(scenario: Scenario) -> Scenario:
        pools = [pool.model_copy(update=change(pool)) for pool in scenario.pools]
        return scenario.model_copy(update={"pools": pools})

    return without


def _in_classes(change: Callable[[RequestClass], Change]) -> Callable[[Scenario], Scenario]:
    """Return what makes a change in every request class."""

    def without(scenario: Scenario) -> Scenario:
        workload = scenario.workload
        classes = [klass.model_copy(update=change(klass)) for klass in workload.classes]
        changed = workload.model_copy(update={"classes": classes})
        return scenario.model_copy(update={"workload": changed})

    return without


def _is_small(dtype: str) -> bool:
    return DTYPE_BYTES[dtype] < DTYPE_BYTES["bf16"]


def _full_weights(pool: Pool) -> Change:
    # The arithmetic follows the weights: 8-bit products of 16-bit weights would be no baseline.
    return (
        {"weight_dtype": "bf16", "activation_dtype": None} if _is_small(pool.weight_dtype) else {}
    )


def _full_cache(pool: Pool) -> Change:
    return {"kv_dtype": "bf16"} if _is_small(pool.kv_dtype) else {}


def _first_come(pool: Pool) -> Change:
    if pool.engine.scheduler == "fcfs":
        return {}
    plain = {"scheduler": "fcfs", "priority_step": None}
    return {"engine": pool.engine.model_copy(update=plain)}


def _in_turn(pool: Pool) -> Change:
    # A router that the scenario leaves to the default is no choice of its author's.
    chosen = "router" in pool.model_fields_set and pool.router != "round_robin"
    return {"router": "round_robin", "affinity": None} if chosen else {}


def _uncached(pool: Pool) -> Change:
    if not pool.prefix_cache:
        return {}
    by_cache = pool.router == "cache_aware"
    router: Change = {"router": "power_of_two", "affinity": None} if by_cache else {}
    return {"prefix_cache": False, **_one_tier(pool), **router}


def _one_tier(pool: Pool) -> Change:
    if not pool.kv_tiers:
        return {}
    recompute = pool.engine.model_copy(update={"preemption": "recompute"})
    return {"kv_tiers": [], "engine": recompute}


def _travels(pool: Pool) -> bool:
    return pool.expert_exchange != "gather"


_GATHERED: Final = {"expert_exchange": "gather", "two_batch_overlap": False}


def _whole_experts(pool: Pool) -> Change:
    # What places, reaches and copies whole experts goes with them.
    cut = {"expert_parallel": 1, "redundant_experts": None, "expert_skew": None}
    return cut | _GATHERED if pool.expert_parallel > 1 else {}


_OF_ARRIVALS: Final = (
    "prefix_cache", "kv_tiers", "router", "affinity", "admission", "overflow_waiting",
)  # fmt: skip
_OF_QUEUES: Final = ("scheduler", "priority_step", "queue_limit", "preemption", "batch_below")
"""What a pool and its engine say of requests that arrive: which wait, where, in what order."""


def _in_one_pool(scenario: Scenario) -> Scenario:
    """Return the scenario whose pools decode what they prefill.

    The pools that decode take the requests, what the pools that prefilled say of these (of several,
    the one with most nodes), and their nodes where these are of its kind; those are empty then.
    """
    target = decoders_of(scenario.pools)
    if not target:
        return scenario
    sources: dict[str, list[Pool]] = {}
    for pool in scenario.pools:
        if pool.name in target:
            sources.setdefault(target[pool.name], []).append(pool)
    pools = [
        pool.model_copy(update={"decode": None, "nodes": 0, "schedule": []})
        if pool.name in target
        else _merged(pool, sources.get(pool.name, []))
        for pool in scenario.pools
    ]

    def moved(klass: RequestClass) -> Change:
        # Two pools that prefill may hand over to one, which is tried once.
        own = list(dict.fromkeys(target.get(name, name) for name in own_pools(klass)))
        light = klass.light
        if light is not None:
            name = target.get(light.pool, light.pool)
            light = None if name in own else light.model_copy(update={"pool": name})
        return {"pool": own[0], "overflow": own[1:], "light": light}

    return _in_classes(moved)(scenario.model_copy(update={"pools": pools}))


def _merged(pool: Pool, sources: Sequence[Pool]) -> Pool:
    """Return a pool that decodes as it would be if it prefilled what others have for it."""
    if not sources:
        return pool
    first = max(sources, key=lambda source: source.nodes)
    queue = _stated(first.engine, _OF_QUEUES)
    if "scheduler" in queue:
        queue["priority_step"] = first.engine.priority_step
    given = sum(source.nodes for source in sources if source.node == pool.node)
    changes = _stated(first, _OF_ARRIVALS)
    changes |= {"nodes": pool.nodes + given, "engine": pool.engine.model_copy(update=queue)}
    return pool.model_copy(update=changes)


def _stated(part: Part, names: Sequence[str]) -> dict[str, Any]:
    """Return those of the fields that the scenario does not leave to their defaults."""
    return {name: getattr(part, name) for name in names if name in part.model_fields_set}


TECHNIQUES: Final = (
    Technique(
        name="weight quantization",
        meaning="Weights of fewer than 16 bits: less memory to hold and to read, and faster "
        "arithmetic where the chip has it.",
        setting="pools[].weight_dtype: fp8",
        instead="bf16 weights and arithmetic",
        without=_in_pools(_full_weights),
    ),
    Technique(
        name="KV quantization",
        meaning="A KV cache of fewer than 16 bits: more sequences fit, and less is read per token.",
        setting="pools[].kv_dtype: fp8",
        instead="a bf16 cache",
        without=_in_pools(_full_cache),
    ),
    Technique(
        name="prefix caching",
        meaning="Prompts that begin alike share their KV cache, so their common part is computed "
        "once.",
        setting="pools[].prefix_cache: true",
        instead="every prompt is computed in full",
        without=_in_pools(_uncached),
    ),
    Technique(
        name="KV tiers",
        meaning="Host memory, SSDs or a remote store keep the KV cache that accelerators forget.",
        setting="pools[].kv_tiers: [{name: host, capacity: 1 TB, bandwidth: 50 GB/s}]",
        instead="what is evicted or preempted is computed again",
        without=_in_pools(_one_tier),
    ),
    Technique(
        name="speculative decoding",
        meaning="Several tokens are drafted at little cost, and verified by the model in one step.",
        setting="pools[].speculation: {method: eagle3, draft_tokens: 3}",
        instead="one token per step",
        without=_in_pools(lambda pool: {} if pool.speculation is None else {"speculation": None}),
    ),
    Technique(
        name="expert parallelism",
        meaning="Whole experts on each device, instead of a part of every expert's matrices.",
        setting="pools[].expert_parallel: 8",
        instead="every expert's matrices cut over all devices",
        without=_in_pools(_whole_experts),
    ),
    Technique(
        name="expert load balancing",
        meaning="Popular experts are copied, and all placed so that devices are equally busy.",
        setting="pools[].redundant_experts: 32",
        instead="experts where their numbers put them",
        without=_in_pools(
            lambda pool: {} if pool.redundant_experts is None else {"redundant_experts": None}
        ),
    ),
    Technique(
        name="sparse expert exchange",
        meaning="Tokens of data-parallel groups travel to the devices of their experts only.",
        setting="pools[].expert_exchange: auto",
        instead="every token to every device",
        without=_in_pools(lambda pool: _GATHERED if _travels(pool) else {}),
    ),
    Technique(
        name="two-batch overlap",
        meaning="Half of a batch computes while the other half exchanges tokens with experts.",
        setting="pools[].two_batch_overlap: true",
        instead="exchange and computation in turn",
        without=_in_pools(
            lambda pool: {"two_batch_overlap": False} if pool.two_batch_overlap else {}
        ),
    ),
    Technique(
        name="disaggregation",
        meaning="Prompts are prefilled in one pool and decoded in another, so that neither phase "
        "holds up the other.",
        setting="pools[].decode: {pool: POOL, bandwidth: 50 GB/s}",
        instead="the pool that decodes prefills as well, with the nodes of both where they are of "
        "one kind",
        without=_in_one_pool,
    ),
    Technique(
        name="queue order",
        meaning="Waiting requests are served by priority, weight, deadline or length.",
        setting="pools[].engine.scheduler: priority",
        instead="first come, first served",
        without=_in_pools(_first_come),
    ),
    Technique(
        name="light-model routing",
        meaning="A lighter model answers some requests; where its answer is not good enough, the "
        "class's own model answers as well.",
        setting="workload.classes[].light: {pool: POOL, share: 50%, escalation: 10%}",
        instead="every request goes to the model of its class",
        without=_in_classes(lambda klass: {} if klass.light is None else {"light": None}),
    ),
    Technique(
        name="admission control",
        meaning="What could not keep its promise, or would fill the memory, is turned away on "
        "arrival.",
        setting="pools[].admission: {predicted_ttft: 100%}",
        instead="everything waits that a queue has room for",
        without=_in_pools(lambda pool: {} if pool.admission is None else {"admission": None}),
    ),
    Technique(
        name="batch traffic in troughs",
        meaning="Batch classes are served where interactive ones leave room, and give way to them.",
        setting="workload.classes[].service: batch",
        instead="batch classes in one queue with the others",
        without=_in_classes(
            lambda klass: {"service": "interactive"} if klass.service == "batch" else {}
        ),
    ),
    Technique(
        name="guest rate limits",
        meaning="Each visitor may send only so many requests; more are refused.",
        setting="workload.classes[].rate_limit: {rate: 20 /h, burst: 5}",
        instead="no limit",
        without=_in_classes(lambda klass: {} if klass.rate_limit is None else {"rate_limit": None}),
    ),
    Technique(
        name="overflow between pools",
        meaning="A class whose pool is full goes to its next pool.",
        setting="workload.classes[].overflow: [POOL]",
        instead="every class stays in its own pool",
        without=_in_classes(lambda klass: {"overflow": []} if klass.overflow else {}),
    ),
    Technique(
        name="routing by load or session",
        meaning="A request goes to the replica with the least load, to that of its session, or to "
        "the one that has cached most of its prompt.",
        setting="pools[].router: power_of_two",
        instead="replicas in turn (round robin)",
        without=_in_pools(_in_turn),
    ),
)
"""Every technique, in the order in which they are switched off together."""


def used_by(
    scenario: Scenario,
    names: Iterable[str] = (),
    registry: tuple[Technique, ...] = TECHNIQUES,
) -> tuple[Technique, ...]:
    """Return the techniques that a scenario uses, or those of them that are named.

    Args:
        scenario: as it stands.
        names: only these, in any case, with `-` or `_` for blanks.
        registry: to choose from.

    Raises:
        TechniqueError: a name is unknown, or the scenario does not use it.
    """
    on = [technique for technique in registry if technique.is_on(scenario)]
    wanted = {_folded(name): name for name in names}
    if not wanted:
        return tuple(on)
    known = {_folded(technique.name): technique for technique in registry}
    for folded, name in wanted.items():
        if folded not in known:
            advice = did_you_mean(name, [technique.name for technique in registry])
            raise TechniqueError(f"unknown technique {shown(name)}; {advice}")
        if known[folded] not in on:
            technique = known[folded]
            raise TechniqueError(
                f"{technique.name} is off in this scenario, so there is nothing to switch off; "
                f"it would be on with {technique.setting}"
            )
    return tuple(technique for technique in on if _folded(technique.name) in wanted)


def _folded(name: str) -> str:
    return name.casefold().replace("-", " ").replace("_", " ")
