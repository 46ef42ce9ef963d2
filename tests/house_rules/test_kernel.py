"""How compiled code is written, so that it runs the same as plain Python and stays fast."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.house_rules.sources import ROOT, Module, modules, violations

DECORATORS = {"planner.kernel.jit.kernel", "planner.kernel.jit.outlined"}
COMPILER = {"planner.kernel.jit", "planner.kernel.pointer"}
"""Modules that tell Numba how to compile the others."""
ARRAYS_AT_MOST = 6
REDUCTIONS = {"sum", "mean", "std", "var", "cumsum", "prod", "dot"}


def compiled_modules() -> list[Module]:
    """List the modules that compile; the others of the folder prepare arrays for them.

    A function cannot slip through: Numba refuses to compile a call of one that is not compiled.
    """
    return [
        module
        for module in modules("planner/kernel")
        if any(imported.target in DECORATORS for imported in module.imports)
    ]


def array_names() -> set[str]:
    """Return the names of the kernel's type aliases that stand for an array."""
    return {
        target.id
        for module in modules("planner/kernel")
        for node in module.tree.body
        if isinstance(node, ast.Assign) and "NDArray[" in ast.unparse(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


ARRAY_NAMES = array_names()


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, str]:
    """Return name and annotation of every parameter."""
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return {one.arg: ast.unparse(one.annotation) if one.annotation else "" for one in every if one}


def is_array(annotation: str) -> bool:
    """Tell whether an annotation is that of an array."""
    return "NDArray[" in annotation or annotation in ARRAY_NAMES


def undecorated_functions(module: Module) -> Iterator[str]:
    """Find functions without one of the project's two decorators, or with another."""
    for function in module.functions():
        if [ast.unparse(one) for one in function.decorator_list] not in (["kernel"], ["outlined"]):
            yield f"{function.lineno}: {function.name} needs @kernel or @outlined and no other"


def crowded_functions(module: Module) -> Iterator[str]:
    """Find functions that take too many arrays besides the `World`, which holds them all."""
    for function in module.functions():
        given = parameters(function)
        arrays = [name for name, annotation in given.items() if is_array(annotation)]
        if len(arrays) > ARRAYS_AT_MOST:
            yield (
                f"{function.lineno}: {function.name} takes {len(arrays)} arrays "
                f"({', '.join(arrays)}), more than {ARRAYS_AT_MOST}: split it"
            )


def untranslatable_code(module: Module) -> Iterator[str]:
    """Find statements and calls that compiled and plain Python do not treat alike."""
    for node in ast.walk(module.tree):
        match node:
            case ast.Raise() | ast.Assert() | ast.Try() | ast.Global() | ast.Nonlocal():
                found = (
                    f"`{type(node).__name__.lower()}`: return a status, the engine makes the error"
                )
            case ast.Call(func=ast.Attribute(attr=name)) if name in REDUCTIONS:
                found = (
                    f"`.{name}()` differs in the last bits from an explicit loop: write the loop"
                )
            case ast.Call(func=function) if ast.unparse(function).startswith("np.random."):
                found = "random numbers come from a Generator that is passed in"
            case _:
                continue
        yield f"{node.lineno}: {found}"


def column_accesses(module: Module) -> Iterator[str]:
    """Find `array["field"][i]`, which costs about five times `array[i]["field"]`."""
    for function in module.functions():
        arrays = {name for name, given in parameters(function).items() if is_array(given)}
        for node in ast.walk(function):
            match node:
                case ast.Subscript(
                    value=ast.Subscript(
                        value=ast.Name(id=name), slice=ast.Constant(value=str() as field)
                    )
                ) if name in arrays:
                    yield f'{node.lineno}: {name}["{field}"][…]: write {name}[…]["{field}"]'


def numba_imports(module: Module) -> Iterator[str]:
    """Find compile flags that are set anywhere but in the two decorators."""
    if module.name in COMPILER:
        return
    for imported in module.imports:
        if imported.target.partition(".")[0] == "numba":
            yield f"{imported.line}: numba belongs to planner/kernel/jit.py and pointer.py"


RULES = [
    undecorated_functions,
    crowded_functions,
    untranslatable_code,
    column_accesses,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_compiled_modules_keep_the_rule(rule) -> None:
    assert not (found := violations(rule, compiled_modules())), found


def test_compile_flags_are_set_in_one_place() -> None:
    assert compiled_modules(), f"no module imports {DECORATORS}"
    assert not (found := violations(numba_imports, modules("planner/kernel"))), found


def test_kernels_with_and_without_bounds_check_are_cached_apart() -> None:
    command = "from planner.kernel.jit import cache_folder; print(cache_folder())"
    folders = {
        subprocess.run(
            [sys.executable, "-c", command],
            cwd=ROOT,
            env={**os.environ, "NUMBA_BOUNDSCHECK": switch},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for switch in ("0", "1")
    }
    assert len(folders) == 2, "the bounds-checked lane would run code compiled without checks"


def test_nothing_is_hidden_from_coverage() -> None:
    hidden = [one.path for one in modules("planner/kernel") if "pragma: no cover" in one.text]
    assert not hidden, f"the pure lane must reach every branch of {hidden}"


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (undecorated_functions, "def step(now_s: float) -> None: ..."),
        (undecorated_functions, "@njit\ndef step(now_s: float) -> None: ..."),
        (
            crowded_functions,
            f"def f({', '.join(f'a{i}: NDArray[np.void]' for i in range(7))}): ...",
        ),
        (untranslatable_code, "def f():\n    raise ValueError"),
        (untranslatable_code, "def f(a):\n    return a.sum()"),
        (untranslatable_code, "def f():\n    return np.random.random()"),
        (column_accesses, "def f(a: NDArray[np.void]):\n    return a['phase'][0]"),
        (numba_imports, "from numba import njit"),
    ],
)
def test_the_rules_catch_what_they_are_for(rule, source: str) -> None:
    assert list(rule(Module("planner/kernel/sample.py", source)))
