"""Traces replayed through a whole run: the shipped sample, and the public hours where they are."""

from __future__ import annotations

import csv
import datetime
import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import planner
from planner.results.columns import FATES
from planner.results.result import Result
from tests.conftest import ROOT

pytestmark = pytest.mark.compiled  # whole runs, far too long in pure Python

REPLAY = ROOT / "scenarios" / "replay.yaml"
SAMPLE = ROOT / "traces" / "sample-mixed-10min.csv"
FILE = "workload.classes.conversation.trace.file"
FORMAT = "workload.classes.conversation.trace.format"

Run = tuple[Result, pd.DataFrame]


def replay(folder: Path, trace: Path | None, *sets: str, override: str = "") -> Run:
    """Replay a trace and return the result and its requests, in order of arrival."""
    path = folder / "requests.parquet"
    result = planner.run(
        REPLAY,
        sets=[*([] if trace is None else [f"{FILE}={trace}"]), *sets],
        overrides=[override] if override else [],
        requests_to=path,
        invariants=True,
    )
    requests = pd.read_parquet(path).sort_values(["arrival_s", "row"], ignore_index=True)
    return result, requests


@pytest.fixture
def real_trace(shared_data: Path) -> Callable[[str], Path]:
    def find(name: str) -> Path:
        path = shared_data / "traces" / name
        if not path.is_file():
            pytest.skip(f"no public trace at {path}")
        return path

    return find


def assert_one_fate_each(result: Result, count: int) -> None:
    fates = result.to_pandas("fates")
    assert fates["arrived"].tolist() == [count]
    assert fates[list(FATES)].sum(axis=1).tolist() == [count]


def assert_plausible(result: Result) -> None:
    """Assert what must be so of any served traffic of this model on this chip."""
    row = result.to_pandas().iloc[0]
    for metric in ("ttft", "tpot", "itl", "e2e"):
        ranks = [row[f"{metric}_{p}_s"] for p in ("p50", "p90", "p99", "p99_9")]
        assert ranks == sorted(ranks)
    assert 0.01 < row["ttft_p50_s"] < 5.0
    assert 0.004 < row["tpot_p50_s"] < 0.06  # 70 GB of weights through 4 × 3.35 TB/s: 5 ms
    assert row["e2e_p50_s"] > row["ttft_p50_s"]


# --- The shipped sample --------------------------------------------------------------------------


def sample_rows() -> list[dict[str, str]]:
    with SAMPLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_sample_arrives_as_written(tmp_path: Path) -> None:
    result, requests = replay(tmp_path, None)
    rows = sample_rows()
    own = [row for row in rows if row["arrival_s"]]
    first_turns = requests[requests["turn"] == 0]
    assert_one_fate_each(result, len(requests))
    assert first_turns["arrival_s"].tolist() == [float(row["arrival_s"]) for row in own]
    assert first_turns["input_tokens"].tolist() == [int(row["input_tokens"]) for row in own]
    assert first_turns["output_tokens"].tolist() == [int(row["output_tokens"]) for row in own]
    assert first_turns["reasoning_tokens"].sum() == sum(int(row["reasoning_tokens"]) for row in own)
    assert result.counters["unsent"] == len(rows) - len(requests)
    assert f"left out: {len(rows) - len(requests)}." in " ".join(result.notes)


def test_later_turns_come_after_the_answer_and_a_pause(tmp_path: Path) -> None:
    _, requests = replay(tmp_path, None)
    rows = sample_rows()
    pauses = {
        (int(r["session_id"]), int(r["turn"])): float(r["think_s"]) for r in rows if r["think_s"]
    }
    finish = {(r.session, r.turn): r.finish_s for r in requests.itertuples() if r.session >= 0}
    later = requests[requests["turn"] > 0]
    assert len(later) > 100
    for row in later.itertuples():
        pause_s = pauses[row.session, row.turn]
        assert row.arrival_s == pytest.approx(finish[row.session, row.turn - 1] + pause_s, abs=1e-6)


def test_twice_the_rate_is_the_same_trace_in_half_the_time(tmp_path: Path) -> None:
    _, requests = replay(tmp_path, None, "workload.classes.conversation.trace.rate_scale=2")
    first_turns = requests[requests["turn"] == 0]
    own = [float(row["arrival_s"]) / 2 for row in sample_rows() if row["arrival_s"]]
    assert first_turns["arrival_s"].to_numpy() == pytest.approx(own)


def test_classes_of_the_file_go_to_the_classes_of_the_scenario(tmp_path: Path) -> None:
    path = tmp_path / "named.yaml"
    path.write_text(
        f"""\
schema: planner/v1
name: named
workload:
  duration: 2 min
  trace: {{file: {SAMPLE}}}
  classes:
    - {{name: anonymous-chat, pool: chat}}
    - {{name: logged-in-chat, pool: chat, priority: 1}}
    - {{name: logged-in-reasoning, pool: chat}}
pools:
  - {{name: chat, model: llama-3.1-8b, node: hgx-h100, nodes: 1}}
""",
        encoding="utf-8",
    )
    result = planner.run(path, requests_to=tmp_path / "r.parquet", invariants=True)
    requests = pd.read_parquet(tmp_path / "r.parquet")
    rows = [row for row in sample_rows() if row["arrival_s"] and float(row["arrival_s"]) <= 120]
    wanted = Counter(row["class"] for row in rows)
    found = requests[requests["turn"] == 0]["class"].value_counts()
    assert found.to_dict() == dict(wanted)
    assert result.to_pandas()["arrived"].sum() == len(requests)


def test_sample_is_read_packed_too(tmp_path: Path) -> None:
    packed = tmp_path / "sample.csv.gz"
    packed.write_bytes(gzip.compress(SAMPLE.read_bytes(), mtime=0))
    plain, _ = replay(tmp_path, None, "workload.duration=1 min", "workload.warmup=0 s")
    again, _ = replay(tmp_path, packed, "workload.duration=1 min", "workload.warmup=0 s")
    pd.testing.assert_frame_equal(plain.to_pandas(), again.to_pandas())


# --- Public traces -------------------------------------------------------------------------------


def test_azure_conversation_hour(real_trace: Callable[[str], Path], tmp_path: Path) -> None:
    path = real_trace("azure_2023/AzureLLMInferenceTrace_conv.csv")
    result, requests = replay(tmp_path, path, override="azure-2023")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 19_366
    assert_one_fate_each(result, 19_366)
    # Arrivals, to the microsecond of the file, and so per minute.
    times = [datetime.datetime.fromisoformat(row["TIMESTAMP"][:26]) for row in rows]
    offsets = [(time - times[0]).total_seconds() for time in times]
    assert requests["arrival_s"].to_numpy() == pytest.approx(offsets, abs=2e-6)
    windows = result.to_pandas("class_windows")
    per_minute = Counter(int(offset // 60) for offset in offsets)
    for row in windows[windows["window_start_s"] < 3600].itertuples():
        assert row.arrived == per_minute[int(row.window_start_s // 60)]
    # Tokens, exactly.
    total = result.to_pandas().iloc[0]
    assert total["measured_served"] + sum(offset < 60 for offset in offsets) == 19_366
    assert total["input_tokens"] == sum(int(row["ContextTokens"]) for row in rows)
    assert total["output_tokens"] == sum(int(row["GeneratedTokens"]) for row in rows)
    assert_plausible(result)
    assert result.headline["objectives_met"] is True


def test_mooncake_conversation_hour(real_trace: Callable[[str], Path], tmp_path: Path) -> None:
    path = real_trace("mooncake/conversation_trace.jsonl")
    result, requests = replay(tmp_path, path, override="mooncake")
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    assert len(rows) == 12_031
    assert_one_fate_each(result, 12_031)
    # Each request lies within its tick of 3 s, and the ticks are gone.
    ticks = np.sort([row["timestamp"] / 1000 for row in rows])
    late = np.sort(requests["arrival_s"].to_numpy()) - ticks
    assert -3.0 <= late.min() <= late.max() <= 3.0
    assert requests["arrival_s"].nunique() == 12_031
    offsets = requests["arrival_s"].to_numpy() % 3.0
    assert np.histogram(offsets, 6, (0, 3))[0] == pytest.approx(12_031 / 6, rel=0.1)
    total = result.to_pandas().iloc[0]
    assert total["input_tokens"] == sum(row["input_length"] for row in rows)
    assert total["output_tokens"] == sum(row["output_length"] for row in rows)
    assert_plausible(result)


def test_mooncake_hour_is_the_same_run_each_time(
    real_trace: Callable[[str], Path], tmp_path: Path
) -> None:
    path = real_trace("mooncake/conversation_trace.jsonl")
    first, _ = replay(tmp_path, path, "workload.duration=10 min", override="mooncake")
    again, _ = replay(tmp_path, path, "workload.duration=10 min", override="mooncake")
    assert first.to_json() == again.to_json()
