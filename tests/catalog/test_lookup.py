"""Finding an entry by name, and the advice where there is none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from planner.catalog import Catalog, Chip, load_catalog
from planner.errors import CatalogError

CATALOG: Catalog = load_catalog()
ENTRIES = {*CATALOG.models, *CATALOG.chips, *CATALOG.nodes, *CATALOG.machine_prices}
ENTRIES |= set(CATALOG.api_prices)


def test_entries_of_every_kind() -> None:
    assert CATALOG.model("qwen3-32b").title == "Qwen3 32B"
    assert CATALOG.chip("mi355x").vendor == "AMD"
    assert CATALOG.node("hgx-h100").chip == "h100-sxm"
    assert CATALOG.machine_price("h100-sxm-spot").terms == "spot"
    assert CATALOG.api_price("gpt-4o").provider == "OpenAI"
    assert isinstance(CATALOG.entry("h100-sxm"), Chip)


@pytest.mark.parametrize(
    ("look_up", "name", "message"),
    [
        (
            CATALOG.model,
            "llama-3.1-80b",
            "unknown model 'llama-3.1-80b'; did you mean llama-3.1-8b",
        ),
        (CATALOG.model, "Qwen3_32B", "did you mean qwen3-32b"),
        (
            CATALOG.chip,
            "h100",
            r"did you mean h100-sxm or h100-nvl or h100-pcie\? `planner catalog list chips` shows",
        ),
        (CATALOG.node, "nvl72", "did you mean gb200-nvl72 or gb300-nvl72"),
        (
            CATALOG.machine_price,
            "xyzzy",
            "unknown machine price 'xyzzy'; `planner catalog list pric",
        ),
        (CATALOG.api_price, "gpt4o", "did you mean gpt-4o"),
        (CATALOG.entry, "xyzzy", "unknown entry 'xyzzy'; `planner catalog list` shows all"),
    ],
)
def test_unknown_names_get_advice(
    look_up: Callable[[str], object], name: str, message: str
) -> None:
    with pytest.raises(CatalogError, match=message):
        look_up(name)


@given(st.text())
@example("")
@example("x" * 100_000)
def test_any_other_name_is_an_error_of_one_line(name: str) -> None:
    assume(name not in ENTRIES)
    with pytest.raises(CatalogError) as caught:
        CATALOG.entry(name)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)
