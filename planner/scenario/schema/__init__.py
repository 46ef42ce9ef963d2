"""The scenario, schema `planner/v1`: frozen models with one docstring per field.

The docstrings are the reference documentation: they go into the JSON Schema that editors show.
Every quantity is written with its unit and stored in SI (see `planner.units`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from planner.scenario.schema.fields import Name, Part
from planner.scenario.schema.forecast import Forecast
from planner.scenario.schema.money import Prices
from planner.scenario.schema.optimise import Optimise, OwnChip, SelfHost
from planner.scenario.schema.pools import Pool
from planner.scenario.schema.regress import Regress
from planner.scenario.schema.site import Site
from planner.scenario.schema.uncertainty import Uncertainty
from planner.scenario.schema.workload import Workload


class Output(Part):
    """What is written."""

    requests: bool = False
    """Write one Parquet row per request."""
    report: bool = True
    """Write the HTML report."""


class Calibration(Part):
    """Measurements of your own that step times stand on. Paths are relative to this file."""

    curves: list[str] = []
    """Curve files that `planner fit` wrote; later ones win."""
    overheads: list[str] = []
    """Calibration files that `planner calibrate` wrote; later ones win."""


class Scenario(Part):
    """One question: this traffic, on these pools, under these promises, at these prices."""

    schema_: Annotated[Literal["planner/v1"], Field(alias="schema")]
    """Version of this format."""
    name: Name
    """Short name; also the default name of the output folder."""
    description: str = ""
    """What the scenario shows."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of every random stream."""
    workload: Workload
    """Who asks what, when."""
    pools: Annotated[list[Pool], Field(min_length=1)]
    """The fleet."""
    calibration: Calibration = Calibration()
    """Curves and engine overheads of your own."""
    prices: Prices = Prices()
    """Prices and revenue."""
    uncertainty: Uncertainty | None = None
    """What is not known exactly, for `planner risk`; other commands take the values as stated."""
    forecast: Forecast | None = None
    """The quarters ahead, for `planner forecast`; absent: none."""
    site: Site = Site()
    """Power and carbon."""
    optimise: Optimise | None = None
    """What `planner optimise` may choose from; absent: nothing is optimised."""
    own_chip: OwnChip | None = None
    """A chip of one's own against a bought one, for `planner breakeven`; absent: none."""
    regress: Regress | None = None
    """What `planner regress` simulates and what fails it; absent: the file as it stands, and the
    default gates."""
    self_host: SelfHost | None = None
    """Serving oneself against buying the tokens, for `planner breakeven`; absent: none."""
    output: Output = Output()
    """What is written."""
