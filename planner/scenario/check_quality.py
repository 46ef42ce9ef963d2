"""Whether the formats of a pool keep the quality that it promises, by published evaluations."""

from __future__ import annotations

import math
from collections.abc import Iterator

from planner.catalog import Model
from planner.curves.quality import WEIGHT_DTYPES, QualityTable, Retention
from planner.scenario.nodes import Location
from planner.scenario.schema.pools import Pool

Finding = tuple[Location, str]

CACHE_DTYPES = ("bf16", "fp8", "int8", "fp4", "int4")
_ROUNDING = 1e-12


def check_quality(pool: Pool, model: Model) -> Iterator[Finding]:
    """Yield (location inside the pool, message) for formats that fall below `minimum_quality`.

    The location is the format at fault, or `minimum_quality` where weights and cache each keep it
    and only both together do not.
    """
    floor = pool.minimum_quality
    if floor is None:
        return
    judged = _Judged(pool, model, QualityTable.load(), floor)
    weights, cache = judged.weights(pool.weight_dtype), judged.cache(pool.kv_dtype)
    faults = 0
    for field, dtype, noun, found, passing in (
        ("weight_dtype", pool.weight_dtype, "weights", weights, judged.passing_weights),
        ("kv_dtype", pool.kv_dtype, "KV cache", cache, judged.passing_caches),
    ):
        if not judged.keeps(found):
            faults += 1
            subject = f"{model.name} with {dtype} {noun}"
            yield (field,), _message(subject, found, floor, f"passing are {', '.join(passing())}")
    if faults or weights is None or cache is None:
        return
    both = judged.both(pool.weight_dtype, pool.kv_dtype)
    if not judged.keeps(both):
        subject = f"{model.name} with {pool.weight_dtype} weights and {pool.kv_dtype} KV cache"
        yield ("minimum_quality",), _message(subject, both, floor, _together(pool, judged))


class _Judged:
    """The published evaluations of one model against a floor."""

    def __init__(self, pool: Pool, model: Model, table: QualityTable, floor: float) -> None:
        self.pool, self.model, self.table, self.floor = pool, model, table, floor

    def keeps(self, found: Retention | None) -> bool:
        return found is not None and found.score >= self.floor - _ROUNDING

    def weights(self, dtype: str) -> Retention | None:
        return self.table.weights(
            self.model.name,
            dtype,
            activation_dtype=self.pool.activation_dtype,
            native_dtype=self.model.weight_dtype,
        )

    def cache(self, dtype: str) -> Retention | None:
        return self.table.cache(self.model.name, dtype)

    def both(self, weight: str, cache: str) -> Retention | None:
        return self.table.retention(
            self.model.name,
            weight,
            cache,
            activation_dtype=self.pool.activation_dtype,
            native_dtype=self.model.weight_dtype,
        )

    def passing_weights(self) -> list[str]:
        passing = [dtype for dtype in WEIGHT_DTYPES[1:] if self.keeps(self.weights(dtype))]
        return [dtype for dtype in passing if dtype != "fp16"]  # bf16 stands for both

    def passing_caches(self) -> list[str]:
        return [dtype for dtype in CACHE_DTYPES if self.keeps(self.cache(dtype))]


def _together(pool: Pool, judged: _Judged) -> str:
    """Return which format to widen where only the two together fall below the floor."""
    weights = [d for d in judged.passing_weights() if judged.keeps(judged.both(d, pool.kv_dtype))]
    caches = [d for d in judged.passing_caches() if judged.keeps(judged.both(pool.weight_dtype, d))]
    ways = [
        f"{field}: {' or '.join(dtypes)}"
        for field, dtypes in (("weight_dtype", weights), ("kv_dtype", caches))
        if dtypes
    ]
    return f"passing are {', or '.join(ways)}"


def _message(subject: str, found: Retention | None, floor: float, remedy: str) -> str:
    wanted = f"{_percent(floor)} is asked for by minimum_quality"
    if found is None:
        return f"no evaluation of {subject} is published, and {wanted}; {remedy}"
    return f"{subject} keeps {found.describe()}, and {wanted}; {remedy}"


def _percent(share: float) -> str:
    """Return a share in percent, with as many digits as it was written with."""
    digits = next((n for n in range(1, 12) if math.isclose(round(100 * share, n), 100 * share)), 12)
    return f"{round(100 * share, digits):g}%"
