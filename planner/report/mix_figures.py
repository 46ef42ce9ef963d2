"""Charts of a mix: nodes by the hour and by rank, what it costs instead, cost against power."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from planner.report.figures import Figure, numbers, series_colour
from planner.results.formatting import money
from planner.scenario.site_power import megawatts

if TYPE_CHECKING:
    from planner.search.mix import Optimum

Layer = tuple[str, str]
"""Pool and term."""
_NEEDED: Final = ("var:ink", "line", "needed by the load")


def layers(found: Optimum) -> list[Layer]:
    """Return what is bought, the base first: whole-time terms, blocks, by the hour, spot on top."""
    depth = {
        (offer.pool, offer.term): (
            offer.usable_rate < 1.0,
            -(offer.block_hours or found.mix.problem.hours + 1),
        )
        for offer in found.offers
    }
    bought = [key for key, nodes in found.mix.nodes.items() if any(nodes)]
    return sorted(bought, key=lambda key: (depth[key], key))


def mix_figures(found: Optimum) -> list[Figure]:
    """Return all charts."""
    figures = [_hours(found), _duration_curve(found), _alternatives(found)]
    return [*figures, *([_power(found)] if len(found.power_curve) > 1 else [])]


def _stack(
    found: Optimum, order: Sequence[int], places: Sequence[Any], hover: str
) -> tuple[list[dict[str, Any]], list[tuple[str, str, str]]]:
    """Return stacked bars of nodes, the hours in an order, and the legend."""
    traces, legend = [], []
    for number, (pool, term) in enumerate(layers(found)):
        nodes = found.mix.nodes[pool, term]
        label, colour = f"{pool} {term}", series_colour(number)
        traces.append(
            {
                "type": "bar",
                "name": label,
                "x": list(places),
                "y": [nodes[hour] for hour in order],
                "hovertemplate": f"{label}: %{{y}} nodes<extra>{hover}</extra>",
                "marker": {"color": colour, "line": {"width": 0}},
            }
        )
        legend.append((colour, "area", label))
    return traces, legend


def _hours(found: Optimum) -> Figure:
    hours = range(found.mix.problem.hours)
    labels = [f"{(found.start_hour + hour) % 24:02d}:00" for hour in hours]
    traces, legend = _stack(found, hours, list(hours), "%{x}")
    traces.append(_needed(list(hours), found.mix.needed_nodes))
    legend.append(_NEEDED)
    step = max(1, len(labels) // 12)
    axis = {
        "tickvals": list(hours)[::step],
        "ticktext": labels[::step],
        "showgrid": False,
    }
    note = (
        "Nodes paid for in each hour, the committed ones at the bottom, and what the load takes: "
        "what lies above the line waits."
    )
    return _stacked("mix-hours", "Hour by hour", note, traces, legend, 0.06, axis)


def _stacked(
    key: str,
    title: str,
    note: str,
    traces: list[dict[str, Any]],
    legend: Sequence[tuple[str, str, str]],
    gap: float,
    axis: dict[str, Any],
) -> Figure:
    """Return a figure of nodes by term, one on top of the other."""
    layout = {
        "barmode": "stack",
        "bargap": gap,
        "xaxis": axis,
        "yaxis": {"title": {"text": "nodes"}, "rangemode": "tozero"},
    }
    return Figure(
        key=key,
        title=title,
        caption=note,
        note=note,
        spec={"data": traces, "layout": layout},
        table="hours",
        height=330,
        legend=tuple(legend),
    )


def _needed(places: Sequence[Any], nodes: Sequence[float]) -> dict[str, Any]:
    """Return the line of the nodes that the load takes."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "needed",
        "x": list(places),
        "y": numbers(nodes),
        "line": {"color": "var:ink", "width": 1.5, "shape": "hvh"},
        "hovertemplate": "needed: %{y:.1f} nodes<extra>%{x}</extra>",
    }


def _duration_curve(found: Optimum) -> Figure:
    needed = found.mix.needed_nodes
    order = sorted(range(len(needed)), key=lambda hour: (-needed[hour], hour))
    shares = [100.0 * (rank + 0.5) / len(order) for rank in range(len(order))]
    traces, legend = _stack(found, order, numbers(shares), "%{x:.0f}% of the hours")
    traces.append(_needed(numbers(shares), [needed[hour] for hour in order]))
    legend.append(_NEEDED)
    axis = {"ticksuffix": "%", "range": [0, 100], "showgrid": False}
    note = (
        "The same hours, the busiest first. A node is worth committing to if the line stays above "
        "it for a larger share of the hours than its committed price is of the price by the hour."
    )
    return _stacked(
        "mix-duration",
        "Load duration: what base, peak and spot carry",
        note,
        traces,
        legend,
        0.0,
        axis,
    )


def _alternatives(found: Optimum) -> Figure:
    rows = [("the mix", found.mix), *found.alternatives.items()]
    shown = [(name, mix.cost_per_hour_usd) for name, mix in rows if mix is not None]
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": [name for name, _ in shown],
        "x": numbers(cost for _, cost in shown),
        "text": [money(cost) for _, cost in shown],
        "textposition": "outside",
        "cliponaxis": False,
        "hovertemplate": "%{y}: %{text} per hour<extra></extra>",
        "marker": {"color": ["var:good", *["var:quiet"] * (len(shown) - 1)]},
    }
    layout = {
        "xaxis": {"tickprefix": "$", "tickformat": "~s", "rangemode": "tozero", "nticks": 5},
        "yaxis": {"automargin": True, "autorange": "reversed", "showgrid": False},
        "margin": {"l": 8, "r": 70, "t": 4, "b": 28},
        "bargap": 0.35,
    }
    note = "US dollars per hour. The others are the cheapest fleets of that kind of term alone."
    return Figure(
        key="mix-alternatives",
        title="Against one kind of term",
        caption=note,
        note=note,
        spec={"data": [trace], "layout": layout},
        table="alternatives",
        height=70 + 40 * len(shown),
    )


def _power(found: Optimum) -> Figure:
    shown = [(limit, cost) for limit, cost in found.power_curve if cost is not None]
    trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": numbers(limit / 1e3 for limit, _ in shown),
        "y": numbers(cost for _, cost in shown),
        "text": [f"{megawatts(limit)}: {money(cost)} per hour" for limit, cost in shown],
        "hovertemplate": "%{text}<extra></extra>",
        "line": {"color": "var:series-1", "width": 2},
    }
    layout = {
        "xaxis": {
            "title": {"text": "kW at the meter", "standoff": 18},
            "automargin": True,
            "showgrid": False,
        },
        "yaxis": {"tickprefix": "$", "title": {"text": "per hour"}},
        "hovermode": "closest",
    }
    note = (
        "The cheapest mix under each limit of the site, solved anew: the slope is what power is "
        "worth. The axis does not start at zero."
    )
    if len(shown) < len(found.power_curve):
        note += " Less power than the first point does not serve all."
    return Figure(
        key="mix-power",
        title="What power is worth",
        caption=note,
        note=note,
        spec={"data": [trace], "layout": layout},
        table="power",
        height=280,
    )
