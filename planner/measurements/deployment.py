"""What a benchmark tool cannot know: the system behind the address that it sent requests to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from planner.curves.layout import Parallelism
from planner.measurements.point import Settings


@dataclass(frozen=True)
class Deployment:
    """The system that was measured, as the user states it; names are those of the catalogue."""

    model: str
    chip: str
    engine: str
    engine_version: str = ""
    parallelism: Parallelism = field(default_factory=Parallelism)
    replicas: int = 1
    weight_dtype: str = "bf16"
    activation_dtype: str | None = None
    kv_dtype: str = "bf16"
    devices_per_node: int = 8
    settings: Settings = field(default_factory=Settings)
    citation: str = "own measurement"
    licence: str = ""

    def values(self) -> dict[str, Any]:
        """Return the fields of a `Point` that the deployment decides."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}
