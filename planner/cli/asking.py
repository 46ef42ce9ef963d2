"""Questions on a terminal, and how what is answered or given by an option is read."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable
from typing import TypeVar

import typer

from planner.errors import PlannerError, did_you_mean, shown

_Found = TypeVar("_Found")


def is_terminal() -> bool:
    """Tell whether someone is there to answer."""
    return sys.stdin.isatty() and sys.stdout.isatty()


class Questions:
    """Asks for what was not given, or takes the default and remembers it.

    Args:
        asking: ask at all.
    """

    def __init__(self, *, asking: bool) -> None:
        self.asking = asking
        self.defaulted: list[str] = []
        """Options whose default was taken, as they would be written."""

    def __call__(
        self,
        question: str,
        option: str,
        given: str | None,
        default: str | None,
        read: Callable[[str], _Found],
    ) -> _Found:
        """Return what `read` makes of the option, the answer or the default.

        Without a default it asks until there is an answer; one who does not ask has to give one.

        Raises:
            PlannerError: the option makes no sense; an answer that makes none is asked for again.
        """
        if given is not None:
            return read_option(option, given, read)
        if not self.asking:
            assert default is not None
            self.defaulted.append(f"{option} {shlex.quote(default)}")
            return read(default)

        def checked(text: str) -> _Found:
            try:
                return read(text.strip())
            except PlannerError as error:
                raise typer.BadParameter(str(error)) from None

        found: _Found = typer.prompt(question, default=default, value_proc=checked, err=True)
        return found


def read_option(option: str, text: str, read: Callable[[str], _Found]) -> _Found:
    """Return what `read` makes of an option's value; an error names the option."""
    try:
        return read(text)
    except PlannerError as error:
        raise type(error)(f"{option}: {error}") from None


def quantity(dimension: str) -> Callable[[str], float]:
    """Return a reader of quantities above 0, as "500 ms"; of rates also without unit.

    >>> quantity("duration")("500 ms"), quantity("rate")("7.5")
    (0.5, 7.5)
    """

    def read(text: str) -> float:
        from planner.units import parse_quantity

        try:
            value = _bare(text) if dimension == "rate" else None
            value = parse_quantity(text, dimension) if value is None else value
        except ValueError as error:
            raise PlannerError(str(error)) from None
        if not value > 0:
            raise PlannerError(f"must be more than 0; found {shown(text)}")
        return value

    return read


def _bare(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def share(text: str) -> float:
    """Return a share, as 30% or 0.3.

    >>> share("30%")
    0.3
    """
    from planner.units import parse_quantity

    try:
        found = parse_quantity(text, "fraction")
    except ValueError as error:
        raise PlannerError(str(error)) from None
    if not 0 <= found <= 1:
        raise PlannerError(f"must be between 0% and 100%; found {shown(text)}")
    return found


def one_of(what: str, names: Iterable[str]) -> Callable[[str], str]:
    """Return a reader of names, which says what is near an unknown one.

    Args:
        what: they name, for the message.
        names: to choose from.
    """
    known = tuple(names)

    def read(text: str) -> str:
        if text not in known:
            advice = did_you_mean(text, known, list_up_to=len(known))
            raise PlannerError(f"unknown {what} {shown(text)}; {advice}")
        return text

    return read
