"""`planner run` as a user calls it: what it prints and writes, and what it says to bad input."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from planner.cli import app
from planner.results.columns import TABLES
from tests.conftest import ROOT
from tests.small import ONE_CLIENT, SMALL

pytestmark = pytest.mark.compiled  # whole runs, far too long in pure Python

RunPlanner = Callable[..., "subprocess.CompletedProcess[str]"]
COMMAND = "from planner.cli import main; main()"
QUICKSTART = ROOT / "scenarios" / "quickstart.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def quickstart(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run two minutes of the quickstart in a process of its own."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            COMMAND,
            "run",
            str(QUICKSTART),
            *("--set", "workload.duration=4 min"),
            *("--requests", "--check-invariants"),
        ],
        cwd=folder,
        capture_output=True,
        check=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )


@pytest.fixture(scope="module")
def written(folder: Path, quickstart: subprocess.CompletedProcess[str]) -> Path:
    """Return the folder that the quickstart wrote: by default results/NAME."""
    return folder / "results" / "quickstart"


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return `call(*arguments)`: `planner run small.yaml …` in this process."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL, encoding="utf-8")

    def run(*arguments: str, file: str = "small.yaml") -> Result:
        return CliRunner().invoke(app, ["run", file, *arguments])

    return run


# --- What is printed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "promised",
    [
        r"112 +[\d.,]+ m?s +\$[\d.]+ +[−\d.]+%",
        r"accelerators at peak +p99 time to first token +per 1M output tokens +gross margin",
        r"14 nodes, 2 pools .* per hour +all_users_in_cogs",
        r"class +arrived +served .*goodput +SLO kept",
        r"class +p50 +p90 +p99 +p99.9 +promise",
        r"anonymous-chat +TTFT( +[\d.]+ m?s){4} +[✓✗] p99 [\d.]+ m?s [≤>] 2 s",
        r"TPOT( +[\d.]+ m?s){4} +[✓✗] p99 [\d.]+ m?s [≤>] 60 ms",
        r"ITL( +[\d.]+ m?s){4}",
        r"E2E( +[\d.]+ (m?s|min)){4}",
        r"logged-in-reasoning +TTFT",
        r"pool +nodes +accel\. +busy +compute +bandwidth +KV +queue +busiest resource",
        r"chat +10 +80 +\d+% +\d+% +\d+% +<?\d+% +[\d.]+ +\w+",
        r"reasoning +4 +32 +\d+%",
        r"class +plan +cost +revenue +per Mtok out +per request +margin",
        r"logged-in-chat +members +\$[\d.]+ +\$[\d.,]+",
        r"Gross margin is [−\d.]+% \(all_users_in_cogs\); under other definitions",
        r"A partner gets \$[\d.,]+ of the revenue",
        r"TP 8 fp8\n *(measured|fitted) step times",
        r"written to \S+quickstart; open \S+report\.html",
    ],
)
def test_quickstart_prints(quickstart: subprocess.CompletedProcess[str], promised: str) -> None:
    assert re.search(promised, quickstart.stdout), quickstart.stdout


def test_quickstart_fits_a_hundred_columns_and_is_plain(
    quickstart: subprocess.CompletedProcess[str],
) -> None:
    lines = quickstart.stdout.splitlines()
    assert max(len(line) for line in lines if "written to" not in line) <= 100
    assert "\x1b" not in quickstart.stdout
    assert "Traceback" not in quickstart.stderr


GOLDEN = """\
one-client
Monday # - # of arrivals - seed # - planner #

# # $# -
accelerators at peak p# time to first token per # output tokens gross margin
# node, # pool all promises kept $# per hour no revenue

Traffic every request that arrived has one fate
class arrived served goodput SLO kept
-
client # # #/s #%

Latency served requests after the warm-up; ITL over their token gaps
class p# p# p# p# promise
-
client TTFT # # # #
TPOT # # # #
ITL # # # #
E# # # # #
lost ok #% <= #%

Pools means over the measured time; busiest resource in the peak windows
pool nodes accel. busy compute bandwidth KV queue busiest resource
-
server # # #% #% #% #% # memory bandwidth
llama-#-# on h#-sxm
TP # bf#
measured step times
# tok/s per accel.

Money per hour of the simulated time
class plan cost revenue per Mtok out per request margin
-
client $# $# $# $# -
-
all $# $# $# $# -
"""
"""What is shown, and where; each number stands as #, because figures change with the step times."""


def without_numbers(text: str) -> str:
    text = re.sub(r"\d[\d.,:]*\w?( m?s\b)?", "#", text)
    lines = [
        " ".join(line.replace("|", " ").split()) for line in text.replace("<#%", "#%").splitlines()
    ]
    return "\n".join(re.sub(r"^[-+]+$", "-", line) for line in lines).strip() + "\n"


def test_golden_text_in_ascii(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(ONE_CLIENT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "run", "one.yaml", "--no-report"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"},
    )
    text = done.stdout.decode("ascii").partition("There is no revenue")[0]
    assert without_numbers(text) == GOLDEN


def test_estimated_step_times_are_told(call: Callable[..., Result]) -> None:
    sets = ("--set", "pools.chat.node=mi300x-8", "--set", "workload.duration=20 s")
    done = call("--no-report", "-o", "out", *sets)
    assert done.exit_code == 0, done.stderr
    told = r"Step times of chat are\s+estimated from data sheets and default efficiencies \(tier"
    assert re.search(told + r"\s+estimated\), not\s+measured", done.stdout), done.stdout


def test_json_is_the_result_and_nothing_else(call: Callable[..., Result], tmp_path: Path) -> None:
    done = call("--json", "--no-report", "-o", "out")
    assert done.exit_code == 0
    assert done.stdout == (tmp_path / "out" / "result.json").read_text(encoding="utf-8")
    assert json.loads(done.stdout)["headline"]["accelerators_at_peak"] == 24


# --- What is written -----------------------------------------------------------------------------


def test_folder_holds_what_was_promised(written: Path) -> None:
    assert {path.name for path in written.iterdir()} == {
        "report.html",
        "requests.parquet",
        "result.json",
        "tables",
    }
    tables = {path.name for path in (written / "tables").iterdir()}
    assert tables == {f"{n}.{kind}" for n in TABLES for kind in ("csv", "parquet")} | {
        "columns.csv"
    }
    # Nothing is left of the work: no scratch folder beside the result.
    assert [path.name for path in written.parent.iterdir()] == ["quickstart"]


def test_tables_have_the_columns_that_are_described(written: Path) -> None:
    for name, columns in TABLES.items():
        frame = pd.read_parquet(written / "tables" / f"{name}.parquet")
        assert list(frame.columns) == [column.name for column in columns], name
        csv = pd.read_csv(written / "tables" / f"{name}.csv")
        assert len(csv) == len(frame)


def test_result_is_strict_json(written: Path) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    text = (written / "result.json").read_text(encoding="utf-8")
    content = json.loads(text, parse_constant=refuse)
    assert content["headline"]["accelerators_at_peak"] == 112
    assert content["headline"]["gross_margin_definition"] == "all_users_in_cogs"
    assert {row["pool"]: row["nodes_at_peak"] for row in content["pools"]} == {
        "chat": 10,
        "reasoning": 4,
    }


def test_requests_are_all_there_with_a_fate(written: Path) -> None:
    requests = pd.read_parquet(written / "requests.parquet")
    fates = pd.read_parquet(written / "tables" / "fates.parquet").set_index("class")
    assert len(requests) == fates["arrived"].sum() > 10_000
    found = requests.groupby(["class", "fate"], observed=True).size().unstack(fill_value=0)
    for name, row in found.iterrows():
        assert row.to_dict() == {f: n for f, n in fates.loc[name].items() if f in row.index}
    assert requests["row"].is_unique


class Addresses(HTMLParser):
    """Collect what a browser would load: sources, style sheets, images of styles."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name in {"src", "srcset", "data", "poster"} or (name == "href" and tag == "link"):
                self.loads.append(f"{tag} {value}")


def test_report_loads_nothing(written: Path) -> None:
    html = (written / "report.html").read_text(encoding="utf-8")
    parser = Addresses()
    parser.feed(html)
    assert {"table", "script", "style"} <= parser.tags
    assert [load for load in parser.loads if not load.split(" ", 1)[1].startswith("data:")] == []
    styles = "".join(re.findall(r"<style[^>]*>(.*?)</style>", html, re.DOTALL))
    assert not re.search(r"@import|url\(\s*['\"]?(?!data:|#)", styles)
    for words in ("accelerators at peak", "time to first token", "gross margin"):
        assert words in html


def test_no_report(call: Callable[..., Result], tmp_path: Path) -> None:
    done = call("--no-report", "-o", "out")
    assert done.exit_code == 0
    assert "report.html" not in done.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"result.json", "tables"}


def test_the_scenario_says_what_is_written(call: Callable[..., Result], tmp_path: Path) -> None:
    done = call("--set", "output={requests: true, report: false}", "-o", "out")
    assert done.exit_code == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"requests.parquet", "result.json", "tables"}
    requests = pd.read_parquet(tmp_path / "out" / "requests.parquet")
    fates = pd.read_parquet(tmp_path / "out" / "tables" / "fates.parquet")
    assert len(requests) == fates["arrived"].sum()


def test_a_result_is_replaced_as_a_whole(call: Callable[..., Result], tmp_path: Path) -> None:
    short = ("--set", "workload.duration=20 s")
    assert call("--requests", "-o", "out", *short).exit_code == 0
    assert (tmp_path / "out" / "requests.parquet").exists()
    assert call("--no-report", "-o", "out", *short).exit_code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"result.json", "tables"}


# --- Variants ------------------------------------------------------------------------------------


VARIANTS = """
overrides:
  bigger: {pools.chat.nodes: 3}
  short: {workload.duration: 30 s}
scenarios:
  growth: [short, bigger]
"""


@pytest.mark.parametrize(
    ("arguments", "nodes", "seconds"),
    [
        (("--set", "pools.chat.nodes=5", "--set", "workload.duration=20 s"), 5, 20),
        (("--override", "bigger", "--override", "short"), 3, 30),
        (("--scenario", "growth"), 3, 30),
        (("--scenario", "growth", "--set", "pools.chat.nodes=4"), 4, 30),
    ],
)
def test_variants(
    call: Callable[..., Result],
    tmp_path: Path,
    arguments: tuple[str, ...],
    nodes: int,
    seconds: float,
) -> None:
    (tmp_path / "variants.yaml").write_text(SMALL + VARIANTS, encoding="utf-8")
    done = call("--json", "--no-report", "-o", "out", *arguments, file="variants.yaml")
    assert done.exit_code == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["pools"][0]["nodes_at_peak"] == nodes
    assert content["time"]["duration_s"] == seconds


# --- Bad input -----------------------------------------------------------------------------------


def assert_refused(done: Result, folder: Path, *words: str) -> None:
    """Assert a message and exit code 2, and that nothing was written."""
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("name: small", "name: [small", ["small.yaml:", "^"]),
        ("name: small", "name: small\nname: twice", ["small.yaml:3:1", "name", "twice"]),
        ("seed: 3", "sede: 3", ["small.yaml:3:1: sede: unknown field; did you mean seed?"]),
        ("duration: 3 min", "duration: 3", ["small.yaml:6:13", "3 is a bare number", "min"]),
        ("duration: 3 min", "duration: 3 GiB", ["small.yaml:6:13", "GiB"]),
        ("tensor_parallel: 8\n    weight_dtype: fp8\n    engine", "tensor_parallel: 1\n    engine",
         ["small.yaml:30:12", "does not fit", "GB are missing; would fit:", "tensor_parallel: "]),
        ("tensor_parallel: 8\n    weight_dtype: fp8\n    engine", "tensor_parallel: 7\n    engine",
         ["pools[0].tensor_parallel: 7 does not divide the 64 attention heads"]),
        ("plan: members", "plan: member", ["small.yaml:18:13", "did you mean members?"]),
    ],
)  # fmt: skip
def test_bad_scenarios(
    call: Callable[..., Result], tmp_path: Path, old: str, new: str, words: list[str]
) -> None:
    assert SMALL.count(old) == 1, old
    (tmp_path / "small.yaml").write_text(SMALL.replace(old, new), encoding="utf-8")
    assert_refused(call("-o", "out"), tmp_path, *words)


def test_all_faults_at_once(call: Callable[..., Result], tmp_path: Path) -> None:
    text = SMALL.replace("seed: 3", "sede: 3").replace("duration: 3 min", "duration: 3")
    (tmp_path / "small.yaml").write_text(text.replace("nodes: 2", "nodes: two"), encoding="utf-8")
    done = call("-o", "out")
    assert_refused(done, tmp_path, "small.yaml:3:1", "small.yaml:6:13", "3 faults")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--set", "pools.chat.nodess=3"), ["--set pools.chat.nodess=3: ", "did you mean nodes?"]),
        (("--set", "pools.chart.nodes=3"), ["--set pools.chart.nodes=3: ", "chat"]),
        (("--set", "pools.chat.nodes"), ["--set pools.chat.nodes"]),
        (("--override", "big"), ["no override is called 'big'"]),
        (("--scenario", "big"), ["no scenario is called 'big'"]),
    ],
)
def test_bad_options(
    call: Callable[..., Result], tmp_path: Path, arguments: tuple[str, ...], words: list[str]
) -> None:
    assert_refused(call("-o", "out", *arguments), tmp_path, *words)


def test_missing_file_and_not_utf8(call: Callable[..., Result], tmp_path: Path) -> None:
    assert_refused(
        call("-o", "out", file="smal.yaml"), tmp_path, "smal.yaml: no such file", "small"
    )
    (tmp_path / "small.yaml").write_bytes(SMALL.encode().replace(b"small", b"sm\xe4ll"))
    assert_refused(call("-o", "out"), tmp_path, "small.yaml:2", "UTF-8")


HEADER = b"arrival_s,input_tokens,output_tokens\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (HEADER + b"1,10,10\n0.5,10,10\n", ["t.csv:3: arrival_s: 0.5 is earlier", "--sort"]),
        (HEADER + b"1,10,10\n2,-10,10\n", ["t.csv:3: input_tokens: -10 is negative"]),
        (HEADER + b"NaN,10,10\n", ["t.csv:2: arrival_s"]),
        (HEADER + b"1,10,10\n2,10,1e12\n", ["t.csv:3: output_tokens", "above the limit"]),
        (HEADER + b"1,,10\n", ["t.csv:2: input_tokens: is missing"]),
        (HEADER + b"1,10,ten\n", ["t.csv:2: output_tokens"]),
        (HEADER + b"1,10\n", ["t.csv:2"]),
        (HEADER, ["t.csv: has a header and no requests"]),
        (b"", ["t.csv: is empty"]),
        (b"when,in,out\n1,2,3\n", ["t.csv:1", "columns when, in, out"]),
        (HEADER + b"1,10,10\n\xff,10,10\n", ["t.csv:3", "UTF-8"]),
        (gzip.compress(HEADER + b"1,10,10\n" * 9999, mtime=0)[:-20], ["t.csv", "truncated"]),
        (b"\x1f\x8b not gzip at all", ["t.csv", "gzip"]),
        (None, ["no such file: t.csv"]),
    ],
    ids=["order", "negative", "nan", "huge", "missing", "text", "short-row", "no-rows", "empty",
         "columns", "not-utf8", "truncated", "not-gzip", "no-file"],
)  # fmt: skip
def test_bad_traces(
    call: Callable[..., Result], tmp_path: Path, content: bytes | None, words: list[str]
) -> None:
    if content is not None:
        (tmp_path / "t.csv").write_bytes(content)
    done = call("-o", "out", "--requests", "--set", "workload.classes.chat.trace.file=t.csv")
    assert_refused(done, tmp_path, *words)
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {"small.yaml", "t.csv"}  # no scratch folder stays behind


def test_debug_shows_the_traceback(
    run_planner: RunPlanner, write_file: Callable[..., Path]
) -> None:
    write_file("small.yaml", SMALL.replace("seed", "sede"))
    done = run_planner("run", "small.yaml", "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert "did you mean seed?" in done.stderr
    done = run_planner("run", "small.yaml")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


# --- Folders that are not ours -------------------------------------------------------------------


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets an entry when a simulation is started."""
    started: list[str] = []
    monkeypatch.setattr("planner.simulation.run", lambda *_, **__: started.append("run"))
    return started


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("foreign", ["holds something that is not a result of planner (notes.txt)", "--force"]),
        ("small.yaml", ["is a file; name a folder"]),
        (".", ["the working folder"]),
    ],
)
def test_foreign_folders_are_refused_before_the_run(
    call: Callable[..., Result], tmp_path: Path, simulated: list[str], output: str, words: list[str]
) -> None:
    notes = tmp_path / "foreign" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("keep me", encoding="utf-8")
    done = call("-o", output)
    assert_refused(done, tmp_path, *words)
    assert simulated == []
    assert notes.read_text(encoding="utf-8") == "keep me"
    assert (tmp_path / "small.yaml").read_text(encoding="utf-8") == SMALL


def test_force_replaces_all_of_it(call: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "notes.txt").touch()
    done = call("-o", "foreign", "--force", "--no-report")
    assert done.exit_code == 0
    names = {path.name for path in (tmp_path / "foreign").iterdir()}
    assert names == {"result.json", "tables"}


def test_failed_run_leaves_the_old_result(call: Callable[..., Result], tmp_path: Path) -> None:
    assert call("-o", "out", "--no-report").exit_code == 0
    before = (tmp_path / "out" / "result.json").read_bytes()
    (tmp_path / "t.csv").write_bytes(HEADER + b"1,10,10\n0,1,1\n")
    done = call("-o", "out", "--set", "workload.classes.chat.trace.file=t.csv")
    assert done.exit_code == 2
    assert (tmp_path / "out" / "result.json").read_bytes() == before


# --- Scenarios that are shipped ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["replay", "day", "benchmark"])
def test_shipped_scenarios_run_and_keep_their_promises(
    call: Callable[..., Result], name: str
) -> None:
    path = ROOT / "scenarios" / f"{name}.yaml"
    done = call("--json", "--no-report", "-o", "out", file=str(path))
    assert done.exit_code == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["headline"]["objectives_met"] is True
    assert content["headline"]["stable"] is True
    assert content["stability"] == []


def test_the_night_costs_less(call: Callable[..., Result]) -> None:
    def cost(*arguments: str) -> float:
        path = str(ROOT / "scenarios" / "day.yaml")
        rate = ("--set", "workload.classes.chat.open.rate=2 /s")
        done = call("--json", "--no-report", "-o", "out", *rate, *arguments, file=path)
        return float(json.loads(done.stdout)["headline"]["cost_per_hour_usd"])

    assert cost() < 0.85 * cost("--scenario", "always-on")


def test_benchmark_throughput_rises_with_concurrency(call: Callable[..., Result]) -> None:
    def tokens_per_s(*arguments: str) -> float:
        path = str(ROOT / "scenarios" / "benchmark.yaml")
        done = call("--json", "--no-report", "-o", "out", *arguments, file=path)
        row = json.loads(done.stdout)["classes"][0]
        return float(row["output_tokens_per_s"])

    rates = [
        tokens_per_s("--scenario", "concurrency-4"),
        tokens_per_s("--scenario", "concurrency-16"),
        tokens_per_s(),
        tokens_per_s("--scenario", "concurrency-256"),
    ]
    assert rates == sorted(rates)
    assert rates[3] < 64 * rates[0]
