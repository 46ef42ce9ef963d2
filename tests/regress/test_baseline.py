"""The file of a baseline: how it reads in a diff, and what is said of one that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planner.regress.baseline import BaselineError, baseline_of, read_baseline, standing
from planner.regress.identity import Identity
from planner.results.columns import CLASS_COSTS, CLASS_FOOTPRINT, CLASSES, POOLS
from planner.scenario.watched import BY_CLASS, BY_POOL, WHOLE
from tests.regress.forecasts import COST, forecast


def test_it_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "small.json"
    written = forecast(sd=0.25, traces=(("workload.trace", "ab"),))
    path.write_text(written.to_json(), encoding="utf-8")
    assert read_baseline(path) == written
    assert standing(written, path) == "unchanged"


def test_keys_are_sorted_and_a_metric_is_one_line() -> None:
    text = forecast(sd=0.25).to_json()
    content = json.loads(text, object_pairs_hook=lambda pairs: pairs)
    keys = [key for key, _ in content]
    assert keys == sorted(keys)
    values = "[100.0, 100.25, 99.75, 100.25, 99.75]"
    metric = f'{{"better": "lower", "unit": "USD/h", "values": {values}}}'
    assert f'\n  "cost_per_hour_usd": {metric},\n' in text
    assert "2026" not in text  # no date


def test_values_are_by_seed_the_own_first() -> None:
    runs = [{COST: value} for value in (10.0, 12.0, 14.0)]
    found = baseline_of("small", Identity("0", 1), runs, (1, 2, 3), None).metrics[COST]
    assert (found.value, found.values) == (10.0, (10.0, 12.0, 14.0))


def test_a_rounding_makes_no_diff(tmp_path: Path) -> None:
    path = tmp_path / "small.json"
    path.write_text(forecast().to_json(), encoding="utf-8")
    assert standing(forecast(cost_per_hour_usd=100.0001), path) == "unchanged"
    assert standing(forecast(cost_per_hour_usd=100.01), path) == "updated"
    assert standing(forecast(), tmp_path / "other.json") == "new"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"schema": "planner-baseline/v0"}', "is of schema planner-baseline/v0, not"),
        ("[]", "is of no baseline, not planner-baseline/v1; run planner baseline update"),
        ('{"schema": "planner-baseline/v1"}', "is damaged: name: Field required; from: Field req"),
        ("{", "cannot be read: Expecting property name"),
    ],
)
def test_what_is_no_baseline(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "small.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BaselineError) as caught:
        read_baseline(path)
    assert str(caught.value).startswith(f"{path}: {says}")


VALUES = "[100.0, 100.25, 99.75, 100.25, 99.75]"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (VALUES, '["abc", 1, 1, 1, 1]', "metrics.cost_per_hour_usd.values.0: Input should be a va"),
        (VALUES, "[NaN, 1, 1, 1, 1]", "cannot be read: NaN is no number; run planner baseline"),
        (VALUES, "[1e999, 1, 1, 1, 1]", "values.0: Input should be a finite number; run planner"),
        (VALUES, "[1, 1]", "as a whole: Value error, cost_per_hour_usd has 2 values for 5 seeds"),
        (VALUES, "[]", "metrics.cost_per_hour_usd.values: Tuple should have at least 1 item"),
        ("[1, 2, 3, 4, 5]", '[1, 2, 3, 4, "5"]', "seeds.4: Input should be a valid integer"),
        ("[1, 2, 3, 4, 5]", "[2, 1, 3, 4, 5]", "seeds begin with 2, from.seed is 1"),
        ('"better": "lower"', '"better": "lwer"', "better: Input should be 'lower', 'higher' or"),
    ],
)
def test_what_would_switch_a_gate_off_is_refused(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    path = tmp_path / "small.json"
    text = forecast(sd=0.25).to_json()
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(BaselineError) as caught:
        read_baseline(path)
    assert says in str(caught.value)
    assert str(caught.value).endswith("run planner baseline update on its scenario")


def test_names_and_units_are_those_of_the_tables() -> None:
    """A metric that a table has is called the same there, and in the same unit."""
    columns = {
        c.name: c.unit for table in (CLASSES, POOLS, CLASS_COSTS, CLASS_FOOTPRINT) for c in table
    }
    derived = {"cost_per_hour_usd", "revenue_per_hour_usd", "gross_margin_rate"}
    derived |= {"served_rate", "rate_limited_rate", "promises_broken"}
    for metric in (*WHOLE, *BY_POOL, *BY_CLASS):
        if metric.name not in derived:
            assert columns[metric.name] == metric.unit, metric.name
