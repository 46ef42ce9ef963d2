"""Samples kept in a file as they come, so that an interrupted search resumes where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from planner.errors import OutputError
from planner.files import write_whole
from planner.search.draws import Point
from planner.search.sampled import Sample

SCHEMA: Final = "planner-risk-journal/v1"


@dataclass(frozen=True)
class Journal:
    """A file of samples; its first line says of which search."""

    path: Path
    digest: str
    """Of all that the samples follow from."""

    def read(self) -> dict[Point, Sample]:
        """Return the samples that are there; a last line that was cut off is taken away.

        Raises:
            OutputError: the file is of another search, or none of samples.
        """
        if not self.path.exists() or not self.path.stat().st_size:
            return {}
        head, *lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        if head.rstrip("\n") != self._head():
            raise OutputError(
                f"{self.path} holds samples of another scenario, version or setting; name another "
                "file, or delete it"
            )
        whole = [line for line in lines if line.endswith("\n")]
        if len(whole) < len(lines):
            write_whole(self.path, head + "".join(whole))
        return {sample.point: sample for sample in map(_sample, whole)}

    def add(self, samples: Iterable[Sample]) -> None:
        """Append samples, each as a line."""
        is_new = not self.path.exists() or not self.path.stat().st_size
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8", newline="\n") as file:
            if is_new:
                file.write(self._head() + "\n")
            file.writelines(_line(sample) + "\n" for sample in samples)

    def _head(self) -> str:
        return json.dumps({"schema": SCHEMA, "digest": self.digest})


def _line(sample: Sample) -> str:
    values = [[*key, value] for key, value in sample.values.items()]
    content = {
        "point": list(sample.point),
        "values": values,
        "nodes": None if sample.nodes is None else dict(sample.nodes),
        "kept": sample.kept,
        "obstacle": sample.obstacle,
        "simulations": sample.simulations,
    }
    return json.dumps(content, ensure_ascii=False)


def _sample(line: str) -> Sample:
    content = json.loads(line)
    return Sample(
        point=tuple(content["point"]),
        values={(name, klass): value for name, klass, value in content["values"]},
        nodes=content["nodes"],
        kept=content["kept"],
        obstacle=content["obstacle"],
        simulations=content["simulations"],
    )
