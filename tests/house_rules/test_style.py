"""Rules on every module that no linter knows: size, state, reproducibility."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.house_rules.sources import Module, modules, violations

LINES_AT_MOST = 600
MUTABLE_TYPES = {
    "Counter",
    "OrderedDict",
    "bytearray",
    "defaultdict",
    "deque",
    "dict",
    "list",
    "set",
}
CACHES = {"cache", "lru_cache"}
PRIVATE_TO_THE_CLI = {"print", "input"}


def long_modules(module: Module) -> Iterator[str]:
    """Find modules that should be two."""
    lines = module.text.count("\n")
    if lines > LINES_AT_MOST:
        yield f"{LINES_AT_MOST}: the module has {lines} lines, more than {LINES_AT_MOST}: split it"


def is_mutable(value: ast.expr | None) -> bool:
    """Tell whether an expression makes a new container that can be changed."""
    match value:
        case ast.Dict() | ast.List() | ast.Set() | ast.DictComp() | ast.ListComp() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in MUTABLE_TYPES
    return False


def is_constant_name(name: str) -> bool:
    """Tell whether a name promises that its value never changes."""
    return name.isupper() or (name.startswith("__") and name.endswith("__"))


def shared_state(module: Module) -> Iterator[str]:
    """Find containers, caches and counters that live as long as the process."""
    for scope in ast.walk(module.tree):
        match scope:
            case ast.Global():
                yield f"{scope.lineno}: `global {', '.join(scope.names)}`: state has one owner"
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                for decorator in scope.decorator_list:
                    name = ast.unparse(decorator).partition("(")[0].rpartition(".")[2]
                    if name in CACHES:
                        yield f"{scope.lineno}: @{name} on {scope.name} is a cache that nobody owns"
            case ast.Module() | ast.ClassDef():
                yield from _assigned_containers(scope)


def _assigned_containers(scope: ast.Module | ast.ClassDef) -> Iterator[str]:
    for node in scope.body:
        match node:
            case ast.Assign(targets=targets, value=value):
                names = [target.id for target in targets if isinstance(target, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name), value=value, annotation=annotation):
                # a model or dataclass copies the default of an annotated field for every instance
                is_field = isinstance(scope, ast.ClassDef) and "ClassVar" not in ast.unparse(
                    annotation
                )
                names = [] if is_field or "Final" in ast.unparse(annotation) else [name]
            case _:
                continue
        for name in names:
            if is_mutable(value) and not is_constant_name(name) and name != "model_config":
                yield f"{node.lineno}: anyone can change {name}: write NAME, Final or a function"


def side_doors(module: Module) -> Iterator[str]:
    """Find output and process-wide settings outside the command line."""
    for node in ast.walk(module.tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in PRIVATE_TO_THE_CLI:
                yield f"{node.lineno}: {name}() belongs to planner/cli"
            case ast.Attribute(value=ast.Name(id=owner), attr=name) if f"{owner}.{name}" in {
                "atexit.register",
                "logging.basicConfig",
                "os.chdir",
                "warnings.simplefilter",
            }:
                yield f"{node.lineno}: {owner}.{name} changes the user's process"


def unseeded_randomness(module: Module) -> Iterator[str]:
    """Find random numbers that differ from run to run."""
    for node in ast.walk(module.tree):
        match node:
            case ast.Call(
                func=ast.Name(id=name) | ast.Attribute(attr=name), args=[], keywords=[]
            ) if name in {"default_rng", "SeedSequence", "PCG64", "Philox", "Random"}:
                yield f"{node.lineno}: {name}() without a seed differs from run to run"


def clocks(module: Module) -> Iterator[str]:
    """Find tests whose verdict depends on the speed of the machine; benchmarks may measure."""
    if "benchmark" in module.path:
        return
    for imported in module.imports:
        if imported.target.partition(".")[0] in {"time", "timeit"}:
            yield f"{imported.line}: a test neither sleeps nor reads a clock: see benchmarks"
    for node in ast.walk(module.tree):
        match node:
            case ast.Attribute(value=ast.Name(id="datetime" | "date"), attr="now" | "today"):
                yield f"{node.lineno}: today's date makes a test fail on another day"


def test_modules_are_short() -> None:
    found = violations(long_modules, [*modules("planner"), *modules("tests")])
    assert not found, found


def test_no_state_outlives_its_owner() -> None:
    assert not (found := violations(shared_state, modules("planner"))), found


def test_only_the_command_line_talks_to_the_process() -> None:
    library = [module for module in modules("planner") if not module.name.startswith("planner.cli")]
    assert not (found := violations(side_doors, library)), found


def test_randomness_is_seeded() -> None:
    found = violations(unseeded_randomness, [*modules("planner"), *modules("tests")])
    assert not found, found


def test_no_test_depends_on_the_clock() -> None:
    assert not (found := violations(clocks, modules("tests"))), found


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (long_modules, "\n" * 601),
        (shared_state, "registry = {}"),
        (shared_state, "seen: set[str] = set()"),
        (shared_state, "class Fleet:\n    nodes = []"),
        (shared_state, "class Fleet:\n    nodes: ClassVar[list[int]] = []"),
        (shared_state, "def f():\n    global total"),
        (shared_state, "@functools.lru_cache(maxsize=None)\ndef f(): ..."),
        (side_doors, "print('here')"),
        (side_doors, "os.chdir(folder)"),
        (unseeded_randomness, "rng = np.random.default_rng()"),
        (clocks, "import time"),
        (clocks, "today = datetime.now()"),
    ],
)
def test_the_rules_catch_what_they_are_for(rule, source: str) -> None:
    assert list(rule(Module("tests/sample.py", source)))


@pytest.mark.parametrize(
    "source",
    [
        "NAMES = {}",
        "_NAMES: Final = ['a']",
        "table: Final[dict[str, int]] = {}",
        "__all__ = ['f']",
        "class Part(BaseModel):\n    nodes: list[int] = []",
        "def f():\n    seen = set()",
    ],
)
def test_constants_fields_and_locals_are_not_state(source: str) -> None:
    assert not list(shared_state(Module("planner/sample.py", source)))
