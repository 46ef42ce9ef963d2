"""Writing a baseline, unless the file says the same already."""

from __future__ import annotations

from pathlib import Path

from planner.microbench.table import write_whole
from planner.regress.baseline import Baseline, BaselineError, read_baseline


def write_baseline(new: Baseline, path: Path) -> str:
    """Write a baseline and return what happened to the file, in a word.

    A file whose numbers differ by a rounding only stays: another machine makes no diff.

    Raises:
        OutputError: it cannot be written.
    """
    if not path.exists():
        write_whole(path, new.to_json())
        return "new"
    try:
        old = read_baseline(path)
    except BaselineError:
        old = None
    if old is not None and new.agrees_with(old):
        return "unchanged"
    write_whole(path, new.to_json())
    return "updated"
