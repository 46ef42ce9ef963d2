"""Whether pools that prefill and pools that decode fit together."""

from __future__ import annotations

from collections.abc import Iterator

from planner.catalog import Catalog
from planner.errors import did_you_mean, shown
from planner.scenario.nodes import Location
from planner.scenario.parts import Parts
from planner.scenario.schema.pools import Pool

Finding = tuple[Location, str]


def check_handover(parts: Parts, _catalog: Catalog) -> Iterator[Finding]:
    """Yield (location, message) for every pool whose requests cannot be decoded as it says."""
    names = parts.names("pools")
    pools = {pool.name: pool for pool in parts.pools.values()}
    for where in parts.items("pools"):
        for place, target in parts.texts(*where, "decode", "pool"):
            if target not in names:
                advice = did_you_mean(target, names) or "add it to pools, or delete `decode`"
                yield place, f"no pool {shown(target)} to decode; {advice}"
    for where, pool in parts.pools.items():
        if pool.decode is None:
            continue
        if pool.speculation is not None:
            message = f"pool {pool.name} only prefills, so it verifies no drafts; give speculation"
            yield (*where, "speculation"), f"{message} to pool {pool.decode.pool}"
        if pool.decode.pool == pool.name:
            message = f"pool {pool.name} cannot decode for itself from afar; name another, or"
            yield (*where, "decode", "pool"), f"{message} delete `decode`"
        elif pool.decode.pool in pools:
            for steps, message in _mismatches(pool, pools[pool.decode.pool]):
                yield (*where, *steps), message
    decoding = {pool.decode.pool: pool for pool in pools.values() if pool.decode is not None}
    yield from _visitors(parts, decoding)
    yield from _decoders(parts, decoding)


def _decoders(parts: Parts, decoding: dict[str, Pool]) -> Iterator[Finding]:
    """Yield what is of no use in a pool that only decodes."""
    for where, pool in parts.pools.items():
        if pool.name not in decoding:
            continue
        source = decoding[pool.name].name
        message = f"pool {pool.name} gets what {source} has prefilled, and"
        if pool.engine.queue_limit is not None:
            yield (
                (*where, "engine", "queue_limit"),
                f"{message} refuses none of it; limit the queue of {source}",
            )
        if pool.admission is not None:
            yield (
                (*where, "admission"),
                f"{message} turns none of it away; set admission in {source}",
            )
        if "overflow_waiting" in pool.model_fields_set:
            yield (
                (*where, "overflow_waiting"),
                f"{message} passes none of it on; set overflow_waiting in {source}",
            )
        if pool.prefix_cache:
            yield (
                (*where, "prefix_cache"),
                f"{message} looks for none of it in a cache; set prefix_cache in {source}",
            )


def _mismatches(pool: Pool, target: Pool) -> Iterator[Finding]:
    """Yield in what the pool that decodes differs from the one that prefills."""
    if target.decode is not None:
        message = f"pool {target.name} does not decode: it hands over to {target.decode.pool}"
        yield ("decode", "pool"), f"{message}; name the pool that decodes, or delete its `decode`"
    if not any((target.nodes, *(entry.nodes for entry in target.schedule))):
        message = f"pool {target.name} never has a node, so nothing that is prefilled is decoded"
        yield ("decode", "pool"), f"{message}; give it nodes, or delete `decode`"
    for field, noun in (("model", "model"), ("kv_dtype", "KV format")):
        ours, theirs = getattr(pool, field), getattr(target, field)
        if ours != theirs:
            message = f"{pool.name} prefills with the {noun} {ours}, and {target.name} decodes with"
            yield (field,), f"{message} {theirs}; the cache that is sent must suit both: use one"


def _visitors(parts: Parts, decoding: dict[str, Pool]) -> Iterator[Finding]:
    """Yield the classes that would send prompts to a pool that decodes."""
    for where in parts.items("workload", "classes"):
        for field in ("pool", "overflow"):
            for place, name in parts.texts(*where, field):
                if name in decoding:
                    first = decoding[name].name
                    message = f"pool {name} decodes what {first} prefills, and takes no prompts"
                    yield place, f"{message}; send the class to {first}"
