"""Progress on standard error, for work that turns out to be long."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

PATIENCE_S = 1.0
"""Work shorter than this shows no bar."""


class LateBar:
    """A bar that appears once the work has taken a while; use it as a context.

    Args:
        label: what is being done.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._started_s = time.monotonic()
        self._progress: Progress | None = None

    def __enter__(self) -> Self:
        """Start the clock."""
        self.restart()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        self.restart()

    def restart(self) -> None:
        """Take the bar away and start the clock anew: one piece of the work is done."""
        if self._progress is not None:
            self._progress.stop()
        self._progress = None
        self._started_s = time.monotonic()

    def __call__(self, done: float, total: float) -> None:
        """Show how far the work is; beyond `total` the bar stays full."""
        if self._progress is None:
            if time.monotonic() - self._started_s < PATIENCE_S:
                return
            self._progress = self._open(total)
        self._progress.update(self._progress.task_ids[0], completed=min(done, total), total=total)

    def _open(self, total: float) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), Remaining())
        console = Console(stderr=True)
        progress = Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal
        )
        progress.add_task(self._label, total=total)
        progress.start()
        return progress


def announce_compilation() -> None:
    """Say what the first run on a machine waits for."""
    from planner.kernel.jit import is_compiled, is_jit

    if is_jit() and not is_compiled():
        typer.echo(
            "compiling the simulation kernel, once for this version (about a minute) …", err=True
        )
