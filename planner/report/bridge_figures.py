"""Figures of a bridge: from one side to the other, one part at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from planner.report.bridge_wording import is_better, scale_of, shown, title_of
from planner.report.figures import Figure, label_axis, numbers, unmarked

if TYPE_CHECKING:
    from planner.report.bridge_wording import Scale
    from planner.search.account import Account
    from planner.search.bridged import Bridge

LEGEND: Final = (
    ("var:series-1", "area", "before and after"),
    ("var:good", "area", "for the better"),
    ("var:bad", "area", "for the worse"),
)


def waterfalls(found: Bridge | Account, per: str) -> list[Figure]:
    """Return one figure per quantity, the margin first, then the margin's other definitions."""
    keys = shown(found)
    keys += [("margin", name) for name in found.definitions if name != found.definition]
    return [_waterfall(found, quantity, definition, per) for quantity, definition in keys]


def _waterfall(found: Bridge | Account, quantity: str, definition: str, per: str) -> Figure:
    scale = scale_of(found, quantity, definition, per)
    before, after = found.ends[quantity, definition]
    labels, starts, sizes = [found.labels[0]], [0], [before]
    texts, colours = [scale.level(before)], ["var:series-1"]
    at = before
    for row in found.rows(quantity, definition):
        if not scale.is_negligible(row.amount):  # the table behind the chart has them all
            labels.append(row.label)
            starts.append(at)
            sizes.append(row.amount)
            texts.append(scale.part(row))
            colours.append("var:good" if is_better(quantity, row.amount) else "var:bad")
        at += row.amount
    labels.append(found.labels[1])
    starts.append(0)
    sizes.append(after)
    texts.append(scale.level(after))
    colours.append("var:series-1")
    ends = [start + size for start, size in zip(starts, sizes, strict=True)]
    rows = list(range(len(labels)))
    lefts, rights = zip(*(sorted(pair) for pair in zip(starts, ends, strict=True)), strict=True)
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": rows,
        "base": _scaled(scale, lefts),
        "x": _scaled(scale, [b - a for a, b in zip(lefts, rights, strict=True)]),
        "text": texts,
        "textposition": "none",
        "hovertext": [unmarked(label) for label in labels],
        "hovertemplate": "%{hovertext}: %{text}<extra></extra>",
        "marker": {"color": colours},
    }
    words = {
        "type": "scatter",
        "mode": "text",
        "x": _scaled(scale, rights),
        "y": rows,
        "text": [f"\u2002{text}" for text in texts],
        "textposition": "middle right",
        "cliponaxis": False,
        "hoverinfo": "skip",
    }
    low, high = min(0, *lefts), max(0, *rights)
    room = 0.06 * (high - low) or 1.0
    layout = {
        "xaxis": {
            "range": _scaled(scale, [low - (room if low < 0 else 0), high + room]),
            "tickprefix": scale.prefix,
            "ticksuffix": scale.unit,
            "nticks": 6,
        },
        "yaxis": label_axis([unmarked(label) for label in labels]),
        "margin": {"l": 8, "r": 84, "t": 4, "b": 28},
        "bargap": 0.3,
        "hovermode": "closest",
    }
    title = title_of(quantity, definition, per)
    key = "-".join(text for text in ("bridge", quantity, definition.replace("_", "-")) if text)
    return Figure(
        key=key,
        title=title,
        caption=f"{title}: from {texts[0]} ({labels[0]}) to {texts[-1]} ({labels[-1]}) by parts.",
        note=f"{scale.change(after - before)} in all; the parts add up exactly.",
        spec={"data": [bars, words], "layout": layout},
        table=table_of(quantity, definition),
        height=60 + 30 * len(rows),
    )


def table_of(quantity: str, definition: str) -> str:
    """Return the name of the table behind the figure of a quantity."""
    return f"{quantity}_{definition}" if definition else quantity


def _scaled(scale: Scale, amounts: Any) -> list[float | int | None]:
    return numbers([amount * scale.factor for amount in amounts])
