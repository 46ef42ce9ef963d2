from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType

import pytest
import typer
from typer.testing import CliRunner

from planner import cli
from planner.errors import CatalogError, Fault, ScenarioError

RunPlanner = Callable[..., "subprocess.CompletedProcess[str]"]
runner = CliRunner()


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Return `fail(error)`, after which `planner check` raises it."""

    def fail(error: BaseException) -> None:
        module = ModuleType("failing_command")

        def check() -> None:
            raise error

        module.__dict__["check"] = check
        monkeypatch.setitem(sys.modules, "failing_command", module)
        monkeypatch.setitem(cli.COMMANDS, "check", ("failing_command:check", "Fails."))

    return fail


def test_help_lists_every_command_and_imports_none(run_planner: RunPlanner) -> None:
    done = run_planner("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in cli.COMMANDS)
    code = (
        "import sys; from planner.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print([m for m in sorted(sys.modules) if m.startswith('planner.cli.') or m in"
        " ('numba', 'numpy', 'pandas', 'scipy', 'pyarrow', 'plotly', 'simpy', 'pydantic')])"
    )
    listed = subprocess.run(
        [sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True
    )
    assert listed.stdout.splitlines()[-1] == "[]"


def test_no_arguments_show_the_help(run_planner: RunPlanner) -> None:
    assert "COMMAND [ARGS]" in run_planner().stdout


def test_version(run_planner: RunPlanner) -> None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        expected = f"planner {version('planner')}\n"
    except PackageNotFoundError:
        pytest.skip("planner is not installed, only on the path")
    assert run_planner("--version").stdout == expected


def test_an_unknown_command_suggests_a_known_one(run_planner: RunPlanner) -> None:
    done = run_planner("chekc")
    assert done.returncode == 2
    assert "No such command 'chekc'" in done.stderr
    assert "check" in done.stderr


def test_an_unknown_option_is_a_usage_error(run_planner: RunPlanner) -> None:
    done = run_planner("schema", "--no-such")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["check", "schema", "catalog"])
def test_commands_load(name: str) -> None:
    assert cli.load_command(name).name == name
    done = runner.invoke(cli.app, [name, "--help"])
    assert done.exit_code == 0
    assert "--install-completion" not in done.stdout


def test_a_planner_error_is_a_message_and_exit_code_2(
    failing: Callable[[BaseException], None],
) -> None:
    failing(CatalogError("unknown chip 'h10'"))
    done = runner.invoke(cli.app, ["check"])
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", "error: unknown chip 'h10'\n")


def test_faults_are_counted(failing: Callable[[BaseException], None]) -> None:
    failing(ScenarioError([Fault("f", 1, 1, "a", "x"), Fault("f", 2, 1, "b", "y")]))
    done = runner.invoke(cli.app, ["check"])
    assert done.stderr == "f:1:1: a: x\nf:2:1: b: y\n2 faults\n"


@pytest.mark.parametrize("arguments", [["--debug", "check"], ["check", "--debug"]])
def test_debug_anywhere_shows_the_traceback(
    failing: Callable[[BaseException], None], arguments: list[str]
) -> None:
    failing(CatalogError("unknown chip"))
    done = runner.invoke(cli.app, arguments)
    assert done.exit_code == 2
    assert "Traceback (most recent call last)" in done.stderr
    assert done.stderr.endswith("error: unknown chip\n")


def test_debug_after_two_dashes_is_a_value() -> None:
    done = runner.invoke(cli.app, ["check", "--", "--debug"])
    assert done.stderr.startswith("--debug: no such file")


def test_an_error_of_the_system_is_a_message(failing: Callable[[BaseException], None]) -> None:
    failing(PermissionError(13, "Permission denied", "out"))
    done = runner.invoke(cli.app, ["check"])
    assert (done.exit_code, done.stderr) == (2, "error: out: Permission denied\n")


def test_too_little_memory_is_a_message(failing: Callable[[BaseException], None]) -> None:
    failing(MemoryError())
    done = runner.invoke(cli.app, ["check"])
    assert done.exit_code == 2
    assert done.stderr.startswith("error: out of memory; ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" in runner.invoke(cli.app, ["check", "--debug"]).stderr


def test_an_interrupt_is_a_message_and_exit_code_130(
    failing: Callable[[BaseException], None],
) -> None:
    failing(KeyboardInterrupt())
    done = runner.invoke(cli.app, ["check"])
    assert (done.exit_code, done.stderr) == (130, "interrupted; no half-written file is left\n")


def test_a_closed_pipe_is_no_failed_gate(failing: Callable[[BaseException], None]) -> None:
    failing(BrokenPipeError(32, "Broken pipe"))
    done = runner.invoke(cli.app, ["check"])
    assert (done.exit_code, done.stderr) == (128 + signal.SIGPIPE, "")


def test_a_mistake_of_ours_keeps_its_traceback(failing: Callable[[BaseException], None]) -> None:
    failing(ZeroDivisionError())
    assert isinstance(runner.invoke(cli.app, ["check"]).exception, ZeroDivisionError)


def test_exit_codes_of_commands_pass_through(failing: Callable[[BaseException], None]) -> None:
    failing(typer.Exit(7))
    assert runner.invoke(cli.app, ["check"]).exit_code == 7


def test_a_crash_is_no_verdict(
    failing: Callable[[BaseException], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing(ZeroDivisionError("in the middle"))
    monkeypatch.setattr(sys, "argv", ["planner", "check"])
    monkeypatch.setattr(cli.signal, "signal", lambda number, handler: None)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 70
    shown = capsys.readouterr().err
    assert "ZeroDivisionError: in the middle" in shown
    assert shown.endswith("error: a fault of planner, not of your input; please report it\n")
