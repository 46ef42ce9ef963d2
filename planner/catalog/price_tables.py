"""Files with prices of one's own: YAML as the catalogue is written, or JSON as LiteLLM's table.

A YAML file has the sections `sources`, `machines` and `api`; their entries are written as those of
the catalogue's `sources.yaml`, `prices.yaml` and `api.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from planner.catalog.litellm import read_litellm
from planner.catalog.price_fields import check_series, read_api_price, read_machine_price
from planner.catalog.prices import ApiPrice, MachinePrice
from planner.catalog.reader import place_of, read_mapping, read_section, read_source
from planner.errors import CatalogError, did_you_mean

_SECTIONS: Final = ("sources", "machines", "api")


@dataclass(frozen=True)
class PriceTable:
    """The prices of one file."""

    machine_prices: Mapping[str, MachinePrice]
    api_prices: Mapping[str, ApiPrice]


def read_price_table(path: Path, as_of: str = "", source: str = "") -> PriceTable:
    """Return the prices of a file.

    Args:
        path: ends in .json for LiteLLM's format, else it is YAML.
        as_of: day from which the prices hold, for JSON, which has no dates.
        source: where a JSON file comes from.

    Raises:
        CatalogError: a fault in the file, with its line; or JSON without `as_of`.
    """
    if path.suffix == ".json":
        if not as_of:
            raise CatalogError(f"{path}: has no dates; say as_of when its prices hold")
        return PriceTable({}, read_litellm(path, as_of, source))
    content = read_mapping(path)
    for section in content:
        if section not in _SECTIONS:
            advice = did_you_mean(section, _SECTIONS)
            raise CatalogError(f"{place_of(path, (section,))}: unknown section {section}; {advice}")
    sources = read_section(path, "sources", content, {}, read_source)
    table = PriceTable(
        read_section(path, "machines", content, sources, read_machine_price),
        read_section(path, "api", content, sources, read_api_price),
    )
    check_series(table.machine_prices, lambda name: place_of(path, ("machines", name)))
    check_series(table.api_prices, lambda name: place_of(path, ("api", name)))
    return table
