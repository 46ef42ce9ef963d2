"""`planner baseline`, `regress` and `diff` as a user and a CI call them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import junitparser
import pytest
from typer.testing import CliRunner, Result

from planner.cli import app
from planner.regress.noise import independent_band

pytestmark = pytest.mark.compiled  # whole runs, far too long in pure Python

QUICK = """\
schema: planner/v1
name: small
seed: 3
workload:
  duration: 30 s
  window: 10 s
  classes:
    - name: chat
      pool: chat
      open: {rate: 12 /s}
      input: {uniform: [100, 1500]}
      output: {uniform: [20, 200]}
      plan: api
pools:
  - name: chat
    model: llama-3.1-8b
    node: hgx-h100
    nodes: 2
prices:
  plans: [{name: api, kind: api, input: 1 USD/Mtok, output: 8 USD/Mtok}]
"""
"""About 360 requests: what is tested is not the simulation."""


def planner(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the text of the small scenario's baseline."""
    folder = tmp_path_factory.mktemp("baseline")
    (folder / "small.yaml").write_text(QUICK, encoding="utf-8")
    done = planner("baseline", "update", str(folder), "--seeds", "3", "--jobs", "1")
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith("small.json: new\n")
    return (folder / "baselines" / "small.json").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, baseline: str) -> Path:
    """Return a folder `scenarios` with the small scenario and its baseline, seen from above."""
    monkeypatch.chdir(tmp_path)
    scenarios = tmp_path / "scenarios"
    (scenarios / "baselines").mkdir(parents=True)
    (scenarios / "baselines" / "small.json").write_text(baseline, encoding="utf-8")
    write(scenarios)
    return scenarios


def write(folder: Path, *changes: tuple[str, str], more: str = "") -> None:
    """Write the small scenario with some of its text replaced."""
    text = QUICK
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (folder / "small.yaml").write_text(text + more, encoding="utf-8")


def regress(*arguments: str) -> Result:
    return planner("regress", "scenarios", "--jobs", "1", *arguments)


# --- exit codes ----------------------------------------------------------------------------------


def test_a_worse_scenario_fails_and_passes_again_when_it_is_reverted(folder: Path) -> None:
    assert regress().exit_code == 0
    write(folder, ("    nodes: 2\n", "    nodes: 3\n"))
    worse = regress()
    assert worse.exit_code == 1
    assert "! scenarios/small.yaml\n    changed: the scenario\n" in worse.stdout
    row = r"    !  nodes at peak +2  → 3 +\+1, \+50.0%  gate 5% and 1 node\n"
    assert re.search(row, worse.stdout)
    assert "The forecast fails its gates; " in worse.stdout
    write(folder)
    reverted = regress()
    assert reverted.exit_code == 0
    assert "= scenarios/small.yaml  as its baseline\n" in reverted.stdout


def test_one_file_finds_the_same_baseline(folder: Path) -> None:
    inner = folder / "deep" / "er"
    inner.mkdir(parents=True)
    (inner / "other.yaml").write_text(QUICK, encoding="utf-8")
    missing = planner("regress", "scenarios/deep/er/other.yaml")
    assert missing.exit_code == 3
    message = (
        "scenarios/baselines/deep/er/other.json: no such baseline; run planner baseline update"
    )
    assert message in " ".join(missing.stdout.split())
    assert planner("regress", "scenarios/small.yaml").exit_code == 0


def test_baselines_are_found_from_a_folder_inside(
    folder: Path, baseline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = folder / "deep"
    inner.mkdir()
    (folder / "small.yaml").rename(inner / "small.yaml")
    (folder / "baselines" / "deep").mkdir()
    (folder / "baselines" / "deep" / "small.json").write_text(baseline, encoding="utf-8")
    monkeypatch.chdir(inner)
    assert planner("regress", "small.yaml").exit_code == 0
    stated = planner("regress", "small.yaml", "--baselines", "../baselines")
    assert stated.exit_code == 0, stated.stdout
    monkeypatch.chdir(folder / "baselines")
    assert planner("regress", "../deep/small.yaml").exit_code == 0
    (inner / ".git").mkdir()  # another repository, whose baselines lie in it
    assert planner("regress", "../deep/small.yaml").exit_code == 3


def test_baselines_that_are_passed_over_are_named(folder: Path) -> None:
    (folder / "deep" / "baselines").mkdir(parents=True)
    assert regress().stderr == (
        "note: scenarios/deep/baselines is not used from here; name its folder, or move it\n"
    )


def test_a_baseline_without_its_scenario_is_named(folder: Path, baseline: str) -> None:
    (folder / "baselines" / "gone.json").write_text(baseline, encoding="utf-8")
    done = regress()
    assert done.exit_code == 0
    note = "note: scenarios/baselines/gone.json is the baseline of no scenario; delete it\n"
    assert done.stderr == note
    assert planner("regress", "scenarios/small.yaml").stderr == ""


def test_another_seed_is_not_comparable(folder: Path) -> None:
    write(folder, ("seed: 3", "seed: 4"))
    done = regress()
    assert done.exit_code == 3
    assert "the baseline is of seed 3, this forecast of seed 4" in done.stdout


def test_another_schema_is_not_comparable(folder: Path, baseline: str) -> None:
    path = folder / "baselines" / "small.json"
    path.write_text(baseline.replace("planner-baseline/v1", "planner-baseline/v9"))
    done = regress()
    assert done.exit_code == 3
    assert "is of schema planner-baseline/v9, not planner-baseline/v1" in done.stdout


def test_a_scenario_with_faults_is_an_error_and_others_go_on(folder: Path) -> None:
    (folder / "broken.yaml").write_text(QUICK.replace("pool: chat", "pool: chta"), encoding="utf-8")
    done = regress("--github")
    assert done.exit_code == 2
    assert "scenarios/broken.yaml:9:13: workload.classes[0].pool: unknown pool" in done.stdout
    assert "= scenarios/small.yaml  as its baseline" in done.stdout
    assert "\n::error file=scenarios/broken.yaml,line=9,title=scenario::" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing"], "error: nothing: no such file or folder; name a scenario or a folder"),
        (["empty"], "error: empty: holds no scenario (YAML with schema: planner/v1)"),
        (["scenarios", "--markdown", "scenarios/small.yaml"], "is read, and would be overwritten"),
        (
            ["scenarios", "--gates", "gates.yaml", "--junit", "gates.yaml"],
            "error: gates.yaml: is read, and would be overwritten; name another output",
        ),
        (
            ["scenarios", "--markdown", "o", "--junit", "o"],
            "error: o: is named for two outputs; name two files",
        ),
        (
            ["scenarios", "twin", "--baselines", "kept"],
            "error: scenarios/small.yaml and twin/small.yml have the same baseline, "
            "kept/small.json; rename one, or call planner for each by itself",
        ),
    ],
)
def test_bad_usage(folder: Path, arguments: list[str], says: str) -> None:
    (folder.parent / "empty").mkdir()
    (folder.parent / "twin").mkdir()
    (folder.parent / "twin" / "small.yml").write_text(QUICK, encoding="utf-8")
    done = planner("regress", *arguments)
    assert done.exit_code == 2
    assert says in done.stderr


def test_a_damaged_baseline_is_not_comparable_and_others_go_on(folder: Path, baseline: str) -> None:
    (folder / "other.yaml").write_text(QUICK, encoding="utf-8")
    broken = re.sub(r'("values": \[)[\d.]+', r'\1"abc"', baseline, count=1)
    assert broken != baseline
    (folder / "baselines" / "other.json").write_text(broken, encoding="utf-8")
    done = regress()
    assert done.exit_code == 3, done.output
    said = " ".join(done.stdout.split())
    assert (
        "scenarios/baselines/other.json: is damaged: metrics.accelerators_at_peak.values.0" in said
    )
    assert "= scenarios/small.yaml as its baseline" in said


# --- noise ---------------------------------------------------------------------------------------


def test_a_loss_that_seeds_would_hide_fails(tmp_path: Path) -> None:
    """Four sequences fewer lose two fifths of goodput; two runs by themselves differ by more."""
    kept = Path("scenarios")
    text = (kept / "techniques" / "scheduling.yaml").read_text(encoding="utf-8")
    assert "maximum_sequences: 64" in text
    worse = text.replace("maximum_sequences: 64", "maximum_sequences: 60")
    (tmp_path / "scheduling.yaml").write_text(worse, encoding="utf-8")
    baselines = str(kept / "baselines" / "techniques")
    done = planner("regress", str(tmp_path / "scheduling.yaml"), "--baselines", baselines, "--json")
    assert done.exit_code == 1
    row = json.loads(done.stdout)["scenarios"][0]["metrics"]["goodput_rps"]
    assert (row["mark"], row["seeds"]) == ("!", 5)
    assert row["noise"] < -row["change"] < row["before"]
    stored = json.loads((kept / "baselines" / "techniques" / "scheduling.json").read_text())
    by_itself = independent_band(stored["metrics"]["goodput_rps"]["values"])
    assert by_itself > -row["change"]


# --- gates, acknowledged, prices -----------------------------------------------------------------

GATES = 'gates: [{metric: "*", ignore: true}]\n'
KNOWN = """\
regress:
  acknowledged:
    - {metric: "*", until: "2027-01-31", reason: spare for the launch}
"""


def test_gates_of_a_file(folder: Path) -> None:
    write(folder, ("    nodes: 2\n", "    nodes: 3\n"))
    gates = folder.parent / "gates.yaml"
    gates.write_text(GATES, encoding="utf-8")
    assert regress("--gates", "gates.yaml").exit_code == 0
    gates.write_text("gates: [{metric: cost_per_huor_usd, fail: 5 ms, fale: 1%}]\n")
    done = regress("--gates", "gates.yaml")
    assert done.exit_code == 2
    assert (
        "gates.yaml:1:49: regress.gates[0].fale: unknown field; did you mean fail?" in done.stderr
    )
    gates.write_text("gates: [{metric: cost_per_huor_usd}]\n")
    done = regress("--gates", "gates.yaml")
    assert done.stderr.startswith(
        "gates.yaml:1:18: regress.gates[0].metric: no metric is called 'cost_per_huor_usd'; "
        "did you mean cost_per_hour_usd?"
    )


def test_an_acknowledged_change_passes_until_its_day(folder: Path) -> None:
    write(folder, ("    nodes: 2\n", "    nodes: 3\n"), more=KNOWN)
    passed = regress("--today", "2027-01-31")
    assert passed.exit_code == 0
    assert "acknowledged until 2027-01-31: spare for the launch" in " ".join(passed.stdout.split())
    failed = regress("--today", "2027-02-01")
    assert failed.exit_code == 1
    assert "its acknowledgement expired on 2027-01-31" in " ".join(failed.stdout.split())
    assert regress("--today", "tomorrow").exit_code == 2


def test_a_changed_price_table_is_told_apart(folder: Path, baseline: str) -> None:
    """The baseline knew cheaper machines: all of the change of cost is the prices'."""
    old = json.loads(baseline)
    for entry in old["prices"]["machine_prices"]:
        entry["per_device_hour"]["value"] /= 2
    cost = old["metrics"]["cost_per_hour_usd"]["values"][0]
    assert cost > 0
    for name in ("cost_per_hour_usd", "cost_per_million_output_tokens_usd"):
        values = old["metrics"][name]["values"]
        old["metrics"][name]["values"] = [value / 2 for value in values]
    del old["metrics"]["gross_margin_rate"]
    path = folder / "baselines" / "small.json"
    path.write_text(json.dumps(old), encoding="utf-8")
    write(folder, ("    nodes: 2\n", "    nodes: 2 # as it was\n"))
    done = regress("--json")
    found = json.loads(done.stdout)["scenarios"][0]
    row = found["metrics"]["cost_per_hour_usd"]
    assert row["mark"] == "x"
    assert row["price_share"] == pytest.approx(cost / 2, rel=1e-5)
    assert row["at_old_prices"] == pytest.approx(cost / 2, rel=1e-5)
    assert found["changed"] == ["prices (h100-sxm-on-demand 1.995 → 3.99 USD/h)"]
    assert row["note"] == ""
    # and behaviour at the old prices is still gated
    write(folder, ("    nodes: 2\n", "    nodes: 3\n"))
    row = json.loads(regress("--json").stdout)["scenarios"][0]["metrics"]["cost_per_hour_usd"]
    assert row["mark"] == "!"
    assert row["at_old_prices"] > cost / 2 * 1.2


# --- what is written -----------------------------------------------------------------------------


def test_files_for_a_pull_request(folder: Path) -> None:
    write(folder, ("    nodes: 2\n", "    nodes: 3\n"))
    done = regress("--markdown", "out/comment.md", "--junit", "out/regress.xml", "--github")
    assert done.exit_code == 1
    comment = Path("out/comment.md").read_text(encoding="utf-8")
    assert comment.startswith("<!-- planner-regress -->\n")
    assert "| `!` | chat: nodes at peak | 2 | 3 | +1, +50.0% | gate 5% and 1 node |" in comment
    found = junitparser.JUnitXml.fromfile("out/regress.xml")
    assert found.failures > 0
    place = QUICK.splitlines().index("  - name: chat") + 1
    assert f"\n::error file=scenarios/small.yaml,line={place},title=forecast of small::" in (
        done.stdout
    )


def test_overrides_and_named_scenarios_of_the_section(folder: Path) -> None:
    more = """\
regress: {overrides: [short], scenarios: [busy]}
overrides:
  short: {workload.duration: 20 s}
  busy: {workload.classes.chat.open.rate: 20 /s}
scenarios: {busy: [busy]}
"""
    write(folder, more=more)
    done = planner("baseline", "update", "scenarios/small.yaml", "--seeds", "3", "--jobs", "1")
    assert done.stdout.splitlines() == [
        "scenarios/baselines/small.json: updated",
        "scenarios/baselines/small@busy.json: new",
    ]
    plain, busy = (
        json.loads((folder / "baselines" / name).read_text(encoding="utf-8"))["metrics"]
        for name in ("small.json", "small@busy.json")
    )
    assert busy["arrival_rps"]["values"][0] > 1.3 * plain["arrival_rps"]["values"][0]
    assert regress().exit_code == 0
    again = planner("baseline", "update", "scenarios", "--seeds", "3", "--jobs", "1")
    assert set(again.stdout.split()[1::2]) == {"unchanged"}


def test_a_baseline_that_cannot_be_written_stops_no_other(folder: Path) -> None:
    (folder / "another.yaml").write_text(QUICK, encoding="utf-8")
    (folder / "baselines" / "another.json").mkdir()
    write(folder, ("rate: 12 /s", "rate: 13 /s"))
    done = planner("baseline", "update", "scenarios", "--seeds", "3", "--jobs", "1")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: scenarios/baselines/another.json: ")
    assert done.stdout == "scenarios/baselines/small.json: updated\n"


# --- diff ----------------------------------------------------------------------------------------


def test_diff(folder: Path) -> None:
    stored = "scenarios/baselines/small.json"
    same = planner("diff", stored, "scenarios/small.yaml", "--exit-code")
    assert same.exit_code == 0
    assert same.stdout.splitlines()[1].endswith("metrics are the same")
    dearer = ["diff", stored, "scenarios/small.yaml", "--set", "pools.chat.nodes=3"]
    differs = planner(*dearer, "--exit-code")
    assert differs.exit_code == 1
    assert "  chat: nodes at peak 2 → 3 (+1, +50.0%); gate 5% and 1 node\n" in differs.stdout
    other = ["diff", stored, "scenarios/small.yaml", "--set", "seed=9"]
    assert planner(*other, "--exit-code").exit_code == 2
    assert planner("diff", stored, "none.yaml", "--exit-code").exit_code == 2


def test_diff_of_two_scenarios_speaks_of_no_baseline(folder: Path) -> None:
    second = QUICK.replace("seed: 3", "seed: 4").replace(
        "name: chat\n      pool", "name: talk\n      pool"
    )
    (folder / "other.yaml").write_text(second, encoding="utf-8")
    sides = ["scenarios/small.yaml", "scenarios/other.yaml"]
    done = planner("diff", *sides)
    assert done.exit_code == 0
    assert "baseline" not in done.stdout
    assert "chat: p99 TTFT: the first has it, the second has not\n" in done.stdout
    assert "talk: p99 TTFT: new\n" in done.stdout
    seeded = planner("diff", *sides, "--set", "seed=9", "--exit-code")
    assert seeded.exit_code == 2
    assert seeded.stdout.splitlines()[1] == (
        "  the first is of seed 3, the second of seed 9: other random numbers, another result; "
        "give both one seed"
    )


def test_diff_of_results(folder: Path) -> None:
    planner("run", "scenarios/small.yaml", "--output", "results/a", "--no-report")
    more = ["--set", "pools.chat.nodes=1", "--set", "pools.chat.price=h100-sxm-spot"]
    planner("run", "scenarios/small.yaml", "--output", "results/b", "--no-report", *more)
    found = json.loads(planner("diff", "results/a", "results/b", "--json").stdout)
    assert found["metrics"]["pools.chat.nodes_at_peak"]["mark"] == "-"
    # spot in place of on-demand is a choice of the scenario, no change of a price
    assert found["metrics"]["cost_per_hour_usd"]["mark"] == "-"
    refused = planner("diff", "results/a", "results/b", "--set", "seed=1")
    assert refused.exit_code == 2
    assert "is a result, in which nothing can be set" in refused.stderr
