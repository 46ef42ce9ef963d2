"""What a job of `fit_shipped` is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from planner.curves.curve import CurveKey
from planner.curves.forms.base import Form
from planner.curves.forms.registry import form_for
from planner.curves.grid import GridSpec
from planner.curves.timings import Timings


def everything(timings: Timings) -> Timings:
    """Return all rows."""
    return timings


@dataclass(frozen=True)
class Job:
    """How the curves of one operator are fitted, for every chip, engine and dtype measured."""

    operator: str
    groups: tuple[str, ...]
    """Columns that together name what is left out for the error on unseen shapes."""
    correction: GridSpec | Sequence[GridSpec] | None = None
    select: Callable[[Timings], Timings] = everything
    """Rows to fit, out of all that the package holds."""
    form: Callable[[CurveKey], Form] = form_for
