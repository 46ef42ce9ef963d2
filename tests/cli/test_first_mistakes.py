"""The likeliest mistakes of a first-time user, and the exact text that answers each.

The texts are in tests/cli/golden, one file per mistake. After a change of a message,

    pytest tests/cli/test_first_mistakes.py --update-golden

writes them anew. Then read each in the diff: what is wrong, where, what was found, what to do.
"""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typer.testing import CliRunner

from planner.cli import app
from tests.conftest import ROOT

GOLDEN = Path(__file__).parent / "golden"
QUICKSTART = (ROOT / "scenarios" / "quickstart.yaml").read_text(encoding="utf-8")
TRACE = "arrival_s,class,input_tokens,output_tokens\n0.1,chat,512,100\n0.2,chat,700,80\n"


@dataclass(frozen=True)
class Mistake:
    """A command line that fails, on the quickstart with something changed."""

    command: str
    old: str = ""
    new: str = ""
    files: dict[str, str] = field(default_factory=dict)
    """Others that are there, by name."""


GUESTS = QUICKSTART[QUICKSTART.index("open:\n") : QUICKSTART.index("rate_limit")]
"""Arrivals and lengths of the first class."""
_POOL = QUICKSTART[: QUICKSTART.index("    price: h100")]
MACHINES = QUICKSTART[
    _POOL.index("node: hgx-h100") : QUICKSTART.index("  - name: reasoning\n    model")
]
"""What the first pool runs on, and its price."""

MISTAKES = {
    "typo in a field": Mistake("check my.yaml", "tensor_parallel: 4", "tensor_paralel: 4"),
    "field in the wrong place": Mistake("check my.yaml", "    engine: {token",
                                        "    token_budget: 4096\n    engine: {token"),
    "bare number": Mistake("check my.yaml", "timeout: 20 s", "timeout: 20"),
    "wrong unit": Mistake("check my.yaml", "limit: 1.5 s", "limit: 1.5 GB"),
    "unknown unit": Mistake("check my.yaml", "rate: 60 /s", "rate: 60 qps"),
    "negative": Mistake("check my.yaml", "nodes: 10", "nodes: -10"),
    "text for a number": Mistake("check my.yaml", "nodes: 10", "nodes: ten"),
    "percentile as a share": Mistake("check my.yaml", "percentile: 95", "percentile: 0.95"),
    "unknown model": Mistake("check my.yaml", "model: llama-3.1-70b", "model: llama-3-1-70b"),
    "chip for a node": Mistake("check my.yaml", "node: hgx-h100", "node: h100-sxm"),
    "unknown pool": Mistake("check my.yaml", "pool: reasoning", "pool: reason"),
    "unknown price": Mistake("check my.yaml", "price: h100-sxm-committed-1y",
                             "price: h100-committed"),
    "unknown preset": Mistake("check my.yaml", "{preset: servegen-deepseek-r1-input}",
                              "{preset: deepseek-r1-input}"),
    "no price for the chip": Mistake("check my.yaml", MACHINES,
                                     "node: trn2-16\n    nodes: 9\n    tensor_parallel: 4\n"),
    "model does not fit": Mistake("check my.yaml", "tensor_parallel: 4", "tensor_parallel: 1"),
    "tab in YAML": Mistake("check my.yaml", "  duration: 1 h", "\tduration: 1 h"),
    "duplicate key": Mistake("check my.yaml", "  duration: 1 h",
                             "  duration: 1 h\n  duration: 2 h"),
    "unclosed bracket": Mistake("check my.yaml", "cv: 1.2}", "cv: 1.2"),
    "missing file": Mistake("run mi.yaml"),
    "a folder": Mistake("run ."),
    "not a scenario": Mistake("run mine.csv", files={"mine.csv": TRACE}),
    "unknown override": Mistake("run my.yaml --override more"),
    "unknown scenario": Mistake("run my.yaml --scenario peak"),
    "wrong path in --set": Mistake("run my.yaml --set pools.chat.node_count=3"),
    "unknown pool in --set": Mistake("run my.yaml --set pools.chats.nodes=3"),
    "no value in --set": Mistake("run my.yaml --set pools.chat.nodes"),
    "wrong value in --set": Mistake("run my.yaml --set pools.chat.nodes=many"),
    "output folder exists": Mistake("run my.yaml --output there", files={"there/thesis.txt": ""}),
    "output is a file": Mistake("run my.yaml --output thesis.txt", files={"thesis.txt": ""}),
    "trace is missing": Mistake("run my.yaml", GUESTS, "trace: {file: mine.csv}\n      "),
    "trace lacks a column": Mistake("trace stats mine.csv", files={
        "mine.csv": TRACE.replace("output_tokens", "completion")}),
    "bad row in a trace": Mistake("trace stats mine.csv", files={
        "mine.csv": TRACE + "0.3,chat,many,80\n0.4,chat,512,-1\n"}),
    "trace out of order": Mistake("trace stats mine.csv", files={
        "mine.csv": TRACE + "0.05,chat,512,80\n"}),
    "unknown kind of trace": Mistake("trace stats mine.csv", files={"mine.csv": "a,b\n1,2\n"}),
    "result for a scenario": Mistake("run results", files={"results/result.json": "{}"}),
    "unknown catalogue entry": Mistake("catalog show h100"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_the_answer_to_a_mistake(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    mistake = MISTAKES[name]
    monkeypatch.chdir(tmp_path)
    assert QUICKSTART.count(mistake.old) >= 1
    scenario = QUICKSTART.replace(mistake.old, mistake.new, 1) if mistake.old else QUICKSTART
    for path, text in ({"my.yaml": scenario} | mistake.files).items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")
    done = CliRunner().invoke(app, shlex.split(mistake.command), prog_name="planner")
    assert (done.exit_code, done.stdout) == (2, "")
    text = f"$ planner {mistake.command}\n{done.stderr}"
    golden = GOLDEN / f"{name.replace(' ', '-').replace('--', '-')}.txt"
    if request.config.getoption("--update-golden"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_every_golden_text_has_its_mistake() -> None:
    names = {name.replace(" ", "-").replace("--", "-") for name in MISTAKES}
    assert {path.stem for path in GOLDEN.iterdir()} == names


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "scenarios" / "quickstart.yaml", "my.yaml")
    CliRunner().invoke(app, ["run", "my.yaml", "--override", "more"])
    assert [path.name for path in tmp_path.iterdir()] == ["my.yaml"]
