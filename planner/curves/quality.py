"""What quantisation costs in quality, from published evaluations.

Each shipped row is one benchmark score of a quantised variant beside that of the same model as it
was published (16 bits; FP8 for DeepSeek-R1), from the same source and test set-up. *Retention* is
the ratio of the two: 0.98 means that 98% of the score is left. It is averaged over benchmarks, each
with the same weight. A single benchmark is noisy: the 164 problems of HumanEval alone move a ratio
by several percent either way, so the spread is given too, and small differences mean little.

Plain Python, as checking a scenario needs it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from planner.curves.tables import family_of, plain_model, read_table
from planner.errors import CatalogError, did_you_mean, shown

WEIGHT_DTYPES = ("fp32", "bf16", "fp16", "fp8", "int8", "fp4", "int4")
"""As `planner.curves.layout` has them, widest first."""
SIXTEEN_BITS = ("fp32", "bf16", "fp16")
_BITS = {"fp32": 32, "bf16": 16, "fp16": 16, "fp8": 8, "int8": 8, "fp4": 4, "int4": 4}
_TABLE = "quality.csv"


@dataclass(frozen=True)
class Retention:
    """Share of the unquantised model's scores that is left, with what it stands on."""

    score: float
    """In (0, 1]; an average above 1 is noise and counts as 1."""
    evaluations: int
    """Benchmark scores averaged; 0 where nothing is quantised."""
    spread: float
    """Standard deviation over them, dimensionless; 0 for fewer than two."""
    standard_error: float
    """Of the average: spread / √evaluations."""
    lowest: float
    """The worst of them."""
    matched: str
    """native (as published), model, family, or format (all models in this format)."""
    tier: str
    """measured for the model itself, estimated for relatives; official where nothing changes."""
    sources: tuple[str, ...]
    """Citations."""

    def describe(self) -> str:
        """Return the figure with what it stands on, for messages and reports."""
        if not self.evaluations:
            return "100% (as published)"
        per = {"model": "of the model itself", "family": "of its family"}
        whose = per.get(self.matched, "of other models in that format")
        spread = f" ± {100 * self.spread:.1f}%" if self.spread else ""
        return (
            f"{100 * self.score:.1f}%{spread} over {_counted(self.evaluations, 'evaluation')} "
            f"{whose} from {_counted(len(self.sources), 'source')}"
        )


@dataclass(frozen=True)
class QualityTable:
    """The published evaluations, read once."""

    rows: tuple[Mapping[str, str], ...]

    @classmethod
    def load(cls) -> QualityTable:
        """Read the shipped table."""
        return cls(tuple(read_table(_TABLE)))

    def retention(
        self,
        model: str,
        weight_dtype: str = "bf16",
        kv_dtype: str = "bf16",
        *,
        activation_dtype: str | None = None,
        native_dtype: str = "bf16",
    ) -> Retention | None:
        """Return what is left of the scores; arguments as for `quality_retention`.

        Returns:
            None where nothing is published for one of the formats.

        """
        weights = self.weights(
            model, weight_dtype, activation_dtype=activation_dtype, native_dtype=native_dtype
        )
        cache = self.cache(model, kv_dtype)
        return None if weights is None or cache is None else _product(weights, cache)

    def weights(
        self,
        model: str,
        dtype: str,
        *,
        activation_dtype: str | None = None,
        native_dtype: str = "bf16",
    ) -> Retention | None:
        """Return what is left by the format of the weights alone; None if nothing is published."""
        for kind, name in (("weight", dtype), ("native", native_dtype)):
            _known(f"{kind} dtype", name)
        if dtype in SIXTEEN_BITS or dtype == native_dtype or _BITS[dtype] > _BITS[native_dtype]:
            return NOTHING_LOST
        if dtype == "int4" and activation_dtype == "fp8":
            mixed = self._lookup("weights", "int4_fp8", model)
            if mixed is not None:
                return mixed
        return self._lookup("weights", dtype, model)

    def cache(self, model: str, dtype: str) -> Retention | None:
        """Return what is left by the format of the KV cache alone; None if none is published."""
        _known("KV dtype", dtype)
        return NOTHING_LOST if dtype in SIXTEEN_BITS else self._lookup("kv", dtype, model)

    def _lookup(self, kind: str, precision: str, model: str) -> Retention | None:
        """Return the average over the model's rows, else its family's, else everyone's."""
        rows = [row for row in self.rows if (row["kind"], row["precision"]) == (kind, precision)]
        scopes = {
            "model": [row for row in rows if row["model"] == plain_model(model)],
            "family": [row for row in rows if row["family"] == family_of(model)],
            "format": rows,
        }
        return next((_average(found, scope) for scope, found in scopes.items() if found), None)


NOTHING_LOST = Retention(1.0, 0, 0.0, 0.0, 1.0, "native", "official", ())
"""Of a model in the format in which it was published, or a wider one."""


def quality_retention(
    model: str,
    weight_dtype: str = "bf16",
    kv_dtype: str = "bf16",
    *,
    activation_dtype: str | None = None,
    native_dtype: str = "bf16",
) -> Retention:
    """Return the share of the published model's scores that is left after quantisation.

    Evaluations of the model itself are taken where there are any, else those of its family, else
    those of all models in that format. Weights and cache are evaluated apart; the result is the
    product of the two, as if their losses were independent.

    Args:
        model: in the catalogue's or the publisher's spelling.
        weight_dtype: fp32, bf16, fp16, fp8, int8, fp4 or int4.
        kv_dtype: format of the KV cache, the same names.
        activation_dtype: format of the matrix arithmetic; fp8 with int4 weights has evaluations
            of its own.
        native_dtype: format in which the model was published; nothing is lost in it.

    Raises:
        CatalogError: unknown format, or one for which nothing is published.

    """
    found = QualityTable.load().retention(
        model,
        weight_dtype,
        kv_dtype,
        activation_dtype=activation_dtype,
        native_dtype=native_dtype,
    )
    if found is None:
        raise CatalogError(
            f"no evaluation is published for {weight_dtype} weights with a {kv_dtype} cache; "
            "choose formats of 8 bits, or int4"
        )
    return found


def _average(rows: Sequence[Mapping[str, str]], matched: str) -> Retention:
    ratios = [float(row["retention"]) for row in rows]
    mean = statistics.fmean(ratios)
    spread = statistics.stdev(ratios) if len(ratios) > 1 else 0.0
    return Retention(
        score=min(mean, 1.0),
        evaluations=len(ratios),
        spread=spread,
        standard_error=spread / math.sqrt(len(ratios)),
        lowest=min(ratios),
        matched=matched,
        tier="measured" if matched == "model" else "estimated",
        sources=tuple(dict.fromkeys(row["source"] for row in rows)),
    )


def _product(weights: Retention, cache: Retention) -> Retention:
    """Return the retention of both, errors added in squares."""
    parts = [part for part in (weights, cache) if part.evaluations]
    if len(parts) < 2:
        return parts[0] if parts else weights
    score = weights.score * cache.score
    ranked = ("model", "family", "format")
    return Retention(
        score=score,
        evaluations=weights.evaluations + cache.evaluations,
        spread=score * math.hypot(*(part.spread / part.score for part in parts)),
        standard_error=score * math.hypot(*(part.standard_error / part.score for part in parts)),
        lowest=weights.lowest * cache.lowest,
        matched=max((part.matched for part in parts), key=ranked.index),
        tier=_weaker(part.tier for part in parts),
        sources=tuple(dict.fromkeys((*weights.sources, *cache.sources))),
    )


def _weaker(tiers: Iterable[str]) -> str:
    return "estimated" if "estimated" in tiers else "measured"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _known(kind: str, dtype: str) -> None:
    if dtype not in WEIGHT_DTYPES:
        advice = did_you_mean(dtype, WEIGHT_DTYPES)
        raise CatalogError(f"unknown {kind} {shown(dtype)}{advice and '; '}{advice}")
