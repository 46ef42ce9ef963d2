"""Metrics, loads and errors as a person reads them."""

from __future__ import annotations

from typing import Final

from planner.measurements import Point, Poisson
from planner.results.formatting import percent
from planner.validation.score import THROUGHPUT

_HUGE: Final = 10.0
"""Relative errors above this are shown as a factor."""


def words(metric: str) -> str:
    """Return a metric as a person calls it.

    >>> words("ttft_p99_s"), words("output_tps"), words("throughput")
    ('TTFT p99', 'output tokens/s', 'throughput')
    """
    rates = {"output_tps": "output tokens/s", "total_tps": "all tokens/s"}
    rates |= {"request_rps": "requests/s", THROUGHPUT: THROUGHPUT}
    if metric in rates:
        return rates[metric]
    time, statistic, _ = metric.split("_")
    return f"{time.upper()} {statistic}"


def load_words(point: Point) -> str:
    """Return how a point was driven, in a few words."""
    protocol = point.protocol
    size = next(
        (
            getattr(protocol, name)
            for name in ("concurrency", "rate_rps", "batch", "requests")
            if hasattr(protocol, name)
        ),
        None,
    )
    kind = type(protocol).__name__
    names = {"ClosedLoop": "closed loop of", "Poisson": "Poisson,", "Flood": "flood of"}
    if size is None:
        return "recorded arrivals"
    unit = "/s" if isinstance(protocol, Poisson) else ""
    return f"{names.get(kind, 'static batch of')} {size:g}{unit}"


def error_text(value: float | None) -> str:
    """Return a relative error; far beyond 100% as a factor.

    >>> error_text(0.123), error_text(852.3), error_text(None)
    ('12.3%', '× 853', '–')
    """
    if value is not None and abs(value) > _HUGE:
        return f"× {1 + value:,.0f}"
    return percent(value)


def signed(value: float | None) -> str:
    """Return a signed relative error.

    >>> signed(0.123), signed(-0.05)
    ('+12.3%', '−5.0%')
    """
    text = error_text(value)
    return f"+{text}" if value is not None and 0 < value <= _HUGE else text
