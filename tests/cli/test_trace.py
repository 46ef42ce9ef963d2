"""`planner trace` as a user meets it."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from planner.cli import app
from planner.trace import open_trace
from planner.trace.writers import write_trace

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "traces" / "sample-mixed-10min.csv"
AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-12 00:00:00.001163+00:00,2162,5
2024-05-12 00:00:01+00:00,2399,6
2024-05-12 00:00:02.5+00:00,76,15
"""


def planner(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["trace", *map(str, arguments)], env={"COLUMNS": "100"})


def succeeds(*arguments: object) -> str:
    result = planner(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def fails(*arguments: object) -> str:
    result = planner(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return " ".join(result.output.split())


@pytest.fixture
def azure(tmp_path: Path) -> Path:
    path = tmp_path / "azure.csv"
    path.write_text(AZURE)
    return path


# --- import --------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl.gz"])
def test_import_converts_and_says_what_it_did(tmp_path: Path, azure: Path, suffix: str) -> None:
    out = tmp_path / f"out{suffix}"
    text = succeeds("import", azure, out, "--rate-scale", "2")
    assert "3 requests from" in text
    assert "(azure-2024)" in text
    (block,) = open_trace(out)
    assert block.rows["arrival_s"].tolist() == pytest.approx([0, 0.4994185, 1.2494185], abs=6e-7)


def test_import_sorts_when_asked(tmp_path: Path, azure: Path) -> None:
    azure.write_text(AZURE + "2024-05-12 00:00:00.5+00:00,1,1\n")
    message = fails("import", azure, tmp_path / "out.csv")
    assert "azure.csv:5: TIMESTAMP: 0.498837" in message
    assert "planner trace import --sort" in message
    succeeds("import", azure, tmp_path / "out.csv", "--sort")
    (block,) = open_trace(tmp_path / "out.csv")
    assert block.rows["input_tokens"].tolist() == [2162, 1, 2399, 76]


def test_import_jitters_and_keeps_prefix_ids(tmp_path: Path) -> None:
    source = tmp_path / "m.jsonl"
    row = '{"timestamp": %d, "input_length": 9, "output_length": 1, "hash_ids": [%d]}\n'
    source.write_text("".join(row % (i // 5 * 3000, i) for i in range(50)))
    succeeds("import", source, tmp_path / "out.parquet", "--jitter", "3 s", "--seed", "4")
    (block,) = open_trace(tmp_path / "out.parquet")
    assert len(set(block.rows["arrival_s"].tolist())) == 50
    assert block.hash_ids is not None
    assert sorted(block.hash_ids.values.tolist()) == list(range(50))


def test_import_replaces_nothing_unless_told(tmp_path: Path, azure: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("precious")
    assert "exists already; choose another name, or add --force" in fails("import", azure, out)
    assert out.read_text() == "precious"
    succeeds("import", azure, out, "--force")
    assert out.read_text().startswith("arrival_s,")


def test_import_notes_what_a_reader_found_odd(tmp_path: Path) -> None:
    source = tmp_path / "b.csv"
    source.write_text(
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        "5,ChatGPT,472,0,472,Conversation log\n"
    )
    assert "note: 1 requests failed in the recording" in succeeds(
        "import", source, tmp_path / "out.csv"
    )


# --- stats ---------------------------------------------------------------------------------------


def test_stats_prints_what_matters() -> None:
    text = succeeds("stats", SAMPLE)
    assert "(planner): 2,831 requests" in text.replace("\n", " ")
    for word in ("mean rate", "CV of gaps", "60 s windows", "p99.9", "reasoning", "sessions: 463"):
        assert word in text
    for name in ("anonymous-chat", "logged-in-chat", "logged-in-reasoning"):
        assert name in text


def test_stats_as_json(azure: Path) -> None:
    found: dict[str, Any] = json.loads(succeeds("stats", azure, "--json"))
    assert found["format"] == "azure-2024"
    assert found["requests"] == 3
    assert found["input_tokens"]["quantiles"]["p50"] == 2162
    assert found["prefix"] is None


def test_stats_hints_at_coarse_time_stamps(tmp_path: Path) -> None:
    source = tmp_path / "m.jsonl"
    row = '{"timestamp": %d, "input_length": 9, "output_length": 1, "hash_ids": [%d, 2]}\n'
    source.write_text("".join(row % (i // 5 * 3000, i % 2) for i in range(50)))
    text = " ".join(succeeds("stats", source).split())
    assert "only 20% of arrival times are distinct" in text
    assert "time_jitter" in text
    assert "prefix reuse, infinite cache" in text
    assert "only" not in succeeds("stats", source, "--jitter", "3 s")


# --- synth ---------------------------------------------------------------------------------------

CHAT = "chat:rate=5 /s,input=azure-2023-conversation-input,output=100..200"


def test_the_sample_trace_is_what_its_readme_says(tmp_path: Path) -> None:
    readme = (ROOT / "traces" / "README.md").read_text()
    block = re.search(r"```sh\n(.*?)```", readme, re.DOTALL)
    assert block is not None
    command = shlex.split(block[1].replace("\\\n", " "))
    assert command[:4] == ["planner", "trace", "synth", "traces/sample-mixed-10min.csv"]
    out = tmp_path / "sample.csv"
    text = succeeds("synth", out, *command[4:])
    assert "2,831 requests of 3 classes over 600 s" in text
    assert out.read_bytes() == SAMPLE.read_bytes()
    assert SAMPLE.stat().st_size < 300_000


def test_the_trace_of_documents_is_what_its_script_writes(tmp_path: Path) -> None:
    shipped = ROOT / "traces" / "shared-prefixes-10min.csv"
    script = runpy.run_path(str(ROOT / "traces" / "make_shared_prefixes.py"))
    out = tmp_path / "documents.csv"
    write_trace(out, [script["requests"](seed=5)], ["documents"])
    assert out.read_bytes() == shipped.read_bytes()
    text = " ".join(succeeds("stats", shipped).split())
    assert "777 requests" in text
    assert "prefix reuse, infinite cache: 87.7% of prompt tokens" in text


def test_synth_draws_from_flags(tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    succeeds("synth", out, "--class", CHAT, "--class", "b:rate=60 /min,input=5,output=6,cv=3",
             "--duration", "100 s")  # fmt: skip
    source = open_trace(out)
    rows = next(source).rows
    assert list(source.class_names) == ["chat", "b"]
    assert (rows["class"] == 0).sum() == pytest.approx(500, rel=0.2)
    assert set(rows["input_tokens"][rows["class"] == 1].tolist()) == {5}


def test_synth_repeats_with_its_seed(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.csv" for name in "abc"]
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        succeeds("synth", path, "--class", CHAT, "--duration", "10 s", "--seed", seed)
    first, same, other = (path.read_bytes() for path in paths)
    assert first == same != other


def test_synth_lists_shapes_and_presets() -> None:
    text = succeeds("synth", "--list")
    for name in ("deepseek-2025-day", "azure-2024-coding-week", "servegen-deepseek-r1-output"):
        assert name in text
    assert "CC-BY-4.0" in text


SCENARIO = """
schema: planner/v1
name: synth
seed: 5
workload:
  duration: 30 s
  classes:
    - name: chat
      pool: main
      open: {rate: 20 /s}
      input: {preset: azure-2023-conversation-input}
      output: {fixed: 50}
    - name: bench
      pool: main
      closed: {clients: 4}
      input: {fixed: 10}
      output: {fixed: 10}
    - name: agent
      pool: main
      open: {rate: 5 /s}
      input: {uniform: [10, 20]}
      output: {fixed: 7}
      sessions: {turns: {fixed: 3}, think_median: 2 s}
pools:
  - {name: main, model: llama-3.1-8b, node: hgx-h100, nodes: 1}
"""


def test_synth_draws_the_open_classes_of_a_scenario(tmp_path: Path) -> None:
    scenario = tmp_path / "s.yaml"
    scenario.write_text(SCENARIO)
    out = tmp_path / "out.parquet"
    text = succeeds("synth", out, "--scenario", scenario)
    assert "classes without open-loop arrivals are left out: bench" in text
    assert "of 2 classes over 30 s" in text
    source = open_trace(out, class_names=("chat", "bench", "agent"))
    rows = next(source).rows
    assert (rows["class"] == 0).sum() == pytest.approx(600, rel=0.15)
    assert (rows["class"] == 1).sum() == 0
    assert set(rows["turn"][rows["class"] == 2].tolist()) == {0, 1, 2}
    again = tmp_path / "again.parquet"
    succeeds("synth", again, "--scenario", scenario, "--seed", "5")
    assert again.read_bytes() == out.read_bytes()
    scenario.write_text(SCENARIO.replace("open: {rate: 20 /s}", "closed: {clients: 1}").replace(
        "open: {rate: 5 /s}\n", "closed: {clients: 1}\n").replace(
        "      sessions: {turns: {fixed: 3}, think_median: 2 s}\n", ""))  # fmt: skip
    assert "no class has open-loop arrivals" in fails(
        "synth", out, "--scenario", scenario, "--force"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the output"),
        (["o.csv"], "give either --scenario FILE or one --class or more"),
        (["o.csv", "--class", CHAT], 'give a --duration, as "10 min"'),
        (["o.csv", "--class", CHAT, "--duration", "10"], "has no unit"),
        (["o.csv", "--class", CHAT, "--duration", "-3 s"], "is negative"),
        (["o.txt", "--class", CHAT, "--duration", "1 s"], "unknown ending"),
        (["o.csv", "--class", CHAT, "--class", CHAT, "--duration", "1 s"], "the same name"),
        (["o.csv", "--class", CHAT, "--start", "25:00"], "is not a time of day"),
        (["o.csv", "--class", CHAT, "--weekday", "monday"], "is not one of mon"),
        (["o.csv", "--class", "chat"], "chat: needs rate, input, output"),
        (["o.csv", "--class", "a b:rate=1 /s"], "write NAME:rate=3 /s"),
        (["o.csv", "--class", "c:rat=1 /s"], "unknown field 'rat'; did you mean rate?"),
        (["o.csv", "--class", "c:rate=1"], "--class c: rate: '1' has no unit"),
        (
            ["o.csv", "--class", "c:input=azure-2023-code-inptu"],
            "did you mean azure-2023-code-input",
        ),
        (["o.csv", "--class", "c:input=9..3"], "a range rises"),
        (["o.csv", "--class", "c:input=99999999999"], "lengths lie within 0 and 10,000,000"),
        (["o.csv", "--class", "c:visitors=0"], "must be a whole number above 0"),
        (["o.csv", "--class", "c:cv=x"], "'x' is not a number"),
        (["o.csv", "--class", "c:gaps=gama"], "did you mean gamma?"),
        (["o.csv", "--class", "c:shape=nowhere"], "unknown shape 'nowhere'"),
        (
            ["o.csv", "--class", CHAT + ",gaps=poisson,cv=2", "--duration", "1 s"],
            "cannot have CV 2",
        ),
    ],
)
def test_faults_of_synth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in fails("synth", *arguments)
    assert list(tmp_path.iterdir()) == []


# --- faults --------------------------------------------------------------------------------------


def test_bad_files_exit_with_2_and_a_message(tmp_path: Path) -> None:
    assert "no such trace; check the path" in fails("stats", tmp_path / "none.csv")
    empty = tmp_path / "empty.csv"
    empty.touch()
    assert "is empty" in fails("stats", empty)
    assert "'3' has no unit" in fails("stats", SAMPLE, "--jitter", "3")
    assert "rate scale must be above 0" in fails("stats", SAMPLE, "--rate-scale", "0")
    assert "unknown trace format" in fails("stats", SAMPLE, "--format", "azur")


# --- large and interrupted work ------------------------------------------------------------------


def test_synth_refuses_more_rows_than_a_file_should_hold(tmp_path: Path) -> None:
    text = "chat:rate=2e6 /s,input=1,output=1,turns=3"
    message = fails("synth", tmp_path / "out.csv", "--class", text, "--duration", "10 min")
    assert "about 3.6e+09 requests would be written; at most 1,000,000,000 are: lower" in message
    assert list(tmp_path.iterdir()) == []


STOPPED = """
import os
import signal
from planner.cli import main
from planner.trace import writers

# A shell starts its background jobs with this signal ignored, and that is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)

class Stopped(writers._CsvWriter):
    def write(self, block, class_names):
        super().write(block, class_names)
        assert any(name.endswith(".partial") for name in os.listdir())
        os.kill(os.getpid(), {number})

writers._CsvWriter = Stopped
main()
"""
"""A program that is sent a signal in the middle of its writing."""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, 130)]
)
def test_a_stopped_synth_leaves_nothing(tmp_path: Path, number: int, code: int) -> None:
    program = STOPPED.format(number=int(number))
    arguments = ["trace", "synth", "out.csv", "--duration", "1 h"]
    arguments += ["--class", "chat:rate=1e3 /s,input=1,output=1"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
