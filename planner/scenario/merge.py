"""How one layer of a scenario lies over another: deep merge, and assignment by dotted path.

The rules, which hold for `extends`, `overrides` and `--set` alike:

- mappings merge key by key; anything else replaces what was there;
- lists of named items merge item by item, by `name`; new names go to the end;
- `null` removes the inherited value, or the named item of a list;
- one of several alternatives (a length's `fixed` over an inherited `quantiles`) drops the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from planner.errors import ScenarioError, did_you_mean, shown
from planner.scenario.nodes import Location, Node
from planner.scenario.schema.fields import ALTERNATIVES

_STEP = re.compile(r"\.([^.\[\]]+)|\[([^\[\]]*)\]")


class PathError(ValueError):
    """A dotted path is malformed, or leads nowhere; the message says where it failed."""


def format_location(location: Location) -> str:
    """Return a location as messages write it.

    >>> format_location(("pools", 0, "engine", "token_budget"))
    'pools[0].engine.token_budget'
    """
    text = ""
    for step in location:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.fullmatch(r"[^.\[\]\s]+", step):
            text += f".{step}" if text else step
        else:
            text += f"[{shown(step)}]"
    return text


def parse_path(path: str) -> Location:
    """Split a dotted path; a name that holds dots goes into brackets.

    Raises:
        PathError: the path is empty or malformed.

    >>> [parse_path(path) for path in ("pools.chat.nodes", "pools[0].nodes", "pools[v3.1].nodes")]
    [('pools', 'chat', 'nodes'), ('pools', 0, 'nodes'), ('pools', 'v3.1', 'nodes')]
    """
    steps: list[str | int] = []
    position, text = 0, f".{path}"
    while path and position < len(text):
        match = _STEP.match(text, position)
        if match is None:
            raise PathError(f"{shown(path)} is not a path; write for example pools.chat.nodes")
        key, bracket = match.groups()
        inner = (bracket or "").strip("'\"")
        if bracket is not None and not inner:
            raise PathError(f"{shown(path)} has empty brackets; write a name or a number into them")
        steps.append(key.strip() if key else int(inner) if _is_index(inner) else inner)
        position = match.end()
    if not steps:
        raise PathError("the path is empty; write for example pools.chat.nodes")
    return tuple(steps)


def _is_index(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,6}", text) is not None


def overlay(steps: Location, value: Node) -> Node:
    """Return a tree of mappings that leads along `steps` to `value`, for `merge`."""
    head = value.head
    node = replace(value, key_place=head)
    for step in reversed(steps):
        node = Node({str(step): node}, head, head, node.size + 1)
    return node


def merge(base: Node, over: Node, where: Location = ()) -> Node:
    """Return `over` laid over `base`; neither changes. Places stay those of the layer that won.

    Args:
        base: the tree below.
        over: the tree on top. A mapping over a list addresses its items by name or index.
        where: location of both, for messages.

    Raises:
        ScenarioError: `over` addresses an item that a list does not have.
    """
    if isinstance(base.value, dict) and isinstance(over.value, dict):
        return replace(base, value=_merge_mappings(base.value, over.value, where))
    if isinstance(base.value, list) and isinstance(over.value, dict):
        return replace(base, value=_merge_addressed(base.value, over.value, where))
    if _all_named(base) and _all_named(over):
        return replace(base, value=_merge_named(base, over, where))
    return over


def _merge_mappings(
    base: Mapping[str, Node], over: Mapping[str, Node], where: Location
) -> dict[str, Node]:
    rivals = _rivals(over)
    result = {key: node for key, node in base.items() if key not in rivals}
    for key, node in over.items():
        if key not in result:
            result[key] = node
        elif node.value is None:
            del result[key]
        else:
            result[key] = merge(result[key], node, (*where, key))
    return result


def _rivals(over: Mapping[str, Node]) -> set[str]:
    """Return the keys that go when `over` is laid on top: alternatives to one that it gives."""
    rivals: set[str] = set()
    for group in ALTERNATIVES:
        if any(key in over and over[key].value is not None for key in group):
            rivals |= group - over.keys()
    return rivals


def _merge_named(base: Node, over: Node, where: Location) -> list[Node]:
    assert isinstance(base.value, list)
    assert isinstance(over.value, list)
    result = list(base.value)
    for item in over.value:
        index = _index_of(result, _name(item))
        if index is None:
            result.append(item)
        else:
            result[index] = merge(result[index], item, (*where, index))
    return result


def _merge_addressed(base: list[Node], over: Mapping[str, Node], where: Location) -> list[Node]:
    result: list[Node | None] = list(base)
    for key, node in over.items():
        index = _address(base, key, node, where)
        removed = node.value is None
        result[index] = None if removed else merge(base[index], node, (*where, index))
    return [item for item in result if item is not None]


def _address(items: list[Node], key: str, node: Node, where: Location) -> int:
    """Return the index of the item that `key`, a name or an index, stands for."""
    index = _index_of(items, key)
    if index is not None:
        return index
    if _is_index(key) and int(key) < len(items):
        return int(key)
    names = [name for item in items if (name := _name(item))]
    if _is_index(key):
        message = f"there is no item [{key}]; the list has {len(items)}, the first is [0]"
    else:
        advice = did_you_mean(key, names) or "address its items by index, as in [0]"
        message = f"there is no item named {shown(key)}; {advice}"
    raise ScenarioError([node.head.fault(message, format_location(where))])


def _all_named(node: Node) -> bool:
    items = node.value
    return isinstance(items, list) and len(items) > 0 and all(map(_name, items))


def _name(node: Node) -> str | None:
    """Return the `name` of a list item, if it has one."""
    if not isinstance(node.value, dict) or "name" not in node.value:
        return None
    name = node.value["name"].value
    return name if isinstance(name, str) else None


def _index_of(items: list[Node], name: str | None) -> int | None:
    return next((i for i, item in enumerate(items) if _name(item) == name), None)
