"""What serving costs and earns: a scenario, or a result that is there already, at any prices.

A result keeps its books (`planner.pricing`), so other prices or another day need no simulation.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field, ValidationError

from planner.catalog import Catalog, load_catalog, read_price_table
from planner.economics import Statement
from planner.errors import Fault, OutputError, ScenarioError
from planner.jsonable import json_text
from planner.pricing import Books, mix_of, policy_of
from planner.provenance import price_assumptions
from planner.results.formatting import money, percent
from planner.results.notebook import Shown, Summary
from planner.results.result import Assumption, Finance, Result, records
from planner.scenario import LoadedScenario
from planner.scenario.faults import schema_faults
from planner.scenario.load import with_sets
from planner.scenario.merge import PathError, parse_path
from planner.scenario.nodes import Place
from planner.scenario.price_tables import check_table
from planner.scenario.schema.fields import Name, Part
from planner.scenario.schema.money import Prices, PriceShare
from planner.scenario.source import parse_text
from planner.simulation import run

SCHEMA = "planner-cost/v1"
_STORED = "the stored result"


class _PricedPool(Part):
    """Of a pool, what it is priced by."""

    name: Name
    price: str | None = None
    price_mix: list[PriceShare] = Field(default=[])


class _PricedDocument(Part):
    """The part of a scenario that a result can be priced again by."""

    prices: Prices = Prices()
    pools: list[_PricedPool] = Field(default=[])


@dataclass(frozen=True, repr=False)
class Costing(Shown):
    """What a run costs and earns at some prices."""

    name: str
    description: str
    statement: Statement
    prices: Prices
    assumptions: tuple[Assumption, ...]
    """The prices and rates, each with source, date and tier."""
    notes: tuple[str, ...]
    """What a reader has to know to read the numbers right."""
    sample_rate: float
    """Share of the traffic that was simulated; money is that of all of it."""
    overloaded: bool
    """The fleet breaks promises or cannot keep up, so what it costs is not what it would take."""
    seed: int
    version: str

    @cached_property
    def finance(self) -> Finance:
        """The amounts as a result keeps them."""
        return Finance.of(self.statement)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return every table by name."""
        return {
            "pool_costs": self.finance.pool_costs,
            "class_costs": self.finance.class_costs,
            "unit_costs": self.statement.unit_frame(),
            "revenue": self.statement.revenue_frame(),
            "margins": self.finance.margins,
            "ledger": self.finance.ledger,
            "prices": pd.DataFrame([asdict(each) for each in self.assumptions]),
        }

    def to_pandas(self, table: str = "unit_costs") -> pd.DataFrame:
        """Return one table.

        Args:
            table: pool_costs, class_costs, unit_costs, revenue, margins, ledger or prices.

        Raises:
            KeyError: there is no such table.
        """
        tables = self.tables()
        if table not in tables:
            raise KeyError(f"no table {table!r}; there are {', '.join(tables)}")
        return tables[table]

    def summary(self) -> Summary:
        """Return the bill of an hour, the margin, and what a unit costs by class."""
        finance = self.finance
        cards = (
            (money(finance.cost_per_hour_usd), "cost per hour"),
            (money(finance.revenue_per_hour_usd), "revenue per hour"),
            (money(finance.cost_per_million_output_tokens_usd), "per million output tokens"),
            (percent(finance.gross_margin_rate), f"gross margin ({finance.margin_definition})"),
        )
        broken = "The fleet breaks promises or cannot keep up; it would cost more to keep them."
        notes = (broken,) if self.overloaded else ()
        detail = f"prices of {self.prices.date}"
        return Summary(self.name, detail, cards, self.to_pandas(), notes)

    def to_json(self) -> str:
        """Return everything as JSON: sorted keys, the same bytes each time."""
        finance = self.finance
        content: dict[str, Any] = {
            "schema": SCHEMA,
            "name": self.name,
            "description": self.description,
            "currency": "USD",
            "date": self.prices.date,
            "hours": finance.hours,
            "cost_usd": finance.cost_usd,
            "revenue_usd": finance.revenue_usd,
            "margin": {"definition": finance.margin_definition, "rate": finance.gross_margin_rate},
            "break_even_share": self.statement.break_even_share,
            "overloaded": self.overloaded,
            "sample_rate": self.sample_rate,
            "notes": list(self.notes),
            "version": self.version,
        }
        content |= {name: records(frame) for name, frame in self.tables().items()}
        return json_text(content)


def cost(
    source: str | os.PathLike[str] | LoadedScenario | Result,
    *,
    prices: Iterable[str | os.PathLike[str]] = (),
    date: str | None = None,
    sets: Sequence[str] = (),
    overrides: Sequence[str] = (),
    named: str | None = None,
    progress: Callable[[float, float], None] | None = None,
    catalog: Catalog | None = None,
) -> Costing:
    """Return what a scenario or a result costs and earns.

    Args:
        source: a scenario file, which is simulated; or the folder of a result, or a result itself,
            which is priced without another simulation.
        prices: files with prices, laid over the catalogue: YAML as the catalogue is written, or
            JSON in LiteLLM's format, taken as of `date`.
        date: day whose prices apply, YYYY-MM-DD; by default the scenario's.
        sets: values to change; of a result only `prices` and the prices of pools, as
            `prices.margin=paid_only` or `pools.chat.price=h100-sxm-spot`.
        overrides: named overrides, of a scenario file only.
        named: named scenario of the file.
        progress: called with the simulated time and the end of the arrivals [s].
        catalog: by default the shipped one.

    Raises:
        ScenarioError: the scenario or a changed value has faults.
        CatalogError: a price is unknown or does not hold on the day, or a price file has faults.
        OutputError: the folder holds no result, or a result is to be of another scenario.
    """
    known = catalog or load_catalog()
    if isinstance(source, Result):
        result = source
    elif not isinstance(source, LoadedScenario) and Path(source).is_dir():
        result = Result.read(Path(source))
    else:
        result = run(
            source, sets=sets, overrides=overrides, named=named, progress=progress, catalog=known
        )
        return price_again(result, known, prices=prices, date=date)
    if overrides or named:
        raise OutputError(
            "a stored result has no named scenarios and takes no overrides; name the scenario "
            "file, or change prices with --date, --prices and --set"
        )
    return price_again(result, known, prices=prices, date=date, sets=sets)


def price_again(
    result: Result,
    catalog: Catalog,
    *,
    prices: Iterable[str | os.PathLike[str]] = (),
    date: str | None = None,
    sets: Sequence[str] = (),
) -> Costing:
    """Return what a result costs and earns at other prices; see `cost`."""
    if result.books is None:
        raise OutputError(f"the result of {result.name} has no books; run its scenario again")
    books = Books.of_json(result.books)
    known = catalog.with_prices(books.machine_prices, books.api_prices, whole_series=False)
    books, stated = _changed(books, date, sets)
    taken: dict[str, Path] = {}
    for path in map(Path, prices):
        table = read_price_table(path, as_of=stated.date if path.suffix == ".json" else "")
        check_table(table, known, path, taken)
        known = known.with_prices(table.machine_prices.values(), table.api_prices.values())
    statement = books.statement(stated, known)
    found = dict.fromkeys(price_assumptions(statement, policy_of(stated), energy=False))
    return Costing(
        name=result.name,
        description=result.description,
        statement=statement,
        prices=stated,
        assumptions=tuple(found),
        notes=tuple(result.notes),
        sample_rate=books.sample_rate,
        overloaded=result.overloaded,
        seed=result.seed,
        version=result.version,
    )


def _need_simulation(sets: Sequence[str]) -> Iterator[Fault]:
    """Yield a fault for every option that changes more than prices."""
    for text in sets:
        path = text.partition("=")[0].strip()
        try:
            first, *others = parse_path(path)
        except PathError:
            continue  # named where it is laid on
        priced = len(others) < 2 or others[1] in ("price", "price_mix")
        if first == "prices" or (first == "pools" and priced):
            continue
        yield Place(f"--set {text}").fault(
            "a stored result is priced again, not simulated again: only `prices`, "
            "pools[].price and pools[].price_mix can be changed. Name the scenario file instead "
            "of the result to simulate it with this value"
        )


def _unplaced(fault: Fault) -> Fault:
    """Return a fault of the stored books, which have no lines that a user could look up."""
    if fault.file != _STORED:
        return fault
    message = f"{fault.message} (`--set {fault.where}.FIELD=null` deletes a field)"
    return replace(fault, line=0, column=0, source_line="", message=message)


def _changed(books: Books, date: str | None, sets: Sequence[str]) -> tuple[Books, Prices]:
    """Return books with changes laid over them, and the section `prices` that they have then."""
    kept = {name: value for name, value in books.prices.items() if name != "tables"}
    pools = [
        {
            "name": book.time.pool,
            "price": book.price,
            "price_mix": [{"price": name, "nodes": nodes} for name, nodes in book.mix],
        }
        for book in books.pools
    ]
    stored = json.dumps({"prices": kept, "pools": pools})
    options = [*sets, *([] if date is None else [f"prices.date={date}"])]
    root, faults = with_sets(parse_text(stored, _STORED).root, options)
    faults = [*_need_simulation(sets), *faults]
    if faults:
        raise ScenarioError(faults)
    try:
        document = _PricedDocument.model_validate(root.plain())
    except ValidationError as error:
        found = schema_faults(error, root)
        raise ScenarioError([_unplaced(fault) for fault in found]) from None
    named = {pool.name: pool for pool in document.pools}
    changed = [
        replace(
            book, price=named[book.time.pool].price, mix=mix_of(named[book.time.pool].price_mix)
        )
        for book in books.pools
    ]
    return replace(books, pools=tuple(changed)), document.prices
