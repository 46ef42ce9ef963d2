"""What the shell offers where a name is due, after `planner --install-completion`.

A callback runs while the user waits for the tab key: it reads the catalogue or the scenario's YAML
and nothing else. Whatever is wrong with a file is no matter here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

Completer = Callable[[str], list[str]]


def _starting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def catalog_names(*parts: str) -> Completer:
    """Return a completer of the names in parts of the catalogue.

    Args:
        parts: attributes of the catalogue, as `models`.
    """

    def complete(incomplete: str) -> list[str]:
        from planner.catalog import load_catalog

        catalog = load_catalog()
        return _starting((name for part in parts for name in getattr(catalog, part)), incomplete)

    return complete


def variant_names(section: str) -> Completer:
    """Return a completer of the names that a section of the scenarios on the line has.

    Args:
        section: `overrides` or `scenarios`.
    """

    def complete(incomplete: str) -> list[str]:
        files = (word for word in _line().split() if word.endswith((".yaml", ".yml")))
        names = (name for file in files for name in _section(file, section))
        return _starting(dict.fromkeys(names), incomplete)

    return complete


def _line() -> str:
    """Return the line so far, as the shell hands it over.

    What is parsed of it does not say: an option without its value ends that before a file is
    reached.
    """
    return os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS", "")


def _section(file: Path | str, section: str) -> Iterable[str]:
    """Return the names in a section of a YAML file, if it can be read."""
    import yaml

    try:
        document = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return ()
    found = document.get(section) if isinstance(document, dict) else None
    return [str(name) for name in found] if isinstance(found, dict) else ()


def length_families(incomplete: str) -> list[str]:
    """Return the shipped pairs of prompt and answer lengths that begin so."""
    from planner.trace.library import length_pairs

    return _starting(length_pairs(), incomplete)
