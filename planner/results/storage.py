"""Results on disk: a folder that is either the old result or the new one, never half of each."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from planner.errors import OutputError
from planner.results.frames import Frames
from planner.results.impact import Impact
from planner.results.result import SCHEMA, Assumption, Finance, Result

if TYPE_CHECKING:
    from planner.results.columns import Column

RESULT_FILE = "result.json"
REPORT_FILE = "report.html"
REQUESTS_FILE = "requests.parquet"
TABLES_FOLDER = "tables"
COLUMNS_FILE = "columns.csv"
_OWN_ENTRIES = frozenset({RESULT_FILE, REPORT_FILE, REQUESTS_FILE, TABLES_FOLDER})


def write_result(
    result: Result, folder: Path, *, html: str | None, requests: Path | None, force: bool
) -> Path:
    """Write `result` beside its final place and rename it there; see `Result.write`."""
    folder = folder.resolve()
    check_output_folder(folder, force=force)
    fresh = folder.with_name(f".{folder.name}.new-{os.getpid()}")
    stale = folder.with_name(f".{folder.name}.old-{os.getpid()}")
    try:
        _remove(fresh)
        fresh.mkdir(parents=True)
        _write_files(result, fresh, html)
        if requests is not None:
            shutil.move(requests, fresh / REQUESTS_FILE)
        _swap(fresh, folder, stale)
    except OSError as error:
        raise OutputError(
            f"{folder}: the result could not be written: {error.strerror or error}; "
            "choose another folder with --output"
        ) from error
    finally:
        _remove(fresh)
    return folder


def check_output_folder(folder: Path, *, force: bool = False) -> None:
    """Raise before a run starts if its result could not be written to `folder` afterwards.

    Args:
        folder: where the result is to go.
        force: a folder that holds something else may be replaced.

    Raises:
        OutputError: `folder` is a file, holds something that is not a result, or is where the user
            stands.
    """
    given, folder = folder, folder.resolve()
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{given}: is a file; name a folder for the result")
    here = Path.cwd()
    if folder in (here, *here.parents, Path.home()):
        raise OutputError(
            f"{given}: would be replaced as a whole, and it is the working folder, its parent or "
            "the home folder; name a new folder inside it"
        )
    if force or not folder.exists():
        return
    entries = {entry.name for entry in folder.iterdir()}
    foreign = sorted(entries - _OWN_ENTRIES)
    if foreign or (entries and not _is_result(folder)):
        found = ", ".join((foreign or sorted(entries))[:3])
        raise OutputError(
            f"{given}: exists and holds something that is not a result of planner ({found}); "
            "choose another folder with --output, or --force to replace it with all it holds"
        )


def _is_result(folder: Path) -> bool:
    try:
        content = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("schema") == SCHEMA


def _swap(fresh: Path, folder: Path, stale: Path) -> None:
    if not folder.exists():
        fresh.rename(folder)
        return
    _remove(stale)
    folder.rename(stale)
    try:
        fresh.rename(folder)
    except OSError:
        stale.rename(folder)
        raise
    _remove(stale)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _write_files(result: Result, folder: Path, html: str | None) -> None:
    (folder / RESULT_FILE).write_text(result.to_json(), encoding="utf-8", newline="\n")
    if html is not None:
        (folder / REPORT_FILE).write_text(html, encoding="utf-8", newline="\n")
    tables = folder / TABLES_FOLDER
    tables.mkdir()
    for name, frame in result.tables().items():
        frame.to_parquet(tables / f"{name}.parquet", index=False, compression="zstd")
        frame.to_csv(tables / f"{name}.csv", index=False, lineterminator="\n")
    _column_table().to_csv(tables / COLUMNS_FILE, index=False, lineterminator="\n")


def _column_table() -> pd.DataFrame:
    from planner.results.columns import TABLES

    def row(table: str, column: Column) -> dict[str, str]:
        return {"table": table, **column._asdict()}

    return pd.DataFrame([row(table, c) for table, cs in TABLES.items() for c in cs])


def read_result(folder: Path) -> Result:
    """Return the result in `folder`; see `Result.read`."""
    path = folder / RESULT_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OutputError(f"{path}: no such file; name a folder that planner run wrote") from None
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: cannot be read: {error}; run the scenario again") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise OutputError(f"{path}: is not a result of this version (schema {SCHEMA})")
    try:
        return _result(content, folder / TABLES_FOLDER)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise OutputError(f"{folder}: the result is damaged: {error}; run it again") from error


def _result(content: dict[str, Any], folder: Path) -> Result:
    def table(name: str) -> pd.DataFrame:
        return pd.read_parquet(folder / f"{name}.parquet")

    names = [name for name in Frames.__dataclass_fields__ if name != "stability"]
    frames = Frames(**{name: table(name) for name in names}, stability=tuple(content["stability"]))
    finance = None
    if content["finance"] is not None:
        stored = ("ledger", "margins", "class_costs", "pool_costs", "class_pools")
        finance = Finance(**content["finance"] | {name: table(name) for name in stored})
    impact = None
    if content["impact"] is not None:
        parts = {name: table(name) for name in ("class_footprint", "pool_footprint")}
        impact = Impact(**content["impact"] | parts)
    steps = folder / "steps.parquet"
    return Result(
        **{name: content[name] for name in ("name", "description", "seed", "version")},
        scenario_sha256=content["scenario_sha256"],
        **content["time"],
        frames=frames,
        finance=finance,
        books=content["books"],
        impact=impact,
        steps=pd.read_parquet(steps) if steps.exists() else None,
        assumptions=tuple(Assumption(**row) for row in content["assumptions"]),
        notes=tuple(content["notes"]),
        counters=content["counters"],
    )
