from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.catalog import load_catalog
from planner.curves.quality import QualityTable
from planner.errors import ScenarioError
from planner.scenario import check_scenario, load_checked, load_scenario
from planner.scenario.check_quality import check_quality
from planner.scenario.schema.pools import Pool
from tests.scenario.samples import VALID, changed

pytestmark = pytest.mark.usefixtures("in_folder")

WriteFile = Callable[[str, str], Path]
CATALOG = load_catalog()
DTYPES = ("bf16", "fp16", "fp8", "int8", "fp4", "int4")


def pool(**fields: object) -> Pool:
    given_fields = {"name": "p", "model": "llama-3.1-8b", "node": "hgx-h100", "nodes": 1} | fields
    return Pool.model_validate(given_fields)


def with_formats(**fields: str) -> str:
    lines = "".join(f"    {field}: {value}\n" for field, value in fields.items())
    return changed("model: llama-3.1-8b\n", f"model: llama-3.1-8b\n{lines}")


def findings() -> list[str]:
    faults = check_scenario(load_scenario("q.yaml"), CATALOG)
    return [str(fault).splitlines()[0] for fault in faults]


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        (
            {"weight_dtype": "int4", "minimum_quality": "98%"},
            ["q.yaml:26:19: pools[0].weight_dtype: llama-3.1-8b with int4 weights keeps 94.3% over "
             "1 evaluation of the model itself from 1 source, and 98% is asked for by "
             "minimum_quality; passing are bf16, fp8, int8, fp4"],
        ),
        (
            {"kv_dtype": "fp8", "minimum_quality": "98%"},
            ["q.yaml:26:15: pools[0].kv_dtype: llama-3.1-8b with fp8 KV cache keeps 97.5% over "
             "1 evaluation of its family from 1 source, and 98% is asked for by minimum_quality; "
             "passing are bf16, int8"],
        ),
        (
            {"kv_dtype": "fp4", "minimum_quality": "90%"},
            ["q.yaml:26:15: pools[0].kv_dtype: no evaluation of llama-3.1-8b with fp4 KV cache is "
             "published, and 90% is asked for by minimum_quality; passing are bf16, fp8, int8, "
             "int4"],
        ),
        (
            {"weight_dtype": "fp8", "kv_dtype": "fp8", "minimum_quality": "97%"},
            ["q.yaml:28:22: pools[0].minimum_quality: llama-3.1-8b with fp8 weights and fp8 KV "
             "cache keeps 96.0% over 2 evaluations of its family from 2 sources, and 97% is asked "
             "for by minimum_quality; passing are weight_dtype: bf16 or int8 or fp4, or kv_dtype: "
             "bf16 or int8"],
        ),
        ({"weight_dtype": "fp8", "minimum_quality": "98%"}, []),
        ({"weight_dtype": "int4", "kv_dtype": "fp4"}, []),
        ({"minimum_quality": "100%"}, []),
    ],
)  # fmt: skip
def test_formats_below_the_floor_are_refused(
    write_file: WriteFile, fields: dict[str, str], messages: list[str]
) -> None:
    write_file("q.yaml", with_formats(**fields))
    assert findings() == messages


def test_both_formats_are_reported_at_once(write_file: WriteFile) -> None:
    fields = {"weight_dtype": "int4", "kv_dtype": "fp8", "minimum_quality": "99%"}
    write_file("q.yaml", with_formats(**fields))
    assert [line.split(": ")[1] for line in findings()] == [
        "pools[0].weight_dtype",
        "pools[0].kv_dtype",
    ]


def test_check_and_run_refuse_it(write_file: WriteFile, run_planner) -> None:
    write_file("q.yaml", with_formats(weight_dtype="int4", minimum_quality="98%"))
    with pytest.raises(ScenarioError, match="minimum_quality"):
        load_checked("q.yaml", CATALOG)
    for command in ("check", "run"):
        done = run_planner(command, "q.yaml")
        assert done.returncode == 2, command
        assert "q.yaml:26:19: pools[0].weight_dtype" in done.stderr


def test_a_model_published_in_a_narrow_format_loses_nothing_in_it() -> None:
    gpt = pool(model="gpt-oss-120b", weight_dtype="fp4", minimum_quality="100%")
    assert list(check_quality(gpt, CATALOG.model("gpt-oss-120b"))) == []
    deepseek = pool(model="deepseek-r1", weight_dtype="fp8", minimum_quality="99.9%")
    assert list(check_quality(deepseek, CATALOG.model("deepseek-r1"))) == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0%", "must be greater than 0"),
        ("98", "must be between 0 and 1"),
        ("101%", "must be between 0 and 1"),
        ("-1%", "must not be negative"),
        ("high", "high"),
    ],
)
def test_floors_that_make_no_sense_are_refused(
    write_file: WriteFile, value: str, message: str
) -> None:
    write_file("q.yaml", with_formats(minimum_quality=value))
    with pytest.raises(ScenarioError, match=message) as caught:
        load_scenario("q.yaml")
    assert "q.yaml:26:22: pools[0].minimum_quality" in str(caught.value)


def test_an_unknown_model_is_the_only_fault(write_file: WriteFile) -> None:
    fields = with_formats(weight_dtype="int4", minimum_quality="98%")
    write_file("q.yaml", fields.replace("model: llama-3.1-8b", "model: llama-9"))
    assert [line.split(": ")[1] for line in findings()] == ["pools[0].model"]


def test_the_sample_promises_nothing() -> None:
    assert "minimum_quality" not in VALID


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(sorted(CATALOG.models)), st.sampled_from(DTYPES), st.sampled_from(DTYPES),
    st.floats(min_value=0.0, max_value=1.0, exclude_min=True),
)  # fmt: skip
def test_a_pool_passes_exactly_if_its_share_reaches_the_floor(name, weight, cache, floor) -> None:
    model = CATALOG.model(name)
    asked = pool(model=name, weight_dtype=weight, kv_dtype=cache, minimum_quality=floor)
    kept = QualityTable.load().retention(name, weight, cache, native_dtype=model.weight_dtype)
    faults = list(check_quality(asked, model))
    assert bool(faults) == (kept is None or kept.score < floor - 1e-12)
    for _, message in faults:
        assert "passing are " in message
        assert not message.endswith("passing are "), "bf16 passes always"
