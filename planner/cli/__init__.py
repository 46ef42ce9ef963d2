"""The `planner` command. One file per subcommand, imported only when it is called.

`planner --help` lists the commands from the table below without importing any of them.
"""

from __future__ import annotations

import errno
import re
import signal
import sys
import traceback
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from planner.errors import PlannerError, ScenarioError

COMMANDS = {
    "init": ("planner.cli.init:init", "Write a scenario of your own, every line explained."),
    "run": ("planner.cli.run:run", "Simulate a scenario: latency, cost and margin of a fleet."),
    "size": ("planner.cli.size:size", "Find the fewest nodes that keep every promise."),
    "cost": ("planner.cli.cost:cost", "Cost, revenue and margin, also of a stored result."),
    "ablate": ("planner.cli.ablate:ablate", "Find out which serving technique is worth what."),
    "risk": ("planner.cli.risk:risk", "Intervals of the answer, and which input drives them."),
    "bridge": ("planner.cli.bridge:bridge", "Attribute a change of cost and margin to its causes."),
    "baseline": ("planner.cli.baseline:app", "Write what regress compares forecasts with."),
    "regress": (
        "planner.cli.regress:regress",
        "Fail if a forecast got worse than its baseline.",
    ),
    "diff": ("planner.cli.diff:diff", "Say how two forecasts differ."),
    "forecast": (
        "planner.cli.forecast:forecast",
        "Forecast accelerators, spend and margin by quarter.",
    ),
    "optimise": (
        "planner.cli.optimise:optimise",
        "Find the cheapest mix of nodes and terms for every hour.",
    ),
    "breakeven": (
        "planner.cli.breakeven:breakeven",
        "Find the volume from which an own chip is cheaper per token.",
    ),
    "report": (
        "planner.cli.report:report",
        "Put stored results and other answers on one HTML page.",
    ),
    "explain": ("planner.cli.explain:explain", "Show where the time of a pool's steps goes."),
    "check": ("planner.cli.check:check", "Check scenario files; every fault with its place."),
    "schema": ("planner.cli.schema:schema", "Print the JSON Schema of scenario files."),
    "trace": ("planner.cli.trace:app", "Import, describe and synthesise request traces."),
    "catalog": ("planner.cli.catalog:app", "Models, chips, nodes and prices, with their sources."),
    "microbench": (
        "planner.cli.microbench:microbench",
        "Measure this machine's kernels: the timings that fit reads.",
    ),
    "fit": ("planner.cli.fit:fit", "Fit curves to operator timings, with their errors."),
    "calibrate": (
        "planner.cli.calibrate:calibrate",
        "Fit an engine's overheads to the results of a serving benchmark.",
    ),
    "validate": (
        "planner.cli.validate:validate",
        "Replay published measurements and state the error.",
    ),
    "doctor": ("planner.cli.doctor:doctor", "Check that this machine is ready, with remedies."),
}
"""Name → (`module:attribute`, help). The attribute is a function, or a `typer.Typer` of several."""


INTERNAL_ERROR: Final = 70
"""Exit code of a crash, as sysexits.h has it: 0 to 3 are answers."""


class LazyGroup(TyperGroup):
    """A command group that imports a subcommand when it is called, and shows errors as messages."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, text) in COMMANDS.items():
            self.commands[name] = TyperCommand(name, help=text)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the name, the loaded command and its arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name in COMMANDS else command, rest

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Accept `--debug` anywhere: it is often added to the end of a line that just failed."""
        end = args.index("--") if "--" in args else len(args)
        options = [argument for argument in args[:end] if argument != "--debug"]
        debug = ["--debug"] if len(options) < end else []
        return super().parse_args(ctx, [*debug, *options, *args[end:]])

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an error of the input becomes a message and exit code 2."""
        try:
            return super().invoke(ctx)
        except PlannerError as error:
            message = str(error)
            if not isinstance(error, ScenarioError) and "\n" not in message:
                message = f"error: {message}"
            if isinstance(error, ScenarioError) and len(error.faults) > 1:
                message += f"\n{len(error.faults)} faults"
            if ctx.params.get("debug"):
                traceback.print_exc()
        except OSError as error:
            if error.errno is None:
                raise
            if error.errno == errno.EPIPE:  # 1, click's own, would read as a failed gate
                raise typer.Exit(128 + signal.SIGPIPE) from None
            message = f"error: {error.filename or 'input or output'}: {error.strerror}"
            if ctx.params.get("debug"):
                traceback.print_exc()
        except MemoryError:
            message = "error: out of memory; lower the rates, the duration or the number of nodes"
            if ctx.params.get("debug"):
                traceback.print_exc()
        except KeyboardInterrupt:
            typer.echo("interrupted; no half-written file is left", err=True)
            raise typer.Exit(128 + signal.SIGINT) from None
        typer.echo(message, err=True)
        raise typer.Exit(2)


def load_command(name: str) -> Any:
    """Import the subcommand `name` and return it as a command."""
    module_name, _, attribute = COMMANDS[name][0].partition(":")
    target = getattr(import_module(module_name), attribute)
    outer = typer.Typer(add_completion=False)
    if isinstance(target, typer.Typer):
        outer.add_typer(target, name=name)
        found: Any = typer.main.get_command(outer).commands[name]  # type: ignore[attr-defined]
    else:
        outer.command(name)(target)
        found = typer.main.get_command(outer)
    for command in (found, *getattr(found, "commands", {}).values()):
        command.help = flowing(command.help or "")
    return found


def flowing(text: str) -> str:
    r"""Return a help whose lines break where the terminal does, its examples left as they are.

    A line that ends a sentence ends the line.

    >>> flowing("Do.\n\nIt takes\nlong.\nExit codes: 0.\n\nFor example:\n\n    a")
    'Do.\n\nIt takes long.\nExit codes: 0.\n\nFor example:\n\n    a'
    """
    prose, heading, examples = text.partition("For example:")
    return re.sub(r"(?<=[^.\n])\n(?=[^\n])", " ", prose) + heading + examples


def _print_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"planner {version('planner')}")
        raise typer.Exit


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Plan LLM inference fleets: accelerators at peak, tail latency, cost and margin.

    Each command explains itself: planner COMMAND --help.

    For example:

        planner init chat.yaml --model llama-3.1-70b --requests-per-second 30

        planner run scenarios/quickstart.yaml

        planner size scenarios/quickstart.yaml
    """


def main() -> None:
    """Run the command line; the entry point of the `planner` script."""
    # An exception, unlike the default action, lets temporary files be removed.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        app(prog_name="planner")
    except Exception:
        traceback.print_exc()
        typer.echo("error: a fault of planner, not of your input; please report it", err=True)
        sys.exit(INTERNAL_ERROR)
