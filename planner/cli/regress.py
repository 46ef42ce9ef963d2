"""`planner regress`: fail if a forecast got worse than its baseline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options import Baselines, Jobs, Json, Scenarios, iso_day

if TYPE_CHECKING:
    from planner.regress.cases import Case
    from planner.regress.runs import Outcome
    from planner.scenario.schema.regress import Regress


def regress(
    files: Scenarios,
    baselines: Baselines = None,
    gates: Annotated[
        Path | None,
        typer.Option("--gates", metavar="FILE", help="Gates for all; a scenario's own win."),
    ] = None,
    jobs: Jobs = None,
    json_output: Json = False,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE", help="Write the comment for a pull request."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="TEXT",
            help="What the baselines are, as 'the target branch', if the comment's reader does "
            "not update them.",
        ),
    ] = None,
    github: Annotated[
        bool, typer.Option("--github", help="Annotate the scenario's lines on GitHub.")
    ] = False,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML.")
    ] = None,
    today: Annotated[
        str | None,
        typer.Option(
            "--today", metavar="DAY", callback=iso_day, help="Day for acknowledged changes."
        ),
    ] = None,
) -> None:
    r"""Simulate scenarios and fail if one got worse than its baseline.

    A metric fails if it got worse by more than its gate, relative and
    absolute, and by more than seeds differ. Where seeds may hide it, the
    scenario is simulated with the baseline's other seeds too, and the
    differences by seed decide. Default gates: 5%, p99 latencies
    10%, nodes by whole ones, shares of requests one percentage point; others
    stand under `regress.gates` of a scenario or in --gates FILE. A change of
    prices is told apart and fails nothing. The baseline of scenarios/a/b.yaml
    is scenarios/baselines/a/b.json; see planner baseline update --help.
    Marks, as asv has them: + worse, - better, ~ noise, x not comparable, ! failed.
    Exit codes: 0 pass; 1 a gate failed; 2 bad input; 3 a baseline is missing
    or not comparable; 70 planner itself crashed.

    For example:

        planner regress scenarios

        planner regress scenarios --github \
          --markdown comment.md --junit regress.xml
    """
    import os
    from datetime import date

    from planner.catalog import load_catalog
    from planner.cli.outputs import check_outputs
    from planner.cli.progress import LateBar, announce_compilation
    from planner.regress.cases import find, open_cases, orphans, passed_over
    from planner.regress.runs import EXIT_CODES, worst
    from planner.regress.runs import regress as check

    found = find(files, baselines)
    cases = open_cases(found, load_catalog())
    read = [path for case in cases for path in (case.path, case.baseline)]
    read += [gates] if gates else []
    check_outputs([markdown, junit], force=True, inputs=read)
    rules = _gates(gates, cases)
    announce_compilation()
    with LateBar("simulating scenarios") as bar:
        outcomes = check(
            cases,
            gates=rules,
            today=today or date.today().isoformat(),
            jobs=jobs or os.cpu_count() or 1,
            progress=bar,
        )
    _show(outcomes, as_json=json_output, github=github)
    _write(outcomes, markdown, junit, against)
    for path in passed_over(files, found):
        typer.echo(f"note: {path} is not used from here; name its folder, or move it", err=True)
    for path in orphans(files, found, cases):
        typer.echo(f"note: {path} is the baseline of no scenario; delete it", err=True)
    raise typer.Exit(EXIT_CODES[worst(outcomes)])


def _gates(path: Path | None, cases: Sequence[Case]) -> Regress | None:
    from planner.regress.gates import read_gates
    from planner.scenario.watched import metric_names

    names = [
        name
        for scenario in (case.loaded.scenario for case in cases if case.loaded)
        for name in metric_names(
            [pool.name for pool in scenario.pools],
            [each.name for each in scenario.workload.classes],
        )
    ]
    return None if path is None else read_gates(path, list(dict.fromkeys(names)))


def _show(outcomes: Sequence[Outcome], *, as_json: bool, github: bool) -> None:
    if as_json:
        from planner.regress.content import to_json

        typer.echo(to_json(outcomes))
    else:
        from planner.regress.terminal import print_outcomes

        print_outcomes(outcomes)
    if github:
        from planner.regress.github import commands

        for line in commands(outcomes):
            typer.echo(line, err=as_json)  # GitHub reads both streams; JSON stays JSON


def _write(
    outcomes: Sequence[Outcome], markdown: Path | None, junit: Path | None, against: str | None
) -> None:
    from planner.files import write_whole

    if markdown is not None:
        from planner.regress.markdown import to_markdown

        write_whole(markdown, to_markdown(outcomes, against=against))
    if junit is not None:
        from planner.regress.junit import to_junit

        write_whole(junit, to_junit(outcomes))
