"""What a table of timings comes to: the best rate of every operator, and its share of the peak."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from planner.catalog import Chip
from planner.curves.peaks import peaks_of
from planner.microbench.cases import Case
from planner.microbench.table import Table


@dataclass(frozen=True)
class Best:
    """The highest rate that one operator reached in one format."""

    operator: str
    dtype: str
    timings: int
    rate: str
    """With its unit."""
    of_peak: float | None
    """None where the peak is not known."""


def bests(table: Table, cases: Iterable[Case], chip: Chip | None) -> Iterator[Best]:
    """Yield one line per operator and format, in their order.

    A share above 1 means that operands came from the cache, or that the chip is another one.
    """
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        if table.has(case):
            groups.setdefault((case.operator, case.dtype), []).append(case)
    for (operator, dtype), found in sorted(groups.items()):
        by_flops = operator in ("gemm", "prefill_attention")
        best = max(_rate(table, case, by_flops) for case in found)
        yield Best(
            operator,
            dtype,
            len(found),
            rate_text(best, "FLOP/s" if by_flops else "B/s"),
            _share(best, operator, dtype, chip, by_flops),
        )


def rate_text(rate: float, unit: str) -> str:
    """Return a rate with the prefix that suits it.

    >>> rate_text(3.92e8, "B/s"), rate_text(7.98e14, "FLOP/s")
    ('392 MB/s', '798 TFLOP/s')
    """
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if rate >= 0.9995 * size:
            return f"{rate / size:,.4g} {prefix}{unit}"
    return f"{rate / 1e3:,.4g} k{unit}"


def _rate(table: Table, case: Case, by_flops: bool) -> float:
    seconds = float(table.rows[case.key]["time_us"]) * 1e-6
    work = case.flops if by_flops else case.moved_bytes
    if case.operator == "all_reduce":
        devices = case["devices"]  # what each device sends, in a ring
        work = 2.0 * (devices - 1) / devices * case["bytes"]
    return work / seconds


def _share(
    rate: float, operator: str, dtype: str, chip: Chip | None, by_flops: bool
) -> float | None:
    if chip is None:
        return None
    peaks = peaks_of(chip, dtype)
    peak = peaks.flops if by_flops else peaks.bandwidth
    if operator == "all_reduce":
        peak = peaks.link
    return rate / peak if peak > 0 else None
