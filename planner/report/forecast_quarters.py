"""The quarters of a forecast as charts and tables, from its flat rows: kept or just found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from planner.report.figures import Figure, Spec, numbers, series_colour
from planner.report.forecast_wording import devices_words, margin_words, money_words
from planner.report.fragments import Cell, chart, number, panel, section, table, tools
from planner.report.wording import DEFINITION_TITLES
from planner.results.formatting import count, money, percent

Row = Mapping[str, Any]
"""Of `Prospect.quarter_rows` or `Prospect.year_rows`."""

_DASHES: Final = ("solid", "dash", "dot")


def quarter_figures(rows: Sequence[Row]) -> list[Figure]:
    """Return accelerators, spend, margin and demand by quarter."""
    return [_devices(rows), _spend(rows), _margin(rows), _demand(rows)]


def quarters_section(rows: Sequence[Row], years: Iterable[Row], more: str = "") -> str:
    """Return the section with the charts by quarter and the tables of quarters and years.

    Args:
        rows: one per quarter.
        years: one per whole year.
        more: a sentence that follows the introduction.
    """
    grid = f'<div class="grid">{"".join(map(chart, quarter_figures(rows)))}</div>'
    others = _parts(rows, "margin_rate")
    demanded = _parts(rows, "demand_rps").values()
    cells = [
        [
            Cell(row["quarter"]),
            number(_rates(row[column] for column in demanded)),
            number(devices_words(row["accelerators"], row["accelerators_error"])),
            number(money_words(row["spend_usd"], row["spend_error_usd"])),
            number(money(row["revenue_usd"])),
            number(margin_words(row["margin_rate"], row["margin_error"])),
            *(number(percent(row[column])) for column in others.values()),
            number(percent(row["served_rate"])),
        ]
        for row in rows
    ]
    head = ["quarter", "#demand /s", "#accelerators", "#spend", "#revenue", "#margin"]
    head += [f"#{DEFINITION_TITLES.get(name, name)}" for name in others]
    text = (
        f"Margin is that of {definition_of(rows)}; the others stand beside it. "
        f"± is the error of the response surface alone, of margins in points.{more and f' {more}'}"
    )
    listed = panel(tools("By quarter", "quarters"), table("Quarters", [*head, "#served"], cells))
    return section("quarters", "Quarters", text, grid, listed, _years(years))


def definition_of(rows: Sequence[Row]) -> str:
    """Return the definition of gross margin that the headline uses, in words."""
    definition = str(rows[0]["margin_definition"])
    return DEFINITION_TITLES.get(definition, definition)


def _years(years: Iterable[Row]) -> str:
    rows = [
        [
            Cell(str(row["year"])),
            number(_rates([row["demand_rps"]])),
            number(devices_words(row["accelerators"], row["accelerators_error"])),
            number(money_words(row["spend_usd"], row["spend_error_usd"])),
            number(money(row["revenue_usd"])),
            number(margin_words(row["margin_rate"], row["margin_error"])),
        ]
        for row in years
    ]
    if not rows:
        return ""
    head = ["year", "#demand /s", "#accelerators at its end", "#spend", "#revenue", "#margin"]
    return panel(tools("By year", "years"), table("Years", head, rows))


def _rates(values: Iterable[float]) -> str:
    return count(float(f"{sum(values):.4g}"))


# --- figures --------------------------------------------------------------------------------------


def _parts(rows: Sequence[Row], name: str) -> dict[str, str]:
    """Return what a quantity is divided by → its column, as in `demand_rps[chat]`."""
    opening = f"{name}["
    return {c.removeprefix(opening)[:-1]: c for c in rows[0] if c.startswith(opening)}


def _axes(rows: Sequence[Row], title: str, **more: Any) -> Spec:
    labels = [row["quarter"] for row in rows]
    years = [label for label in labels if label.endswith("-Q1")] if len(labels) > 8 else labels
    names = [label.partition("-")[0] for label in years] if len(labels) > 8 else years
    return {
        "xaxis": {
            "type": "category",
            "showgrid": False,
            "automargin": True,
            "tickvals": years,
            "ticktext": [name.replace("-", "<br>") for name in names],
        },
        "yaxis": {"rangemode": "tozero", "automargin": True, "title": {"text": title}} | more,
        "hovermode": "x unified",
        "barmode": "stack",
        "bargap": 0.25,
    }


def _series(rows: Sequence[Row], column: str, unit: float = 1.0) -> Spec:
    values = [float("nan") if row[column] is None else row[column] / unit for row in rows]
    return {"x": [row["quarter"] for row in rows], "y": numbers(values)}


def _bars(rows: Sequence[Row], column: str, name: str, index: int, value: str) -> Spec:
    return _series(rows, column) | {
        "type": "bar",
        "name": name,
        "marker": {"color": series_colour(index)},
        "hovertemplate": f"{value}<extra>{name}</extra>",
    }


def _band(rows: Sequence[Row], column: str, error: str, unit: float = 1.0) -> Spec:
    """Return an invisible line with error bars: the band of a stack."""
    return _series(rows, column, unit) | {
        "type": "scatter",
        "mode": "markers",
        "name": "error of the surface",
        "error_y": {
            "type": "data",
            "array": _series(rows, error, unit)["y"],
            "color": "var:ink",
            "thickness": 1.2,
            "width": 3,
        },
        "marker": {"size": 1, "color": "var:ink"},
        "hovertemplate": "%{y:,.4r} ± %{error_y.array:,.3r}<extra>total</extra>",
    }


def _devices(rows: Sequence[Row]) -> Figure:
    chips = _parts(rows, "accelerators")
    traces = [
        _bars(rows, column, chip, index, "%{y:,}")
        for index, (chip, column) in enumerate(chips.items())
    ]
    return Figure(
        key="accelerators",
        title="Accelerators",
        caption="Accelerators held in each quarter, by chip, with the error of the surface.",
        note="Held in each quarter, by chip; the whiskers are the error of the response surface",
        spec={
            "data": [*traces, _band(rows, "accelerators", "accelerators_error")],
            "layout": _axes(rows, "accelerators"),
        },
        table="quarters",
        height=300,
        legend=tuple((series_colour(index), "area", chip) for index, chip in enumerate(chips)),
    )


def _spend(rows: Sequence[Row]) -> Figure:
    unit, suffix = max(
        each
        for each in ((1.0, ""), (1e6, "M"), (1e9, "B"))
        if each[0] <= max(1.0, *(row["spend_usd"] for row in rows))
    )
    traces: list[Spec] = [
        _series(rows, "spend_usd", unit)
        | {
            "type": "bar",
            "name": "spend on serving",
            "marker": {"color": "var:series-1"},
            "hovertemplate": f"$%{{y:,.4r}}{suffix}<extra>spend</extra>",
        },
        _band(rows, "spend_usd", "spend_error_usd", unit),
    ]
    legend = [("var:series-1", "area", "spend on serving")]
    if any(row["revenue_usd"] for row in rows):
        traces.append(
            _series(rows, "revenue_usd", unit)
            | {
                "type": "scatter",
                "mode": "lines+markers",
                "name": "revenue",
                "line": {"color": "var:series-3", "width": 2},
                "hovertemplate": f"$%{{y:,.4r}}{suffix}<extra>revenue</extra>",
            }
        )
        legend.append(("var:series-3", "line", "revenue"))
    return Figure(
        key="spend",
        title="Spend and revenue",
        caption="US dollars of each quarter: spend on serving with its error, and revenue.",
        note="US dollars per quarter; the whiskers are the error of the response surface",
        spec={
            "data": traces,
            "layout": _axes(rows, "USD", tickprefix="$", ticksuffix=suffix),
        },
        table="quarters",
        height=300,
        legend=tuple(legend),
    )


def _margin(rows: Sequence[Row]) -> Figure:
    headline = str(rows[0]["margin_definition"])
    names = {headline: "margin_rate", **_parts(rows, "margin_rate")}
    traces, legend = [], []
    for index, (name, column) in enumerate(names.items()):
        colour, title = series_colour(index), DEFINITION_TITLES.get(name, name)
        traces.append(
            _series(rows, column)
            | {
                "type": "scatter",
                "mode": "lines+markers",
                "name": title,
                "line": {
                    "color": colour,
                    "width": 2.5 if index == 0 else 1.5,
                    "dash": _DASHES[index % len(_DASHES)],
                },
                "hovertemplate": f"%{{y:.1%}}<extra>{title}</extra>",
            }
        )
        if index == 0:
            errors = numbers(row["margin_error"] or 0.0 for row in rows)
            traces[0]["error_y"] = {"type": "data", "array": errors, "thickness": 1.2, "width": 3}
        legend.append((colour, "line" if index == 0 else "dash", title))
    layout = _axes(rows, "gross margin", tickformat=".0%")
    layout["yaxis"].pop("rangemode")
    return Figure(
        key="margin",
        title="Gross margin",
        caption="Gross margin of each quarter under each definition; the first is the headline's.",
        note=f"By definition, the headline {definition_of(rows)}; with the error of the surface",
        spec={"data": traces, "layout": layout},
        table="quarters",
        height=280,
        legend=tuple(legend),
    )


def _demand(rows: Sequence[Row]) -> Figure:
    classes = _parts(rows, "demand_rps")
    return Figure(
        key="demand-ahead",
        title="Demand",
        caption="Mean requests (sessions, tasks) per second of each quarter, by class.",
        note="Mean requests (sessions, tasks) per second, by class",
        spec={
            "data": [
                _bars(rows, column, name, index, "%{y:,.4s}/s")
                for index, (name, column) in enumerate(classes.items())
            ],
            "layout": _axes(rows, "per second"),
        },
        table="quarters",
        height=280,
        legend=tuple((series_colour(index), "area", name) for index, name in enumerate(classes)),
    )
