"""Kernel timings of the `aiconfigurator-core` package (NVIDIA, Apache-2.0) as our timing table.

The package is an optional extra: `pip install planner[kernels]`. Only its kernel tables are read,
never its end-to-end points. By default, the newest version of an engine that was measured in a
dtype stands for that engine and dtype.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from planner.curves.readers.aiconfigurator_scales import (
    SEARCHING,
    scale_table,
    with_known_scales,
)
from planner.curves.readers.aiconfigurator_tables import DTYPES, TABLES, Block
from planner.curves.timings import OPERATORS, CurveError, Timings
from planner.errors import did_you_mean, shown

PACKAGE: Final = "aiconfigurator-core"
LICENCE: Final = "Apache-2.0"

CHIPS: Final[Mapping[str, str]] = {
    "a100-sxm": "a100_sxm",
    "h100-sxm": "h100_sxm",
    "h200-sxm": "h200_sxm",
    "b200-sxm": "b200_sxm",
    "b300-sxm": "b300_sxm",
    "gb200": "gb200",
    "gb300": "gb300",
    "l40s": "l40s",
    "rtx-pro-6000": "rtx_pro_6000_server",
}
"""The package's folder, by the catalogue's chip."""

ENGINES: Final[Mapping[str, str]] = {
    "trtllm": "tensorrt-llm",
    "sglang": "sglang",
    "vllm": "vllm",
    "nccl": "generic",
}

_HOST_BOUND_S: Final = 3e-5
"""A table whose quickest product takes longer than this was timed with the host launching kernels
one by one: it shows the host, not the chip."""
_COPIED: Final = 0.9
"""Share of equal times from which on a table is a copy; two measurements agree on a few percent."""
_SLOW_STREAMS: Final = ("sglang",)
"""Their conversion finds the scale as well, by slow kernels that no norm or copy resembles."""


@dataclass(frozen=True)
class Reading:
    """What was read, and what was left out and why."""

    timings: Timings
    notes: tuple[str, ...]


def package_folder() -> tuple[Path, str]:
    """Return the folder of the installed package's tables, and its version.

    Raises:
        CurveError: the package is not installed, or holds no tables.

    """
    from importlib import metadata, util

    try:
        version = metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        raise CurveError(
            f"the package {PACKAGE} is not installed; run `pip install planner[kernels]`, or name "
            "a folder that holds its tables"
        ) from None
    spec = util.find_spec("aiconfigurator_core")
    places = spec.submodule_search_locations if spec is not None else None
    for place in places or ():
        folder = Path(place) / "systems" / "data"
        if folder.is_dir():
            return folder, version
    raise CurveError(f"{PACKAGE} {version} is installed but has no folder systems/data")


_FAIR_SHARE: Final = 0.25
"""Of the rows of the largest version: a version with fewer does not stand for its engine."""


def read_aiconfigurator(
    operator: str, chip: str, *, folder: Path | None = None, newest: bool = True
) -> Reading:
    """Read the timings of one operator on one chip, of all engines and dtypes.

    Args:
        operator: as in the timing table.
        chip: as in the catalogue.
        folder: of the tables (`…/systems/data`, or a folder above); None: the installed package.
        newest: of each (engine, dtype, cache dtype), keep one version only: the newest with at
            least a quarter of the rows of the largest, since some versions add a few shapes only.

    Raises:
        CurveError: unknown operator or chip, no package, or a file that is not what it should be.

    """
    for name, known, what in ((operator, OPERATORS, "operator"), (chip, CHIPS, "chip")):
        if name not in known:
            advice = did_you_mean(name, known, list_up_to=20)
            raise CurveError(f"{PACKAGE} has no {what} {shown(name)}; {advice}".rstrip("; "))
    root = package_folder()[0] if folder is None else _data_folder(folder)
    parts: dict[tuple[str, str, str], dict[str, list[Timings]]] = {}
    notes: list[str] = []
    for path in _files(root / CHIPS[chip], operator):
        for timings in _read(path, operator, chip, notes):
            key = (
                str(timings.labels["engine"][0]),
                str(timings.labels["dtype"][0]),
                str(timings.labels["kv_dtype"][0]),
            )
            version = str(timings.labels["version"][0])
            if not newest:
                key = (f"{key[0]} {version} {path.stem}", *key[1:])
            parts.setdefault(key, {}).setdefault(version, []).append(timings)
    ordered = [_fullest(parts[key]) for key in sorted(parts)]
    return Reading(Timings.joined([quickest(each) for each in ordered]), tuple(notes))


def _fullest(versions: dict[str, list[Timings]]) -> Timings:
    """Return the timings of the first version, newest first, that has its fair share of rows."""
    joined = [Timings.joined(timings) for timings in versions.values()]
    most = max(len(timings) for timings in joined)
    return next(timings for timings in joined if len(timings) >= _FAIR_SHARE * most)


def _data_folder(folder: Path) -> Path:
    for inside in (".", "data", "systems/data", "aiconfigurator_core/systems/data"):
        if any((folder / inside / name).is_dir() for name in CHIPS.values()):
            return folder / inside
    raise CurveError(
        f"{folder}: no tables of {PACKAGE} here; name the folder that holds h100_sxm, a100_sxm …"
    )


def _files(root: Path, operator: str) -> Iterator[Path]:
    """Yield the tables of an operator, newest versions first."""
    stems = [stem for stem, (operators, _) in TABLES.items() if operator in operators]
    found = [path for stem in stems for path in root.glob(f"*/*/*/{stem}.parquet")]
    yield from sorted(found, key=lambda path: (_order(path.parent.name), path), reverse=True)


def _order(version: str) -> tuple[tuple[int, int], ...]:
    """Return a key that sorts versions: 1.3.0rc9 < 1.3.0rc20 < 1.3.0 < 1.3.0.post1.

    >>> sorted(["1.3.0", "1.3.0rc20", "1.3.0rc9", "1.3.0.post1", "1.10"], key=_order)
    ['1.3.0rc9', '1.3.0rc20', '1.3.0', '1.3.0.post1', '1.10']
    """
    kinds = {"rc": -1, "post": 1, "": 2}
    parts = re.findall(r"(rc|post)?(\d+)", version)
    return (*((kinds[kind], int(number)) for kind, number in parts), (0, 0))


def _read(path: Path, operator: str, chip: str, notes: list[str]) -> Iterator[Timings]:
    backend, version = path.parts[-3], path.parts[-2]
    name = f"{path.parts[-5]}/{backend}/{version}/{path.name}"
    if operator == "stream" and backend in _SLOW_STREAMS:
        notes.append(f"{name}: left out, its kernels find the scale as well and are slow at it")
        return
    for block in _blocks(path, name):
        if block.operator != operator:
            continue
        timings = _labelled(block, name, chip, backend, version, notes)
        for dtype, kv_dtype in _formats(timings):
            part = timings.select(dtype=dtype, kv_dtype=kv_dtype)
            if reason := _bogus(part, timings, operator):
                notes.append(f"{name}: {dtype}: {len(part)} rows left out: {reason}")
                continue
            yield _as_served(part, path, name, notes)


def _as_served(part: Timings, path: Path, name: str, notes: list[str]) -> Timings:
    """Return the rows as the engine would run them with scales from the checkpoint."""
    is_product = path.stem == "gemm_perf" and str(part.labels["dtype"][0]) == "fp8"
    table = scale_table(path) if is_product and path.parts[-3] in SEARCHING else None
    if table is None:
        return part
    less, note = with_known_scales(part, table)
    notes.append(f"{name}: {note}")
    return less


def _blocks(path: Path, name: str) -> list[Block]:
    from pyarrow import ArrowException, parquet

    reader = TABLES[path.stem][1]
    try:
        table = parquet.ParquetFile(path).read()
        # NOTE: by way of lists of Python text for the few text columns; numbers without a copy
        columns = {each: table[each].to_numpy(zero_copy_only=False) for each in table.column_names}
        return reader(columns)
    except (ArrowException, OSError) as error:
        raise CurveError(f"{path}: not a readable Parquet file: {error}") from error
    except KeyError as missing:
        raise CurveError(
            f"{name}: the column {missing} is absent; this reader knows {PACKAGE} 0.12"
        ) from None


def _labelled(
    block: Block, name: str, chip: str, backend: str, version: str, notes: list[str]
) -> Timings:
    """Return the rows with a known dtype and a positive time."""
    theirs = np.asarray(block.dtypes).astype(str)
    unknown = sorted(set(np.unique(theirs)) - DTYPES.keys())
    if unknown:
        notes.append(f"{name}: left out dtype {', '.join(unknown)}, which is not in our table")
    good = np.isin(theirs, list(DTYPES)) & np.isfinite(block.seconds) & (block.seconds > 0)
    if dropped := int((block.seconds <= 0).sum()):
        notes.append(f"{name}: {dropped} rows left out: their time is zero or negative")
    return Timings.of(
        operator=block.operator,
        chip=chip,
        engine=ENGINES.get("nccl" if "/nccl_perf" in name else backend, backend),
        version=version,
        dtype=_ours(theirs[good]),
        kv_dtype="" if block.kv_dtypes is None else _ours(block.kv_dtypes[good]),
        source=f"{PACKAGE} {name}",
        model="" if block.kernels is None else block.kernels[good],
        shape={column: values[good] for column, values in block.shape.items()},
        seconds=block.seconds[good],
        file=name,
    )


def _ours(theirs: NDArray[Any]) -> NDArray[Any]:
    names, inverse = np.unique(np.asarray(theirs).astype(str), return_inverse=True)
    return np.array([DTYPES.get(name, name) for name in names.tolist()] or [""])[inverse]


def _formats(timings: Timings) -> list[tuple[str, str]]:
    pairs = zip(timings.labels["dtype"], timings.labels["kv_dtype"], strict=True)
    return sorted({(str(dtype), str(kv)) for dtype, kv in pairs})


def _bogus(part: Timings, table: Timings, operator: str) -> str:
    """Return why the rows of one dtype are no measurement of the chip, or nothing."""
    if operator != "gemm":
        return ""
    if str(part.labels["dtype"][0]) != "bf16" and _same_times(part, table.select(dtype="bf16")):
        return "they are the times of bf16, so the quantised kernels did not run"
    if float(part.seconds.min()) > _HOST_BOUND_S:
        return (
            f"the quickest takes {part.seconds.min() * 1e6:.0f} µs, so the host was timed, "
            "not the chip"
        )
    return ""


def _same_times(part: Timings, other: Timings) -> bool:
    """Return whether almost all shapes take the same time, to a thousandth, in both."""
    times = dict(zip(_shapes(other), other.seconds.tolist(), strict=True))
    shared = [
        (seconds, times[shape])
        for shape, seconds in zip(_shapes(part), part.seconds.tolist(), strict=True)
        if shape in times
    ]
    if not shared:
        return False
    one, two = np.array(shared).T
    return float(np.mean(np.abs(one / two - 1.0) < 1e-3)) > _COPIED


def _shapes(timings: Timings) -> list[tuple[float, ...]]:
    return list(map(tuple, np.stack(list(timings.shape.values()), axis=1).tolist()))


def quickest(timings: Timings) -> Timings:
    """Return one row per shape: the quickest kernel, of each the median of its repeats.

    An engine with several kernels for a job picks one by benchmark or by rule of thumb. The label
    `model`, which held the kernel, is empty afterwards.
    """
    if not len(timings):
        return timings
    columns = [np.nan_to_num(column, nan=-1.0) for column in timings.shape.values()]
    codes = np.zeros(len(timings), dtype=np.int64)
    for column in columns:
        values, at = np.unique(column, return_inverse=True)
        _, codes = np.unique(codes * len(values) + at, return_inverse=True)
    kernels, kernel = np.unique(timings.labels["model"], return_inverse=True)
    pair = codes * len(kernels) + kernel
    order = np.lexsort((timings.seconds, pair))
    starts = np.flatnonzero(np.r_[True, np.diff(pair[order]) != 0])
    counts = np.diff(np.r_[starts, len(order)])
    # the lower median is a row that exists, so its labels and line come with it
    middle = order[starts + (counts - 1) // 2]
    ranked = middle[np.lexsort((timings.seconds[middle], codes[middle]))]
    first = ranked[np.r_[True, np.diff(codes[ranked]) != 0]]
    kept = timings.rows(np.sort(first))
    blank = np.broadcast_to(np.array("", dtype=np.str_), (len(kept),))
    return replace(kept, labels={**kept.labels, "model": blank})
