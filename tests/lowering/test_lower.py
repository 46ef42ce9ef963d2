"""The whole of lowering: classes, times, and pools used again."""

from __future__ import annotations

import math
from pathlib import Path

from planner.catalog import load_catalog
from planner.lowering import lower
from tests.lowering.scenarios import load

CLASSES = """\
- name: guests
  pool: small
  overflow: [big, spare]
  priority: 5
  open: {rate: 1 /s}
  input: {fixed: 100}
  output: {fixed: 10}
  visitors: 100
  rate_limit: {rate: 10 /h, burst: 3}
  timeout: 20 s
  objectives:
    - {metric: ttft, percentile: 50, limit: 500 ms}
    - {metric: ttft, percentile: 99, limit: 2 s}
    - {metric: tpot, percentile: 99, limit: 60 ms}
    - {metric: itl, percentile: 99, limit: 1 ms}
  maximum_loss_rate: 2%
- name: members
  pool: big
  closed: {clients: 3}
  input: {fixed: 100}
  output: {fixed: 10}
  objectives:
    - {metric: e2e, percentile: 90, limit: 10 s}
"""
POOLS = """\
- {name: spare, model: llama-3.1-8b, node: hgx-a100, nodes: 0, engine: {context_tokens: 500}}
- {name: small, model: llama-3.1-8b, node: hgx-h100, nodes: 1, engine: {context_tokens: 900}}
- {name: big, model: llama-3.1-8b, node: hgx-h100, nodes: 2, engine: {context_tokens: 7000}}
"""
TIMES = "duration: 10 min\nwarmup: 1 min\ndrain: 2 min\nwindow: 30 s"


def test_classes_are_lowered_field_by_field(tmp_path: Path) -> None:
    loaded = load(tmp_path, CLASSES, TIMES, POOLS)
    plan = lower(loaded, load_catalog()).plan
    guests, members = plan.classes
    assert (guests.name, guests.pools, guests.priority) == ("guests", (1, 2, 0), 5)
    assert (guests.timeout_s, members.timeout_s) == (20.0, math.inf)
    # Of several promises on one metric the tightest decides what is good; gaps are not per request.
    assert (guests.ttft_limit_s, guests.tpot_limit_s, guests.e2e_limit_s) == (0.5, 0.06, math.inf)
    assert members.e2e_limit_s == 10.0
    assert (guests.bucket_interval_s, guests.bucket_burst) == (360.0, 3)
    assert members.bucket_interval_s == 0.0
    assert plan.visitors == 100


def test_times_and_streams_are_lowered(tmp_path: Path) -> None:
    loaded = load(tmp_path, CLASSES, TIMES, POOLS, "output: {requests: true}\n")
    plan = lower(loaded, load_catalog()).plan
    times = (plan.duration_s, plan.warmup_s, plan.drain_s, plan.window_s)
    assert times == (600.0, 60.0, 120.0, 30.0)
    assert plan.keep_finished
    assert [stream.clients for stream in plan.closed] == [3]
    rows = next(plan.blocks)
    assert set(rows["class"].tolist()) == {0}
    assert 500 < len(rows) < 700


def test_the_report_is_told_what_the_classes_were_promised(tmp_path: Path) -> None:
    lowered = lower(load(tmp_path, CLASSES, TIMES, POOLS), load_catalog())
    guests, members = lowered.classes
    assert (guests.pool, guests.overflow, guests.maximum_loss_rate) == (
        "small",
        ("big", "spare"),
        0.02,
    )
    promises = [(o.metric, o.percentile, o.limit_s) for o in guests.objectives]
    assert promises == [
        ("ttft", 50, 0.5), ("ttft", 99, 2.0), ("tpot", 99, 0.06), ("itl", 99, 0.001),
    ]  # fmt: skip
    assert members.plan is None


def test_sessions_grow_up_to_the_longest_context_of_their_pools(tmp_path: Path) -> None:
    """The class may overflow to a pool with 7,000 tokens of context: sessions go up to that."""
    sessions = "  sessions: {turns: {fixed: 200}, think_median: 1 s}\n"
    classes = CLASSES.replace("  visitors: 100\n", f"  visitors: 100\n{sessions}")
    plan = lower(load(tmp_path, classes, TIMES, POOLS), load_catalog()).plan
    rows = next(plan.blocks)
    context = rows["input_tokens"] + rows["output_tokens"]
    assert 6890 <= context.max() <= 7000


def test_pools_of_an_earlier_lowering_are_used_again(tmp_path: Path) -> None:
    catalog = load_catalog()
    first = lower(load(tmp_path, CLASSES, TIMES, POOLS), catalog)
    more = load(tmp_path, CLASSES, TIMES, POOLS.replace("nodes: 2", "nodes: 6"))
    again = lower(more, catalog, first.pools)
    assert [pool.plan.nodes for pool in again.pools] == [0, 1, 6]
    assert all(a.curve is b.curve for a, b in zip(first.pools, again.pools, strict=True))
    assert again.plan.pools == tuple(pool.plan for pool in again.pools)
    assert next(again.plan.blocks).tobytes() == next(first.plan.blocks).tobytes()
