"""Every `--help` teaches by example, and every example is a line that the command takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from planner import cli
from tests.conftest import ROOT

HEADING = "For example:\n"
COLUMNS = 78
"""What a terminal of 80 columns shows without folding it."""


def commands() -> dict[str, Any]:
    """Return every command and group, by the words that call it."""
    found: dict[str, Any] = {"": typer.main.get_command(cli.app)}
    for name in cli.COMMANDS:
        command = cli.load_command(name)
        found[name] = command
        for inner, part in getattr(command, "commands", {}).items():
            found[f"{name} {inner}"] = part
    return found


COMMANDS = commands()


def examples(text: str) -> Iterator[str]:
    """Yield the lines of a help's example block as the shell reads them."""
    _, _, block = text.partition(HEADING)
    for paragraph in re.split(r"\n\s*\n", block.strip()):
        yield re.sub(r"\\\n\s*", "", paragraph.strip())


EXAMPLES = [(words, line) for words, command in COMMANDS.items() for line in examples(command.help)]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words or "planner")
def test_help_has_an_example_of_its_own(words: str) -> None:
    text = COMMANDS[words].help
    assert text.count(HEADING) == 1
    assert any(line.startswith(f"planner {words}".rstrip()) for line in examples(text))
    block = text.partition(HEADING)[2].splitlines()
    assert all(not line or line.startswith("    ") for line in block)
    folded = [line for line in block if len(line) > COLUMNS]
    assert not folded, folded


@pytest.mark.parametrize(("words", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_example_is_understood(words: str, line: str) -> None:
    program, *arguments = shlex.split(line)
    assert program == "planner"
    context = COMMANDS[""].make_context("planner", arguments)
    command, rest = COMMANDS[""], list(arguments)
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, rest)
    command.make_context(name, rest)  # raises what the user would see as a usage error
    for argument in rest:
        if argument.startswith(("scenarios/", "traces/", "planner/")):
            assert (ROOT / argument.partition("@")[0]).is_file(), argument


@pytest.mark.parametrize("words", ["", "run", "trace", "trace synth"])
def test_an_example_is_shown_as_it_is_typed(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = CliRunner().invoke(cli.app, [*words.split(), "--help"], prog_name="planner")
    shown = [line.removeprefix(" ").rstrip() for line in done.stdout.splitlines()]
    for line in COMMANDS[words].help.partition(HEADING)[2].splitlines():
        assert line in shown


def test_the_readme_names_every_command() -> None:
    text = Path(ROOT / "README.md").read_text(encoding="utf-8")
    missing = [name for name in cli.COMMANDS if not re.search(rf"`?planner {name}\b", text)]
    assert not missing
