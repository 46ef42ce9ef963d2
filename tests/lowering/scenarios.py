"""Small scenarios and traces for the tests of this folder."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

import numpy as np
from numpy.typing import NDArray

from planner.lowering.traffic import Traffic
from planner.scenario import LoadedScenario, load_scenario

POOLS = """\
- name: small
  model: llama-3.1-8b
  node: hgx-h100
  nodes: 2
"""


def load(
    folder: Path, classes: str, workload: str = "", pools: str = POOLS, rest: str = ""
) -> LoadedScenario:
    """Write and load a scenario of an hour with these classes."""
    duration = "" if "duration:" in workload else "duration: 1 h\n"
    text = (
        "schema: planner/v1\nname: test\nseed: 7\nworkload:\n"
        + indent(duration + workload.strip() + "\nclasses:\n" + indent(classes, "  "), "  ")
        + "\npools:\n"
        + indent(pools, "  ")
        + rest
    )
    path = folder / "scenario.yaml"
    path.write_text(text, encoding="utf-8")
    return load_scenario(path)


def traffic(loaded: LoadedScenario) -> Traffic:
    return Traffic(loaded, [100_000] * len(loaded.scenario.workload.classes))


def open_rows(loaded: LoadedScenario) -> NDArray[np.void]:
    """Return all open-loop rows of a scenario, as the kernel gets them."""
    return np.concatenate(list(traffic(loaded).open_blocks()))


def write_trace(folder: Path, name: str, text: str) -> None:
    """Write a trace in the project's own format; cells are separated by spaces, `-` is empty."""
    lines = [",".join("" if c == "-" else c for c in line.split()) for line in text.split("\n")]
    (folder / name).write_text("\n".join(lines).strip() + "\n", encoding="utf-8")


def heads(rows: NDArray[np.void]) -> NDArray[np.bool_]:
    """Tell which rows arrive by themselves; the others are later turns of the row before."""
    return np.asarray(~np.isnan(rows["arrival_s"]))


def assert_same_rows(found: NDArray[np.void], expected: NDArray[np.void]) -> None:
    """Compare field by field: what lies between the fields of a record has no meaning."""
    assert found.dtype.names is not None
    for field in found.dtype.names:
        np.testing.assert_array_equal(found[field], expected[field], err_msg=field)
