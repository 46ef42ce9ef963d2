# ruff: noqa: E501 - what is printed is quoted as it is printed
from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from planner.errors import ScenarioError
from planner.scenario import load_scenario
from planner.scenario.load import LoadedScenario
from tests.scenario.samples import VALID, changed

pytestmark = pytest.mark.usefixtures("in_folder")

WriteFile = Callable[[str, str], Path]
OVERRIDES = """
overrides:
  more-nodes: {pools.small.nodes: 8, "pools[1].nodes": 4}
  slow:
    workload.classes.chat.objectives: [{metric: ttft, percentile: 50, limit: 9 s}]
  no-reasoning: {workload.classes.reasoning: null}
scenarios:
  peak: [more-nodes, slow]
  small: no-reasoning
"""


def messages(name: str, **options: object) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(name, **options)  # type: ignore[arg-type]
    return [str(fault).splitlines()[0] for fault in caught.value.faults]


def nodes(loaded: LoadedScenario) -> dict[str, int]:
    return {pool.name: pool.nodes for pool in loaded.scenario.pools}


def test_a_valid_file(write_file: WriteFile) -> None:
    loaded = load_scenario(write_file("q.yaml", VALID))
    scenario = loaded.scenario
    assert scenario.workload.duration == 3600.0
    assert scenario.workload.start == "19:30"
    assert scenario.workload.classes[0].rate_limit is not None
    assert scenario.workload.classes[0].rate_limit.rate == pytest.approx(10 / 3600)
    assert scenario.prices.plans[0].output == 2.4
    assert loaded.data["name"] == "evening"


def test_places_of_written_values_and_of_defaults(write_file: WriteFile) -> None:
    write_file("q.yaml", VALID)
    loaded = load_scenario("q.yaml")
    assert loaded.locate(("pools", 0, "node"))[:3] == ("q.yaml", 26, 11)
    assert loaded.locate(("pools", 0, "engine", "token_budget"))[:3] == ("q.yaml", 24, 5)


def test_extends_merges_deeply_and_by_name(write_file: WriteFile) -> None:
    write_file("bases/base.yaml", VALID)
    write_file(
        "q.yaml",
        "extends: bases/base.yaml\nname: q\npools:\n  - {name: big, nodes: 9}\n"
        "workload: {classes: [{name: chat, input: {fixed: 7}}]}\nprices: {date: null}\n",
    )
    loaded = load_scenario("q.yaml")
    assert loaded.scenario.name == "q"
    assert nodes(loaded) == {"small": 2, "big": 9}
    assert loaded.scenario.workload.classes[0].input is not None
    assert loaded.scenario.workload.classes[0].input.fixed == 7
    assert loaded.locate(("pools", 1, "nodes"))[:2] == ("q.yaml", 4)
    assert loaded.locate(("pools", 1, "model"))[:2] == (str(Path("bases/base.yaml")), 29)


def test_several_bases_and_chains(write_file: WriteFile) -> None:
    write_file("a.yaml", VALID)
    write_file("b.yaml", "extends: a.yaml\nseed: 1\npools: [{name: small, nodes: 3}]\n")
    write_file("c.yaml", "pools: [{name: small, nodes: 4, cold_start: 1 min}]\n")
    write_file("q.yaml", "extends: [b.yaml, c.yaml]\nseed: 2\n")
    loaded = load_scenario("q.yaml")
    assert nodes(loaded)["small"] == 4
    assert loaded.scenario.pools[0].cold_start == 60.0
    assert loaded.scenario.seed == 2


def test_overrides_scenarios_and_sets_stack(write_file: WriteFile) -> None:
    write_file("q.yaml", VALID + OVERRIDES)
    base = load_scenario("q.yaml")
    assert base.scenario_names == ("peak", "small")
    assert nodes(base) == {"small": 2, "big": 2}
    peak = load_scenario("q.yaml", scenario="peak", sets=["pools.big.nodes=5"])
    assert nodes(peak) == {"small": 8, "big": 5}
    assert peak.applied == ("more-nodes", "slow", "--set pools.big.nodes=5")
    assert [o.limit for o in peak.scenario.workload.classes[0].objectives] == [9.0]
    assert peak.locate(("pools", 0, "nodes"))[:2] == ("q.yaml", 42)
    assert peak.locate(("pools", 1, "nodes")).file == "--set pools.big.nodes=5"
    small = load_scenario("q.yaml", scenario="small", overrides=["more-nodes"])
    assert [c.name for c in small.scenario.workload.classes] == ["chat"]
    assert nodes(small) == {"small": 8, "big": 4}


def test_overrides_are_inherited(write_file: WriteFile) -> None:
    write_file("base.yaml", VALID + OVERRIDES)
    write_file(
        "q.yaml",
        "extends: base.yaml\noverrides: {more: {pools.big.nodes: 6}}\nscenarios: {x: [peak, more]}\n",
    )
    assert messages("q.yaml")[0].startswith(
        "q.yaml:3:17: scenarios.x: no override is called 'peak'"
    )
    write_file(
        "q.yaml",
        "extends: base.yaml\noverrides: {slow: {pools.big.nodes: 6}}\nscenarios: {x: [slow]}\n",
    )
    assert nodes(load_scenario("q.yaml", scenario="x")) == {"small": 2, "big": 6}
    assert nodes(load_scenario("q.yaml", scenario="peak")) == {"small": 8, "big": 6}


@pytest.mark.parametrize(
    ("text", "value"),
    [("name=NO", "NO"), ("name='12'", "12"), ("description=''", ""), ("description=a=b", "a=b")],
)
def test_set_values_are_yaml(write_file: WriteFile, text: str, value: str) -> None:
    write_file("q.yaml", VALID)
    loaded = load_scenario("q.yaml", sets=[text])
    assert getattr(loaded.scenario, text.partition("=")[0]) == value


def test_trace_paths_are_relative_to_the_file_that_states_them(write_file: WriteFile) -> None:
    source = "      open: {rate: 24 /s}\n"
    write_file("bases/base.yaml", changed(source, "      trace: {file: t.csv}\n"))
    write_file("q.yaml", "extends: bases/base.yaml\n")
    where = ("workload", "classes", 0, "trace", "file")
    assert load_scenario("q.yaml").file_path(where) == Path("bases/t.csv")
    by_option = load_scenario("q.yaml", sets=["workload.classes.chat.trace.file=u.csv"])
    assert by_option.file_path(where) == Path("u.csv")
    with pytest.raises(KeyError):
        by_option.file_path(("workload", "classes", 1, "trace", "file"))


# --- faults, as golden text ----------------------------------------------------------------------


def test_all_faults_at_once_in_file_order(write_file: WriteFile) -> None:
    write_file(
        "q3.yaml",
        """\
schema: planner/v1
name: q3
workload:
  duration: 1 h
  classes:
    - name: chat
      pool: small
      open: {rate: 24}
      input: {quantiles: {p50: 20, p1: 30}}
      output: {fixed: 1.5}
      prority: 3
    - name: chat
      pool: small
      objectives: [{metric: tftt, percentile: 99, limit: 2 s}]
pools:
  - name: small
    model: llama-3.1-8b
    nodes: -1
    tensor_paralel: 2
    token_budget: 3
    schedule: [{at: "25:00", nodes: 3}]
prices: {date: 2026-02-30, margin: paid, partner_revenue_share: 120%}
""",
    )
    with pytest.raises(ScenarioError) as caught:
        load_scenario("q3.yaml")
    assert (
        str(caught.value)
        == """\
q3.yaml:8:20: workload.classes[0].open.rate: 24 is a bare number; write for example "40 /s" (units: /ns, /us, /µs, /ms, /s, /min, /h, /d, /day, /week, /year)
     8 |       open: {rate: 24}
       |                    ^
q3.yaml:9:15: workload.classes[0].input.quantiles: p50 (20) is less than p1 (30)
     9 |       input: {quantiles: {p50: 20, p1: 30}}
       |               ^
q3.yaml:10:23: workload.classes[0].output.fixed: must be a whole number; found 1.5
    10 |       output: {fixed: 1.5}
       |                       ^
q3.yaml:11:7: workload.classes[0].prority: unknown field; did you mean priority?
    11 |       prority: 3
       |       ^
q3.yaml:12:13: workload.classes[1].name: 'chat' is the name of item [0] already; names must differ
    12 |     - name: chat
       |             ^
q3.yaml:14:29: workload.classes[1].objectives[0].metric: must be one of ttft, ttfat, tpot, itl, e2e, task_latency; found 'tftt'; did you mean ttft?
    14 |       objectives: [{metric: tftt, percentile: 99, limit: 2 s}]
       |                             ^
q3.yaml:16:5: pools[0].node: required field is missing: node in the catalogue
    16 |   - name: small
       |     ^
q3.yaml:18:12: pools[0].nodes: must be at least 0; found -1
    18 |     nodes: -1
       |            ^
q3.yaml:19:5: pools[0].tensor_paralel: unknown field; did you mean tensor_parallel?
    19 |     tensor_paralel: 2
       |     ^
q3.yaml:20:5: pools[0].token_budget: unknown field here; token_budget is a field of pools[].engine
    20 |     token_budget: 3
       |     ^
q3.yaml:21:21: pools[0].schedule[0].at: must be a time of day, as in 19:30; found '25:00'
    21 |     schedule: [{at: "25:00", nodes: 3}]
       |                     ^
q3.yaml:22:16: prices.date: '2026-02-30' is not a date: day is out of range for month
    22 | prices: {date: 2026-02-30, margin: paid, partner_revenue_share: 120%}
       |                ^
q3.yaml:22:36: prices.margin: must be one of paid_only, all_users_in_cogs, free_in_marketing; found 'paid'
    22 | prices: {date: 2026-02-30, margin: paid, partner_revenue_share: 120%}
       |                                    ^
q3.yaml:22:65: prices.partner_revenue_share: must be between 0 and 1, or 0% and 100%; found '120%'
    22 | prices: {date: 2026-02-30, margin: paid, partner_revenue_share: 120%}
       |                                                                 ^"""
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema: planner/v1", "schema: planner/v2",
         "q.yaml:1:9: schema: must be planner/v1; found 'planner/v2'"),
        ("name: evening", "name: an evening",
         "q.yaml:2:7: name: must be a name of letters, digits, '-', '_' and '.', as in "
         "logged-in-chat; found 'an evening'"),
        ("name: evening", "name: 12", "q.yaml:2:7: name: must be text; put it in quotes; found 12"),
        ("duration: 1 h", "durration: 1 h",
         "q.yaml:4:3: workload.durration: unknown field; did you mean duration?"),
        ("duration: 1 h", "warmup: 1 h",
         "q.yaml:3:1: workload.duration: required field is missing: time during which requests "
         "arrive"),
        ("duration: 1 h", "duration: 1 h\n  warmup: 2 h",
         "q.yaml:3:1: workload: warmup (7200 s) must be shorter than duration (3600 s)"),
        ("duration: 1 h", "duration: 1 h\n  window: 1 ms",
         "q.yaml:3:1: workload: duration and drain make 4.2e+06 windows of 0.001 s; at most "
         "100,000 are kept: use a wider window"),
        ("start: 19:30", "start: 1930",
         "q.yaml:5:10: workload.start: must be text; put it in quotes; found 1930"),
        ("open: {rate: 24 /s}", "open: {rate: 24 /s, shape: [1, x]}",
         "q.yaml:10:38: workload.classes[0].open.shape[1]: must be a number; found 'x'"),
        ("open: {rate: 24 /s}", "open: {rate: 24 /s, shape: 3}",
         "q.yaml:10:34: workload.classes[0].open.shape: must be text; put it in quotes; found 3"),
        ("open: {rate: 24 /s}", "open: {rate: 24 /s, burstiness: {cv: 2}}",
         "q.yaml:10:27: workload.classes[0].open.burstiness: poisson has cv 1, found 2; use kind: "
         "gamma or weibull"),
        ("open: {rate: 24 /s}", "open: {rate: 24 /s}\n      closed: {clients: 1}",
         "q.yaml:7:7: workload.classes[0]: takes only one of open, closed, trace, share; found "
         "open and closed"),
        ("input: {fixed: 900}", "reasoning: {fixed: 900}",
         "q.yaml:17:7: workload.classes[1]: synthetic requests need input lengths"),
        ("input: {fixed: 900}", "input: {}",
         "q.yaml:20:7: workload.classes[1].input: needs exactly one of preset, fixed, uniform, "
         "quantiles, lognormal_mixture; found none"),
        ("input: {fixed: 900}", "input: 900",
         "q.yaml:20:14: workload.classes[1].input: must be a mapping of fields; found 900; did "
         "you mean {fixed: 900}?"),
        ("input: {fixed: 900}", "input: azure-chat",
         "q.yaml:20:14: workload.classes[1].input: must be a mapping of fields; found 'azure-chat'; "
         "did you mean {preset: azure-chat}?"),
        ("input: {fixed: 900}", "input: true",
         "q.yaml:20:14: workload.classes[1].input: must be a mapping of fields; found true"),
        ("open: {rate: 24 /s}", "open: {rate: 24 rps}",
         "q.yaml:10:20: workload.classes[0].open.rate: '24 rps' has unknown unit 'rps'; write "
         "\"24 /s\""),
        ("percentile: 99", "percentile: 0.99",
         "q.yaml:16:38: workload.classes[0].objectives[0].percentile: 0.99 is a share, not a "
         "percentile; did you mean 99?"),
        ("percentile: 99", "percentile: 0",
         "q.yaml:16:38: workload.classes[0].objectives[0].percentile: must be at least 1.0; found 0"),
        ("nodes: 2\n  - name", "nodes: 1000000\n  - name",
         "q.yaml:27:12: pools[0].nodes: must be at most 100000; found 1000000"),
        ("{uniform: [10, 500]}", "{uniform: [10]}",
         "q.yaml:12:16: workload.classes[0].output.uniform[1]: required item is missing"),
        ("{uniform: [10, 500]}", "{uniform: [10, 20, 30]}",
         "q.yaml:12:16: workload.classes[0].output.uniform: has 3 items; at most 2 are allowed"),
        ("clients: 40", "clients: 0",
         "q.yaml:19:25: workload.classes[1].closed.clients: must be at least 1; found 0"),
        ("clients: 40", "clients: true",
         "q.yaml:19:25: workload.classes[1].closed.clients: must be a whole number; found true"),
        ("clients: 40", "clients:",
         "q.yaml:19:24: workload.classes[1].closed.clients: must be a whole number; found nothing"),
        ("percentile: 99", "percentile: 99.9%",
         "q.yaml:16:38: workload.classes[0].objectives[0].percentile: must be a number; found "
         "'99.9%'"),
        ("tensor_parallel: 4", "tensor_parallel: '4'",
         "q.yaml:32:22: pools[1].tensor_parallel: must be a whole number; found '4'"),
        ("tensor_parallel: 4", "engine: {token_budget: 10}",
         "q.yaml:32:5: pools[1].engine: token_budget 10 is less than maximum_sequences 256: the "
         "decodes alone would not fit into a step"),
        ("kind: api, ", "kind: free, ",
         "q.yaml:39:7: prices.plans[0]: a plan of kind free does not go with input, output; delete "
         "one of them"),
        ("kind: api, ", "kind: api, api_price: x, ",
         "q.yaml:39:7: prices.plans[0]: api_price does not go with input, output; delete one of "
         "them"),
        ("kind: api, ", "kind: subscription, ",
         "q.yaml:39:7: prices.plans[0]: a subscription plan needs per_seat and "
         "requests_per_seat_month"),
        (VALID[VALID.index("pools:\n"):VALID.index("prices:")], "pools: []\n",
         "q.yaml:23:1: pools: has 0 items; at least 1 is needed"),
        (VALID[VALID.index("pools:\n"):VALID.index("prices:")], "pools: {a: 1}\n",
         "q.yaml:23:1: pools: must be a list"),
    ],
)  # fmt: skip
def test_one_fault(write_file: WriteFile, old: str, new: str, message: str) -> None:
    write_file("q.yaml", changed(old, new))
    assert messages("q.yaml") == [message]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "q.yaml:1:1: is empty; a scenario is a mapping that starts with schema: planner/v1"),
        ("- a", "q.yaml:1:1: holds ['a']; a scenario is a mapping that starts with schema: "
         "planner/v1"),
        ("extends: bse.yaml", "q.yaml:1:10: extends: bse.yaml no such file; did you mean "
         "base.yaml?"),
        ("extends: 3", "q.yaml:1:10: extends: must be the path of a scenario file; found 3"),
        ("extends: q.yaml", "q.yaml:1:10: extends: q.yaml extends itself, by way of 1 file(s); "
         "break the circle"),
        ("extends: loop.yaml", "loop.yaml:1:10: extends: q.yaml extends itself, by way of 2 "
         "file(s); break the circle"),
        ("extends: base.yaml\noverrides: 3", "q.yaml:2:1: overrides: must map names to changes, as "
         "in `more-nodes: {pools.chat.nodes: 8}`"),
        ("extends: base.yaml\noverrides: {a: 3}", "q.yaml:2:13: overrides.a: must map paths to "
         "values, as in `pools.chat.nodes: 8`"),
        ("extends: base.yaml\noverrides: {a: {b..c: 1}}", "q.yaml:2:17: overrides.a: 'b..c' is not "
         "a path; write for example pools.chat.nodes"),
        ("extends: base.yaml\noverrides: {a: {extends: x}}", "q.yaml:2:17: overrides.a: extends "
         "cannot be changed by a layer; edit the file"),
        ("extends: base.yaml\nscenarios: 3", "q.yaml:2:1: scenarios: must map names to lists of "
         "overrides, as in `peak: [more-nodes]`"),
        ("extends: base.yaml\noverrides: {aaa: {seed: 1}}\nscenarios: {s: [aab]}",
         "q.yaml:3:17: scenarios.s: no override is called 'aab'; choose one of aaa"),
        ("extends: base.yaml\npools: {smal: {nodes: 1}}", "q.yaml:2:9: pools: there is no item "
         "named 'smal'; did you mean small?"),
    ],
)  # fmt: skip
def test_faults_of_layers(write_file: WriteFile, text: str, message: str) -> None:
    write_file("base.yaml", VALID)
    write_file("loop.yaml", "extends: q.yaml")
    write_file("q.yaml", text)
    assert message in messages("q.yaml")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("pools.small.nodes", "is not an assignment; write path=value, as in pools.chat.nodes=3"),
        ("pools.smal.nodes=3", "pools: there is no item named 'smal'; did you mean small?"),
        ("pools.small.nodes=x", "pools[0].nodes: must be a whole number; found 'x'"),
        ("pools.small.nods=1", "pools[0].nods: unknown field; did you mean nodes?"),
        ("pools.small.node=[", "expected the node content, but found '<stream end>'; check "
         "indentation, brackets and quotes"),
        ("workload.duration=5", "workload.duration: 5 is a bare number"),
        ("workload.duration.x=5", "workload.duration: a mapping of 1 is not a quantity"),
        ("=5", "the path is empty; write for example pools.chat.nodes"),
        ("scenarios.x=5", "scenarios cannot be changed by a layer; edit the file"),
    ],
)  # fmt: skip
def test_a_fault_of_an_option_names_the_option(
    write_file: WriteFile, option: str, message: str
) -> None:
    write_file("q.yaml", VALID)
    (found,) = messages("q.yaml", sets=[option])
    assert found.startswith(f"--set {option}: {message}")


def test_unknown_scenario_and_override(write_file: WriteFile) -> None:
    write_file("q.yaml", VALID + OVERRIDES)
    assert messages("q.yaml", scenario="peek", overrides=["more-node"]) == [
        "q.yaml: overrides: no override is called 'more-node'; did you mean more-nodes?",
        "q.yaml: scenarios: no scenario is called 'peek'; did you mean peak?",
    ]


def test_faults_of_every_layer_come_together(write_file: WriteFile) -> None:
    write_file("base.yaml", changed("clients: 40", "clients: 0") + "seed: 1\nseed: 2\n")
    write_file("q.yaml", "extends: base.yaml\nname: q q\n")
    found = messages("q.yaml", sets=["pools.big.nodes=-1"])
    assert [re.sub(r": .*", "", line) for line in found] == [
        "--set pools.big.nodes=-1", "base.yaml:19:25", "base.yaml:41:1", "q.yaml:2:7",
    ]  # fmt: skip


def test_a_fan_of_files_is_bounded(write_file: WriteFile) -> None:
    for level in range(12):
        write_file(f"f{level}.yaml", f"extends: [f{level + 1}.yaml, f{level + 1}.yaml]\n")
    write_file("f12.yaml", VALID)
    assert any("more than 64 files are extended" in line for line in messages("f0.yaml"))
