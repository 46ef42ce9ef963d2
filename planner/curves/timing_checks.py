"""What can be wrong with a table of timings, row by row.

A rejected row is no measurement, or cannot be told from a mistake; a flagged one stays, and whoever
reads the fit should know of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planner.curves.curve import WHOLE_STEPS
from planner.curves.forms.base import Array, Form
from planner.curves.timings import DTYPES, MOST_DEVICES, OPERATORS, Timings, is_device_count
from planner.errors import did_you_mean, shown

WIDE_SPREAD: Final = 0.20
"""Repeats of one shape that differ by more than this are flagged."""
_FALL: Final = 0.15
_NOT_WORK: Final = frozenset(
    {"devices", "nodes", "tensor_parallel", "expert_parallel", "experts", "window_tokens"}
)
"""Columns that may grow while the time falls."""
_NEIGHBOURS: Final = 8


@dataclass(frozen=True, order=True)
class Finding:
    """One thing found in the table."""

    file: str
    line: int
    """0: the table as a whole."""
    rejected: bool
    """False: flagged, the row is kept."""
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {'rejected' if self.rejected else 'flagged'}: {self.message}"


@dataclass(frozen=True)
class Checked:
    """The rows that are left, and what was found."""

    timings: Timings
    findings: tuple[Finding, ...]
    """In file order."""

    @property
    def rejected(self) -> tuple[Finding, ...]:
        """Findings that cost a row."""
        return tuple(finding for finding in self.findings if finding.rejected)

    @property
    def flagged(self) -> tuple[Finding, ...]:
        """Findings that left the row in."""
        return tuple(finding for finding in self.findings if not finding.rejected)


def check_timings(timings: Timings, *, form: Form | None = None) -> Checked:
    """Return the usable rows, one per shape, and a reason for everything rejected or flagged.

    Args:
        timings: as read.
        form: that will be fitted; its number of parameters says how few rows are too few.

    Rejected: an unknown operator or dtype; a time that is zero, negative or not finite; a shape
    column that is absent, zero or negative; a whole step that does not name its model, or whose
    tensor_parallel is no whole number; times about a thousand times those of their neighbours
    (mixed units); too few rows for the form. Flagged: repeats of a shape that differ by more than
    20% (the median is kept in any case); a time that falls by more than 15% where the work at least
    doubles.
    """
    findings: list[Finding] = []
    usable = np.ones(len(timings), dtype=np.bool_)
    for row, reason in _bad_rows(timings):
        if usable[row]:
            usable[row] = False
            findings.append(_finding(timings, row, reason, rejected=True))
    kept = timings.rows(usable)
    parts = []
    keys = kept.keys()
    for key in keys:
        part = _one_per_shape(kept.only(key), findings)
        part = _one_unit(part, findings)
        _flag_falls(part, findings)
        parts.append(part)
    result = Timings.joined(parts) if parts else kept
    if form is not None and len(result) < len(form.parameters) + 1:
        message = (
            f"{len(result)} usable timings are too few for the form {form.name}, which has "
            f"{len(form.parameters)} parameters; measure at least {2 * len(form.parameters)} shapes"
        )
        findings.append(Finding(timings.file, 0, True, message))
    return Checked(result, tuple(sorted(findings)))


def _finding(timings: Timings, row: int, message: str, *, rejected: bool) -> Finding:
    return Finding(timings.file_of(row), int(timings.lines[row]), rejected, message)


def _bad_rows(timings: Timings) -> Iterator[tuple[int, str]]:
    """Yield rows that are no measurement, with the reason."""
    for label, known in (("operator", tuple(OPERATORS)), ("dtype", DTYPES)):
        column = timings.labels[label]
        for name in sorted(set(np.unique(column).tolist()) - set(known)):
            advice = did_you_mean(name, known, list_up_to=20)
            reason = f"unknown {label} {shown(name)}" + (f"; {advice}" if advice else "")
            for row in np.flatnonzero(column == name):
                yield int(row), reason
    for row in np.flatnonzero(~np.isfinite(timings.seconds)):
        yield int(row), f"the time is {timings.seconds[row]}; it must be a positive number"
    for row in np.flatnonzero(timings.seconds <= 0):
        yield int(row), f"the time is {timings.seconds[row] * 1e6:g} µs; it must be positive"
    for operator in sorted(set(np.unique(timings.labels["operator"]).tolist()) & OPERATORS.keys()):
        yield from _bad_shapes(timings, operator)


def _bad_shapes(timings: Timings, operator: str) -> Iterator[tuple[int, str]]:
    rows = np.flatnonzero(timings.labels["operator"] == operator)
    columns = OPERATORS[operator]
    for name in columns.required + columns.optional:
        values = timings.shape.get(name, np.full(len(timings), np.nan))[rows]
        lowest = 0.0 if name in columns.may_be_zero else np.finfo(np.float64).tiny
        blank = np.isnan(values)
        wrong = ~blank & ~(np.isfinite(values) & (values >= lowest))
        if name in columns.required:
            for row in rows[blank]:
                yield int(row), f"{operator} needs the column {name}, which is blank"
        limit = "zero or more" if name in columns.may_be_zero else "positive"
        for row, value in zip(rows[wrong], values[wrong], strict=True):
            yield int(row), f"{name} is {value:g}; it must be {limit}"
    if operator in WHOLE_STEPS:
        yield from _bad_steps(timings, rows)


def _bad_steps(timings: Timings, rows: NDArray[np.int64]) -> Iterator[tuple[int, str]]:
    """Yield whole steps of no known model: steps of several would make one curve."""
    for row in rows[timings.labels["model"][rows] == ""]:
        yield int(row), "a whole step needs the column model, which is blank; name its model"
    split = timings.shape.get("tensor_parallel", np.full(len(timings), np.nan))[rows]
    wrong = ~is_device_count(split)
    for row, value in zip(rows[wrong], split[wrong], strict=True):
        message = f"tensor_parallel is {value:g}; it must be a whole number up to {MOST_DEVICES}"
        yield int(row), message


def _codes(timings: Timings, leave_out: str = "") -> NDArray[np.int64]:
    """Return one number per distinct shape, the column `leave_out` aside."""
    codes = np.zeros(len(timings), dtype=np.int64)
    labels = [timings.labels["version"], timings.labels["model"]]
    columns = [column for name, column in timings.shape.items() if name != leave_out]
    for column in [*labels, *(np.nan_to_num(column, nan=-1.0) for column in columns)]:
        values, at = np.unique(column, return_inverse=True)
        _, codes = np.unique(codes * len(values) + at, return_inverse=True)
    return codes


def _one_per_shape(timings: Timings, findings: list[Finding]) -> Timings:
    """Return the median of each shape's repeats; report how far apart they are."""
    codes = _codes(timings)
    order = np.lexsort((timings.lines, timings.origin, codes))
    groups = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    if len(groups) == len(timings):
        return timings
    seconds = timings.seconds.copy()
    spreads = []
    for group in groups:
        if len(group) == 1:
            continue
        times = timings.seconds[group]
        middle = float(np.median(times))
        seconds[group[0]] = middle
        spread = float(times.max() - times.min()) / middle
        spreads.append(spread)
        if spread > WIDE_SPREAD:
            message = (
                f"{len(group)} timings of one shape differ by {spread:.0%} "
                f"({timings.places(group)}); their median is used. Let the chip warm up, "
                "and repeat more often"
            )
            findings.append(_finding(timings, int(group[0]), message, rejected=False))
    message = (
        f"{len(spreads)} shapes were timed more than once; medians are used, and repeats differ by "
        f"{np.median(spreads):.1%} (median of the shapes)"
    )
    findings.append(Finding(timings.file, 0, False, message))
    first = np.sort(np.array([group[0] for group in groups]))
    return replace(timings, seconds=seconds).rows(first)


def _one_unit(timings: Timings, findings: list[Finding]) -> Timings:
    """Drop rows that are about a thousand times as long, or as short, as their neighbours.

    Rows are joined to their nearest neighbours in the logarithm of the shape wherever the times are
    of one order; what falls apart from the largest cluster by a factor near 1000 is in another
    unit. The measured factor between neighbouring shapes is below 10.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    rows = len(timings)
    varying = [
        np.log2(1.0 + column)
        for column in timings.shape.values()
        if not np.isnan(column).any() and column.min() < column.max()
    ]
    if rows < 4 or not varying:
        return timings
    logs = np.log10(timings.seconds)
    count = min(_NEIGHBOURS, rows - 1)
    _, near = cKDTree(np.stack(varying, axis=1)).query(np.stack(varying, axis=1), k=count + 1)
    one, other = np.repeat(np.arange(rows), count), near[:, 1:].ravel()
    apart = logs[one] - logs[other]
    same = np.abs(apart) < 1.5
    graph = coo_matrix((np.ones(int(same.sum())), (one[same], other[same])), shape=(rows, rows))
    _, cluster = connected_components(graph, directed=False)
    main = np.bincount(cluster).argmax()
    keep = np.ones(rows, dtype=np.bool_)
    for each in np.unique(cluster[cluster != main]):
        gaps = np.concatenate(
            [
                apart[(cluster[one] == each) & (cluster[other] == main)],
                -apart[(cluster[one] == main) & (cluster[other] == each)],
            ]
        )
        if not len(gaps) or not 2.3 < abs(gap := float(np.median(gaps))) < 3.7:
            continue
        direction = "longer" if gap > 0 else "shorter"
        unit = "ns" if gap > 0 else "ms"
        for row in np.flatnonzero(cluster == each):
            keep[row] = False
            message = (
                f"the time is about {10 ** abs(gap):.0f} times {direction} than those of the "
                f"nearest shapes; is it in {unit}? time_us is in µs"
            )
            findings.append(_finding(timings, int(row), message, rejected=True))
    return timings if keep.all() else timings.rows(keep)


def _flag_falls(timings: Timings, findings: list[Finding]) -> None:
    """Flag times that fall while one column at least doubles and the others stay."""
    for name, column in timings.shape.items():
        if name in _NOT_WORK or np.isnan(column).all():
            continue
        codes = _codes(timings, leave_out=name)
        order = np.lexsort((column, codes))
        for row, longest, half in _falls(codes[order], column[order], timings.seconds[order]):
            message = (
                f"{name} {column[order[row]]:g} takes {timings.seconds[order[row]] * 1e6:.3g} µs, "
                f"less than the {longest * 1e6:.3g} µs of {name} {half:g}, all else equal"
            )
            findings.append(_finding(timings, int(order[row]), message, rejected=False))


def _falls(
    codes: NDArray[np.int64], column: Array, seconds: Array
) -> Iterator[tuple[int, float, float]]:
    """Yield (row, the longest time at half the work or less, where that was), rows sorted."""
    behind, longest, where = 0, 0.0, 0.0
    for row in range(len(codes)):
        if row == 0 or codes[row] != codes[row - 1]:
            behind, longest = row, 0.0
        while behind < row and column[behind] <= column[row] / 2.0:
            if seconds[behind] > longest:
                longest, where = float(seconds[behind]), float(column[behind])
            behind += 1
        if seconds[row] < (1.0 - _FALL) * longest:
            yield row, longest, where
