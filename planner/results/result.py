"""The result of a run: what `planner.run` returns, and what is written to the output folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from planner.jsonable import json_text, plain
from planner.results import columns, formatting
from planner.results.frames import Frames
from planner.results.impact import Impact
from planner.results.notebook import Shown, Summary

if TYPE_CHECKING:
    from planner.economics import Statement

SCHEMA = "planner-result/v1"
PERCENTILES_OVER = (
    "served requests that arrived after the warm-up (itl: their token gaps; task_latency: "
    "sessions that began after it and finished); "
    "the fates table counts all others"
)

_SUMMARY = (
    "class",
    "arrived",
    "slo_attainment_rate",
    "loss_rate",
    "ttft_p50_s",
    "ttft_p99_s",
    "tpot_p50_s",
    "tpot_p99_s",
    "e2e_p99_s",
)
"""Columns of the table of classes that a notebook shows."""
_MONEY_NUMBERS = (
    "cost_per_hour_usd",
    "cost_per_million_output_tokens_usd",
    "gross_margin_rate",
    "gross_margin_definition",
)


@dataclass(frozen=True)
class Assumption:
    """One input that the numbers stand on, with where it comes from."""

    name: str
    """What it is, as in `hgx-h100 price, on demand`."""
    value: float | str
    unit: str
    source: str
    date: str
    """YYYY-MM-DD, YYYY-MM or YYYY; empty where there is none."""
    tier: str
    """official, measured, fitted, analyst, estimated, claimed, or scenario (the user's own)."""
    note: str = ""


@dataclass(frozen=True)
class Finance:
    """The money side of a result."""

    hours: float
    """Length of the time that all amounts are for."""
    cost_usd: float
    """The bill: the sum of all cost lines of the ledger."""
    revenue_usd: float
    partner_share_usd: float
    cost_per_hour_usd: float | None
    revenue_per_hour_usd: float | None
    cost_per_million_output_tokens_usd: float | None
    """None where no output token was served."""
    energy_kwh: float
    """At the meter, PUE included."""
    margin_definition: str
    """Definition of gross margin that the headline uses."""
    gross_margin_rate: float | None
    """None where there is no revenue."""
    ledger: pd.DataFrame
    """Every line of the bill and of the revenue."""
    margins: pd.DataFrame
    """One row per definition of gross margin."""
    class_costs: pd.DataFrame
    """One row per class, and one for cost that no class bears."""
    pool_costs: pd.DataFrame
    """One row per pool and price."""
    class_pools: pd.DataFrame
    """One row per class and pool that worked for it."""

    @classmethod
    def of(cls, statement: Statement) -> Finance:
        """Return what a result keeps of a statement."""
        margin = statement.margin
        return cls(
            hours=statement.period_hours,
            cost_usd=statement.cost_usd,
            revenue_usd=statement.revenue_usd,
            partner_share_usd=margin.partner_share_usd,
            cost_per_hour_usd=statement.cost_per_hour_usd,
            revenue_per_hour_usd=statement.revenue_per_hour_usd,
            cost_per_million_output_tokens_usd=statement.cost_per_million_output_tokens_usd,
            energy_kwh=statement.energy_kwh,
            margin_definition=margin.definition,
            gross_margin_rate=margin.margin_rate,
            ledger=statement.ledger.to_frame(),
            margins=margin.to_frame(),
            class_costs=statement.class_frame(),
            pool_costs=statement.pool_frame(),
            class_pools=statement.class_pool_frame(),
        )


@dataclass(frozen=True, repr=False)
class Result(Shown):
    """Everything a run found.

    The constructor takes keywords::

        Result(
            name=scenario.name,
            description=scenario.description,
            scenario_sha256=...,       # of the canonical JSON of the merged scenario
            seed=scenario.seed,
            version=planner.__version__,
            window_s=..., duration_s=..., warmup_s=..., end_s=...,
            start="19:00", weekday="mon",
            frames=build_frames(...),
            finance=Finance.of(...),   # a statement; or None: a run without prices
            books={...},               # what the statement was made from: `pricing.Books`
            impact=Impact.of(...),     # a footprint; or None
            assumptions=(Assumption(...), ...),
            notes=("...",),            # sentences for the reader: approximations, tiers
            counters={"events": ..., "abandoned_turns": ..., "unsent": ...},
        )
    """

    name: str
    description: str
    scenario_sha256: str
    seed: int
    version: str
    window_s: float
    duration_s: float
    warmup_s: float
    end_s: float
    frames: Frames
    finance: Finance | None = None
    books: Mapping[str, Any] | None = None
    """What the money was computed from, as `planner.pricing.Books` reads it, to price it again."""
    impact: Impact | None = None
    steps: pd.DataFrame | None = None
    """Where the time of a step goes, by pool, from `planner.steps.step_table`; None: not asked."""
    assumptions: tuple[Assumption, ...] = ()
    notes: tuple[str, ...] = ()
    counters: Mapping[str, int] = field(default_factory=dict)
    """Whole numbers about the run itself: `abandoned_turns`, `unsent`, `events`, …"""
    start: str = "00:00"
    """Time of day of second 0."""
    weekday: str = "mon"

    @property
    def has_evidence(self) -> bool:
        """Whether any request was measured: without one, no promise is kept or broken."""
        total = self.frames.total.iloc[0]
        return bool(total["measured"] > total["measured_rate_limited"])

    @property
    def overloaded(self) -> bool:
        """Whether the money is that of a fleet that breaks promises or cannot keep up."""
        headline = self.headline
        return headline["objectives_met"] is False or not headline["stable"]

    @property
    def headline(self) -> dict[str, Any]:
        """The numbers of the first screen, ready for JSON: what cannot be known is None."""
        total, pools = self.frames.total.iloc[0], self.frames.pools
        numbers = {
            "accelerators_at_peak": int(pools["accelerators_at_peak"].sum()),
            "nodes_at_peak": int(pools["nodes_at_peak"].sum()),
            "p99_ttft_s": total["ttft_p99_s"],
            "slo_attainment_rate": total["slo_attainment_rate"],
            "objectives_met": self._objectives_met(),
            "goodput_rps": total["goodput_rps"],
            "stable": bool(pools["stable"].all()),
        }
        return {name: plain(value) for name, value in (numbers | self._money()).items()}

    def _objectives_met(self) -> bool | None:
        """Return whether all promises are kept; None if that of some, and no worse, is unknown."""
        verdicts = set(self.frames.objectives["verdict"])
        if columns.BROKEN in verdicts:
            return False
        return None if columns.NO_SAMPLE in verdicts else True

    def _money(self) -> dict[str, Any]:
        finance = self.finance
        if finance is None:
            return dict.fromkeys(_MONEY_NUMBERS)
        values = (
            finance.cost_per_hour_usd,
            finance.cost_per_million_output_tokens_usd,
            finance.gross_margin_rate,
            finance.margin_definition,
        )
        return dict(zip(_MONEY_NUMBERS, values, strict=True))

    @property
    def stability(self) -> tuple[str, ...]:
        """Sentences about queues that grow and classes that lose too much; empty if all is well."""
        return self.frames.stability

    def to_pandas(self, table: str = "classes") -> pd.DataFrame:
        """Return a copy of one table; `planner.results.columns.TABLES` describes the columns.

        Args:
            table: classes, total, fates, tasks, objectives, pools, quantiles, class_windows,
                pool_windows, ledger, margins, class_costs, pool_costs, class_pools,
                class_footprint, pool_footprint, steps or assumptions.

        Raises:
            KeyError: there is no such table.
        """
        tables = self.tables()
        if table not in tables:
            raise KeyError(f"no table {table!r}; there are {', '.join(tables)}")
        return tables[table].copy()

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return every table by name; those about money only where there are prices."""
        frames = self.frames
        tables = {
            "classes": frames.classes,
            "total": frames.total,
            "fates": frames.fates,
            "tasks": frames.tasks,
            "objectives": frames.objectives,
            "pools": frames.pools,
            "quantiles": frames.quantiles,
            "class_windows": frames.class_windows,
            "pool_windows": frames.pool_windows,
        }
        if self.finance is not None:
            tables["ledger"] = self.finance.ledger
            tables["margins"] = self.finance.margins
            tables["class_costs"] = self.finance.class_costs
            tables["pool_costs"] = self.finance.pool_costs
            tables["class_pools"] = self.finance.class_pools
        if self.impact is not None:
            tables["class_footprint"] = self.impact.class_footprint
            tables["pool_footprint"] = self.impact.pool_footprint
        if self.steps is not None:
            tables["steps"] = self.steps
        rows = [asdict(a) | {"value": str(a.value)} for a in self.assumptions]
        tables["assumptions"] = pd.DataFrame(rows, columns=columns.names("assumptions"))
        return tables

    def to_json(self) -> str:
        """Return the result as JSON: sorted keys, a newline at the end, the same bytes each time.

        Tables by window and the latency distributions are left to the Parquet files.
        """
        frames, finance = self.frames, self.finance
        content = {
            "schema": SCHEMA,
            "name": self.name,
            "description": self.description,
            "scenario_sha256": self.scenario_sha256,
            "seed": self.seed,
            "version": self.version,
            "time": {
                "start": self.start,
                "weekday": self.weekday,
                "window_s": self.window_s,
                "duration_s": self.duration_s,
                "warmup_s": self.warmup_s,
                "end_s": self.end_s,
            },
            "headline": self.headline,
            "classes": records(frames.classes),
            "total": records(frames.total)[0],
            "fates": records(frames.fates),
            "tasks": records(frames.tasks),
            "objectives": records(frames.objectives),
            "pools": records(frames.pools),
            "percentiles_over": PERCENTILES_OVER,
            "stability": list(self.stability),
            "finance": None if finance is None else _content(finance),
            "books": self.books,
            "impact": None if self.impact is None else _content(self.impact),
            "assumptions": [asdict(assumption) for assumption in self.assumptions],
            "notes": list(self.notes),
            "counters": dict(self.counters),
        }
        return json_text(content) + "\n"

    def write(
        self,
        folder: Path,
        *,
        html: str | None = None,
        requests: Path | None = None,
        force: bool = False,
    ) -> Path:
        """Write the folder at once and return it: result.json, tables/*.parquet and *.csv.

        Args:
            folder: created; a previous result there is replaced as a whole.
            html: text of `report.html`, from `planner.report.html.render_html(result)`.
            requests: a Parquet file with one row per request, moved to `requests.parquet`.
            force: replace the folder even if it holds something else.

        Raises:
            OutputError: the folder holds something that is not a result, or cannot be written.
        """
        from planner.results.storage import write_result

        return write_result(self, Path(folder), html=html, requests=requests, force=force)

    @classmethod
    def read(cls, folder: Path) -> Result:
        """Return a result written earlier.

        Raises:
            OutputError: there is none, or it is damaged.
        """
        from planner.results.storage import read_result

        return read_result(Path(folder))

    def cards(self) -> tuple[tuple[str, str], ...]:
        """Return the four numbers as written, with their labels."""
        headline = self.headline
        definition = headline["gross_margin_definition"]
        margin = f"gross margin ({definition})" if definition else "gross margin"
        broken = ", with promises broken" if self.overloaded else ""
        per_token = headline["cost_per_million_output_tokens_usd"]
        return (
            (formatting.count(headline["accelerators_at_peak"]), "accelerators at peak"),
            (formatting.duration(headline["p99_ttft_s"]), "p99 time to first token"),
            (formatting.money(per_token), f"per million output tokens{broken}"),
            (formatting.percent(headline["gross_margin_rate"]), margin + broken),
        )

    def summary(self) -> Summary:
        """Return the four numbers and a row per class."""
        table = self.frames.classes[list(_SUMMARY)]
        return Summary(self.name, f"seed {self.seed}", self.cards(), table, self.stability)


def _content(side: Finance | Impact) -> dict[str, Any]:
    content = {each.name: getattr(side, each.name) for each in fields(side)}
    frames = {name: records(v) for name, v in content.items() if isinstance(v, pd.DataFrame)}
    return content | frames


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as dictionaries that JSON can hold."""
    lists = {str(name): plain(frame[name].tolist()) for name in frame.columns}
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
