"""A validation as text: errors by set and group, open loops, reasons, targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from planner.cli.tables import open_console, plain_table, print_table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from planner.validation.record import Target, Validation
    from planner.validation.score import Score

WIDTH = 200
"""Columns of the output where it is piped."""
_MOST_REASONS = 6


def print_validation(found: Validation) -> None:
    """Print every table of a validation."""
    from planner.validation.score import headline

    console = open_console(WIDTH)
    echo = typer.echo
    echo(f"Replays of {found.source}: {len(found.scores):,} points\n")
    echo("Each error: bias (signed median) | absolute median / mean / p90\n")
    print_table(console, _sets_table(found))
    _print_bases(found)
    echo(f"\nBy {' × '.join(found.by)}, without the points set aside above: bias | median")
    print_table(console, _groups_table(headline(found.scores), found.by))
    _print_percentiles(console, found)
    if found.held is not None:
        _print_held(console, found)
    _print_open_loops(found)
    _print_reasons(found)
    echo("\nAccuracy to reach (median absolute error, except as stated)")
    print_table(console, _targets_table(found.targets))


def _sets_table(found: Validation) -> Table:
    from planner.validation.score import HEADLINE

    table = plain_table(["set", "points", "TTFT mean", "TPOT mean", "throughput"])
    for name, aside, scores in found.lines():
        label = f"{name}: {aside}" if aside else name
        table.add_row(label, f"{len(scores):,}", *(_full(scores, metric) for metric in HEADLINE))
    return table


def _groups_table(scores: Sequence[Score], by: Sequence[str]) -> Table:
    from planner.validation.score import HEADLINE, grouped

    table = plain_table([*by, "points", "TTFT mean", "TPOT mean", "throughput"], labels=len(by))
    for values, members in grouped(scores, by).items():
        cells = (_short(members, metric) for metric in HEADLINE)
        table.add_row(*values, f"{len(members):,}", *cells)
    return table


def _print_percentiles(console: Console, found: Validation) -> None:
    from planner.validation.score import HEADLINE
    from planner.validation.wording import words

    more = [name for name in found.measured_metrics() if name not in HEADLINE]
    rows = [
        (name, scores)
        for name, aside, scores in found.lines()
        if not aside and any(metric in score.pairs for score in scores for metric in more)
    ]
    if not rows:
        return
    typer.echo("\nOther metrics: bias | median")
    table = plain_table(["metric", *(name for name, _ in rows)])
    for metric in more:
        table.add_row(words(metric), *(_short(scores, metric) for _, scores in rows))
    print_table(console, table)


def _print_held(console: Console, found: Validation) -> None:
    from planner.validation.score import headline

    held = found.held
    assert held is not None
    for title, scores in (
        ("Group unseen: overheads fitted to other groups of the engine", held.unseen),
        ("Calibrated on a quarter of the group, scored on the rest", held.calibrated),
        (
            "Static batches on other vendors' chips, calibrated on each model in turn",
            held.one_model,
        ),
    ):
        if not scores:
            continue
        typer.echo(f"\n{title}: bias | median")
        used = headline(scores)
        table = _groups_table(used, ("set",))
        print_table(console, table)
        typer.echo("")
        print_table(console, _groups_table(used, found.by))
    for note in held.notes:
        typer.echo(f"  {note}")


def _print_bases(found: Validation) -> None:
    from planner.validation.score import BASES, headline

    used = headline(found.scores)
    counts = [(basis, sum(score.basis == basis for score in used)) for basis in BASES]
    text = ", ".join(f"{basis} {count:,}" for basis, count in counts if count)
    if text:
        typer.echo(f"throughput: {text}")
    if any(score.basis == BASES[2] for score in used):
        typer.echo(
            "implied: concurrency × output / (TTFT + (output - 1) × TPOT), measured and replayed "
            "alike"
        )
    if short := sum(not score.complete for score in found.scores):
        typer.echo(f"{short:,} replays could not serve every request")


def _print_open_loops(found: Validation) -> None:
    from planner.results.formatting import percent

    if found.regimes:
        over = [each for each in found.regimes if each.overloaded]
        kept = [each for each in found.regimes if not each.overloaded]
        typer.echo("\nOpen loops: is the regime called right?")
        for text, rows in (("overloaded as measured", over), ("kept up as measured", kept)):
            right = sum(each.right for each in rows)
            typer.echo(f"  {text}: {right:,} of {len(rows):,} right")
        judged = [each for each in found.regimes if each.measured_missed is not None]
        same = sum(each.measured_missed == each.predicted_missed for each in judged)
        typer.echo(f"  objectives kept or missed as measured: {same:,} of {len(judged):,}")
    if found.capacities:
        from planner.validation.score import statistics

        errors = statistics(each.error for each in found.capacities)
        assert errors is not None
        typer.echo(
            f"  most requests/s within the objectives against the rate submitted: bias "
            f"{percent(errors.bias)}, median {percent(errors.median)} of {errors.points:,} runs"
        )


def _print_reasons(found: Validation) -> None:
    for title, reasons in (("Not replayed", found.unusable), ("Not read", found.skipped)):
        if not reasons:
            continue
        typer.echo(f"\n{title}: {sum(reasons.values()):,} rows")
        ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        for reason, rows in ordered[:_MOST_REASONS]:
            typer.echo(f"  {rows:>6,}  {reason}")
        if len(ordered) > _MOST_REASONS:
            typer.echo(f"  and {len(ordered) - _MOST_REASONS} more reasons; --json lists them")


def _targets_table(rows: Sequence[Target]) -> Table:
    from planner.validation.wording import error_text

    table = plain_table(["on", "measure", "reach", "found", "points", "verdict"], labels=2)
    for row in rows:
        reach = f"≤ {row.reach:.0%}" if row.reach else "none"
        table.add_row(
            row.on, row.measure, reach, error_text(row.found), f"{row.points:,}", row.verdict
        )
    return table


def _full(scores: Sequence[Score], metric: str) -> str:
    from planner.validation.score import errors_of
    from planner.validation.wording import error_text, signed

    found = errors_of(scores, metric)
    if found is None:
        return error_text(None)
    sizes = " / ".join(error_text(value) for value in (found.median, found.mean, found.p90))
    return f"{signed(found.bias)} | {sizes}"


def _short(scores: Sequence[Score], metric: str) -> str:
    from planner.validation.score import errors_of
    from planner.validation.wording import error_text, signed

    found = errors_of(scores, metric)
    if found is None:
        return error_text(None)
    return f"{signed(found.bias)} | {error_text(found.median)}"
