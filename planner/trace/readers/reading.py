"""What a reader is given: the file, how to treat it, and where to leave what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from planner.trace.readers.rows import ClassNames, Faults, RowBuilder


@dataclass(frozen=True)
class Reading:
    """One pass over one trace.

    Args:
        path: the file, or the folder for ServeGen.
        classes: names behind the class column.
        ordered: rows must be in order of arrival; off when the source is going to be sorted.
        seed: root of random streams, for formats that are distributions rather than requests.
        notes: what the user should know about the reading; readers append.
    """

    path: Path
    classes: ClassNames
    ordered: bool = True
    seed: np.random.SeedSequence = field(default_factory=lambda: np.random.SeedSequence(0))
    notes: list[str] = field(default_factory=list)

    def builder(self, titles: Mapping[str, str], unit: str = "line") -> RowBuilder:
        """Return a builder of rows for this pass; `titles`: what the file calls the columns."""
        return RowBuilder(Faults(self.path, unit), self.classes, titles, ordered=self.ordered)
