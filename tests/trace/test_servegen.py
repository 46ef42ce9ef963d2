"""ServeGen client files, from small folders written here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from planner.errors import TraceError
from planner.trace import open_trace
from planner.trace.readers.servegen import Pmf
from planner.trace.stats import trace_stats
from planner.trace.table import Rows, concatenate


def client(folder: Path, number: int, rates: list[float], dataset: object = None) -> None:
    lines = [
        f"{600 * i},{r},{2.0 if r else 0},{'Gamma' if r else ''},0.25,4"
        for i, r in enumerate(rates)
    ]
    (folder / f"chunk-{number}-trace.csv").write_text("\n".join(lines) + "\n")
    if dataset is not None:
        path = folder / f"chunk-{number}-dataset.json"
        path.write_text(json.dumps(dataset))


def window(inputs: str, outputs: str, ratio: str = "{}") -> dict[str, str]:
    return {"input_tokens": inputs, "output_tokens": outputs, "reason_ratio": ratio}


def rows_of(folder: Path, **options: object) -> Rows:
    return concatenate(list(open_trace(folder, **options))).rows  # type: ignore[arg-type]


def test_a_folder_becomes_requests_of_the_measured_rate(tmp_path: Path) -> None:
    client(tmp_path, 0, [2.0, 0.0, 6.0], {"0": window("{10: 0.25, 20: 0.75}", "{5: 1.0}")})
    client(tmp_path, 12, [1.0, 1.0, 1.0], {"0": window("{7: 1.0}", "{100: 1.0}", "{0.5: 1.0}")})
    source = open_trace(tmp_path)
    assert source.format == "servegen"
    rows = concatenate(list(source)).rows
    assert source.notes == ()
    assert np.all(np.diff(rows["arrival_s"]) >= 0)
    assert sorted(set(rows["visitor_id"].tolist())) == [0, 12]
    of_first = rows[rows["visitor_id"] == 0]
    per_window = np.bincount((of_first["arrival_s"] // 600).astype(int), minlength=3)
    assert per_window == pytest.approx([1200, 0, 3600], rel=0.15)
    assert set(of_first["input_tokens"].tolist()) == {10, 20}
    assert (of_first["input_tokens"] == 20).mean() == pytest.approx(0.75, abs=0.03)
    of_second = rows[rows["visitor_id"] == 12]
    assert set(of_second["output_tokens"].tolist()) == {100}
    assert set(of_second["reasoning_tokens"].tolist()) == {50}


def test_gaps_have_the_measured_cv(tmp_path: Path) -> None:
    client(tmp_path, 0, [10.0] * 20, {"0": window("{1: 1}", "{1: 1}")})
    assert trace_stats(open_trace(tmp_path)).gap_cv == pytest.approx(2.0, rel=0.05)


def test_lengths_follow_the_window(tmp_path: Path) -> None:
    dataset = {
        "0": window("{}", "{}"),
        "600": window("{10: 1}", "{1: 1}"),
        "1200": window("{30: 1}", "{1: 1}"),
    }
    client(tmp_path, 0, [1.0, 1.0, 1.0, 1.0], dataset)
    rows = rows_of(tmp_path)
    lengths = [set(rows["input_tokens"][rows["arrival_s"] // 600 == w].tolist()) for w in range(4)]
    assert lengths == [{10}, {10}, {30}, {30}]


def test_clients_without_lengths_borrow_them_and_say_so(tmp_path: Path) -> None:
    client(tmp_path, 0, [1.0], {"0": window("{10: 1}", "{5: 1}")})
    client(tmp_path, 1, [3.0])
    source = open_trace(tmp_path)
    rows = concatenate(list(source)).rows
    assert set(rows["input_tokens"].tolist()) == {10}
    assert source.notes == (
        "1 of 2 clients (75% of requests) have no dataset file; their lengths are drawn from the "
        "other clients",
    )


def test_the_seed_decides(tmp_path: Path) -> None:
    client(tmp_path, 0, [1.0], {"0": window("{10: 1, 20: 1}", "{5: 1}")})
    assert rows_of(tmp_path, seed=1).tobytes() == rows_of(tmp_path, seed=1).tobytes()
    assert rows_of(tmp_path, seed=1).tobytes() != rows_of(tmp_path, seed=2).tobytes()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,1\n", "1: must be t_s,rate_rps,cv,pattern,p1,p2; found '0,1'"),
        ("0,x,1,Gamma,1,1\n", "1: must be t_s"),
        ("0,1,1,Gamma,1,1\n600,-1,1,Gamma,1,1\n", "2: time, rate and CV must be at least 0"),
        ("0,nan,1,Gamma,1,1\n", "1: time, rate and CV"),
        ("600,1,1,Gamma,1,1\n0,1,1,Gamma,1,1\n", "2: time 0 s does not come after 600 s"),
        ("", "is empty"),
    ],
)
def test_faults_of_a_trace_file(tmp_path: Path, text: str, message: str) -> None:
    client(tmp_path, 0, [1.0], {"0": window("{10: 1}", "{5: 1}")})
    (tmp_path / "chunk-0-trace.csv").write_text(text)
    with pytest.raises(TraceError) as caught:
        rows_of(tmp_path)
    assert f"chunk-0-trace.csv:{message}".replace(":is", ": is") in str(caught.value)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "must be an object of windows; found list"),
        ('{"a": {}}', "window 'a' must be seconds"),
        ('{"0": {"input_tokens": "{a: 1}", "output_tokens": "{1: 1}"}}', "cannot read 'a: 1'"),
        ('{"0": {"input_tokens": "1", "output_tokens": "{1: 1}"}}', "0.input_tokens: must be like"),
        ('{"0": {"input_tokens": "{99999999: 1}", "output_tokens": "{1: 1}"}}', "above the limit"),
        ('{"0": {"input_tokens": "{}", "output_tokens": "{}"}}', "no chunk-N-dataset.json"),
    ],
)
def test_faults_of_a_dataset_file(tmp_path: Path, dataset: str, message: str) -> None:
    client(tmp_path, 0, [1.0])
    (tmp_path / "chunk-0-dataset.json").write_text(dataset)
    with pytest.raises(TraceError) as caught:
        rows_of(tmp_path)
    assert message in str(caught.value)


def test_folders_above_the_clients_say_where_they_are(tmp_path: Path) -> None:
    inner = tmp_path / "m-large"
    inner.mkdir()
    client(inner, 0, [1.0], {"0": window("{10: 1}", "{5: 1}")})
    with pytest.raises(TraceError, match="choose one of its folders m-large"):
        rows_of(tmp_path)


def test_clients_that_never_ask_are_an_error(tmp_path: Path) -> None:
    client(tmp_path, 0, [0.0, 0.0], {"0": window("{10: 1}", "{5: 1}")})
    with pytest.raises(TraceError, match="rate 0 throughout"):
        rows_of(tmp_path)


def test_lengths_may_be_objects_too(tmp_path: Path) -> None:
    dataset = {"0": {"input_tokens": {"10": 0.5, "30": 0.5}, "output_tokens": {"2": 1.0}}}
    client(tmp_path, 0, [1.0], dataset)
    assert set(rows_of(tmp_path)["input_tokens"].tolist()) == {10, 30}


def test_pmf_draws_by_weight() -> None:
    draws = Pmf.from_weights({3.0: 1.0, 1.0: 3.0, 2.0: 0.0}).sample(
        np.random.default_rng(1), 40_000
    )
    assert set(draws.tolist()) == {1.0, 3.0}
    assert (draws == 1.0).mean() == pytest.approx(0.75, abs=0.01)
