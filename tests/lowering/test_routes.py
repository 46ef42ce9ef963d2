"""Which classes reach a pool: by themselves, through a lighter model, or prefilled elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.catalog import load_catalog
from planner.lowering import lower
from planner.scenario.routes import pools_reached
from tests.small import load

DECODED = (
    "pools.reasoning.node=hgx-h100",
    "pools.chat.decode={pool: reasoning, bandwidth: 50 GB/s}",
    "workload.classes.reasoning.pool=chat",
)
LIGHT = ("workload.classes.chat.light={pool: reasoning}",)


@pytest.mark.parametrize("sets", [DECODED, LIGHT])
def test_room_is_kept_from_batch_classes_wherever_they_come(
    sets: tuple[str, ...], tmp_path: Path
) -> None:
    batch = ("workload.classes.chat.service=batch", "workload.classes.chat.objectives=[]")
    plain = lower(load(tmp_path, *sets), load_catalog()).plan.pools
    assert [pool.batch_sequences for pool in plain] == [0, 0]
    kept = lower(load(tmp_path, *sets, *batch), load_catalog()).plan.pools
    assert all(0 < pool.batch_sequences < pool.maximum_sequences for pool in kept)


def test_pools_reached(tmp_path: Path) -> None:
    chat = load(tmp_path, *DECODED).scenario.workload.classes[0]
    assert pools_reached(chat, {}) == {"chat"}
    assert pools_reached(chat, {"chat": "reasoning"}) == {"chat", "reasoning"}
    chat = load(tmp_path, *LIGHT).scenario.workload.classes[0]
    assert pools_reached(chat, {}) == {"chat", "reasoning"}
