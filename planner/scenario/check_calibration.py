"""Whether the files under `calibration` can be read, and say something of the pools."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from planner.catalog import Catalog
from planner.curves.engines import read_overheads
from planner.errors import PlannerError, shown
from planner.scenario.nodes import Location
from planner.scenario.parts import Parts
from planner.scenario.schema.pools import Pool

Finding = tuple[Location, str]

_COMMANDS = {"curves": "fit", "overheads": "calibrate"}


def check_calibration(parts: Parts, catalog: Catalog) -> Iterator[Finding]:
    """Yield files that are missing, cannot be read, or concern no pool of the scenario."""
    for kind in _COMMANDS:
        node, taken = parts.root.follow(("calibration", kind))
        if taken != 2:
            continue
        for number in range(len(node.value) if isinstance(node.value, list) else 0):
            where: Location = ("calibration", kind, number)
            entry, _ = parts.root.follow(where)
            folder = Path(entry.place.file).parent if entry.place.line else Path()
            if isinstance(entry.value, str):
                for message in _faults(kind, folder / entry.value, parts, catalog):
                    yield where, message


def _faults(kind: str, path: Path, parts: Parts, catalog: Catalog) -> Iterator[str]:
    if not path.is_file():
        yield (
            f"no such file: {path}; paths are relative to this file, and `planner "
            f"{_COMMANDS[kind]}` writes such files"
        )
        return
    try:
        if kind == "curves":
            from planner.curves.store import load_curves  # takes numpy; most scenarios have none

            about = {(curve.key.chip, "") for curve in load_curves(path)}
        else:
            about = {(chip, engine) for engine, chip in read_overheads(path)}
    except PlannerError as error:
        yield str(error)
        return
    pools = {
        (catalog.nodes[pool.node].chip, _engine(pool))
        for pool in parts.pools.values()
        if pool.node in catalog.nodes
    }
    if pools and not any(_concerns(each, pool) for each in about for pool in pools):
        yield (
            f"{path} holds {kind} of {_listed(about) or 'nothing'}, and the pools are of "
            f"{_listed(pools)}; leave the file out, or fit it to what the pools run on"
        )


def _engine(pool: Pool) -> str:
    """Return the engine whose overheads a pool takes; nobody measured a generic one."""
    return "vllm" if pool.engine.name == "generic" else pool.engine.name


def _concerns(about: tuple[str, str], pool: tuple[str, str]) -> bool:
    """Return whether (chip, engine) of a file says something of a pool's; empty: of any."""
    return all(not name or name == own for name, own in zip(about, pool, strict=True))


def _listed(names: Iterable[tuple[str, str]]) -> str:
    texts = sorted({" under ".join(filter(None, name)) for name in names})
    return ", ".join(shown(text) for text in texts)
