"""`planner bridge` as a user calls it: waterfalls, JSON, files, and what cannot be compared."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from planner.cli import app
from tests.small import SMALL

pytestmark = pytest.mark.compiled  # whole runs, far too long in pure Python

VARIANTS = """\
scenarios: {now: [], then: [cheap, quick]}
overrides:
  cheap: {prices.default_terms: committed_1y}
  quick: {pools.chat.prefix_cache: true, workload.classes.chat.system_prompt: 50}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bridge-cli")
    text = SMALL.replace("duration: 3 min", "duration: 60 s") + VARIANTS
    (path / "small.yaml").write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def call(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return `call(*arguments)`: `planner bridge …` in this process."""
    monkeypatch.chdir(folder)

    def bridge(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["bridge", *arguments])

    return bridge


BOTH = ("small.yaml@now", "small.yaml@then")


def test_prints_waterfalls_and_writes_files(call: Callable[..., Result], folder: Path) -> None:
    files = ("--html", "bridge.html", "--csv", "bridge.csv", "--jobs", "1", "--no-size")
    done = call(*BOTH, *files)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[1] == "now → then  why cost and margin changed"
    assert any(
        re.match(r"Gross margin \(all_users_in_cogs\) rises from \d+\.\d% to ", x) for x in lines
    )
    assert any(re.match(r"prefix caching +techniques +[+−]\$\d", line) for line in lines)
    assert any(re.match(r"purchase terms +prices +−\$\d+\.\d\d  █+$", line) for line in lines)
    assert any(line.startswith("free_in_marketing") for line in lines)
    rows = list(csv.DictReader(io.StringIO((folder / "bridge.csv").read_text(encoding="utf-8"))))
    cost = [row for row in rows if row["quantity"] == "cost"]
    assert {row["unit"] for row in cost} == {"µUSD/h"}
    assert sum(int(row["amount"]) for row in cost) < 0
    page = (folder / "bridge.html").read_text(encoding="utf-8")
    for key in ("bridge-cost", "bridge-margin-all-users-in-cogs", "bridge-margin-paid-only"):
        assert f'id="chart-{key}"' in page
    assert "h100-sxm-committed-1y" in page
    assert "http://" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    again = call(*BOTH, *files)
    assert again.exit_code == 2
    assert "exists already" in again.stderr


def test_results_by_month_as_json(call: Callable[..., Result], folder: Path) -> None:
    run = CliRunner().invoke(
        app, ["run", "small.yaml", "-o", "stored", "--no-report", "--scenario", "now"]
    )
    assert run.exit_code == 0, run.stderr
    done = call("stored", "small.yaml@then", "--json", "--no-techniques")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["before"]["label"] == "small"
    assert not found["before"]["simulated"]
    for each in found["quantities"]:
        assert each["change"] == sum(part["amount"] for part in each["parts"])
        assert each["change"] == each["after"] - each["before"]
    assert found["techniques"] is None
    month = call("stored", "stored", "--per", "month")
    assert "Cost per month" in month.stdout
    assert "a month is 730 hours like those simulated" in " ".join(month.stdout.split())
    assert "stays at" in month.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("small.yaml@now", "absent.yaml"), "absent.yaml"),
        (("small.yaml@now", "small.yaml@never"), "never"),
        (("small.yaml@now", "."), "name a folder that planner run wrote"),
        ((*BOTH, "--catalog-a", "nowhere"), "nowhere"),
        ((*BOTH, "--html", "same", "--csv", "same"), "two files"),
    ],
)
def test_what_is_wrong_is_named(
    call: Callable[..., Result], arguments: tuple[str, ...], message: str
) -> None:
    done = call(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr
