"""What the shell offers where a name is due, after `planner --install-completion`.

A callback runs while the user waits for the tab key: it reads the catalogue or the scenario's YAML
and nothing else. Whatever is wrong with a file is no matter here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import typer

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


def variant_names(section: str) -> Callable[[typer.Context, str], list[str]]:
    """Return a completer of the names that a section of the scenario on the line has.

    Args:
        section: `overrides` or `scenarios`.
    """

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        given = ctx.params.get("file") or ctx.params.get("files") or ()
        files = given if isinstance(given, (list, tuple)) else [given]
        names = (name for file in files for name in _section(file, section))
        return _starting(dict.fromkeys(names), incomplete)

    return complete


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
    from planner.starter.traffic import preset_families

    return _starting(preset_families(), incomplete)
