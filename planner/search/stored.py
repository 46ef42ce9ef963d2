"""Answers of other commands, read from the JSON that they print."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from planner.errors import OutputError
from planner.search.ablation import SCHEMA as ABLATION
from planner.search.ablation import Ablation, read_ablation
from planner.search.account import Account, read_account
from planner.search.bridged import SCHEMA as BRIDGE
from planner.search.prospect import SCHEMA as FORECAST
from planner.search.risk import SCHEMA as RISK
from planner.search.risk import Risk, read_risk

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class StoredForecast:
    """The quarters of a forecast, without the surface that they stand on."""

    name: str
    quarters: tuple[Mapping[str, Any], ...]
    """As `Prospect.quarter_rows`."""
    years: tuple[Mapping[str, Any], ...]
    """As `Prospect.year_rows`."""
    notes: tuple[str, ...]


def ablation_of(path: Path) -> Ablation:
    """Return what `planner ablate --json` printed into a file.

    Raises:
        OutputError: it is something else.
    """
    return _read(path, ABLATION, "ablate", read_ablation)


def risk_of(path: Path) -> Risk:
    """Return what `planner risk --json` printed into a file.

    Raises:
        OutputError: it is something else.
    """
    return _read(path, RISK, "risk", read_risk)


def bridge_of(path: Path) -> Account:
    """Return what `planner bridge --json` printed into a file.

    Raises:
        OutputError: it is something else.
    """
    return _read(path, BRIDGE, "bridge", read_account)


def forecast_of(path: Path) -> StoredForecast:
    """Return what `planner forecast --json` printed into a file.

    Raises:
        OutputError: it is something else.
    """
    return _read(path, FORECAST, "forecast", _forecast)


def _forecast(content: Mapping[str, Any]) -> StoredForecast:
    return StoredForecast(
        name=content["scenario"],
        quarters=tuple(content["quarters"]),
        years=tuple(content["years"]),
        notes=tuple(content["notes"]),
    )


def _read(
    path: Path, schema: str, command: str, read: Callable[[Mapping[str, Any]], Answer]
) -> Answer:
    advice = f"write it with: planner {command} … --json > {path.name}"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OutputError(f"{path}: no such file; {advice}") from None
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{path}: is not the JSON of planner {command} ({error}); {advice}"
        ) from None
    found = content.get("schema") if isinstance(content, dict) else None
    if found != schema:
        what = f"schema {found}" if found else "no schema"
        raise OutputError(
            f"{path}: is not the JSON of planner {command} ({what}, {schema} is needed); {advice}"
        )
    try:
        return read(content)
    except (KeyError, TypeError, ValueError) as error:
        raise OutputError(f"{path}: is damaged ({error!r}); {advice}") from None
