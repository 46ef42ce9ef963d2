"""Imports point one way. The table below is the design; the tests hold the code to it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter

import pytest

from tests.house_rules.sources import (
    ROOT,
    Module,
    is_installed_with_python,
    modules,
    violations,
)


@dataclass(frozen=True)
class Layer:
    """What a part of the package may import, besides itself and the standard library."""

    planner: str = ""
    """Parts of planner, without the prefix."""
    third_party: str = ""
    """Third-party packages."""
    typing: str = ""
    """Parts of planner that only annotations may name (`if TYPE_CHECKING`)."""


BELOW_RUN = (
    "engine control kernel lowering scenario curves catalog trace results economics invariants "
    "billing emissions pricing provenance version files jsonable errors units"
)

LAYERS = {
    "errors": Layer(),
    "units": Layer("errors", "pydantic"),
    "files": Layer("errors"),
    "jsonable": Layer("", "numpy"),
    "catalog": Layer("errors units", "pydantic yaml"),
    "scenario": Layer("catalog errors units", "pydantic yaml"),
    "scenario.replicas": Layer(
        "scenario curves.heads curves.layout curves.memory catalog errors units"
    ),
    "scenario.checks": Layer("scenario curves catalog errors units", "yaml"),
    "scenario.check_pools": Layer("scenario curves catalog errors units"),
    "scenario.check_speculation": Layer("scenario curves.speculation catalog errors units"),
    "scenario.check_quality": Layer("scenario curves.quality catalog errors units"),
    "scenario.check_calibration": Layer("scenario curves catalog errors units"),
    "scenario.check_uncertainty": Layer("scenario curves catalog errors units", "pydantic"),
    "trace": Layer("files jsonable errors units", "numpy pandas pyarrow yaml"),
    "curves": Layer("catalog files errors units", "numpy pandas pyarrow scipy yaml"),
    "curves.data": Layer("curves catalog errors units", "numpy rich"),
    "measurements": Layer("catalog curves.layout files errors units"),
    "microbench": Layer("catalog curves files errors units version"),
    "validation": Layer(
        "measurements engine kernel curves results.formatting catalog errors units", "numpy scipy"
    ),
    "calibration": Layer(
        "validation measurements engine kernel curves catalog errors units", "numpy scipy"
    ),
    "kernel": Layer("", "llvmlite numba numpy"),
    "kernel.enums": Layer(""),
    "kernel.dtypes": Layer("kernel.enums", "numpy"),
    "kernel.world": Layer("kernel.dtypes", "numpy"),
    "control": Layer(
        "kernel.dtypes kernel.enums kernel.plan errors units", "numpy simpy", typing="engine"
    ),
    "engine": Layer("control kernel errors units", "numpy simpy", typing="lowering"),
    "lowering": Layer(
        "scenario curves catalog trace kernel.dtypes kernel.enums kernel.plan results.meta errors "
        "units",
        "numpy",
    ),
    "economics": Layer("errors units", "numpy pandas"),
    "results": Layer(
        "kernel.dtypes kernel.enums jsonable errors units",
        "numpy pandas pyarrow",
        typing="economics",
    ),
    "invariants": Layer(
        "results economics kernel.dtypes kernel.enums kernel.world errors", "numpy pandas"
    ),
    "pricing": Layer("economics scenario catalog errors units"),
    "billing": Layer(
        "pricing control engine economics kernel.dtypes kernel.enums lowering scenario errors "
        "units",
        "numpy",
    ),
    "emissions": Layer("pricing catalog economics scenario results units"),
    "provenance": Layer("pricing catalog economics lowering results scenario trace"),
    "version": Layer(),
    "simulation": Layer(BELOW_RUN, "numpy pandas"),
    "costing": Layer(f"simulation {BELOW_RUN}", "pandas pydantic"),
    "steps": Layer(f"simulation {BELOW_RUN}", "numpy pandas"),
    "starter": Layer("lowering scenario curves catalog trace errors units"),
    "search": Layer(f"simulation {BELOW_RUN}", "joblib numpy pandas scipy"),
    "report": Layer(
        f"calibration validation measurements simulation {BELOW_RUN}",
        "numpy pandas plotly rich",
        typing="search costing",
    ),
    "notebook": Layer(
        f"report search simulation {BELOW_RUN}", "anywidget ipywidgets numpy pandas plotly"
    ),
    "regress": Layer(
        f"search.crew search.sides report.console simulation {BELOW_RUN}", "pydantic rich scipy"
    ),
    "cli": Layer(
        "calibration validation measurements microbench "
        f"regress report search starter costing steps simulation {BELOW_RUN}",
        "numpy pandas plotly pyarrow rich typer yaml",
    ),
    "__main__": Layer("cli"),
    "": Layer(
        "version", typing=f"notebook regress report search costing simulation {BELOW_RUN}"
    ),  # planner/__init__.py: lazy names
}

HEAVY = {"numba", "pandas", "plotly", "pyarrow", "scipy", "simpy"}
THIRD_PARTY = HEAVY | {"numpy", "pydantic", "rich", "typer", "yaml"}


def is_under(name: str, part: str) -> bool:
    """Tell whether a dotted name is `part` or lies in it."""
    return name == part or name.startswith(f"{part}.")


def layer_of(module: Module) -> str | None:
    """Return the most specific row of the table for a module."""
    own = module.name.removeprefix("planner").removeprefix(".")
    if not own:
        return ""
    return max((row for row in LAYERS if row and is_under(own, row)), key=len, default=None)


def wrong_imports(module: Module) -> Iterator[str]:
    """Find imports that the table does not allow."""
    row = layer_of(module)
    if row is None:
        yield f"1: {module.name} has no row in LAYERS of tests/house_rules/test_imports.py"
        return
    layer = LAYERS[row]
    for imported in module.imports:
        package, _, inside = imported.target.partition(".")
        if package == "planner":
            allowed = {row, *layer.planner.split()}
            if imported.typing_only:
                allowed |= set(layer.typing.split())
            if not any(is_under(inside, part) for part in allowed if part):
                yield (
                    f"{imported.line}: {imported.target} may not be imported from "
                    f"{module.name}; allowed: {', '.join(sorted(allowed - {''})) or 'nothing'}"
                )
        elif (
            not is_installed_with_python(package)
            and not imported.typing_only
            and package not in layer.third_party.split()
        ):
            yield f"{imported.line}: {package} may not be imported from {module.name}"


def test_imports_follow_the_design() -> None:
    assert not (found := violations(wrong_imports, modules("planner"))), found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("planner/kernel/batch.py", "from planner.errors import PlannerError"),
        ("planner/kernel/batch.py", "def f():\n    import pandas"),
        ("planner/kernel/dtypes.py", "import numba"),
        ("planner/scenario/load.py", "from planner.curves.memory import memory_plan"),
        ("planner/scenario/checks.py", "import numpy as np"),
        ("planner/economics/energy.py", "from planner import catalog"),
        ("planner/results/frames.py", "if TYPE_CHECKING:\n    from planner.simulation import run"),
        ("planner/lowering.py", "from planner.kernel.jit import kernel"),
        ("planner/brand_new.py", ""),
        ("planner/__init__.py", "from planner.simulation import run"),
    ],
)
def test_wrong_imports_are_found(path: str, source: str) -> None:
    assert list(wrong_imports(Module(path, source)))


def test_the_table_has_no_cycle() -> None:
    rows = {
        row: {part for part in layer.planner.split() if not is_under(row, part)}
        for row, layer in LAYERS.items()
    }
    TopologicalSorter(rows).prepare()


def names_in(requirements: list[str]) -> set[str]:
    """Return the packages of requirements, without versions."""
    return {re.split(r"[^\w-]", line)[0].lower() for line in requirements}


def test_third_party_imports_are_declared_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = names_in(project["dependencies"])
    optional = {
        f"planner.{part}": names_in(lines)
        for part, lines in project["optional-dependencies"].items()
    }
    imported = {
        package
        for module in modules("planner")
        for found in module.imports
        if (package := found.target.partition(".")[0])
        not in optional.get(".".join(module.name.split(".")[:2]), ())
    }
    needed = {"yaml": "pyyaml"}
    missing = {
        package
        for package in imported - {"planner"}
        if not is_installed_with_python(package) and needed.get(package, package) not in declared
    }
    assert not missing, f"imported by planner, but not in [project.dependencies]: {sorted(missing)}"


@pytest.mark.parametrize(
    ("statement", "kept_out"),
    [
        ("import planner", THIRD_PARTY),
        ("import planner.errors", THIRD_PARTY),
        ("import planner.kernel.dtypes", THIRD_PARTY - {"numpy"}),
        ("import planner.catalog", HEAVY),
        ("import planner.scenario", HEAVY),
        ("import planner.trace", {"numba", "scipy"}),
        ("import planner.economics", {"numba", "scipy", "plotly"}),
    ],
    ids=lambda value: value.removeprefix("import ") if isinstance(value, str) else "",
)
def test_importing_a_part_loads_no_more_than_it_needs(statement: str, kept_out: set[str]) -> None:
    assert not loaded_by(statement) & kept_out


@pytest.mark.parametrize(
    ("arguments", "kept_out"),
    [
        (["--help"], HEAVY | {"numpy", "yaml"}),
        (["run", "--help"], HEAVY),
        (["schema"], HEAVY),
        (["check", "scenarios/quickstart.yaml"], HEAVY),
    ],
    ids=["help", "run-help", "schema", "check"],
)
def test_light_commands_load_nothing_heavy(arguments: list[str], kept_out: set[str]) -> None:
    statement = (
        f"import sys; sys.argv = {['planner', *arguments]!r}\n"
        "from planner.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    assert not stop.code, f'exit code {stop.code}'"
    )
    assert not loaded_by(statement) & kept_out


def loaded_by(statement: str) -> set[str]:
    """Run a statement in a fresh interpreter and return the top-level modules it has loaded."""
    listing = "import json, sys; print('\\n' + json.dumps(sorted(sys.modules)))"
    finished = subprocess.run(
        [sys.executable, "-c", f"{statement}\n{listing}"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
        encoding="utf-8",
    )
    assert finished.returncode == 0, finished.stderr or finished.stdout
    loaded = json.loads(finished.stdout.splitlines()[-1])
    return {name.partition(".")[0] for name in loaded}
