"""The files that a command writes beside what it prints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import typer

from planner.errors import OutputError


def check_outputs(
    paths: Sequence[Path | None], *, force: bool, inputs: Sequence[Path] = ()
) -> None:
    """Raise before the work starts if its result could not be written afterwards.

    Args:
        paths: of the files; None where one was not asked for.
        force: files that are there may be replaced.
        inputs: files that are read.

    Raises:
        OutputError: a file is there already, its place is a folder, or it is read as well.
    """
    read = {path.resolve() for path in inputs}
    named = [path for path in paths if path is not None]
    for path in named:
        if path.resolve() in read:
            raise OutputError(f"{path}: is read, and would be overwritten; name another output")
        if path.is_dir():
            raise OutputError(f"{path}: is a folder; name a file")
        if path.exists() and not force:
            raise OutputError(f"{path}: exists already; choose another name, or add --force")
    if len({path.resolve() for path in named}) < len(named):
        raise OutputError(f"{named[0]}: is named for two outputs; name two files")


def write_csv(path: Path | None, what: str, text: Callable[[], str]) -> None:
    """Write a table if it was asked for, and say so: `what` are its rows."""
    from planner.files import write_whole

    if path is not None:
        write_whole(path, text())
        typer.echo(f"{what} written to {path}", err=True)


def write_report(path: Path | None, text: Callable[[], str]) -> None:
    """Write an HTML report if it was asked for, and say so."""
    from planner.files import write_whole

    if path is not None:
        write_whole(path, text())
        typer.echo(f"report: {path}", err=True)
