"""Prices of one's own: YAML tables with dates, and LiteLLM's JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.catalog import ApiPrice, load_catalog, read_price_table
from planner.errors import CatalogError

CATALOG = load_catalog()
TABLE = """\
sources:
  contract: {citation: our contract, date: 2026-01, tier: official}
machines:
  reserved:
    title: reserved H100
    chip: h100-sxm
    terms: committed_1y
    provider: a cloud
    source: contract
    price: 1.9 USD/h
api:
  ours-2025:
    title: our model, old price
    provider: us
    series: ours
    source: contract
    input: {value: 1 USD/Mtok, date: 2025-01-01}
    output: {value: 4 USD/Mtok, date: 2025-01-01}
    until: 2025-12
  ours-2026:
    title: our model
    provider: us
    series: ours
    source: contract
    input: {value: 2 USD/Mtok, date: 2026-02-01}
    output: {value: 8 USD/Mtok, date: 2026-02-01}
    cached_input: {value: 0.2 USD/Mtok, date: 2026-02-01}
    batch: 0.5
    priority: 1.7
    long_context: {above: 200_000, input: 2, output: 1.5}
"""
ENTRY = {
    "input_cost_per_token": 1.25e-06,
    "output_cost_per_token": 1e-05,
    "cache_read_input_token_cost": 1.25e-07,
    "cache_creation_input_token_cost": 1.5625e-06,
    "input_cost_per_token_batches": 6.25e-07,
    "output_cost_per_token_batches": 5e-06,
    "input_cost_per_token_priority": 2.5e-06,
    "input_cost_per_token_above_200k_tokens": 2.5e-06,
    "output_cost_per_token_above_200k_tokens": 1.5e-05,
    "litellm_provider": "someone",
    "mode": "chat",
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(text: str, name: str = "prices.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def value(figure: Any) -> float | None:
    return None if figure is None else figure.value


def test_prices_hold_on_their_days(write: Callable[..., Path]) -> None:
    table = read_price_table(write(TABLE))
    catalog = CATALOG.with_prices(table.machine_prices.values(), table.api_prices.values())
    assert catalog.api_price_on("ours", "2025-06-30").output.value == 4
    assert catalog.api_price_on("ours", "2025-12-31").output.value == 4
    assert catalog.api_price_on("ours", "2026-11-01").output.value == 8
    assert catalog.api_price_on("ours-2025", "2025-06-30").output.value == 4
    assert (
        catalog.machine_price_on("reserved", "2026-11-01").per_device_hour.source == "our contract"
    )
    for day in ("2024-12-31", "2026-01-15"):
        with pytest.raises(CatalogError, match=rf"no price ours on {day}: it holds from 2025-01-01 "
                                               r"until 2025-12, from 2026-02-01"):  # fmt: skip
            catalog.api_price_on("ours", day)


def test_prices_of_the_catalogue_follow_one_another_up_and_down() -> None:
    fell = [
        CATALOG.api_price_on("gpt-5.6-sol", d).input.value for d in ("2026-09-01", "2026-10-01")
    ]
    rose = [
        CATALOG.api_price_on("deepseek-v4-pro", d).input.value for d in ("2026-09-01", "2026-10-01")
    ]
    assert fell == [5.0, 4.0]
    assert rose == [0.435, 1.32]


def test_tiers_and_long_contexts_are_factors(write: Callable[..., Path]) -> None:
    price = read_price_table(write(TABLE)).api_prices["ours-2026"]
    batch, long_batch = price.of_tier("batch")
    assert (batch.input.value, batch.output.value, value(batch.cached_input)) == (1.0, 4.0, 0.1)
    assert price.of_tier("priority")[0].output.value == 13.6
    assert price.long_context is not None
    assert price.long_context.above_tokens == 200_000
    assert long_batch is not None
    assert (long_batch.input.value, long_batch.output.value) == (2.0, 6.0)
    assert batch.output.note == "batch: 0.5 times 8 USD/Mtok"
    with pytest.raises(CatalogError, match="ours-2026 has no flex price; it has standard, batch, "):
        price.of_tier("flex")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    until: 2025-12\n", "    until: 2026-03\n",
         "prices.yaml:20: ours-2026: holds from 2026-02-01, and so does ours-2025 (PATH:12), both "
         "of ours"),
        ("    until: 2025-12\n", "    until: 2024-12\n", "until 2024-12, which is before"),
        ("1.9 USD/h", "-1.9 USD/h",
         "prices.yaml:10: machines.reserved.price: must not be negative"),
        ("1.9 USD/h", "1.9 EUR/h",
         "prices.yaml:10: machines.reserved.price: '1.9 EUR/h' has unknown currency EUR; amounts "
         "are in USD"),
        ("batch: 0.5", "batch: 50", "api.ours-2026.batch: is a factor of the price, as 0.5"),
        ("source: contract\n    price", "source: contrct\n    price", "did you mean contract?"),
        ("machines:", "machine:", "prices.yaml:3: unknown section machine; did you mean machines?"),
        ("until: 2025-12", "until: Christmas", "'Christmas' is not YYYY, YYYY-MM or YYYY-MM-DD"),
        ("api:\n", "api:\n  broken: 3\n",
         "prices.yaml:12: api.broken: must be a mapping of fields"),
    ],
)  # fmt: skip
def test_faults_have_a_place(write: Callable[..., Path], old: str, new: str, message: str) -> None:
    assert old in TABLE
    path = write(TABLE.replace(old, new, 1))
    with pytest.raises(CatalogError, match=re.escape(message.replace("PATH", str(path)))):
        read_price_table(path)


def test_a_reference_price_of_ones_own_comes_before_the_catalogues(
    write: Callable[..., Path],
) -> None:
    shipped = CATALOG.price_for("h100-sxm", "on_demand", "2026-11-01")
    own = f"    reference: true\n    price: {{value: 9 USD/h, date: {shipped.date}}}\n"
    text = TABLE.replace("    price: 1.9 USD/h\n", own).replace("committed_1y", "on_demand")
    table = read_price_table(write(text))
    catalog = CATALOG.with_prices(table.machine_prices.values())
    assert catalog.price_for("h100-sxm", "on_demand", "2026-11-01").name == "reserved"


# --- LiteLLM -------------------------------------------------------------------------------------


def litellm(write: Callable[..., Path], **entries: object) -> dict[str, ApiPrice]:
    path = write(json.dumps(entries, indent=4), "model_prices.json")
    return dict(read_price_table(path, as_of="2026-10-01", source="a table").api_prices)


def test_litellm_has_every_tier(write: Callable[..., Path]) -> None:
    price = litellm(write, **{"a/model": ENTRY, "image": {"mode": "image_generation"}})["a/model"]
    standard = price.of_tier("standard")[0]
    assert standard.input.value == 1.25
    assert (value(standard.cached_input), value(standard.cache_write)) == (0.125, 1.5625)
    assert (standard.output.date, standard.output.source) == ("2026-10-01", "a table")
    batch = price.of_tier("batch")[0]
    assert (batch.input.value, batch.output.value, value(batch.cached_input)) == (0.625, 5.0, 0.125)
    priority, long_priority = price.of_tier("priority")
    assert (priority.input.value, priority.output.value) == (2.5, 10.0)
    assert price.long_context is not None
    assert price.long_context.above_tokens == 200_000
    assert long_priority is not None
    assert (long_priority.input.value, long_priority.output.value) == (2.5, 15.0)


def test_what_is_not_sold_by_the_token_is_passed_over(write: Callable[..., Path]) -> None:
    assert litellm(write, image={"output_cost_per_image": 0.04}, sample_spec=ENTRY) == {}


@pytest.mark.parametrize(
    ("changes", "line", "message"),
    [
        ({"output_cost_per_token": -1e-6}, 4, "must not be negative, found -0.000001"),
        ({"input_cost_per_token": "free"}, 3, "must be a price in USD per token, found 'free'"),
    ],
)
def test_bad_prices_have_a_line(
    write: Callable[..., Path], changes: dict[str, object], line: int, message: str
) -> None:
    with pytest.raises(
        CatalogError, match=rf"model_prices\.json:{line}: m\.\w+: {re.escape(message)}"
    ):
        litellm(write, m=ENTRY | changes)


def test_json_needs_a_day_and_must_be_json(write: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="has no dates; say as_of"):
        read_price_table(write("{}", "p.json"))
    with pytest.raises(CatalogError, match=r"p\.json:2: not JSON"):
        read_price_table(write("{\n]", "p.json"), as_of="2026-01-01")
    with pytest.raises(CatalogError, match="must be a mapping of models to prices"):
        read_price_table(write("[]", "p.json"), as_of="2026-01-01")
    with pytest.raises(CatalogError, match="cannot be read"):
        read_price_table(tmp_path / "none.json", as_of="2026-01-01")
