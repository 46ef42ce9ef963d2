"""Compiled code finds in a `World` what Python finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.kernel import dtypes
from planner.kernel.build import build_world
from planner.kernel.jit import kernel
from planner.kernel.plan import Plan
from planner.kernel.pointer import prefetch
from planner.kernel.world import ARRAYS, MOST_DIMENSIONS, World
from tests.benchmarks.workload import CHAT, pool_plan


@pytest.fixture
def world() -> World:
    return build_world(Plan((pool_plan(),), (CHAT,), iter(())), windows=2)


@kernel
def visit(world: World) -> float:
    """Read and write arrays of every kind: records, numbers, three dimensions."""
    world.requests[3]["fate"] = 7
    world.visitors[1] += 0.5
    world.histograms[0, 2, 5] += 1.0
    prefetch(world.requests, 3)
    total = float(len(world.requests) + len(world.visitors) + world.histograms[0, 2, 5])
    return total + world.requests[3]["input_tokens"] + world.histograms.shape[1]


def test_compiled_code_reads_and_writes_the_arrays_themselves(world: World) -> None:
    world = replace(world, visitors=np.arange(4.0))
    world.requests["input_tokens"][3] = 11
    world.histograms[0, 2, 5] = 2.0
    expected = len(world.requests) + 4 + 3.0 + 11 + world.histograms.shape[1]
    assert visit(world) == expected
    assert world.requests["fate"][3] == 7
    assert world.visitors[1] == 1.5
    assert world.histograms[0, 2, 5] == 3.0


def test_a_replaced_array_is_found(world: World) -> None:
    visitors = np.zeros(2)
    visit(replace(world, visitors=visitors))
    assert visitors[1] == 0.5


def test_the_table_names_every_array_and_its_shape(world: World) -> None:
    assert world.table.shape == (len(ARRAYS), 1 + MOST_DIMENSIONS)
    for row, name in zip(world.table, ARRAYS, strict=True):
        array = getattr(world, name)
        assert row[0] == array.ctypes.data
        assert tuple(row[1 : 1 + array.ndim]) == array.shape


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros(3, np.float32),
        np.zeros((2, 2)),
        np.zeros(6)[::2],
        np.zeros(3, dtypes.SLOT),
        np.frombuffer(bytes(24)),
    ],
    ids=["element", "dimensions", "strides", "record", "read-only"],
)
def test_what_compiled_code_would_misread_is_refused(world: World, wrong) -> None:
    with pytest.raises(TypeError, match=r"World\.visitors must be a contiguous, writable array"):
        replace(world, visitors=wrong)
