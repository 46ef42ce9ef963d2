# ruff: noqa: E501 - what is printed is quoted as it is printed
from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from planner.cli import app
from tests.scenario.samples import VALID, changed

WriteFile = Callable[[str, str], Path]
runner = CliRunner()
VARIANTS = """
overrides:
  wide: {pools.big.nodes: 6}
  thin: {pools.big.tensor_parallel: 1}
scenarios:
  peak: [wide]
"""


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_summary_of_a_valid_file(write_file: WriteFile) -> None:
    write_file("q.yaml", VALID + VARIANTS)
    done = runner.invoke(app, ["check", "q.yaml"])
    assert (done.exit_code, done.stderr) == (0, "")
    text = re.sub(r"\d{3},\d{3} tokens beside \d+\.\d GB", "N tokens beside W GB", done.stdout)
    assert (
        text
        == """\
q.yaml: ok
  evening: 1 h from mon 19:30, seed 0
  scenarios: peak
  class      requests                 pool         promises
  chat       open loop, 24 requests/s  small → big  p99 ttft ≤ 2 s
  reasoning  closed loop, 40 clients   big          none
  pool   model               machines           replicas        KV cache per replica
  small  llama-3.1-8b bf16   2 × hgx-h100 of 8  16 of 1 device  N tokens beside W GB weights per device
  big    llama-3.1-70b bf16  2 × hgx-h100 of 8  4 of 4 devices  N tokens beside W GB weights per device
  32 devices in 4 nodes at the start
""".replace("requests                 pool", "requests                  pool")
    )


def test_sources_and_promises_in_the_summary(write_file: WriteFile) -> None:
    text = changed("open: {rate: 24 /s}", "share: 25%").replace(
        "closed: {clients: 40}", "trace: {file: q.yaml}"
    )
    text = text.replace("start: 19:30", "trace: {file: q.yaml}").replace(
        "tensor_parallel: 4", "engine: {kv_blocks: 100}"
    )
    write_file("q.yaml", text.replace("limit: 2 s", "limit: 250 ms"))
    out = runner.invoke(app, ["check", "q.yaml"]).stdout
    assert "0.25 of the shared trace" in out
    assert "trace q.yaml" in out
    assert "p99 ttft ≤ 250 ms" in out
    assert "1,600 tokens, as stated" in out


def test_one_of_a_thing_is_singular(write_file: WriteFile) -> None:
    nodes = ["--set", "pools.big.nodes=1", "--set", "pools.small.nodes=0"]
    write_file("q.yaml", VALID)
    out = runner.invoke(app, ["check", "q.yaml", *nodes]).stdout
    assert "8 devices in 1 node at the start" in out


def test_notes_are_printed(write_file: WriteFile) -> None:
    write_file("q.yaml", changed("      plan: api\n", ""))
    assert "note: plan api: no class pays it" in runner.invoke(app, ["check", "q.yaml"]).stdout


def test_faults_go_to_stderr_with_exit_code_2(write_file: WriteFile) -> None:
    write_file(
        "q.yaml", changed("duration: 1 h", "durration: 1 h").replace("plan: api", "plan: ap")
    )
    done = runner.invoke(app, ["check", "q.yaml"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert (
        done.stderr
        == """\
q.yaml:4:3: workload.durration: unknown field; did you mean duration?
     4 |   durration: 1 h
       |   ^
q.yaml:22:13: workload.classes[1].plan: unknown plan 'ap'; did you mean api?
    22 |       plan: ap
       |             ^
2 faults
"""
    )


def test_several_files(write_file: WriteFile) -> None:
    write_file("good.yaml", VALID)
    write_file("bad.yaml", changed("nodes: 2\n  - name", "nodes: x\n  - name"))
    done = runner.invoke(app, ["check", "bad.yaml", "good.yaml", "none.yaml", "good.yaml"])
    assert done.exit_code == 2
    assert done.stdout.count("good.yaml: ok") == 1
    assert done.stderr.startswith("bad.yaml:27:12: pools[0].nodes: must be a whole number")
    assert "none.yaml: no such file" in done.stderr


def test_other_yaml_is_passed_over_if_asked(write_file: WriteFile) -> None:
    write_file("good.yaml", VALID)
    write_file("prices.yaml", "prices: [{name: chat-a}]\n")
    files = ["check", "good.yaml", "prices.yaml"]
    assert runner.invoke(app, files).exit_code == 2
    done = runner.invoke(app, [*files, "--only-scenarios"])
    assert (done.exit_code, done.stderr) == (
        0, "note: prices.yaml is no scenario and is passed over\n",
    )  # fmt: skip
    assert done.stdout.startswith("good.yaml: ok")
    missing = runner.invoke(app, [*files, "none.yaml", "--only-scenarios"])
    assert missing.exit_code == 2
    assert "none.yaml: no such file" in missing.stderr


def test_every_scenario_of_the_file_is_checked(write_file: WriteFile) -> None:
    write_file("q.yaml", VALID + VARIANTS + "  lean: [thin]\n")
    done = runner.invoke(app, ["check", "q.yaml"])
    assert done.exit_code == 2
    assert "llama-3.1-70b in bf16 does not fit" in done.stderr
    assert "(in scenario lean)" in done.stderr
    assert runner.invoke(app, ["check", "q.yaml", "--scenario", "peak"]).exit_code == 0
    assert runner.invoke(app, ["check", "q.yaml", "--scenario", "lean"]).exit_code == 2


def test_options_change_what_is_checked(write_file: WriteFile) -> None:
    write_file("q.yaml", VALID + VARIANTS)
    wide = runner.invoke(app, ["check", "q.yaml", "--override", "wide"])
    assert "64 devices in 8 nodes" in wide.stdout
    assert "6 × hgx-h100" in runner.invoke(app, ["check", "q.yaml", "--scenario", "peak"]).stdout
    several = ["--set", "pools.big.nodes=3", "--set", "pools.small.nodes=1"]
    assert "32 devices in 4 nodes" in runner.invoke(app, ["check", "q.yaml", *several]).stdout
    wrong = runner.invoke(app, ["check", "q.yaml", "--set", "pools.big.nodes=x"])
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith(
        "--set pools.big.nodes=x: pools[1].nodes: must be a whole number"
    )


def test_it_imports_no_heavy_library(write_file: WriteFile, tmp_path: Path) -> None:
    write_file("q.yaml", VALID)
    code = (
        "import sys; from planner.cli import main\n"
        "try: main()\nexcept SystemExit as done: assert not done.code, done.code\n"
        "print([m for m in ('numba', 'pandas', 'scipy', 'pyarrow', 'plotly', 'simpy')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "check", "q.yaml"],
        cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"


def test_bad_input_shows_no_traceback(write_file: WriteFile, tmp_path: Path) -> None:
    write_file("q.yaml", "a: [")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("q.yaml", "b.yaml", ".", "none.yaml"):
        done = runner.invoke(app, ["check", name])
        assert done.exit_code == 2
        assert "Traceback" not in done.output
        assert "Traceback" in runner.invoke(app, ["check", name, "--debug"]).stderr
