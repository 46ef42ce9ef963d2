"""Many scenarios, in several processes: new baselines, or what changed since the old ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from planner.errors import PlannerError, ScenarioError
from planner.regress.baseline import Baseline, BaselineError, read_baseline
from planner.regress.cases import Case
from planner.regress.compare import AGAINST_BASELINE, Comparison, Rules, Verdict, Words, compare
from planner.regress.forecasting import Forecast, forecast_of
from planner.regress.old_prices import at_old_prices
from planner.scenario import LoadedScenario
from planner.scenario.nodes import Location, Place
from planner.scenario.schema.regress import Regress
from planner.search.crew import Crew

EXIT_CODES: Final = {
    Verdict.PASSED: 0, Verdict.FAILED: 1, Verdict.ERROR: 2, Verdict.NOT_COMPARABLE: 3,
}  # fmt: skip
_WORST_FIRST: Final = (Verdict.ERROR, Verdict.FAILED, Verdict.NOT_COMPARABLE)

Progress = Callable[[float, float], None]
Task = TypeVar("Task")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Outcome:
    """A scenario held against its baseline."""

    case: Case
    comparison: Comparison | None = None
    error: str = ""
    """Why there is no comparison: faults of the scenario, or of its simulation."""

    @property
    def verdict(self) -> Verdict:
        """What became of it."""
        return Verdict.ERROR if self.comparison is None else self.comparison.verdict

    def place(self, name: str = "") -> Place:
        """Return where the scenario says what a metric is of: its pool, its class, or itself."""
        loaded = self.case.loaded
        if loaded is None:
            fault = self.case.faults[0] if self.case.faults else None
            return Place(str(self.case.path), *((fault.line, fault.column) if fault else (1, 1)))
        place = loaded.locate(_location(name, loaded))
        return place if place.line else Place(str(self.case.path), 1, 1)


def worst(outcomes: Iterable[Outcome]) -> Verdict:
    """Return the verdict on all: an error before a failure before what cannot be compared."""
    found = {outcome.verdict for outcome in outcomes}
    return next((each for each in _WORST_FIRST if each in found), Verdict.PASSED)


def _location(name: str, loaded: LoadedScenario) -> Location:
    scope, _, rest = name.partition(".")
    own = rest.rpartition(".")[0]
    lists: dict[str, tuple[Location, Sequence[str]]] = {
        "pools": (("pools",), [pool.name for pool in loaded.scenario.pools]),
        "classes": (
            ("workload", "classes"), [each.name for each in loaded.scenario.workload.classes],
        ),
    }  # fmt: skip
    if scope in lists and own in lists[scope][1]:
        where, names = lists[scope]
        return (*where, names.index(own), "name")
    return ("name",)


@dataclass(frozen=True)
class _Check:
    case: Case
    before: Baseline
    rules: Rules


def regress(
    cases: Sequence[Case],
    *,
    gates: Regress | None = None,
    today: str,
    jobs: int = 1,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Simulate every case and compare it with its baseline.

    Args:
        cases: what to simulate.
        gates: of a gates file; a scenario's own win over them.
        today: YYYY-MM-DD, for acknowledged changes.
        jobs: most processes at a time.
        progress: called with the scenarios done and to do.

    Raises:
        SimulationError: a process was lost.
    """
    known: dict[str, Outcome] = {}
    tasks = []
    for case in cases:
        before = _before(case)
        if isinstance(before, Outcome):
            known[case.label] = before
        else:
            own = case.loaded.scenario.regress if case.loaded else None
            tasks.append(_Check(case, before, Rules.of([gates, own], today)))
    for outcome in _spread(_checked, tasks, jobs, len(cases), progress):
        known[outcome.case.label] = outcome
    return [known[case.label] for case in cases]


def _before(case: Case) -> Baseline | Outcome:
    """Return the baseline of a case, or what is there to say without a simulation."""
    if case.loaded is None:
        return Outcome(case, error=str(ScenarioError(case.faults)))
    try:
        return read_baseline(case.baseline)
    except BaselineError as error:
        return Outcome(case, Comparison(case.loaded.scenario.name, obstacles=(str(error),)))


def _checked(task: _Check) -> Outcome:
    assert task.case.loaded is not None
    try:
        new = forecast_of(task.case.loaded)
    except (PlannerError, OSError) as error:
        return Outcome(task.case, error=str(error))
    return Outcome(task.case, against(task.before, new, task.rules))


def against(
    before: Baseline, new: Forecast, rules: Rules, words: Words = AGAINST_BASELINE
) -> Comparison:
    """Compare a forecast with a baseline, its money also at the baseline's prices.

    Where noise may hide a change for the worse, the forecast is simulated with the baseline's other
    seeds too: differences by seed tell much finer than two runs by themselves.
    """
    found = _compared(before, new, rules, words)
    if not found.in_doubt or new.finished is None:
        return found
    return _compared(before, new.over(before.seeds), rules, words)


def _compared(before: Baseline, new: Forecast, rules: Rules, words: Words) -> Comparison:
    repriced = [at_old_prices(result, before.prices) for result in new.results]
    return compare(before, new.baseline, rules, repriced, words)


# --- new baselines -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Updated:
    """A new baseline."""

    case: Case
    baseline: Baseline | None = None
    error: str = ""


@dataclass(frozen=True)
class _Update:
    case: Case
    seeds: int


def new_baselines(
    cases: Sequence[Case], *, seeds: int, jobs: int = 1, progress: Progress | None = None
) -> Iterator[Updated]:
    """Simulate every case with several seeds, and yield each baseline as soon as it is there.

    Args:
        cases: what to simulate.
        seeds: how many, for the spread.
        jobs: most processes at a time.
        progress: called with the scenarios done and to do.

    Raises:
        SimulationError: a process was lost.
    """
    for case in cases:
        if case.loaded is None:
            yield Updated(case, error=str(ScenarioError(case.faults)))
    tasks = [_Update(case, seeds) for case in cases if case.loaded is not None]
    yield from _spread(_updated, tasks, jobs, len(cases), progress)


def _updated(task: _Update) -> Updated:
    assert task.case.loaded is not None
    try:
        return Updated(task.case, forecast_of(task.case.loaded, task.seeds).baseline)
    except (PlannerError, OSError) as error:
        return Updated(task.case, error=str(error))


def _spread(
    work: Callable[[Task], Answer],
    tasks: Sequence[Task],
    jobs: int,
    total: int,
    progress: Progress | None,
) -> Iterator[Answer]:
    """Yield the answers in any order. The first task tells how long others take, and compiles."""
    done = total - len(tasks)
    with Crew(jobs, work) as crew:
        for part in (tasks[:1], tasks[1:]):
            for answer in crew.measure(part, len(tasks)):
                done += 1
                if progress is not None:
                    progress(done, total)
                yield answer
