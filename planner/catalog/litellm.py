"""Reads a table of list prices in LiteLLM's format, `model_prices_and_context_window.json`.

It maps a model to prices in USD per token, under field names such as `input_cost_per_token`,
`cache_read_input_token_cost`, `output_cost_per_token_batches` and
`input_cost_per_token_above_200k_tokens` (https://docs.litellm.ai/docs/provider_registration/add_model_pricing).
The file has no dates: whoever names it says as of when its prices hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from planner.catalog.figures import Figure
from planner.catalog.prices import ApiPrice, LongContext, ServiceTier, TokenPrices
from planner.errors import CatalogError, shown

_INPUT, _OUTPUT = "input_cost_per_token", "output_cost_per_token"
_FIELDS: Final = {
    "input": _INPUT,
    "output": _OUTPUT,
    "cached_input": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
}
_SUFFIXES: Final[dict[ServiceTier, str]] = {
    "standard": "", "batch": "_batches", "flex": "_flex", "priority": "_priority",
}  # fmt: skip
_ABOVE = re.compile(r"input_cost_per_token_above_(\d+)k_tokens\Z")
_TOKENS_PER_MTOK: Final = 1_000_000


def read_litellm(path: Path, as_of: str, source: str = "") -> dict[str, ApiPrice]:
    """Return the prices of all models that are sold by the token, by the model's name.

    Args:
        path: the JSON file.
        as_of: day from which the prices hold, YYYY-MM-DD.
        source: where the file comes from; by default its name.

    Raises:
        CatalogError: the file cannot be read, or a price is no number or negative.
    """
    text = _read(path)
    try:
        table = json.loads(text, parse_float=Decimal)
    except ValueError as error:
        place = f"{path}:{error.lineno}" if isinstance(error, json.JSONDecodeError) else str(path)
        raise CatalogError(f"{place}: not JSON: {error}") from error
    if not isinstance(table, dict):
        raise CatalogError(f"{path}: must be a mapping of models to prices, found {shown(table)}")
    reader = _Reader(path, text, as_of, source or f"{path.name}, in LiteLLM's format")
    prices = {}
    for name, entry in table.items():
        is_sold_by_token = isinstance(entry, dict) and {_INPUT, _OUTPUT} <= set(entry)
        if is_sold_by_token and name != "sample_spec":
            prices[name] = reader.price(name, entry)
    return prices


class _Reader:
    """Turns entries of one file into prices, and knows where they are written."""

    def __init__(self, path: Path, text: str, as_of: str, source: str) -> None:
        self._path, self._text, self._as_of, self._source = path, text, as_of, source

    def price(self, name: str, entry: Mapping[str, Any]) -> ApiPrice:
        """Return the price of a model."""
        standard = self._tokens(name, entry, "", None)
        assert standard is not None
        tiers: dict[ServiceTier, TokenPrices] = {"standard": standard}
        for tier, suffix in _SUFFIXES.items():
            if suffix and (prices := self._tokens(name, entry, suffix, standard)) is not None:
                tiers[tier] = prices
        return ApiPrice(
            name=name,
            title=name,
            provider=str(entry.get("litellm_provider", "")),
            tiers=tiers,
            long_context=self._long_context(name, entry, tiers),
        )

    def _long_context(
        self, name: str, entry: Mapping[str, Any], tiers: Mapping[ServiceTier, TokenPrices]
    ) -> LongContext | None:
        """Return the prices above the lowest threshold that the entry names."""
        thresholds = [int(match[1]) for key in entry if (match := _ABOVE.match(key))]
        if not thresholds:
            return None
        above = f"_above_{min(thresholds)}k_tokens"
        found: dict[ServiceTier, TokenPrices] = {}
        for tier, prices in tiers.items():
            own = self._tokens(name, entry, above + _SUFFIXES[tier], prices)
            found[tier] = own or self._tokens(name, entry, above, prices) or prices
        return LongContext(min(thresholds) * 1000, found)

    def _tokens(
        self, name: str, entry: Mapping[str, Any], suffix: str, otherwise: TokenPrices | None
    ) -> TokenPrices | None:
        """Return the prices under the field names with a suffix; None if none is stated.

        What is not stated is as in `otherwise`.
        """
        found = {
            field: self._figure(name, f"{key}{suffix}", entry[f"{key}{suffix}"])
            for field, key in _FIELDS.items()
            if entry.get(f"{key}{suffix}") is not None
        }
        if not found:
            return None
        if otherwise is not None:
            found = {
                field: value
                for field in _FIELDS
                if (value := found.get(field) or getattr(otherwise, field)) is not None
            }
        return TokenPrices(**found)

    def _figure(self, name: str, key: str, value: object) -> Figure:
        if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
            raise self._fault(name, key, f"must be a price in USD per token, found {shown(value)}")
        if value < 0:
            raise self._fault(name, key, f"must not be negative, found {value}")
        usd = float(value * _TOKENS_PER_MTOK)
        shown_as = f"{usd:g} USD/Mtok"
        return Figure(usd, "USD/Mtok", shown_as, self._source, self._as_of, "estimated")

    def _fault(self, name: str, key: str, message: str) -> CatalogError:
        start = self._text.find(json.dumps(name) + ":")
        at = self._text.find(json.dumps(key), max(start, 0))
        line = self._text.count("\n", 0, max(at, start, 0)) + 1
        return CatalogError(f"{self._path}:{line}: {name}.{key}: {message}")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path}: cannot be read: {error}") from error
