"""The files that a scenario names under `prices.tables`, laid over the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from planner.catalog import Catalog, PriceTable, read_price_table
from planner.catalog.reader import place_of
from planner.errors import CatalogError, did_you_mean, shown
from planner.scenario.nodes import Location, Node
from planner.scenario.schema.money import PriceTable as StatedTable

Finding = tuple[Location, str]
_LIST_CHIPS = "`planner catalog list chips` shows them all"
_TABLES: Location = ("prices", "tables")


def with_price_tables(root: Node, catalog: Catalog) -> tuple[Catalog, list[Finding]]:
    """Return the catalogue with the prices of a scenario's own files, and what is wrong with them.

    Args:
        root: the merged tree of the scenario; tables that the schema refuses are passed over.
        catalog: what the files are laid over; their prices replace those of the same name.
    """
    findings: list[Finding] = []
    taken: dict[str, Path] = {}
    for where, path, stated in _stated_tables(root):
        try:
            table = read_price_table(path, stated.as_of or "", stated.source or "")
            check_table(table, catalog, path, taken)
        except CatalogError as error:
            findings.append(((*where, "path"), str(error)))
            continue
        catalog = catalog.with_prices(table.machine_prices.values(), table.api_prices.values())
    return catalog, findings


def check_table(
    table: PriceTable, catalog: Catalog, path: Path, taken: dict[str, Path] | None = None
) -> None:
    """Raise if a file prices unknown chips, or what another file prices, too.

    Args:
        table: the prices of the file.
        catalog: has the chips.
        path: the file.
        taken: names of prices by the file that has them; those of this file are added.

    Raises:
        CatalogError: names the price.
    """
    for name, price in table.machine_prices.items():
        if price.chip not in catalog.chips:
            place = place_of(path, ("machines", name, "chip"))
            advice = did_you_mean(price.chip, catalog.chips) or _LIST_CHIPS
            raise CatalogError(f"{place}: {name}.chip: unknown chip {shown(price.chip)}; {advice}")
    names = {price.series or price.name for price in table.machine_prices.values()}
    names |= {price.series or price.name for price in table.api_prices.values()}
    for name in sorted(names & set(taken or {})):
        raise CatalogError(
            f"{path}: prices {name} for the same days as {(taken or {})[name]}; delete one of them"
        )
    if taken is not None:
        taken |= dict.fromkeys(names, path)


def _stated_tables(root: Node) -> Iterator[tuple[Location, Path, StatedTable]]:
    """Yield location, path and content of the tables that the schema accepts."""
    node, taken = root.follow(_TABLES)
    items = node.value if taken == len(_TABLES) and isinstance(node.value, list) else []
    for index, item in enumerate(items):
        try:
            stated = StatedTable.model_validate(item.plain())
        except ValidationError:
            continue
        place = item.value["path"].place if isinstance(item.value, dict) else item.place
        folder = Path(place.file).parent if place.line else Path()
        yield (*_TABLES, index), folder / stated.path, stated
