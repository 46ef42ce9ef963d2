"""The answer of a risk analysis: headline numbers as intervals, and what drives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, get_args

import pandas as pd

from planner.jsonable import json_text
from planner.results.formatting import MISSING
from planner.results.notebook import Shown, Summary
from planner.scenario.schema.uncertainty import Source, UncertainInput
from planner.scenario.uncertain import ResolvedInput
from planner.search.points import HIGH, LOW
from planner.search.quantities import Quantity
from planner.search.sampled import Sample
from planner.search.sensitivity import Estimate, Index, Interval
from planner.version import VERSION

HEADLINES: Final = (
    "accelerators",
    "ttft_p99_s",
    "cost_per_million_output_tokens_usd",
    "gross_margin_rate",
)
"""The four numbers that a plan is judged by."""
SCHEMA: Final = "planner-risk/v1"


@dataclass(frozen=True)
class Driver:
    """What one input, or a group that moves together, does to one answer."""

    column: str
    low: float | None
    """The answer with it at its p10, all others at their medians."""
    high: float | None
    """… at its p90."""
    index: Index | None
    """None: not computed, or the answer does not vary."""


@dataclass(frozen=True)
class Answer:
    """One number of the plan as a distribution."""

    quantity: Quantity
    centre: float | None
    """With every input at its median."""
    interval: Interval | None
    """None: too few samples have such a number."""
    known: int
    """Samples that have such a number."""
    drivers: tuple[Driver, ...]
    """The one that matters most first."""

    @property
    def key(self) -> tuple[str, str]:
        """Name of the quantity and its class."""
        return self.quantity.name, self.quantity.request_class

    @property
    def explained(self) -> float | None:
        """Share of the variance that inputs make one by one; the rest is their interplay."""
        found = [driver.index.first.value for driver in self.drivers if driver.index is not None]
        return sum(found) if found else None


@dataclass(frozen=True, repr=False)
class Risk(Shown):
    """What is known of a scenario's answers where its inputs are not known exactly."""

    name: str
    seed: int
    part: str
    """Which part of the scenario was simulated."""
    confidence: float
    method: str
    inputs: tuple[ResolvedInput, ...]
    columns: tuple[str, ...]
    """What is drawn independently."""
    answers: tuple[Answer, ...]
    kept: Estimate | None
    """Share of the samples in which the scenario's own fleet keeps every promise."""
    nodes: Mapping[str, int]
    """The scenario's own fleet."""
    centre: Sample
    samples: tuple[Sample, ...]
    """Draws that the intervals stand on."""
    simulations: int
    """Number of simulated fleets, those for single inputs and for Sobol indices included."""
    sized: bool
    notes: tuple[str, ...] = ()

    @property
    def headlines(self) -> tuple[Answer, ...]:
        """The answers that a plan is judged by, as far as there are such."""
        found = {each.key: each for each in self.answers}
        keys = ((name, "") for name in HEADLINES)
        return tuple(found[key] for key in keys if key in found)

    def of(self, name: str, request_class: str = "") -> Answer:
        """Return the answer called so.

        Raises:
            KeyError: there is none.
        """
        return {each.key: each for each in self.answers}[name, request_class]

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per sample: quantiles drawn, what inputs are there, answers, nodes.

        `input.NAME` is the quantile of an input or group, 0 to 1; `draw.NAME.factor` (or `.value`,
        in base units, or `.deviations`) what the input is at it.
        """
        return [
            {f"input.{name}": u for name, u in zip(self.columns, sample.point, strict=True)}
            | self._drawn(sample)
            | {_column(each.key): sample.values.get(each.key) for each in self.answers}
            | {
                f"nodes.{pool}": None if sample.nodes is None else sample.nodes[pool]
                for pool in self.nodes
            }
            | {"kept": sample.kept, "obstacle": sample.obstacle}
            for sample in self.samples
        ]

    def _drawn(self, sample: Sample) -> dict[str, float]:
        quantiles = dict(zip(self.columns, sample.point, strict=True))
        return {
            f"draw.{each.name}.{each.drawn_as}": each.drawn(quantiles[each.column])
            for each in self.inputs
        }

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per answer: median, ends of the interval, their sampling error, moments.

        Columns are answer, class, unit, fleet, centre, known, then median, low, high, each with
        `_low` and `_high` where other draws would put it, mean, deviation.
        """
        return pd.DataFrame([_flat(answer) for answer in self.answers])

    def summary(self) -> Summary:
        """Return the answers that a plan is judged by, as intervals."""
        cards = tuple(
            (f"{_written(a, 'low')} to {_written(a, 'high')}", a.quantity.title)
            for a in self.headlines
            if a.interval is not None
        )
        rows = [
            {
                "answer": answer.quantity.title,
                "class": answer.quantity.request_class or "all",
                **{end: _written(answer, end) for end in ("low", "median", "high")},
            }
            for answer in self.answers
        ]
        detail = f"{self.confidence:.0%} intervals of {len(self.samples)} draws"
        return Summary(self.name, detail, cards, pd.DataFrame(rows))

    def to_json(self) -> str:
        """Return everything as JSON: sorted keys, the same bytes each time."""
        content = {
            "schema": SCHEMA,
            "planner": VERSION,
            "scenario": self.name,
            "seed": self.seed,
            "part": self.part,
            "confidence": self.confidence,
            "method": self.method,
            "swing_quantiles": [LOW, HIGH],
            "inputs": [_input(each) for each in self.inputs],
            "answers": [_answer(each) for each in self.answers],
            "own_fleet": {
                "nodes": dict(self.nodes),
                "keeps_every_promise": None if self.kept is None else asdict(self.kept),
            },
            "samples": self.rows(),
            "simulations": self.simulations,
            "sized": self.sized,
            "notes": list(self.notes),
        }
        return json_text(content)


def read_risk(content: Mapping[str, Any]) -> Risk:
    """Return the risk that `Risk.to_json` wrote.

    Inputs are as stated: what each moves number by number is not kept.

    Raises:
        KeyError, TypeError, ValueError: it is of another version, or damaged.
    """
    inputs = tuple(map(_read_input, content["inputs"]))
    columns = tuple(dict.fromkeys(each.column for each in inputs))
    answers = tuple(map(_read_answer, content["answers"]))
    fleet = content["own_fleet"]
    kept = fleet["keeps_every_promise"]
    nodes = fleet["nodes"]
    return Risk(
        name=content["scenario"],
        **{name: content[name] for name in ("seed", "part", "confidence", "method")},
        inputs=inputs,
        columns=columns,
        answers=answers,
        kept=None if kept is None else Estimate(**kept),
        nodes=nodes,
        centre=Sample((0.5,) * len(columns), {each.key: each.centre for each in answers}),
        samples=tuple(_read_sample(row, columns, answers, nodes) for row in content["samples"]),
        simulations=content["simulations"],
        sized=content["sized"],
        notes=tuple(content["notes"]),
    )


def _read_input(content: Mapping[str, Any]) -> ResolvedInput:
    moved = content["moves"]
    stated = UncertainInput.model_validate(
        {
            "name": content["name"],
            ("source" if moved in get_args(Source) else "path"): moved,
            **{name: content[name] for name in ("group", "basis") if content[name]},
            **({} if moved not in get_args(Source) else {"of": content["of"]}),
            **content["distribution"],
        }
    )
    return ResolvedInput(content["name"], stated, (), (), tuple(content["of"]))


def _read_answer(content: Mapping[str, Any]) -> Answer:
    found = content["interval"]
    stated = ("name", "title", "unit", "fleet", "less_is_better")
    return Answer(
        quantity=Quantity(
            **{name: content[name] for name in stated}, request_class=content["class"]
        ),
        centre=content["centre"],
        interval=None if found is None else Interval(**found | _estimates(found)),
        known=content["known"],
        drivers=tuple(
            Driver(
                **{name: each[name] for name in ("column", "low", "high")},
                index=None if each["index"] is None else Index(**_estimates(each["index"])),
            )
            for each in content["drivers"]
        ),
    )


def _estimates(content: Mapping[str, Any]) -> dict[str, Estimate]:
    return {name: Estimate(**each) for name, each in content.items() if isinstance(each, dict)}


def _read_sample(
    row: Mapping[str, Any],
    columns: tuple[str, ...],
    answers: tuple[Answer, ...],
    nodes: Mapping[str, int],
) -> Sample:
    found = {pool: row[f"nodes.{pool}"] for pool in nodes}
    return Sample(
        point=tuple(row[f"input.{name}"] for name in columns),
        values={each.key: row[_column(each.key)] for each in answers},
        nodes=None if None in found.values() else found,
        kept=row["kept"],
        obstacle=row["obstacle"],
    )


def _written(answer: Answer, end: str) -> str:
    """Return an end of the interval of an answer, or its median, with its unit."""
    if answer.interval is None:
        return MISSING
    found: Estimate = getattr(answer.interval, end)
    return answer.quantity.written(found.value)


def _column(key: tuple[str, str]) -> str:
    return f"{key[0]}.{key[1]}" if key[1] else key[0]


def _flat(answer: Answer) -> dict[str, Any]:
    quantity, found = answer.quantity, answer.interval
    row: dict[str, Any] = {
        "answer": quantity.name,
        "class": quantity.request_class,
        "unit": quantity.unit,
        "fleet": quantity.fleet,
        "centre": answer.centre,
        "known": answer.known,
    }
    if found is None:
        return row
    for name in ("median", "low", "high"):
        end: Estimate = getattr(found, name)
        row |= {name: end.value, f"{name}_low": end.low, f"{name}_high": end.high}
    return row | {"mean": found.mean, "deviation": found.deviation}


def _input(each: ResolvedInput) -> dict[str, Any]:
    stated = each.stated
    return {
        "name": each.name,
        "moves": stated.path or stated.source,
        "of": list(each.of),
        "group": stated.group,
        "basis": stated.basis,
        "distribution": stated.model_dump(
            mode="json", include={"factor", "value"}, exclude_none=True
        ),
    }


def _answer(each: Answer) -> dict[str, Any]:
    return {
        "name": each.quantity.name,
        "class": each.quantity.request_class,
        "title": each.quantity.title,
        "unit": each.quantity.unit,
        "fleet": each.quantity.fleet,
        "less_is_better": each.quantity.less_is_better,
        "centre": each.centre,
        "known": each.known,
        "interval": None if each.interval is None else asdict(each.interval),
        "explained_by_single_inputs": each.explained,
        "drivers": [asdict(driver) for driver in each.drivers],
    }
