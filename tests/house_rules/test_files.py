"""Rules on the files that ship: nothing of a machine, every example valid."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from planner.cli import app
from planner.version import VERSION
from tests.house_rules.sources import ROOT, project_files

MACHINE_FOLDERS = ("home", "mnt", "opt", "root", "tmp", "Users", "work")
# NOTE: the look-behind lets relative paths and addresses pass, as in ../tmp, $x/tmp and https://a.b/home
MACHINE_PATH = re.compile(r"(?<![\w.~}*)\]-])/(?:" + "|".join(MACHINE_FOLDERS) + r")/[\w.]")
MODELINE = re.compile(r"^# yaml-language-server: \$schema=(?P<schema>\S+)$", re.MULTILINE)
SCHEMA = ROOT / "planner" / "scenario" / "planner-v1.schema.json"


def scenario_files() -> list[Path]:
    """List every scenario that the project ships."""
    return sorted((ROOT / "scenarios").rglob("*.y*ml"))


def test_no_path_of_a_machine() -> None:
    found = []
    for path in project_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # compressed
            continue
        found += [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
            for number, line in enumerate(text.splitlines(), start=1)
            if MACHINE_PATH.search(line)
        ]
    assert not found, "paths that exist on one machine only:\n" + "\n".join(found)


@pytest.mark.parametrize("folder", MACHINE_FOLDERS)
def test_paths_of_a_machine_are_found(folder: str) -> None:
    assert MACHINE_PATH.search(f'open("/{folder}/x")')
    assert not MACHINE_PATH.search(f"see https://example.org/{folder}/x and ../{folder}/x")


def test_files_are_small() -> None:
    big = [
        f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes"
        for path in project_files()
        if path.stat().st_size > 1_000_000
    ]
    assert not big, "a file over 1 MB belongs to a data package, not here:\n" + "\n".join(big)


def test_there_is_a_quickstart() -> None:
    assert ROOT / "scenarios" / "quickstart.yaml" in scenario_files()


@pytest.mark.parametrize("path", scenario_files(), ids=lambda path: path.name)
def test_scenario_passes_planner_check(path: Path) -> None:
    checked = CliRunner().invoke(app, ["check", str(path)])
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize("path", scenario_files(), ids=lambda path: path.name)
def test_scenario_names_its_schema_for_the_editor(path: Path) -> None:
    modeline = MODELINE.search(path.read_text(encoding="utf-8"))
    assert modeline, f"{path.name} needs a line `# yaml-language-server: $schema=…`"
    named = (path.parent / modeline["schema"]).resolve()
    assert named == SCHEMA
    assert named.exists(), "run `planner schema` and commit its output"


def test_the_licence_is_the_declared_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license"] == "Apache-2.0"
    words = (ROOT / "LICENSE").read_text(encoding="utf-8").split()
    assert words[:4] == ["Apache", "License", "Version", "2.0,"]


def test_the_changelog_has_a_section_for_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(VERSION)}\b", changelog, re.MULTILINE)
