"""Which reader a file of timings needs, and what it says of their origin."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from planner.cli.fitting import Progress, Readings, ReadPart, Wanted
from planner.curves.timings import CurveError
from planner.errors import did_you_mean, shown

if TYPE_CHECKING:
    from planner.curves.readers.columns import Profile
    from planner.report.fit_record import InputFile

INSTALLED: Final = "aiconfigurator"
"""As an input: the tables of the installed package."""
_HEAD_BYTES: Final = 65536


@dataclass(frozen=True)
class _Read:
    """What one reader found in one input."""

    parts: tuple[ReadPart, ...]
    notes: tuple[str, ...] = ()


_Reader = Callable[[Path, Wanted, Progress], _Read]


def reader_names() -> tuple[str, ...]:
    """Return what `--reader` takes."""
    return ("auto", *_readers())


def read_inputs(
    paths: Sequence[Path], reader: str, wanted: Wanted, *, progress: Progress | None = None
) -> Readings:
    """Read every input.

    Args:
        paths: files or folders; the word `aiconfigurator` stands for the installed package.
        reader: of `reader_names()`.
        wanted: what will be fitted; readers of large tables read no more than that.
        progress: told how much of the current input is read.

    Raises:
        CurveError: an unknown reader, or an input that is not what it should be.
    """
    readers = _readers()
    if reader not in reader_names():
        advice = did_you_mean(reader, reader_names())
        raise CurveError(f"unknown --reader {shown(reader)}; {advice}")
    parts: list[ReadPart] = []
    inputs: list[InputFile] = []
    notes: list[str] = []
    quiet: Progress = lambda done, total: None  # noqa: E731
    for path in paths:
        name = detected(path) if reader == "auto" else reader
        found = readers[name](path, wanted, progress or quiet)
        parts += found.parts
        notes += found.notes
        inputs.append(_input(path, name, sum(len(part.timings) for part in found.parts)))
    return Readings(tuple(parts), tuple(inputs), (), tuple(dict.fromkeys(notes)))


def detected(path: Path) -> str:
    """Return the reader that a file or folder needs, by what it holds.

    Raises:
        CurveError: nothing there, or nothing that a reader knows.
    """
    if str(path) == INSTALLED and not path.exists():
        return "aiconfigurator"
    if not path.exists():
        raise CurveError(f"{path}: no such file or folder")
    if path.is_dir():
        return _detected_folder(path)
    header = _header(path)
    for name, needed in _HEADERS.items():
        if needed <= header:
            return name
    listed = ", ".join(sorted(header)[:12]) or "nothing"
    raise CurveError(
        f"{path}: not a known table of timings: its header names {listed}; name the reader with "
        f"--reader ({', '.join(_readers())}), or bring it into the columns of `planner microbench`"
    )


def _detected_folder(path: Path) -> str:
    if any(path.rglob("*_perf.parquet")):
        return "aiconfigurator"
    for pattern, needed, name in _FOLDERS:
        if any(needed <= _header(file) for file in path.glob(pattern)):
            return name
    raise CurveError(
        f"{path}: a folder in which no reader finds its tables; name the reader with --reader "
        f"({', '.join(_readers())}), or a file"
    )


_HEADERS: Final[Mapping[str, frozenset[str]]] = {
    "timings": frozenset({"operator", "time_us"}),
    "splitwise": frozenset({"hardware", "prompt_time", "token_time"}),
}
"""Columns by which a CSV file is recognised."""
_FOLDERS: Final[tuple[tuple[str, frozenset[str], str], ...]] = (
    ("prefill.csv", frozenset({"isl", "ttft_ms"}), "dynamo"),
    ("decode.csv", frozenset({"context_length", "itl_ms"}), "dynamo"),
    ("**/attention.csv", frozenset({"is_prefill", "p50_ns"}), "tpu"),
    ("**/attention.csv", frozenset(), "layer-profiles"),
)
"""Files and columns by which a folder is recognised, the most telling first."""


def _readers() -> dict[str, _Reader]:
    return {
        "timings": _timings,
        "aiconfigurator": _aiconfigurator,
        "layer-profiles": _layer_profiles,
        "tpu": _tpu,
        "splitwise": _splitwise,
        "dynamo": _dynamo,
    }


def _layer_profiles(path: Path, wanted: Wanted, progress: Progress) -> _Read:
    del progress
    from planner.curves.readers.layer_profiles import read_layer_profiles

    return _of_profile(read_layer_profiles(path, wanted.catalog))


def _tpu(path: Path, wanted: Wanted, progress: Progress) -> _Read:
    del progress
    from planner.curves.readers.tpu import read_tpu

    return _of_profile(read_tpu(path, wanted.catalog))


def _splitwise(path: Path, wanted: Wanted, progress: Progress) -> _Read:
    del wanted, progress
    from planner.curves.readers.splitwise import read_splitwise

    return _of_profile(read_splitwise(path))


def _dynamo(path: Path, wanted: Wanted, progress: Progress) -> _Read:
    del wanted, progress
    from planner.curves.readers.dynamo import read_dynamo

    return _of_profile(read_dynamo(path))


def _of_profile(profile: Profile) -> _Read:
    part = ReadPart(profile.timings, profile.source, profile.date, profile.licence)
    return _Read((part,), profile.notes)


def _header(path: Path) -> frozenset[str]:
    try:
        with path.open("rb") as file:
            line = file.read(_HEAD_BYTES).splitlines()[:1]
    except OSError as error:
        raise CurveError(f"{path}: cannot be read: {error.strerror}") from None
    text = line[0].decode("utf-8-sig", errors="replace") if line else ""
    return frozenset(name.strip().strip('"') for name in text.split(","))


def _timings(path: Path, wanted: Wanted, progress: Progress) -> _Read:
    del wanted, progress
    from planner.curves.readers.timings_csv import read_timings_csv

    timings = read_timings_csv(path)
    header = _microbench_header(path)
    source = ""
    if header:
        source = f"planner microbench on {header.get('device')}, driver {_driver(header)}"
    part = ReadPart(timings, source, str(header.get("date", "")), "")
    return _Read((part,))


def _microbench_header(path: Path) -> dict[str, Any]:
    """Return what `planner microbench` wrote beside its CSV; empty if it was not it."""
    from planner.microbench.table import SCHEMA, header_path

    try:
        found = json.loads(header_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("schema") == SCHEMA else {}


def _driver(header: dict[str, Any]) -> str:
    state = header.get("state")
    return str(state.get("driver_version", "unknown")) if isinstance(state, dict) else "unknown"


def _aiconfigurator(path: Path, wanted: Wanted, progress: Progress) -> _Read:
    from planner.curves.curve import WHOLE_STEPS
    from planner.curves.forms.registry import form_names
    from planner.curves.readers.aiconfigurator import CHIPS, LICENCE, PACKAGE, read_aiconfigurator
    from planner.curves.timings import OPERATORS

    folder = None if str(path) == INSTALLED and not path.exists() else path
    # the package times single operators only
    fitted = [name for name in OPERATORS if name in form_names() and name not in WHOLE_STEPS]
    operators = wanted.operators or tuple(fitted)
    chips = [wanted.chip] if wanted.chip is not None else list(CHIPS)
    tables = [(operator, chip) for chip in chips for operator in operators]
    parts: list[ReadPart] = []
    notes: list[str] = []
    for done, (operator, chip) in enumerate(tables):
        reading = read_aiconfigurator(operator, chip, folder=folder)
        notes += reading.notes
        if len(reading.timings):
            parts.append(ReadPart(reading.timings, licence=LICENCE, curated=True))
        progress(done + 1, len(tables))
    if not parts:
        raise CurveError(f"{path}: no timings of {PACKAGE} for {', '.join(chips)}")
    return _Read(tuple(parts), tuple(notes))


def _input(path: Path, reader: str, rows: int) -> InputFile:
    from planner.report.fit_record import InputFile

    name = path.resolve().name
    if reader == "aiconfigurator" and name != INSTALLED:
        name = f"{INSTALLED} ({name})"
    return InputFile(name, reader, rows, _sha256(path))


def _sha256(path: Path) -> str:
    """Return the digest of a file; nothing for a folder."""
    if not path.is_file():
        return ""
    digest = hashlib.sha256()
    for block in _blocks(path):
        digest.update(block)
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(2**20):
            yield block
