from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from planner.catalog import Catalog
from planner.errors import ScenarioError
from planner.scenario import (
    check_scenario,
    kv_blocks_of,
    load_checked,
    load_scenario,
    notices,
    pool_memory,
    replicas_of,
)
from planner.scenario.schema.pools import Pool
from tests.scenario.samples import VALID, changed

pytestmark = pytest.mark.usefixtures("in_folder")

WriteFile = Callable[[str, str], Path]


def findings(catalog: Catalog, name: str = "q.yaml") -> list[str]:
    return [str(fault).splitlines()[0] for fault in check_scenario(load_scenario(name), catalog)]


def test_the_valid_scenario_has_no_fault(write_file: WriteFile, catalog: Catalog) -> None:
    write_file("q.yaml", VALID)
    assert findings(catalog) == []
    assert load_checked("q.yaml", catalog).scenario.name == "evening"
    assert notices(load_scenario("q.yaml").scenario, catalog) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pool: small", "pool: smal",
         "q.yaml:8:13: workload.classes[0].pool: unknown pool 'smal'; did you mean small?"),
        ("overflow: [big]", "overflow: [huge]",
         "q.yaml:9:18: workload.classes[0].overflow[0]: unknown pool 'huge'; choose one of small, "
         "big"),
        ("overflow: [big]", "overflow: [small]",
         "q.yaml:9:18: workload.classes[0].overflow[0]: 'small' is tried before already; name each "
         "pool once"),
        ("overflow: [big]", "overflow: [big, big]",
         "q.yaml:9:23: workload.classes[0].overflow[1]: 'big' is tried before already; name each "
         "pool once"),
        ("plan: api", "plan: appi",
         "q.yaml:22:13: workload.classes[1].plan: unknown plan 'appi'; did you mean api?"),
        ("model: llama-3.1-8b", "model: llama-3.1-8",
         "q.yaml:25:12: pools[0].model: unknown model 'llama-3.1-8'; did you mean"),
        ("node: hgx-h100\n    nodes: 2\n  - name", "node: hgx-h10\n    nodes: 2\n  - name",
         "q.yaml:26:11: pools[0].node: unknown node 'hgx-h10'; did you mean"),
        ("node: hgx-h100\n    nodes: 2\n  - name", "node: h100-sxm\n    nodes: 2\n  - name",
         "q.yaml:26:11: pools[0].node: 'h100-sxm' is a chip; name a node with it: hgx-h100"),
        ("nodes: 2\n  - name: big", "nodes: 2\n    price: h100\n  - name: big",
         "q.yaml:28:12: pools[0].price: unknown price 'h100'"),
        ("      visitors: 5000\n", "",
         "q.yaml:13:7: workload.classes[0].rate_limit: limits each visitor, so it needs their "
         "number; add visitors to the class"),
        ("open: {rate: 24 /s}", "open: {rate: 1e12 /s}",
         "q.yaml:10:20: workload.classes[0].open.rate: the open-loop classes make 3.6e+15 arrivals "
         "in 3600 s; at most 10,000,000,000 can be simulated: check the unit of the rate, or "
         "shorten workload.duration"),
        ("open: {rate: 24 /s}", "share: 50%",
         "q.yaml:10:14: workload.classes[0].share: is a share of workload.trace, which is missing; "
         "add it"),
        ("      open: {rate: 24 /s}\n", "",
         "q.yaml:7:7: workload.classes[0]: has no requests; give it open, closed or trace, or add "
         "workload.trace"),
        ("open: {rate: 24 /s}", "trace: {file: no.csv}",
         "q.yaml:10:21: workload.classes[0].trace.file: no such file: no.csv; paths are relative "
         "to this file"),
        ("open: {rate: 24 /s}", "trace: {file: ., format: burstgpt}",
         "q.yaml:10:21: workload.classes[0].trace.file: . is a folder; name the trace file in it"),
        ("start: 19:30", "trace: {file: q.yaml}",
         "q.yaml:5:3: workload.trace: no class uses it; give a class a share, or leave its other "
         "sources out"),
        ("open: {rate: 24 /s}", "open: {rate: 24 /s, shape: dialy}",
         "q.yaml:10:34: workload.classes[0].open.shape: unknown shape 'dialy'"),
        ("input: {fixed: 900}", "input: {preset: no-such}",
         "q.yaml:20:23: workload.classes[1].input.preset: unknown length preset 'no-such'"),
        ("input: {fixed: 900}", "input: {fixed: 200000}",
         "q.yaml:17:7: workload.classes[1]: no request can be served: each has at least 200,001 "
         "tokens, and pool big takes at most 131,072 of prompt and output"),
        ("at: 22:00", "at: 07:00",
         "q.yaml:35:14: pools[1].schedule[1].at: 07:00 is scheduled already; keep one"),
        ("limit: 2 s}", "limit: 2 s}\n        - {metric: ttft, percentile: 99, limit: 3 s}",
         "q.yaml:17:11: workload.classes[0].objectives[1]: p99 of ttft has a limit already; keep "
         "one"),
        ("{name: api, kind: api, input: 0.60 USD/Mtok, output: 2.40 USD/Mtok}",
         "{name: api, kind: api, api_price: gpt}",
         "q.yaml:39:41: prices.plans[0].api_price: unknown API price 'gpt'"),
        ("tensor_parallel: 4", "tensor_parallel: 3",
         "q.yaml:32:22: pools[1].tensor_parallel: 3 does not divide the 64 attention heads of "
         "llama-3.1-70b; what does: 1, 2, 4, 8, 16, 32, 64"),
        ("tensor_parallel: 4", "tensor_parallel: 4\n    pipeline_parallel: 81",
         "q.yaml:33:24: pools[1].pipeline_parallel: llama-3.1-70b has only 80 layers to share"),
        ("tensor_parallel: 4", "tensor_parallel: 4\n    pipeline_parallel: 3",
         "q.yaml:32:22: pools[1].tensor_parallel: a replica takes 12 devices (tensor 4 × pipeline "
         "3), which is not a whole number of nodes of 8; use a multiple, or at most 8"),
        ("tensor_parallel: 4", "tensor_parallel: 8\n    pipeline_parallel: 4",
         "q.yaml:31:12: pools[1].nodes: a replica takes 32 devices (tensor 8 × pipeline 4), that "
         "is 4 nodes of 8; found 2: give at least 4"),
        ("tensor_parallel: 4", "tensor_parallel: 4\n    expert_parallel: 4",
         "q.yaml:33:22: pools[1].expert_parallel: llama-3.1-70b has no experts to spread"),
        ("tensor_parallel: 4", "tensor_parallel: 4\n    activation_dtype: fp4",
         "q.yaml:33:23: pools[1].activation_dtype: chip h100-sxm has no fp4 arithmetic; it has"),
        ("tensor_parallel: 4", "tensor_parallel: 4\n    engine: {context_tokens: 200000}",
         "q.yaml:33:30: pools[1].engine.context_tokens: llama-3.1-70b takes at most 131,072 "
         "tokens; found 200,000"),
        ("tensor_parallel: 4", "tensor_parallel: 1",
         "q.yaml:29:12: pools[1].model: llama-3.1-70b in bf16 does not fit on one h100-sxm"),
    ],
)  # fmt: skip
def test_one_finding(
    write_file: WriteFile, catalog: Catalog, old: str, new: str, message: str
) -> None:
    write_file("q.yaml", changed(old, new))
    found = findings(catalog)
    assert len(found) == 1, found
    assert found[0].startswith(message)


def test_a_model_that_does_not_fit_says_what_is_missing_and_what_would_fit(
    write_file: WriteFile, catalog: Catalog
) -> None:
    write_file("q.yaml", changed("tensor_parallel: 4", "tensor_parallel: 1"))
    (message,) = findings(catalog)
    assert "GB are missing" in message
    assert "tensor_parallel: 4" in message
    write_file("q.yaml", VALID)
    loaded = load_scenario(
        "q.yaml", sets=["pools.big.tensor_parallel=1", "pools.big.engine.kv_blocks=900"]
    )
    assert check_scenario(loaded, catalog) == []


def test_shares_add_up_to_one_at_most(write_file: WriteFile, catalog: Catalog) -> None:
    text = changed("open: {rate: 24 /s}", "share: 70%").replace(
        "closed: {clients: 40}", "share: 0.5"
    )
    write_file("q.yaml", text.replace("start: 19:30", "trace: {file: q.yaml}"))
    assert findings(catalog) == [
        "q.yaml:6:3: workload.classes: the shares of workload.trace add up to 1.2; at most 1 is "
        "possible"
    ]


def test_classes_without_a_source_take_the_rows_that_name_them(
    write_file: WriteFile, catalog: Catalog
) -> None:
    text = changed("      open: {rate: 24 /s}\n", "").replace("      closed: {clients: 40}\n", "")
    write_file("q.yaml", text.replace("start: 19:30", "trace: {file: q.yaml}"))
    assert findings(catalog) == []


def test_every_pool_needs_a_price_that_holds_on_the_day(
    write_file: WriteFile, catalog: Catalog
) -> None:
    write_file("q.yaml", changed("date: 2026-11-01", "date: 1999-01-01"))
    first, second = findings(catalog)
    message = "price: no on_demand price for h100-sxm on 1999-01-01"
    assert first.startswith(f"q.yaml:24:5: pools[0].{message}")
    assert second.startswith(f"q.yaml:28:5: pools[1].{message}")


def test_own_prices_are_known(write_file: WriteFile, catalog: Catalog) -> None:
    price = "{name: ours, per_device_hour: 2 USD/h, terms: owned, as_of: 1998-01-01, source: books}"
    text = changed("date: 2026-11-01", f"date: 1999-01-01\n  nodes: [{price}]")
    text = text.replace("    nodes: 2\n", "    nodes: 2\n    price: ours\n")
    write_file("q.yaml", text)
    assert findings(catalog) == []


def test_a_price_of_another_chip(write_file: WriteFile, catalog: Catalog) -> None:
    other = next(p for p in catalog.machine_prices.values() if p.chip != "h100-sxm")
    text = changed("nodes: 2\n  - name: big", f"nodes: 2\n    price: {other.name}\n  - name: big")
    write_file("q.yaml", text)
    (message,) = findings(catalog)
    assert f"{other.name!r} is a price of {other.chip}; the pool has h100-sxm" in message


def test_findings_come_with_schema_faults(write_file: WriteFile, catalog: Catalog) -> None:
    text = changed("percentile: 99", "percentile: 999").replace(
        "model: llama-3.1-8b", "model: lama"
    )
    write_file("q.yaml", text.replace("plan: api", "plan: appi"))
    with pytest.raises(ScenarioError) as caught:
        load_checked("q.yaml", catalog)
    assert [fault.where for fault in caught.value.faults] == [
        "workload.classes[0].objectives[0].percentile",
        "workload.classes[1].plan",
        "pools[0].model",
    ]


def test_a_faulty_pool_is_still_a_pool(write_file: WriteFile, catalog: Catalog) -> None:
    write_file("q.yaml", changed("tensor_parallel: 4", "tensor_parallel: x"))
    with pytest.raises(ScenarioError) as caught:
        load_checked("q.yaml", catalog)
    assert [fault.where for fault in caught.value.faults] == ["pools[1].tensor_parallel"]


def pool(**fields: object) -> Pool:
    return Pool.model_validate({"name": "p", "model": "m", "node": "n", "nodes": 3, **fields})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (1, 1, 8, 24, 0)),
        ({"tensor_parallel": 4}, (4, 1, 2, 6, 0)),
        ({"tensor_parallel": 3}, (3, 1, 2, 6, 6)),
        ({"tensor_parallel": 8, "pipeline_parallel": 2}, (16, 2, 0, 1, 8)),
        ({"tensor_parallel": 8, "data_parallel": 3}, (24, 3, 0, 1, 0)),
        ({"nodes": 0}, (1, 1, 8, 0, 0)),
    ],
)
def test_replicas_of(fields: dict[str, object], expected: tuple[int, ...]) -> None:
    layout = replicas_of(pool(**fields), 8)
    assert expected == (
        layout.devices_per_replica,
        layout.nodes_per_replica,
        layout.replicas_per_node,
        layout.replicas,
        layout.idle_devices,
    )
    assert replicas_of(pool(**fields), 8, nodes=0).replicas == 0


def test_kv_blocks_are_those_that_fit_unless_stated(catalog: Catalog) -> None:
    model, chip = catalog.model("llama-3.1-8b"), catalog.chip("h100-sxm")
    plan = pool_memory(pool(), model, chip)
    assert kv_blocks_of(pool(), model, chip) == plan.kv_blocks > 1000
    assert kv_blocks_of(pool(engine={"kv_blocks": 7}), model, chip) == 7


def test_notices(write_file: WriteFile, catalog: Catalog) -> None:
    text = changed("      overflow: [big]\n", "").replace("pool: big", "pool: small")
    write_file("q.yaml", text.replace("      plan: api\n", ""))
    assert notices(load_scenario("q.yaml").scenario, catalog) == [
        "pool big: no class uses it; it costs and serves nothing",
        "plan api: no class pays it",
    ]
    write_file("q.yaml", changed("tensor_parallel: 4", "data_parallel: 3"))
    apart, idle = notices(load_scenario("q.yaml").scenario, catalog)
    assert "has no experts to share" in apart
    assert idle == ("pool big: 4 devices stay idle, since replicas of 3 do not fill nodes of 8")


def test_claimed_chips_are_pointed_out(write_file: WriteFile, catalog: Catalog) -> None:
    claimed = [n for n in catalog.nodes.values() if catalog.chip(n.chip).status != "shipping"]
    for node in claimed:
        write_file("q.yaml", VALID.replace("hgx-h100", node.name))
        status = catalog.chip(node.chip).status
        assert f"pool small: {node.chip} is {status}, its figures are not measured" in notices(
            load_scenario("q.yaml").scenario, catalog
        )


def test_checking_imports_no_array_library(write_file: WriteFile, tmp_path: Path) -> None:
    import sys

    write_file("q.yaml", VALID)
    code = (
        "import sys; from planner.catalog import load_catalog; from planner.scenario import *\n"
        "load_checked('q.yaml', load_catalog())\n"
        "print([m for m in ('numba', 'pandas', 'scipy', 'pyarrow', 'plotly', 'simpy', 'numpy')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_unknown_names_show_beside_other_faults_of_the_same_item(
    write_file: WriteFile, catalog: Catalog
) -> None:
    text = changed("pool: small", "pool: smal").replace("open: {rate: 24 /s}", "open: {rate: 24}")
    text = text.replace("model: llama-3.1-8b", "model: llama-3.1-8").replace(
        "nodes: 2\n  - name: big", "nodes: two\n  - name: big"
    )
    write_file("q.yaml", text)
    with pytest.raises(ScenarioError) as caught:
        load_checked("q.yaml", catalog)
    assert [fault.where for fault in caught.value.faults] == [
        "workload.classes[0].pool",
        "workload.classes[0].open.rate",
        "pools[0].model",
        "pools[0].nodes",
    ]


def test_a_price_chosen_by_name_must_hold_on_the_date(
    write_file: WriteFile, catalog: Catalog
) -> None:
    price = next(p for p in catalog.machine_prices.values() if p.chip == "h100-sxm")
    named = changed("nodes: 2\n  - name: big", f"nodes: 2\n    price: {price.name}\n  - name: big")
    write_file("q.yaml", named.replace("date: 2026-11-01", "date: 2036-11-01"))
    assert not any("pools[0].price" in found for found in findings(catalog))
    write_file("q.yaml", named.replace("date: 2026-11-01", "date: 2001-01-01"))
    assert any(
        f"pools[0].price: no price {price.name} on 2001-01-01: it holds from {price.date}; "
        "choose another price, or another day" in found
        for found in findings(catalog)
    )


def test_an_api_price_must_hold_on_the_date(write_file: WriteFile, catalog: Catalog) -> None:
    price = next(iter(catalog.api_prices.values()))
    text = changed("input: 0.60 USD/Mtok, output: 2.40 USD/Mtok", f"api_price: {price.name}")
    write_file("q.yaml", text.replace("date: 2026-11-01", "date: 2001-01-01"))
    assert any(
        f"prices.plans[0].api_price: no price {price.name} on" in found
        for found in findings(catalog)
    )


def test_a_used_pool_without_nodes_is_noticed(write_file: WriteFile, catalog: Catalog) -> None:
    text = changed("nodes: 2\n  - name: big", "nodes: 0\n  - name: big")
    loaded = load_scenario(write_file("q.yaml", text))
    lost = "pool small: it never has a node, so what is sent to it is lost"
    assert notices(loaded.scenario, catalog) == [lost]
    scheduled = text.replace("nodes: 0\n", "nodes: 0\n    schedule: [{at: 7:00, nodes: 1}]\n")
    loaded = load_scenario(write_file("s.yaml", scheduled))
    assert notices(loaded.scenario, catalog) == []
