"""What the README shows is run: its commands, its Python, its links."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


COMMANDS = [
    line.removeprefix("$ ")
    for block in blocks("console")
    for line in block.splitlines()
    if line.startswith("$ ")
]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder with what the README's paths name, where results may be written."""
    for name in ("scenarios", "traces"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("command", COMMANDS)
def test_command_works(command: str, checkout: Path) -> None:
    program, *arguments = shlex.split(command)
    assert program == "planner"
    call = [sys.executable, "-c", "from planner.cli import main; main()", *arguments]
    done = subprocess.run(
        call,
        cwd=checkout,
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "100"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_python_works(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout)
    names: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
        for line in block.splitlines():
            match = re.match(r"(result\.headline\S+)\s+# (\d+)$", line)
            if match:
                assert eval(match[1], names) == int(match[2])
    assert names["result"].headline["stable"] is True  # type: ignore[attr-defined]


def test_set_up_lines_name_what_exists() -> None:
    first, tests, *_ = blocks("sh")
    assert "planner run scenarios/quickstart.yaml" in first
    assert (ROOT / "scenarios/quickstart.yaml").is_file()
    assert "-m pytest" in tests


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", TEXT))))
def test_link_leads_somewhere(target: str) -> None:
    assert (ROOT / target).exists(), target


def test_headline_excerpt_is_what_the_command_prints(checkout: Path) -> None:
    call = [
        sys.executable,
        "-c",
        "from planner.cli import main; main()",
        "run",
        "scenarios/quickstart.yaml",
        "--no-report",
    ]
    done = subprocess.run(call, cwd=checkout, capture_output=True, text=True, check=True)
    printed = {line.rstrip() for line in done.stdout.splitlines()}
    excerpt = next(block for block in blocks("text") if "accelerators at peak" in block)
    missing = [
        line for line in excerpt.splitlines() if line.strip() and line.rstrip() not in printed
    ]
    assert missing == []


def test_a_worse_forecast_fails_as_the_readme_shows(checkout: Path) -> None:
    """The first scenario, made worse on purpose, fails the comparison that CI runs."""
    path = checkout / "scenarios" / "quickstart.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("nodes: 10\n", "nodes: 12\n"), encoding="utf-8")
    arguments = ["regress", "scenarios/quickstart.yaml"]
    call = [sys.executable, "-c", "from planner.cli import main; main()", *arguments]
    done = subprocess.run(call, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    excerpt = next(block for block in blocks("text") if block.startswith("! "))
    assert set(excerpt.splitlines()) <= set(done.stdout.splitlines())
