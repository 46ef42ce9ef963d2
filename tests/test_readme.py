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

from docs import picture

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str, text: str = TEXT) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


COMMANDS = dict.fromkeys(
    line.removeprefix("$ ")
    for page in PAGES
    for block in blocks("console", page.read_text(encoding="utf-8"))
    for line in block.splitlines()
    if line.startswith("$ ")
)
LINKS = sorted(
    {
        (page.relative_to(ROOT).as_posix(), target)
        for page in PAGES
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
        if not target.startswith("http")
    }
)


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
    first, *_ = blocks("sh")
    assert len(first.splitlines()) == 2
    assert "planner run scenarios/quickstart.yaml" in first
    assert (ROOT / "scenarios/quickstart.yaml").is_file()
    assert any("-m pytest" in block for block in blocks("sh"))


@pytest.mark.parametrize(("page", "target"), LINKS)
def test_link_leads_somewhere(page: str, target: str) -> None:
    assert (ROOT / page).parent.joinpath(target).exists(), target


def test_link_inside_the_page_leads_to_a_heading() -> None:
    headings = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}
    assert not set(re.findall(r"\]\(#([^)]+)\)", TEXT)) - anchors


@pytest.fixture(scope="module")
def quickstart_output(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return what the README's first command prints."""
    checkout = tmp_path_factory.mktemp("quickstart")
    shutil.copytree(ROOT / "scenarios", checkout / "scenarios")
    call = [
        sys.executable,
        "-c",
        "from planner.cli import main; main()",
        "run",
        "scenarios/quickstart.yaml",
        "--no-report",
    ]
    done = subprocess.run(call, cwd=checkout, capture_output=True, text=True, check=True)
    return done.stdout


def test_headline_excerpt_is_what_the_command_prints(quickstart_output: str) -> None:
    printed = {line.rstrip() for line in quickstart_output.splitlines()}
    excerpt = next(block for block in blocks("text") if "accelerators at peak" in block)
    missing = [
        line for line in excerpt.splitlines() if line.strip() and line.rstrip() not in printed
    ]
    assert missing == []


def test_the_picture_shows_what_the_command_prints(quickstart_output: str) -> None:
    stored = re.sub(r"\x1b\[[\d;]*m", "", picture.TEXT.read_text(encoding="utf-8"))
    shown = [line.rstrip() for line in stored.splitlines()]
    assert len(shown) == picture.LINES
    assert shown == quickstart_output.splitlines()[: picture.LINES], "run python docs/picture.py"


def test_the_picture_is_drawn_from_the_stored_text() -> None:
    svg = picture.PICTURE.read_text(encoding="utf-8")
    assert svg == picture.drawn(picture.TEXT.read_text(encoding="utf-8"))
    assert len(svg) < 300_000
    assert "://" not in svg.replace("http://www.w3.org/2000/svg", "")  # it needs no network


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
