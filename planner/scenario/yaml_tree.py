"""YAML events → nodes. PyYAML scans and parses; what the text means is decided here.

PyYAML follows YAML 1.1, in which `NO` is false, `12:30` is 750, `1e9` is text and the last of two
equal keys wins. Here the core schema of YAML 1.2 holds, and a repeated key is a fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import NoReturn

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from planner.errors import Fault, ScenarioError, did_you_mean, shown
from planner.scenario.nodes import Node, Place, Places, Scalar
from planner.scenario.scalars import TAG_KINDS, is_number, kind_of, resolve_scalar

MAXIMUM_DEPTH = 64
MAXIMUM_NODES = 500_000
"""Nodes after aliases are expanded: a few lines of YAML can stand for billions."""
_MAXIMUM_DIGITS = 400

_TAG = "tag:yaml.org,2002:"
_ALLOWED = "\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff"
_FORBIDDEN = re.compile(f"[^{_ALLOWED}]")
"""Characters that YAML forbids, and the three (NEL, LS, PS) that YAML 1.1 took for line breaks."""
_FORBIDDEN_VALUE = re.compile("[\x00\ud800-\udfff]")
"""What an escape in double quotes can bring in and no file system or terminal can take."""


class TreeBuilder:
    """Builds nodes from parse events; a `yaml` constructor would lose places and repeated keys."""

    def __init__(self, text: str, name: str, *, is_option: bool = False) -> None:
        self.faults: list[Fault] = []
        self._places = Places(text, name, is_option=is_option)
        self._text = text
        self._anchors: dict[str, Node | None] = {}
        self._depth = 0

    def document(self) -> Node:
        """Return the root of the only document; ScenarioError if the text is not YAML."""
        if match := _FORBIDDEN.search(self._text, 1 if self._text.startswith("\ufeff") else 0):
            code = f"U+{ord(match.group()):04X}"
            message = f"character {code} is not allowed in YAML; delete or replace it"
            raise self._stopped(match.start(), message)
        self._events = self._parse_events()
        next(self._events)  # start of the stream
        first = next(self._events)
        if not isinstance(first, DocumentStartEvent):
            return Node(None, self._places.at(0))
        if first.version and first.version != (1, 2):
            found = ".".join(map(str, first.version))
            self._fault(
                first, f"this file says YAML {found}; scenarios are YAML 1.2: delete the line"
            )
        root = self._node(next(self._events))
        next(self._events)  # end of the document
        if isinstance(second := next(self._events), DocumentStartEvent):
            self._fault(second, "a second document starts here; a scenario is one document")
        return root

    def _parse_events(self) -> Iterator[yaml.Event]:
        """Yield parse events, turning every way in which PyYAML fails into a fault with a place."""
        loader = yaml.SafeLoader("")
        try:
            loader = yaml.SafeLoader(self._text)
            while loader.check_event():
                yield loader.get_event()  # type: ignore[no-untyped-call]
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark or loader.get_mark()
            raise self._stopped(mark.index, self._explain(error, mark)) from None
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            # PyYAML lets "\UFFFFFFFF" and endless version numbers through to chr() and int()
            raise self._stopped(loader.get_mark().index, f"is not YAML: {error}") from None
        finally:
            loader.dispose()

    def _explain(self, error: yaml.MarkedYAMLError, mark: yaml.Mark) -> str:
        problem = error.problem or error.context or "is not YAML"
        if "'\\t'" in problem or "tab character" in problem:
            return "a tab where YAML needs spaces; replace it with spaces"
        if problem == "mapping values are not allowed here":
            return "a second ':' on the line, or wrong indentation; quote text that holds ': '"
        if problem.startswith("found character"):
            return f"{problem.removeprefix('found ')}; put the text in quotes"
        context = ""
        if error.context and error.context_mark and error.context_mark.index != mark.index:
            place = self._places.at(error.context_mark.index)
            start = f", begun at line {place.line}" if place.line else ""
            context = f" ({error.context}{start})"
        return f"{problem}{context}; check indentation, brackets and quotes"

    # --- nodes ---

    def _node(self, event: yaml.Event) -> Node:
        if isinstance(event, AliasEvent):
            return self._alias(event)
        assert isinstance(event, NodeEvent)
        if event.anchor is not None:
            self._anchors[event.anchor] = None  # open: an alias inside would contain itself
        if isinstance(event, ScalarEvent):
            node = Node(self._scalar(event), self._place(event))
        else:
            self._depth += 1
            if self._depth > MAXIMUM_DEPTH:
                self._stop(event, f"nested deeper than {MAXIMUM_DEPTH} levels")
            node = (
                self._mapping(event) if isinstance(event, MappingStartEvent) else self._list(event)
            )
            self._depth -= 1
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: AliasEvent) -> Node:
        name = event.anchor or ""
        if name not in self._anchors:
            advice = did_you_mean(name, self._anchors) or "define it first"
            self._fault(event, f"no anchor &{name} above; {advice}")
        elif (node := self._anchors[name]) is None:
            self._fault(event, f"*{name} stands inside &{name} and would never end")
        else:
            return node
        return Node(None, self._place(event))

    def _list(self, event: NodeEvent) -> Node:
        assert isinstance(event, SequenceStartEvent)
        self._expect_tag(event, "seq")
        items: list[Node] = []
        size = 1
        while not isinstance(item := next(self._events), SequenceEndEvent):
            items.append(self._node(item))
            size = self._grown(event, size + items[-1].size)
        return Node(items, self._place(event), size=size)

    def _mapping(self, event: MappingStartEvent) -> Node:
        self._expect_tag(event, "map")
        own: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        size = 1
        while not isinstance(key_event := next(self._events), MappingEndEvent):
            key = self._key(key_event)
            node = self._node(next(self._events))
            size = self._grown(event, size + node.size)
            if key == "<<" and isinstance(key_event, ScalarEvent) and not key_event.style:
                merged = self._merged(key_event, node) | merged
            elif key is not None and key in own:
                first = own[key].head
                place = f" at line {first.line}" if first.line else ""
                self._fault(
                    key_event, f"key {shown(key)} is already given{place}; keep one of them"
                )
            elif key is not None:
                own[key] = replace(node, key_place=self._place(key_event))
        return Node(merged | own if merged else own, self._place(event), size=size)

    def _merged(self, event: ScalarEvent, node: Node) -> dict[str, Node]:
        """Return the pairs that a merge key `<<` brings in; earlier mappings win."""
        result: dict[str, Node] = {}
        sources = node.value if isinstance(node.value, list) else [node]
        for source in sources:
            if isinstance(source.value, dict):
                result = source.value | result
            else:
                self._fault(event, "<< merges mappings; write << : *anchor")
        return result

    def _key(self, event: yaml.Event) -> str | None:
        """Return a key, or None after a fault."""
        node = self._node(event)
        if isinstance(node.value, str):
            return node.value
        if isinstance(node.value, (dict, list)):
            self._fault(event, "a list or mapping cannot be a key; put the text in quotes")
        elif isinstance(event, ScalarEvent):
            kind = "empty" if node.value is None else f"a {kind_of(node.value)}"
            self._fault(
                event, f"key {shown(event.value)} is {kind}; put it in quotes to make it text"
            )
        return None

    def _grown(self, event: yaml.Event, size: int) -> int:
        if size > MAXIMUM_NODES:
            message = f"stands for more than {MAXIMUM_NODES:,} values once aliases are expanded"
            self._stop(event, message)
        return size

    # --- scalars and tags ---

    def _scalar(self, event: ScalarEvent) -> Scalar:
        text = event.value
        if _FORBIDDEN_VALUE.search(text):
            self._fault(event, "an escape stands for a character that text cannot hold; delete it")
            return ""
        tag = event.tag
        if tag is None or tag == "!":
            is_plain = not event.style and tag is None
            return self._number_or_text(event, text) if is_plain else text
        name = tag.removeprefix(_TAG)
        if name == "str":
            return text
        if name not in TAG_KINDS:
            self._unknown_tag(event)
            return text
        value = self._number_or_text(event, text)
        if name == "float" and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if kind_of(value) != TAG_KINDS[name]:
            self._fault(
                event, f"{shown(text)} is not a {TAG_KINDS[name]}, as its tag !!{name} says"
            )
        return value

    def _number_or_text(self, event: ScalarEvent, text: str) -> Scalar:
        if len(text) > _MAXIMUM_DIGITS and is_number(text):
            self._fault(
                event, f"a number of {len(text)} characters; write at most {_MAXIMUM_DIGITS}"
            )
            return None
        return resolve_scalar(text)

    def _expect_tag(self, event: NodeEvent, name: str) -> None:
        tag = getattr(event, "tag", None)
        if tag not in (None, "!", f"{_TAG}{name}"):
            self._unknown_tag(event)

    def _unknown_tag(self, event: NodeEvent) -> None:
        tag = str(getattr(event, "tag", "")).replace(_TAG, "!!")
        self._fault(event, f"tag {tag} has no meaning here; delete it")

    # --- faults ---

    def _place(self, event: yaml.Event) -> Place:
        mark = event.start_mark
        return self._places.at(mark.index if mark else 0)

    def _fault(self, event: yaml.Event, message: str) -> None:
        self.faults.append(self._place(event).fault(message))

    def _stopped(self, offset: int, message: str) -> ScenarioError:
        return ScenarioError([*self.faults, self._places.at(offset).fault(message)])

    def _stop(self, event: yaml.Event, message: str) -> NoReturn:
        raise ScenarioError([*self.faults, self._place(event).fault(message)])
