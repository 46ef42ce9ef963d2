"""`planner explain` as a user calls it: tables, JSON, and what it says to bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from planner.catalog import load_catalog
from planner.cli import app
from planner.curves.anatomy import KINDS
from planner.lowering.pools import basis_of, lower_pool
from planner.scenario import load_checked
from tests.conftest import ROOT

QUICKSTART = str(ROOT / "scenarios" / "quickstart.yaml")
POOLS = """\
schema: planner/v1
name: two
seed: 1
workload:
  duration: 1 min
  classes:
    - {name: chat, pool: small, open: {rate: 1 /s}, input: {uniform: [10, 500]}, output: {uniform: [10, 90]}}
    - {name: deep, pool: large, open: {rate: 1 /s}, input: {uniform: [10, 500]}, output: {uniform: [10, 90]}}
pools:
  - name: small
    model: llama-3.1-8b
    node: hgx-h100
    nodes: 1
    engine: {maximum_sequences: 100, context_tokens: 1000}
  - name: large
    model: llama-3.1-70b
    node: mi300x-8
    nodes: 1
    weight_dtype: fp8
"""  # noqa: E501


def explain(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["explain", *arguments])


def content(*arguments: str) -> dict[str, Any]:
    done = explain(*arguments, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    parsed: dict[str, Any] = json.loads(done.stdout, parse_constant=pytest.fail)
    return parsed


@pytest.fixture
def pools(tmp_path: Path) -> str:
    path = tmp_path / "two.yaml"
    path.write_text(POOLS, encoding="utf-8")
    return str(path)


def test_tables_answer_where_the_time_goes() -> None:
    done = explain(QUICKSTART, "--pool", "chat")
    assert (done.exit_code, done.stderr) == (0, "")
    for text in (
        "pool chat", "decode 1", "decode 256", "prefill 8,192", "matrix products",
        "communication", "host", "tokens/s", "ffn.gate_up", "tensor.all_reduce", "FLOP/B", "bound",
        "Curves in use", "h100-sxm", "left out",
    ):  # fmt: skip
        assert text in done.stdout, text
    assert "reasoning" not in done.stdout
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert not any(line.endswith(" ") for line in lines)


def test_every_pool_is_explained_with_the_step_that_is_simulated() -> None:
    loaded = load_checked(QUICKSTART, load_catalog())
    found = content(QUICKSTART)
    assert [pool["pool"] for pool in found["pools"]] == ["chat", "reasoning"]
    for pool, stated in zip(loaded.scenario.pools, found["pools"], strict=True):
        curve = lower_pool(pool, load_catalog(), basis_of(loaded)).curve
        assert stated["tier"] == curve.tier
        for step in stated["steps"]:
            load = step["load"]
            expected = curve.step_s(
                load["tokens"], load["sequences"], load["context_tokens"], load["work"]
            )
            assert step["total_s"] == pytest.approx(expected, rel=1e-9)
            assert sum(step["kinds"].values()) == pytest.approx(expected, rel=1e-9)
            assert list(step["kinds"]) == list(KINDS)


def test_batches_and_context_are_those_asked_for() -> None:
    asked = ("--pool", "chat", "--batch", "64, 1,8,8", "--context", "5000")
    (pool,) = content(QUICKSTART, *asked)["pools"]
    decodes = [step["load"] for step in pool["steps"] if step["load"]["phase"] == "decode"]
    assert [load["sequences"] for load in decodes] == [1, 8, 64]
    assert [load["context_tokens"] for load in decodes] == [5000, 40000, 320000]
    (prompt,) = [step["load"] for step in pool["steps"] if step["load"]["phase"] == "prefill"]
    assert (prompt["tokens"], prompt["typical_tokens"]) == (8192, 5000)
    assert prompt["work"] == 8192 * 5000 / 2


def test_the_usual_batches_and_context_stay_within_the_pool(pools: str) -> None:
    (pool,) = content(pools, "--pool", "small")["pools"]
    assert [step["load"]["sequences"] for step in pool["steps"]] == [1, 4, 16, 64, 100, 0]
    assert pool["context_tokens"] == 1000
    small, large = content(pools)["pools"]
    assert (small["pool"], large["context_tokens"]) == ("small", 2048)


def test_other_settings_give_other_steps() -> None:
    def step_s(*arguments: str) -> float:
        pool = content(QUICKSTART, "--pool", "chat", "--batch", "8", *arguments)["pools"][0]
        return float(pool["steps"][0]["total_s"])

    fewer = step_s("--set", "pools.chat.tensor_parallel=2")
    assert fewer > 1.2 * step_s()


def test_a_relative_that_stands_in_is_said(pools: str) -> None:
    done = explain(pools, "--pool", "large")
    assert "mi300x has no curve" in " ".join(done.stdout.split())
    assert "estimated" in done.stdout
    (pool,) = content(pools, "--pool", "large")["pools"]
    assert {curve["chip"] for curve in pool["curves"]} == {"h200-sxm"}


def test_leaving_a_measured_range_is_said(pools: str) -> None:
    """No kernel was measured with an output as wide as a vocabulary of 128,256."""
    (pool,) = content(pools, "--pool", "small")["pools"]
    gemm = next(curve for curve in pool["curves"] if curve["operator"] == "gemm")
    assert gemm["outside"] == ["n"]
    text = " ".join(explain(pools, "--pool", "small").stdout.split())
    assert "gemm bf16: beyond its measured range the form extrapolates (n " in text


def test_batches_beyond_the_cache_are_said() -> None:
    asked = ("--pool", "chat", "--batch", "8,256", "--context", "100000")
    (pool,) = content(QUICKSTART, *asked)["pools"]
    held = pool["kv_cache_sequences"]
    assert 1 <= held < 256
    text = " ".join(explain(QUICKSTART, *asked).stdout.split())
    assert f"holds {held} sequences of 100,000 tokens: it never decodes" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pool", "smal"], "two.yaml: --pool: the scenario has no pool 'smal'; did you mean s"),
        (["--batch", "8,x"], "--batch: 'x' is not a number of sequences; write numbers as in 1,8"),
        (["--batch", "0"], "--batch: '0' is not a number of sequences"),
        (["--batch", "1,"], "--batch: '' is not a number of sequences"),
        (["--batch", "-4"], "--batch: '-4' is not a number of sequences"),
        (["--batch", "٣"], "--batch: '٣' is not a number of sequences"),
        (["--batch", "9" * 5000], "is not a number of sequences"),
        (
            ["--batch", "101", "--pool", "small"],
            "two.yaml: pool small: --batch 101 is more than a replica decodes at a time: "
            "maximum_sequences gives 100; ask for fewer",
        ),
        (
            ["--context", "1001", "--pool", "small"],
            "two.yaml: pool small: --context 1,001 is not within 1 and 1,000",
        ),
        (["--context", "0"], "pool large: --context 0 is not within 1 and 131,072"),
        (["--set", "pools.small.tensor_parallel=3"], "tensor_parallel"),
    ],
)  # fmt: skip
def test_bad_input_is_named_with_its_remedy(pools: str, arguments: list[str], message: str) -> None:
    done = explain(pools, *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_all_faults_are_told_at_once(pools: str) -> None:
    done = explain(pools, "--batch", "101,300", "--context", "500000")
    assert done.stderr.count("--batch") == 3
    assert done.stderr.count("--context") == 2
    assert done.stderr.rstrip().endswith("5 faults")


def test_help_has_examples() -> None:
    done = explain("--help")
    assert done.exit_code == 0
    assert "planner explain scenarios/quickstart.yaml" in done.stdout


def test_terminals_that_know_ascii_only(pools: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from planner.cli import main; main()", "explain", pools],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.stdout.decode("ascii").count("pool ") >= 2


def test_explaining_compiles_and_draws_nothing() -> None:
    program = (
        f"import sys; sys.argv = ['planner', 'explain', {QUICKSTART!r}, '--json']\n"
        "from planner.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'numba', 'plotly', 'scipy', 'simpy'} & set(sys.modules)\n"
        "print(sorted(heavy), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"


# --- caches --------------------------------------------------------------------------------------

TIERS = (
    "--set", "pools.small.prefix_cache=true",
    "--set", "pools.small.kv_tiers=[{name: host, capacity: 1 TB, bandwidth: 50 GB/s}, "
    "{name: tape, capacity: 9 TB, scope: pool, bandwidth: 1 MB/s, latency: 1 min}]",
)  # fmt: skip


def test_tiers_are_explained(pools: str) -> None:
    (small,) = content(pools, "--pool", "small", *TIERS)["pools"]
    host, tape = small["kv_tiers"]
    assert small["prefix_cache"] is True
    assert (host["name"], host["shared"], tape["shared"]) == ("host", False, True)
    token_bytes = 2 * 32 * 8 * 128 * 2
    assert host["token_s"] == pytest.approx(token_bytes / 50e9)
    assert host["tokens"] == pytest.approx(1e12 / 8 / token_bytes, abs=16)
    assert host["break_even_tokens"] == 0.0
    assert tape["break_even_tokens"] > 1000
    done = explain(pools, "--pool", "small", *TIERS)
    text = " ".join(done.stdout.split())
    assert "KV cache and its tiers" in text
    assert "tape (shared)" in text
    assert "KV cache and its tiers" not in explain(pools, "--pool", "large").stdout


# --- drafts --------------------------------------------------------------------------------------

DRAFTS = (
    "--set",
    "pools.large.speculation={method: eagle3, draft_tokens: 3, maximum_sequences: 64}",
)


def test_drafts_are_explained(pools: str) -> None:
    """By batch what they cost and gain; by class what is accepted, and from where."""
    small, large = content(pools, *DRAFTS, "--batch", "1,16,64,100")["pools"]
    assert small["drafts"] is None
    drafts = large["drafts"]
    assert (drafts["method"], drafts["maximum_sequences"]) == ("eagle3", 64)
    (accepted,) = drafts["acceptance"]
    assert accepted["request_class"] == "deep"
    assert len(accepted["by_position"]) == 3
    assert accepted["length"] == drafts["length"]
    assert accepted["source"]
    one, few, many, beyond = drafts["steps"]
    assert one["speed_up"] > 1.5
    assert one["tokens"] == drafts["length"]
    expected = one["tokens"] * one["plain_s"] / (one["verify_s"] + one["draft_s"])
    assert one["speed_up"] == pytest.approx(expected)
    assert one["draft_s"] < few["draft_s"] < many["draft_s"]
    assert (beyond["tokens"], beyond["verify_s"]) == (1.0, beyond["plain_s"])
    assert 0.8 < beyond["speed_up"] < 1.0, "the head still sees every token"
    text = " ".join(explain(pools, "--pool", "large", *DRAFTS).stdout.split())
    assert "Drafts: cost and gain of a decode step eagle3, 3 tokens" in text
    assert "1 layer and output head" in text
    assert "Drafts" not in explain(pools, "--pool", "small", *DRAFTS).stdout


def test_drafts_that_are_off_are_explained(pools: str) -> None:
    least = ("--set", "pools.large.speculation.minimum_length=3.9")
    (large,) = content(pools, "--pool", "large", *DRAFTS, *least)["pools"]
    assert large["drafts"]["switched_off"] is True
    assert large["drafts"]["steps"] == []
    text = explain(pools, "--pool", "large", *DRAFTS, *least).stdout
    assert "less than minimum_length" in text
