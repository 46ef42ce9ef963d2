"""`planner init`: what it writes is explained, passes the check, and keeps what was asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from planner.catalog import load_catalog
from planner.cli import app
from planner.scenario import load_checked
from planner.scenario.load import load_scenario
from planner.starter import Wishes, choose_fleet, traffic_of
from tests.conftest import ROOT

runner = CliRunner()
CATALOG = load_catalog()
REPLAY = ROOT / "traces" / "sample-mixed-10min.csv"


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(*options: str, file: str = "plan.yaml") -> str:
    """Run `planner init` without questions and return what it printed."""
    done = runner.invoke(app, ["init", file, *options], prog_name="planner")
    assert done.exit_code == 0, done.output
    return done.stdout


def refusal(*options: str) -> str:
    done = runner.invoke(app, ["init", "plan.yaml", *options], prog_name="planner")
    assert done.exit_code == 2
    assert not Path("plan.yaml").exists()
    return done.stderr


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--model", "llama-3.1-8b", "--requests-per-second", "300"],
        ["--requests-per-day", "400000", "--reasoning", "60%", "--api-price", "gpt-5-mini"],
        ["--reasoning", "100%", "--chip", "hgx-b200"],
        ["--input-tokens", "3000", "--output-tokens", "200", "--weight-dtype", "fp8"],
        ["--model", "llama-2-70b", "--chip", "a100-sxm"],  # a context of 4,096 tokens
        ["--chip", "trainium2", "--price", "1.50 USD/h"],
        ["--trace", str(REPLAY), "--nodes", "2", "--tensor-parallel", "8"],
        ["--model", "llama-3.1-405b"],  # does not fit on one node
    ],
    ids=lambda options: " ".join(options).replace(str(ROOT), "") or "defaults",
)
def test_what_it_writes_passes_the_check(options: list[str]) -> None:
    write(*options)
    done = runner.invoke(app, ["check", "plan.yaml"])
    assert done.exit_code == 0, done.output
    text = Path("plan.yaml").read_text(encoding="utf-8")
    for name in yaml.safe_load(text)["overrides"]:
        assert runner.invoke(app, ["check", "plan.yaml", "--override", name]).exit_code == 0
    assert max(map(len, text.splitlines()[1:])) < 140


def test_every_line_with_a_value_is_explained() -> None:
    write("--reasoning", "30%", "--api-price", "gpt-5-mini")
    lines = Path("plan.yaml").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        plain = r"\s*(- name:|- \{name:|schema:|plans:|workload|prices:$|overrides|half|twice)"
        if not line.strip() or re.match(plain, line):
            continue
        assert "#" in line or "#" in lines[number - 1], line


def test_defaults_are_named() -> None:
    out = write()
    assert "defaults  --model llama-3.1-70b, --chip h100-sxm, --requests-per-second 20" in out
    assert out.endswith(
        "Next:\n  planner run plan.yaml     latency, cost and margin of this fleet\n"
        "  planner size plan.yaml    the fewest nodes that keep the promises\n"
    )
    assert "defaults" not in write(
        *("--model", "llama-3.1-8b", "--chip", "l40s", "--price", "1 USD/h", "--force"),
        *("--requests-per-second", "5 /s", "--lengths", "azure-2023-code"),
        *("--ttft", "1 s", "--tpot", "60 ms"),
    )


def test_what_was_asked_for_is_in_the_file() -> None:
    write(
        "--requests-per-day", "864000", "--reasoning", "25%", "--ttft", "1500 ms", "--tpot", "40 ms"
    )
    scenario = load_checked("plan.yaml", CATALOG).scenario
    chat, reasoning = scenario.workload.classes
    assert chat.open is not None
    assert reasoning.open is not None
    # 10 requests/s in the mean; the busiest hour of that weekday has 1.34 times as many
    assert chat.open.rate + reasoning.open.rate == pytest.approx(13.4, rel=0.01)
    assert reasoning.open.rate == pytest.approx(chat.open.rate / 3, rel=1e-3)
    assert [promise.limit for promise in chat.objectives] == [1.5, 0.04]
    assert reasoning.reasoning is not None
    assert chat.reasoning is None


def test_means_of_lengths_are_kept() -> None:
    from planner.lowering.workload import class_workloads

    write("--input-tokens", "1000", "--output-tokens", "250")
    [workload] = class_workloads(load_scenario("plan.yaml").scenario.workload)
    assert workload.input.mean() == pytest.approx(1000, rel=0.02)
    assert workload.output.mean() == pytest.approx(250, rel=0.02)


def test_a_trace_is_named_from_the_folder_of_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces" / "mine.csv").write_bytes(REPLAY.read_bytes())
    (tmp_path / "plans").mkdir()
    write("--trace", "traces/mine.csv", file="plans/plan.yaml")
    document = yaml.safe_load(Path("plans/plan.yaml").read_text(encoding="utf-8"))
    [klass] = document["workload"]["classes"]
    assert klass["trace"]["file"] == "../traces/mine.csv"
    assert document["workload"]["duration"] == "599 s"


def test_a_file_that_is_there_is_kept() -> None:
    write()
    before = Path("plan.yaml").read_text(encoding="utf-8")
    done = runner.invoke(app, ["init", "plan.yaml", "--chip", "h200-sxm"])
    assert (done.exit_code, done.stderr) == (
        2,
        "error: plan.yaml: exists already; choose another name, or add --force\n",
    )
    assert Path("plan.yaml").read_text(encoding="utf-8") == before
    write("--chip", "h200-sxm", "--force")
    assert "node: hgx-h200" in Path("plan.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "lama-3.1-70b"], "error: --model: unknown model 'lama-3.1-70b'; did you mean "
         "llama-3.1-70b? `planner catalog list models` shows all\n"),
        (["--chip", "h100-sxn"], "error: --chip: unknown chip 'h100-sxn'; did you mean h100-sxm?"),
        (["--chip", "trainium2"], 'error: the catalogue has no price of trainium2; state one, as '
         'in --price "2.50 USD/h", which is that of one device\n'),
        (["--price", "h200-sxm-spot"], "error: --price: unknown price of h100-sxm 'h200-sxm-spot'; "
         "did you mean h100-sxm-spot?\n"),
        (["--ttft", "2"], "error: --ttft: '2' has no unit; write for example \"500 ms\""),
        (["--tpot", "0 ms"], "error: --tpot: must be more than 0; found '0 ms'\n"),
        (["--requests-per-second", "-3"], "error: --requests-per-second: must be more than 0; "
         "found '-3'\n"),
        (["--reasoning", "130%"], "error: --reasoning: must be between 0% and 100%; found "
         "'130%'\n"),
        (["--weight-dtype", "fp9"], "error: --weight-dtype: unknown format 'fp9'; choose one "
         "of fp32, bf16, fp16, fp8, int8, fp4, int4\n"),
        (["--lengths", "azure"], "error: --lengths: unknown lengths 'azure'; choose one of "
         "azure-2023-conversation, azure-2023-code, "),
        (["--chip", "groq-lpu", "--price", "1 USD/h"],
         "error: llama-3.1-70b in bf16 does not fit on 64 x groq-lpu: "),
        (["--model", "llama-3.1-70b", "--tensor-parallel", "1"],
         "error: llama-3.1-70b in bf16 does not fit on one h100-sxm: "),
        (["--trace", "no.csv"], "error: no.csv: "),
    ],
)  # fmt: skip
def test_mistakes_are_explained(options: list[str], message: str) -> None:
    assert refusal(*options).startswith(message)


@pytest.mark.parametrize(
    "options",
    [
        ["--requests-per-second", "3", "--requests-per-day", "4"],
        ["--trace", str(REPLAY), "--requests-per-second", "3"],
    ],
)
def test_contradictions_are_refused(options: list[str]) -> None:
    assert "leave out" in refusal(*options) or "not both" in refusal(*options)


def test_a_model_larger_than_a_node_spans_several() -> None:
    out = write("--model", "deepseek-r1")
    assert "deepseek-r1 in fp8 needs 16 h100-sxm, more than the 8 of one hgx-h100" in out
    assert "a replica spans 2 nodes" in out
    [pool] = load_checked("plan.yaml", CATALOG).scenario.pools
    assert pool.tensor_parallel == 16
    assert pool.nodes % 2 == 0


def wishes(**changes: object) -> Wishes:
    given: dict[str, object] = {
        "name": "x",
        "model": CATALOG.model("llama-3.1-70b"),
        "node": CATALOG.node("hgx-h100"),
        "weight_dtype": "fp8",
        "ttft_s": 2.0,
        "tpot_s": 0.05,
        "price": "h100-sxm-on-demand",
    }
    return Wishes(**(given | changes))  # type: ignore[arg-type]


def test_more_traffic_or_less_patience_takes_more_nodes() -> None:
    few, many = (
        traffic_of(lengths="azure-2023-conversation", rate_rps=rate) for rate in (50.0, 500.0)
    )
    nodes = [
        choose_fleet(wishes(**changes), traffic, CATALOG).nodes
        for traffic, changes in [(few, {}), (many, {}), (many, {"tpot_s": 0.03})]
    ]
    assert 5 * nodes[0] < nodes[1] < nodes[2]


def test_a_promise_that_nothing_keeps_is_noted() -> None:
    traffic = traffic_of(lengths="azure-2023-conversation", rate_rps=1.0)
    fleet = choose_fleet(wishes(tpot_s=0.002), traffic, CATALOG)
    assert "even a single request gets a token every" in fleet.notes[0]
    slow = choose_fleet(wishes(tpot_s=0.012), traffic, CATALOG)
    assert any("requests at a time" in note for note in slow.notes)


@pytest.mark.compiled
def test_the_guess_is_within_a_factor_of_two_of_the_search() -> None:
    write("--requests-per-second", "30", "--weight-dtype", "fp8")
    from planner.search import size
    from planner.simulation import load_scenario as load

    guessed = load("plan.yaml").scenario.pools[0].nodes
    found = size(load("plan.yaml", sets=["workload.duration=3 min", "workload.warmup=30 s"]))
    assert 0.5 <= guessed / found.nodes["serving"] <= 2


# --- on a terminal -------------------------------------------------------------------------------


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return `answer(options, lines)`: `planner init` on a terminal where someone types."""
    monkeypatch.setattr("planner.cli.asking.is_terminal", lambda: True)

    def answer(options: list[str], lines: list[str]) -> Result:
        text = "".join(f"{line}\n" for line in lines)
        return runner.invoke(app, ["init", "plan.yaml", *options], input=text)

    return answer


def test_it_asks_for_what_matters(answering: Callable[..., Result]) -> None:
    done = answering([], ["qwen3-32b", "h200-sxm", "7.5", "", "", "1 s", ""])
    assert done.exit_code == 0, done.output
    scenario = load_checked("plan.yaml", CATALOG).scenario
    [pool] = scenario.pools
    [chat] = scenario.workload.classes
    assert (pool.model, pool.node) == ("qwen3-32b", "hgx-h200")
    assert chat.open is not None
    assert chat.open.rate == 7.5
    assert [promise.limit for promise in chat.objectives] == [1.0, 0.06]


def test_a_wrong_answer_is_asked_for_again(answering: Callable[..., Result]) -> None:
    given = ["--chip", "h100-sxm", "--requests-per-second", "3", "--lengths", "azure-2023-code"]
    done = answering([*given, "--ttft", "1 s"], ["qwn3-32b", "qwen3-32b", "", "2", "60 ms"])
    assert done.exit_code == 0, done.output
    assert "Error: unknown model 'qwn3-32b'; did you mean qwen3-32b?" in done.stderr
    assert "Error: '2' has no unit" in done.stderr


def test_it_asks_for_a_price_that_the_catalogue_lacks(answering: Callable[..., Result]) -> None:
    done = answering(
        ["--chip", "l40s"], ["llama-3.1-8b", "5", "", "", "1 USD", "1.10 USD/h", "", ""]
    )
    assert done.exit_code == 0, done.output
    assert "Error: unknown price of l40s '1 USD'" in done.stderr
    scenario = load_checked("plan.yaml", CATALOG).scenario
    assert scenario.prices.nodes[0].per_device_hour == pytest.approx(1.10)


def test_with_yes_it_asks_nothing(answering: Callable[..., Result]) -> None:
    done = answering(["--yes"], [])
    assert (done.exit_code, done.stderr) == (0, "")
