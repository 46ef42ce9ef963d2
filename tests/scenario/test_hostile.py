"""Whatever the text, the outcome is a scenario or faults that have a place."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.catalog import load_catalog
from planner.errors import ScenarioError
from planner.scenario import load_checked
from planner.scenario.source import parse_text
from tests.scenario.samples import VALID

CATALOG = load_catalog()
LINES = VALID.splitlines(keepends=True)
many = settings(
    max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)

FRAGMENTS = st.sampled_from(
    [
        "null", "true", "-1", "0", "1e999", ".inf", ".nan", "9" * 390, "'", '"', "[", "]", "{",
        "}",
        ": ", "- ", "*a", "&a ", "<<: ", "!!int ", "|\n", ">\n", "# ", "\t", "\n", "  ", "%",
        "---\n", "101%",
        "extends: q.yaml\n", "overrides: {a: {b: c}}\n", "name: x\n", "12:30", "5 s", "1 /s",
        "\u2028", "\x00", "é", "\U0001f600", "hgx-a100", "[[[[", "1e-320 /s", "100 year",
    ]
)  # fmt: skip
VALUES = st.sampled_from(
    [
        "null", "true", "-1", "0", "3", "2.5", "1e999", ".nan", "9" * 390, "''", "text", "[]", "{}",
        "[1, 2]", "{a: 1}", "[{name: a}]", "5 s", "1 /s", "1e-300 /s", "15%", "100 year", "1 ns",
        "12:30", "hgx-h100", "gb200-nvl72", "deepseek-v3", "fp8", "int4", "'a\\0b'", '"\\e[0m"',
        "1000000", "65536",
    ]
)  # fmt: skip


def outcome(raw: bytes, folder: Path, sets: list[str] | None = None) -> str:
    """Load and check; anything but a scenario or placed faults fails the test."""
    path = folder / "q.yaml"
    path.write_bytes(raw)
    try:
        loaded = load_checked(path, CATALOG, sets=sets or ())
    except ScenarioError as error:
        caught = error
    else:
        assert loaded.data
        return "scenario"
    lines = len(re.split(r"\r\n|\r|\n", raw.decode("utf-8", "replace")))
    assert caught.faults
    for fault in caught.faults:
        assert 1 <= fault.line <= lines or fault.file.startswith("--set"), fault
        assert fault.column >= 1 or not fault.line
        assert fault.message
    assert len(str(caught)) < 200_000
    assert "\x1b" not in str(caught)
    return "faults"


@many
@given(st.binary(max_size=300))
def test_any_bytes(tmp_path: Path, raw: bytes) -> None:
    outcome(raw, tmp_path)


@many
@given(st.text(max_size=300))
def test_any_text(tmp_path: Path, text: str) -> None:
    outcome(text.encode("utf-8", "surrogatepass"), tmp_path)


@many
@given(st.lists(FRAGMENTS, max_size=30).map("".join))
def test_any_yaml_like_text(tmp_path: Path, text: str) -> None:
    outcome(text.encode(), tmp_path)


@many
@given(st.data())
def test_a_valid_file_with_something_put_in(tmp_path: Path, data: st.DataObject) -> None:
    text = VALID
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 20)))
        text = text[:start] + data.draw(FRAGMENTS) + text[end:]
    outcome(text.encode(), tmp_path)


@many
@given(st.data())
def test_a_valid_file_with_lines_moved(tmp_path: Path, data: st.DataObject) -> None:
    lines = list(LINES)
    for _ in range(data.draw(st.integers(1, 4))):
        line = lines.pop(data.draw(st.integers(0, len(lines) - 1)))
        for _ in range(data.draw(st.integers(0, 2))):
            lines.insert(data.draw(st.integers(0, len(lines))), line)
    outcome("".join(lines).encode(), tmp_path)


def paths(data: object, prefix: str = "") -> list[str]:
    """Return the dotted paths of everything in the data."""
    entries: list[tuple[str, object]] = []
    if isinstance(data, dict):
        entries = [(f"{prefix}.{key}" if prefix else key, value) for key, value in data.items()]
    elif isinstance(data, list):
        entries = [(f"{prefix}[{index}]", value) for index, value in enumerate(data)]
    return [p for path, value in entries for p in (path, *paths(value, path))]


PATHS = paths(parse_text(VALID, "q.yaml").data)
FIELDS = [
    *PATHS, "pools.big.engine", "pools.big.engine.token_budget", "pools.small.weight_dtype",
    "pools.small.expert_parallel", "pools.big.data_parallel", "pools.big.pipeline_parallel",
    "workload.window", "workload.trace", "workload.classes.chat.sessions", "prices.power",
    "workload.classes.chat.open.shape", "workload.classes.chat.trace.file",
    "pools.big.engine.kv_blocks",
    "workload.classes.chat.input.preset", "prices.plans.api.api_price", "prices.default_terms",
    "workload.classes.chat.input.maximum", "pools.small.engine.memory_fraction",
]  # fmt: skip


@many
@given(st.lists(st.tuples(st.sampled_from(FIELDS), VALUES), min_size=1, max_size=4))
def test_a_valid_file_with_values_replaced(tmp_path: Path, changes: list[tuple[str, str]]) -> None:
    outcome(VALID.encode(), tmp_path, [f"{path}={value}" for path, value in changes])


def test_the_valid_file_itself(tmp_path: Path) -> None:
    assert outcome(VALID.encode(), tmp_path) == "scenario"


@many
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=20,
    ),
    st.booleans(),
)
def test_what_an_emitter_quotes_and_tags_is_read_back(data: object, flow: bool) -> None:
    text = yaml.safe_dump(data, default_flow_style=flow, default_style='"')
    try:
        document = parse_text(text, "q.yaml")
    except ScenarioError:  # an escape for something that text cannot hold
        assert any(not character.isprintable() for character in str(data))
    else:
        assert document.faults or document.data == data
