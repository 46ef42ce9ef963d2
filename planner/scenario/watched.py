"""The metrics that a baseline keeps: names, units, and which way is better.

A name is that of a number of the whole (`cost_per_hour_usd`), of a pool (`pools.NAME.…`) or of a
class (`classes.NAME.…`). Where a table of results has the number, name and unit are its column's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Final, Literal, NamedTuple

from planner.errors import shown
from planner.units import parse_quantity

Better = Literal["lower", "higher", "neither"]
SCOPES: Final = ("pools", "classes")


class Watched(NamedTuple):
    """One metric."""

    name: str
    unit: str
    better: Better
    title: str
    """In words, to begin a sentence with."""


_NODES: Final = Watched("nodes_at_peak", "nodes", "lower", "nodes at peak")
_ENERGY: Final = Watched("energy_per_request_wh", "Wh", "lower", "energy per request")
_SERVICE: Final = (
    Watched("slo_attainment_rate", "1", "higher", "SLO attainment"),
    Watched("goodput_rps", "1/s", "higher", "goodput"),
    Watched("served_rate", "1", "higher", "share of requests served"),
    Watched("rate_limited_rate", "1", "lower", "share of requests refused by rate limits"),
    Watched("loss_rate", "1", "lower", "share of other requests lost"),
)

WHOLE: Final = (
    Watched("accelerators_at_peak", "devices", "lower", "accelerators at peak"),
    _NODES,
    Watched("cost_per_hour_usd", "USD/h", "lower", "cost per hour"),
    Watched("cost_per_million_output_tokens_usd", "USD/Mtok", "lower", "cost per 1M output tokens"),
    Watched("gross_margin_rate", "1", "higher", "gross margin"),
    Watched("revenue_per_hour_usd", "USD/h", "higher", "revenue per hour"),
    Watched("arrival_rps", "1/s", "neither", "requests per second"),
    Watched("promises_broken", "promises", "lower", "promises broken"),
    *_SERVICE,
    _ENERGY,
)
BY_POOL: Final = (_NODES,)
BY_CLASS: Final = (
    *(
        Watched(f"{metric}_p{p}_s", "s", "lower", f"p{p} {metric.upper()}")
        for metric in ("ttft", "tpot", "e2e")
        for p in (50, 99)
    ),
    *_SERVICE,
    _ENERGY,
)
MONEY: Final = (
    "cost_per_hour_usd", "cost_per_million_output_tokens_usd", "gross_margin_rate",
    "revenue_per_hour_usd",
)  # fmt: skip
"""What prices change, with the same behaviour."""
_DIMENSIONS: Final = {
    "s": "duration", "1": "fraction", "USD/h": "money_per_hour", "USD/Mtok": "money_per_mtok",
    "1/s": "rate",
}  # fmt: skip


def watched(name: str) -> Watched | None:
    """Return what is known of a metric by its full name; None: there is no such one.

    >>> watched("classes.chat.v2.ttft_p99_s").unit
    's'
    """
    scope, _, rest = name.partition(".")
    own = rest.rpartition(".")[2]
    known = {"pools": BY_POOL, "classes": BY_CLASS}.get(scope, ()) if rest else WHOLE
    return next((each for each in known if each.name == (own or name)), None)


def metric_names(pools: Iterable[str], classes: Iterable[str]) -> list[str]:
    """Return the full names of the metrics of a scenario."""
    return [
        *(each.name for each in WHOLE),
        *(f"pools.{pool}.{each.name}" for pool in pools for each in BY_POOL),
        *(f"classes.{name}.{each.name}" for name in classes for each in BY_CLASS),
    ]


def matching(pattern: str, names: Iterable[str]) -> Iterator[str]:
    """Yield the names that a pattern of a gate means."""
    return (name for name in names if fnmatchcase(name, pattern))


def absolute_of(stated: str | float, unit: str) -> float:
    """Return an absolute tolerance in the unit of its metric.

    Raises:
        ValueError: it is negative, or of another unit.

    >>> absolute_of("20 ms", "s"), absolute_of(1, "nodes"), absolute_of("0.2 Wh", "Wh")
    (0.02, 1.0, 0.2)
    """
    if unit in _DIMENSIONS:
        value = parse_quantity(stated, _DIMENSIONS[unit])
    else:
        text = str(stated).removesuffix(unit).strip()
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{shown(stated)} is not in {unit}; write for example 1") from None
    if not 0 <= value < float("inf"):
        raise ValueError(f"{shown(stated)} is no tolerance; it must be finite and not negative")
    return value
