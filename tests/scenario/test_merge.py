from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import ScenarioError
from planner.scenario.merge import PathError, format_location, merge, overlay, parse_path
from planner.scenario.nodes import Node
from planner.scenario.source import parse_text


def tree(text: str, name: str = "base.yaml") -> Node:
    return parse_text(text, name).root


def merged(base: str, over: str) -> object:
    return merge(tree(base), tree(over, "over.yaml")).plain()


def assigned(base: str, path: str, value: str) -> object:
    return merge(tree(base), overlay(parse_path(path), tree(value, "over.yaml"))).plain()


POOLS = "pools: [{name: a, nodes: 1, e: {x: 1}}, {name: b, nodes: 2}]"


@pytest.mark.parametrize(
    ("base", "over", "result"),
    [
        ("{a: 1, b: {c: 1, d: 2}}", "{b: {d: 3, e: 4}}", {"a": 1, "b": {"c": 1, "d": 3, "e": 4}}),
        ("{a: [1, 2, 3]}", "{a: [4]}", {"a": [4]}),
        ("{a: 1, b: 2}", "{a: null}", {"b": 2}),
        ("{a: 1}", "{b: null}", {"a": 1, "b": None}),
        ("{a: 1}", "{a: {b: 2}}", {"a": {"b": 2}}),
        ("{a: {b: 2}}", "{a: 1}", {"a": 1}),
        ("{a: null}", "{a: {b: 2}}", {"a": {"b": 2}}),
        (
            "[{name: a, x: 1, y: 1}, {name: b, x: 2}]",
            "[{name: c, x: 3}, {name: a, x: 9}]",
            [{"name": "a", "x": 9, "y": 1}, {"name": "b", "x": 2}, {"name": "c", "x": 3}],
        ),
        ("[{name: a}, {x: 1}]", "[{name: a}]", [{"name": "a"}]),
        ("[{name: a}]", "[]", []),
        ("[{name: a, x: 1}, {name: b}]", "{a: {x: 2}}", [{"name": "a", "x": 2}, {"name": "b"}]),
        ("[{name: a}, {name: b}]", "{a: null}", [{"name": "b"}]),
        ("[1, 2]", "{'1': 5}", [1, 5]),
    ],
)
def test_merge(base: str, over: str, result: object) -> None:
    assert merged(base, over) == result


@pytest.mark.parametrize(
    ("base", "over", "result"),
    [
        ("{quantiles: {p1: 1}, minimum: 2}", "{fixed: 5}", {"fixed": 5, "minimum": 2}),
        ("{fixed: 4}", "{fixed: 5}", {"fixed": 5}),
        ("{fixed: 4}", "{minimum: 5}", {"fixed": 4, "minimum": 5}),
        ("{open: {rate: 1}, pool: a}", "{closed: {clients: 2}}",
         {"pool": "a", "closed": {"clients": 2}}),
        ("{fixed: 4}", "{fixed: null, preset: x}", {"preset": "x"}),
    ],
)  # fmt: skip
def test_a_new_alternative_replaces_the_inherited_one(base: str, over: str, result: object) -> None:
    assert merged(base, over) == result


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("pools.a.nodes", "7",
         [{"name": "a", "nodes": 7, "e": {"x": 1}}, {"name": "b", "nodes": 2}]),
        ("pools[1].nodes", "7",
         [{"name": "a", "nodes": 1, "e": {"x": 1}}, {"name": "b", "nodes": 7}]),
        ("pools.a.e", "{y: 2}",
         [{"name": "a", "nodes": 1, "e": {"x": 1, "y": 2}}, {"name": "b", "nodes": 2}]),
        ("pools.b.e.z.w", "1",
         [{"name": "a", "nodes": 1, "e": {"x": 1}},
          {"name": "b", "nodes": 2, "e": {"z": {"w": 1}}}]),
        ("pools.a", "null", [{"name": "b", "nodes": 2}]),
        ("pools", "[]", []),
    ],
)  # fmt: skip
def test_assign(path: str, value: str, expected: object) -> None:
    assert assigned(POOLS, path, value) == {"pools": expected}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("pools.aa.nodes", "pools: there is no item named 'aa'; choose one of a, b"),
        ("pools[2].nodes", "pools: there is no item [2]; the list has 2, the first is [0]"),
    ],
)
def test_assigning_to_nothing_is_a_fault(path: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=re.escape(message)):
        assigned(POOLS, path, "1")


def test_places_stay_with_the_layer_that_won() -> None:
    node = merge(tree("a: 1\nb: {c: 1, d: 2}\n"), tree("\n\nb: {d: 3}\n", "over.yaml"))
    places = {key: node.follow(key)[0].place[:2] for key in [("a",), ("b", "c"), ("b", "d")]}
    assert places == {
        ("a",): ("base.yaml", 1),
        ("b", "c"): ("base.yaml", 2),
        ("b", "d"): ("over.yaml", 3),
    }


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("a", ("a",)),
        ("a.b[0].c", ("a", "b", 0, "c")),
        ("pools[llama-3.1].nodes", ("pools", "llama-3.1", "nodes")),
        ('pools["llama-3.1"].nodes', ("pools", "llama-3.1", "nodes")),
    ],
)
def test_parse_path(path: str, steps: tuple[str | int, ...]) -> None:
    assert parse_path(path) == steps


@pytest.mark.parametrize("path", ["", ".a", "a..b", "a.", "a[", "a]", "a[]", "[", "a[0", "."])
def test_malformed_paths(path: str) -> None:
    with pytest.raises(PathError):
        parse_path(path)


NAME = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)


@given(st.lists(NAME | st.integers(0, 999), min_size=1, max_size=6))
def test_paths_round_trip(steps: list[str | int]) -> None:
    location = ("root", *steps)
    assert parse_path(format_location(location)) == location


DATA = st.recursive(
    st.integers() | NAME,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAME, inner, max_size=3),
)


@given(DATA)
def test_merging_a_tree_over_itself_changes_nothing(data: object) -> None:
    node = tree(repr(data))
    assert merge(node, node).plain() == data


@given(DATA)
def test_merging_over_nothing_gives_the_tree(data: object) -> None:
    assert merge(tree("null"), tree(repr(data))).plain() == data
