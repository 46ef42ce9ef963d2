"""Checks know every way by which a class comes to a pool: overflow, a lighter model, a decoder."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.catalog import Catalog
from planner.errors import ScenarioError
from planner.lowering import lower
from planner.scenario import load_checked, notices
from planner.scenario.capacity import longest_in
from planner.scenario.schema.pools import Pool

TEXT = """\
schema: planner/v1
name: routes
workload:
  duration: 10 min
  classes:
    - name: chat
      pool: own
      light: {pool: light, share: 50%}
      open: {rate: 1 /s}
      input: {fixed: 1000}
      output: {fixed: 200}
      objectives: [{metric: ttft, percentile: 99, limit: 2 s}]
    - name: long
      pool: prefill
      open: {rate: 1 /s}
      input: {fixed: 4000}
      output: {fixed: 1000}
      objectives: [{metric: ttft, percentile: 99, limit: 5 s}]
pools:
  - {name: own, model: llama-3.1-70b, node: hgx-h100, nodes: 1, tensor_parallel: 8}
  - {name: light, model: llama-3.1-8b, node: hgx-h100, nodes: 1}
  - {name: prefill, model: llama-3.1-8b, node: hgx-h100, nodes: 1,
     decode: {pool: decode, bandwidth: 50 GB/s}}
  - {name: decode, model: llama-3.1-8b, node: hgx-h100, nodes: 1}
"""
AGENT = (
    "workload.classes.long.agent={calls: {fixed: 3}, tool_tokens: {fixed: 100}, "
    "tool_time_median: 2 s}"
)


def check(folder: Path, catalog: Catalog, *sets: str) -> list[str]:
    path = folder / "routes.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return notices(load_checked(path, catalog, sets=sets).scenario, catalog)


@pytest.mark.parametrize(
    "sets",
    [
        [],
        ["pools.light.engine.scheduler=deadline"],
        ["pools.decode.engine.scheduler=deadline"],
        ["pools.light.admission={predicted_ttft: 100%}"],
        ["pools.light.admission={kv_usage: 80%}", "workload.classes.chat.sheddable=true"],
        ["pools.light.engine.scheduler=weighted", "workload.classes.chat.weight=2"],
        ["pools.decode.engine.scheduler=weighted", "workload.classes.long.weight=2"],
        [
            "pools.light.engine.batch_below=40%",
            "workload.classes.chat.service=batch",
            "workload.classes.chat.objectives=[]",
        ],
        [
            "pools.decode.engine.batch_below=40%",
            "workload.classes.long.service=batch",
            "workload.classes.long.objectives=[]",
        ],
        ["pools.light.prefix_cache=true", "workload.classes.chat.system_prompt=500"],
        ["pools.prefill.prefix_cache=true", AGENT],
        # What is too long for its first pool is served by the next.
        ["pools.own.engine.context_tokens=1000", "workload.classes.chat.overflow=[prefill]"],
    ],
)
def test_what_a_class_reaches_by_a_detour_is_neither_faulty_nor_idle(
    tmp_path: Path, catalog: Catalog, sets: list[str]
) -> None:
    assert check(tmp_path, catalog, *sets) == []


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (
            ["pools.decode.engine.context_tokens=4999"],
            "each has at least 5,000 tokens, and pool decode takes at most 4,999 of prompt and",
        ),
        (
            ["pools.decode.engine.kv_blocks=312"],
            "each has at least 5,000 tokens, and pool decode takes at most 4,993 of prompt and",
        ),
        (
            ["pools.prefill.engine.context_tokens=4000"],
            "pool prefill takes at most 4,000 of prompt and first token",
        ),
        (
            ["pools.own.engine.kv_blocks=9", "workload.classes.chat.overflow=[light]",
             "workload.classes.chat.light=null", "pools.light.engine.context_tokens=1100"],
            "at most 145 of prompt and output; pool light takes at most 1,100 of prompt and",
        ),
        (
            ["pools.light.engine.context_tokens=1100"],
            r"light.pool: no request goes there: each has at least 1,200 tokens.*delete `light`",
        ),
        (
            [AGENT, "workload.classes.long.agent.context_tokens=20000",
             "pools.decode.engine.context_tokens=10000"],
            "20,000 tokens are more than the 10,000 that the pools of the class serve",
        ),
        (
            [AGENT, "pools.decode.engine.context_tokens=5500"],
            "a task of 3 calls",
        ),
        (
            ["workload.classes.chat.sheddable=true", "pools.own.admission={waiting_tokens: 9}"],
            r"sheddable: no pool of the class sheds by its memory.*kv_usage: 80%",
        ),
        (
            ["workload.classes.chat.service=batch",
             "workload.classes.chat.objectives=[{metric: ttfat, percentile: 90, limit: 1 h}]"],
            "a promise on ttfat cannot hold; promise e2e",
        ),
        (
            ["pools.decode.admission={waiting_tokens: 9}"],
            r"decode gets what prefill has prefilled.*turns none of it away; set admission in pre",
        ),
        (
            ["pools.decode.overflow_waiting=2"],
            r"passes none of it on; set overflow_waiting in prefill",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_served_or_does_nothing_is_named(
    tmp_path: Path, catalog: Catalog, sets: list[str], message: str
) -> None:
    with pytest.raises(ScenarioError, match=message):
        check(tmp_path, catalog, *sets)


def test_a_job_that_comes_before_the_warm_up_ends_is_noticed(
    tmp_path: Path, catalog: Catalog
) -> None:
    job = ["workload.classes.long.open=null"]
    job.append("workload.classes.long.closed={clients: 20, requests: 20}")
    assert check(tmp_path, catalog, *job) == []
    (notice,) = check(tmp_path, catalog, *job, "workload.warmup=1 min")
    assert notice.startswith("class long: all its requests come at once, before the warm-up ends")


def test_tasks_of_agents_end_where_the_decoding_pool_is_full(
    tmp_path: Path, catalog: Catalog
) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(TEXT, encoding="utf-8")
    sets = [AGENT, "pools.decode.engine.context_tokens=8000"]
    (block,) = lower(load_checked(path, catalog, sets=sets), catalog).plan.blocks
    assert (block["input_tokens"] + block["output_tokens"]).max() <= 8000


def test_drafts_need_room_besides(catalog: Catalog) -> None:
    content = {"name": "p", "model": "llama-3.1-8b", "node": "hgx-h100", "nodes": 1}
    content["engine"] = {"kv_blocks": 10}
    assert longest_in(Pool.model_validate(content), catalog) == 161
    drafting = {"method": "eagle3", "draft_tokens": 3}
    assert longest_in(Pool.model_validate(content | {"speculation": drafting}), catalog) == 158
    unknown = Pool.model_validate(content | {"model": "nothing"})
    assert longest_in(unknown, catalog) is None
