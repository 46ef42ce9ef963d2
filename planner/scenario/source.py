"""Scenario text, from a file or an option, becomes a tree of nodes; or faults with places."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from planner.errors import Fault, ScenarioError, did_you_mean
from planner.scenario.nodes import Location, Node, Place, Places
from planner.scenario.yaml_tree import TreeBuilder

MAXIMUM_BYTES = 4 * 2**20
_SCENARIO: Final = re.compile(r"^(schema\s*:\s*[\"']?planner/|extends\s*:)", re.MULTILINE)


def is_scenario(path: Path) -> bool:
    """Tell whether a file means to be a scenario; other YAML lies beside them, as price tables do.

    Raises:
        OSError: it cannot be read.
    """
    return _SCENARIO.search(path.read_text(encoding="utf-8", errors="replace")) is not None


@dataclass(frozen=True)
class Document:
    """A parsed file: its nodes, and the faults found while reading it."""

    path: str
    text: str
    root: Node
    faults: list[Fault] = field(default_factory=list)

    @property
    def data(self) -> object:
        """The document as plain Python data."""
        return self.root.plain()

    def mark(self, location: Location) -> tuple[int, int]:
        """Return line and column, from 1, of the value at `location` or of what encloses it."""
        node, _ = self.root.follow(location)
        return node.place.line, node.place.column


def read_document(path: str) -> Document:
    """Read and parse a YAML file.

    Raises:
        ScenarioError: the file cannot be read, is not UTF-8 text, or is not YAML. Faults that leave
            a usable tree (repeated keys, unknown tags) are in `Document.faults` instead.
    """
    return parse_text(_read_text(path), path)


def parse_text(text: str, name: str) -> Document:
    """Parse YAML text; `name` stands for the file in messages. Raises as `read_document`."""
    builder = TreeBuilder(text, name)
    return Document(name, text, builder.document(), builder.faults)


def parse_option(text: str, option: str) -> Node:
    """Parse the value of a command-line option; every node's place is the option itself."""
    builder = TreeBuilder(text, option, is_option=True)
    root = builder.document()
    if builder.faults:
        raise ScenarioError(builder.faults)
    return root


def _read_text(path: str) -> str:
    place = Place(path)
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAXIMUM_BYTES + 1)
    except IsADirectoryError:
        is_result = (Path(path) / "result.json").is_file()
        stored = "is the folder of a result, which `planner cost` reads; name a scenario file"
        message = stored if is_result else "is a folder; name a scenario file in it"
        raise ScenarioError([place.fault(message)]) from None
    except FileNotFoundError:
        raise ScenarioError([place.fault(f"no such file{_similar_files(path)}")]) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ScenarioError([place.fault(f"cannot be read: {reason}")]) from None
    if len(raw) > MAXIMUM_BYTES:
        message = (
            f"is larger than {MAXIMUM_BYTES >> 20} MiB; a scenario is short text, is this a trace?"
        )
        raise ScenarioError([place.fault(message)])
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ScenarioError([Place(path, 1, 1).fault("is UTF-16 text; save it as UTF-8")])
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"byte 0x{raw[error.start]:02x} is not UTF-8 text; save the file as UTF-8"
        offset = len(raw[: error.start].decode("utf-8"))
        at = Places(raw.decode("utf-8", "replace"), path).at(offset)
        raise ScenarioError([at.fault(message)]) from None


def _similar_files(path: str) -> str:
    """Return a suggestion from the YAML files next to a missing one."""
    try:
        names = sorted(entry.name for entry in Path(path).parent.iterdir())
    except (OSError, ValueError):
        return ""
    advice = did_you_mean(Path(path).name, [n for n in names if n.endswith((".yaml", ".yml"))])
    return f"; {advice or 'check the path; `planner init` writes a first scenario'}"
