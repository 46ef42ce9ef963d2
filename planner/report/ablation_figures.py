"""Figures of an ablation: from none of the techniques to all of them, one share at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from planner.report.ablation_wording import (
    Scale,
    fleet_of,
    is_better,
    none_words,
    scale_of,
    title_of,
)
from planner.report.figures import Figure, label_axis, numbers, unmarked

if TYPE_CHECKING:
    from planner.search.ablation import Ablation, Decomposition

LEGEND: Final = (
    ("var:good", "area", "share for the better"),
    ("var:bad", "area", "share for the worse"),
    ("var:ink", "diamond", "on its own"),
    ("var:series-3", "diamond", "what its removal undoes"),
)
_ZOOM: Final = 0.25
"""An axis starts at zero unless all that happens happens in so small a part of it."""


def waterfalls(found: Ablation) -> list[Figure]:
    """Return one figure per quantity of all requests."""
    return [_waterfall(each) for each in found.decompositions if not each.quantity.request_class]


def _waterfall(each: Decomposition) -> Figure:
    quantity, scale = each.quantity, scale_of([each])
    assert each.none is not None
    assert each.all is not None
    labels = [none_words(each)]
    starts, sizes, texts, colours = [0.0], [each.none], [scale.level(each.none)], ["var:series-1"]
    marks: dict[str, list[float | None]] = {"alone": [None], "removed": [None]}
    at = each.none
    for effect in each.effects:
        share = effect.share or 0.0
        labels.append(effect.technique)
        starts.append(at)
        sizes.append(share)
        texts.append("stays on" if effect.share is None else scale.share(effect))
        better = is_better(quantity, share)
        colours.append("var:quiet" if better is None else "var:good" if better else "var:bad")
        free = effect.share is not None
        marks["alone"].append(at + effect.alone if free and effect.alone is not None else None)
        marks["removed"].append(
            at - effect.removed if free and effect.removed is not None else None
        )
        at += share
    labels.append("all of them")
    starts.append(0.0)
    sizes.append(each.all)
    texts.append(scale.level(each.all))
    colours.append("var:series-1")
    for values in marks.values():
        values.append(None)
    rows = list(range(len(labels)))
    ends = [start + size for start, size in zip(starts, sizes, strict=True)]
    edges = [*ends, *(v for values in marks.values() for v in values if v is not None)]
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": rows,
        "base": _scaled(scale, [min(a, b) for a, b in zip(starts, ends, strict=True)]),
        "x": _scaled(scale, [abs(size) for size in sizes]),
        "text": texts,
        "textposition": "none",
        "hovertext": labels,
        "hovertemplate": "%{hovertext}: %{text}<extra></extra>",
        "marker": {"color": colours},
    }
    right = [
        max(value for value in row if value is not None)
        for row in zip(starts, ends, marks["alone"], marks["removed"], strict=True)
    ]
    words = {
        "type": "scatter",
        "mode": "text",
        "x": _scaled(scale, right),
        "y": rows,
        "text": [f"\u2002\u2002{text}" for text in texts],  # clear of a diamond that ends the row
        "textposition": "middle right",
        "cliponaxis": False,
        "hoverinfo": "skip",
    }
    layout = {
        "xaxis": _axis(scale, edges),
        "yaxis": label_axis([unmarked(label) for label in labels]),
        "margin": {"l": 8, "r": 74, "t": 4, "b": 28},
        "bargap": 0.35,
        "hovermode": "closest",
    }
    title = title_of(quantity)
    data = [
        bars,
        words,
        _diamonds("on its own", "var:ink", scale, rows, marks["alone"]),
        _diamonds("what its removal undoes", "var:series-3", scale, rows, marks["removed"]),
    ]
    return Figure(
        key=f"waterfall-{quantity.name.replace('_', '-')}",
        title=title,
        caption=f"{title}, from none of the techniques to all of them by Shapley shares.",
        note=f"{fleet_of(quantity)[0].upper()}{fleet_of(quantity)[1:]}.{_zoom_note(edges)}",
        spec={"data": data, "layout": layout},
        table="effects",
        table_filter=("quantity", quantity.name),
        height=64 + 34 * len(rows),
    )


def _diamonds(
    name: str, colour: str, scale: Scale, rows: list[int], values: list[float | None]
) -> dict[str, Any]:
    shown = [(row, value) for row, value in zip(rows, values, strict=True) if value is not None]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": _scaled(scale, [value for _, value in shown]),
        "y": [row for row, _ in shown],
        "hovertemplate": f"{name}: to %{{x}}<extra></extra>",
        "marker": {
            "symbol": "diamond",
            "size": 8,
            "color": colour,
            "line": {"color": "var:surface", "width": 1},
        },
    }


def _scaled(scale: Scale, values: list[float]) -> list[float | int | None]:
    return numbers([value * scale.factor for value in values])


def _is_zoomed(edges: list[float]) -> bool:
    low, high = min(edges), max(edges)
    return low > 0 and 0 < high - low < _ZOOM * high


def _zoom_note(edges: list[float]) -> str:
    return " The axis does not start at zero." if _is_zoomed(edges) else ""


def _axis(scale: Scale, edges: list[float]) -> dict[str, Any]:
    low, high = min(0.0, *edges), max(0.0, *edges)
    if _is_zoomed(edges):
        low = min(edges) - 0.6 * (high - min(edges))
    room = 0.06 * (high - low)
    ends = [low - (room if low < 0 else 0.0), high + room]
    return {
        "range": _scaled(scale, ends if high > low else [0.0, 1.0]),
        "tickprefix": scale.prefix,
        "ticksuffix": scale.unit,
        "nticks": 5,
    }
