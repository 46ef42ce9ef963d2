"""The project's source as syntax trees, for the rules that are programs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Import:
    """One imported name."""

    target: str
    """Dotted name as written, as in `planner.curves.memory.memory_plan`."""
    line: int
    typing_only: bool
    """Under `if TYPE_CHECKING`: seen by the type checker, never run."""


@dataclass(frozen=True)
class Module:
    """One Python file."""

    path: str
    """From the project's root, with forward slashes."""
    text: str

    @property
    def name(self) -> str:
        """Dotted name."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @cached_property
    def tree(self) -> ast.Module:
        """Syntax tree."""
        return ast.parse(self.text, self.path)

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """Every import at any depth, so that a lazy one counts as well."""
        return tuple(_imports(self.tree, typing_only=False))

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        """Walk over every function and method at any depth."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


def _imports(node: ast.AST, *, typing_only: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Import():
                for alias in child.names:
                    yield Import(alias.name, child.lineno, typing_only)
            case ast.ImportFrom():
                for alias in child.names:
                    yield Import(f"{child.module}.{alias.name}", child.lineno, typing_only)
            case ast.If(test=ast.Name("TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                yield from _imports(ast.Module(child.body, []), typing_only=True)
                yield from _imports(ast.Module(child.orelse, []), typing_only=typing_only)
            case _:
                yield from _imports(child, typing_only=typing_only)


@cache
def modules(folder: str) -> tuple[Module, ...]:
    """Read every Python file under a folder of the project, once for all rules."""
    return tuple(
        Module(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / folder).rglob("*.py"))
    )


def project_files() -> list[Path]:
    """List the files that are, or are about to be, under version control."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive
        found = (path for path in ROOT.rglob("*") if not _is_hidden_or_built(path))
    else:
        found = (ROOT / name for name in listed.stdout.split("\0") if name)
    return sorted(path for path in found if path.is_file())


def _is_hidden_or_built(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    return any(part.startswith(".") or part in {"__pycache__", "build", "dist"} for part in parts)


def violations(rule: Callable[[Module], Iterable[str]], checked: Iterable[Module]) -> str:
    """Apply a rule to every module and return what it finds, one `path:line: message` per line."""
    return "\n".join(f"{module.path}:{found}" for module in checked for found in rule(module))


def is_installed_with_python(package: str) -> bool:
    """Tell whether a top-level module belongs to the standard library."""
    return package in sys.stdlib_module_names
