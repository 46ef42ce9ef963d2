"""`planner catalog`: what the catalogue holds, each figure with value, source, date and tier."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.cli.completion import catalog_names

if TYPE_CHECKING:
    from rich.console import RenderableType

    from planner.catalog import ApiPrice, Catalog, Entry, Figure, MachinePrice, Model

app = typer.Typer(no_args_is_help=True)

TIER_STYLES = {
    "official": "green",
    "measured": "green",
    "analyst": "yellow",
    "estimated": "yellow",
    "claimed": "bold red",
}


class Kind(StrEnum):
    """Parts of the catalogue."""

    MODELS = "models"
    CHIPS = "chips"
    NODES = "nodes"
    PRICES = "prices"
    API = "api"
    GRIDS = "grids"


@app.callback()
def catalog() -> None:
    """Models, chips, nodes and prices, each figure with its source.

    Tiers: official, measured, analyst, estimated, claimed.

    For example:

        planner catalog list chips

        planner catalog show h100-sxm
    """


@app.command("list")
def list_entries(
    kind: Annotated[
        Kind | None, typer.Argument(help="Part to list; absent: the names of all.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print names as JSON.")] = False,
) -> None:
    """List the names of the catalogue, with the figures that tell entries apart.

    Parts: models, chips, nodes, prices, api, grids.

    For example:

        planner catalog list

        planner catalog list models
    """
    from planner.catalog import load_catalog

    catalog = load_catalog()
    kinds = list(Kind) if kind is None else [kind]
    if as_json:
        names = {str(each): list(_entries(catalog, each)) for each in kinds}
        typer.echo(json.dumps(names if kind is None else names[kind], indent=2))
    elif kind is None:
        _print(*(_names(catalog, each) for each in kinds))
    else:
        _print(_listing(catalog, kind))


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            help="Name of a model, chip, node, price or grid.",
            autocompletion=catalog_names(
                "models", "chips", "nodes", "machine_prices", "api_prices", "grids"
            ),
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the entry as JSON.")] = False,
) -> None:
    """Show an entry: every figure with value, source, date and tier.

    What a model or a chip is made of stands above its figures.

    For example:

        planner catalog show h100-sxm

        planner catalog show deepseek-r1 --json
    """
    from dataclasses import asdict

    from rich.text import Text

    from planner.catalog import Model, load_catalog

    catalog = load_catalog()
    entry = catalog.entry(name)
    if as_json:
        data = {"kind": _kind(entry), **asdict(entry)}
        typer.echo(json.dumps(data, indent=2, ensure_ascii=False))
        return
    parts: list[RenderableType] = [
        Text.assemble((entry.name, "bold"), f"  {entry.title}  ", (_kind(entry), "dim")),
        _facts(catalog, entry),
        _figures(entry),
    ]
    if isinstance(entry, Model):
        parts.insert(2, _shape(entry))
    parts += [Text(f"note: {note}") for note in getattr(entry, "notes", ())]
    _print(*parts)


def _entries(catalog: Catalog, kind: Kind) -> dict[str, Entry]:
    return {
        Kind.MODELS: dict[str, "Entry"](catalog.models),
        Kind.CHIPS: dict[str, "Entry"](catalog.chips),
        Kind.NODES: dict[str, "Entry"](catalog.nodes),
        Kind.PRICES: dict[str, "Entry"](catalog.machine_prices),
        Kind.API: dict[str, "Entry"](catalog.api_prices),
        Kind.GRIDS: dict[str, "Entry"](catalog.grids),
    }[kind]


def _kind(entry: Entry) -> str:
    words = {"MachinePrice": "machine price", "ApiPrice": "API price"}
    class_name = type(entry).__name__
    return words.get(class_name, class_name.lower())


def _names(catalog: Catalog, kind: Kind) -> RenderableType:
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    names = list(_entries(catalog, kind))
    heading = Text(f"{kind} ({len(names)})", style="bold")
    return Group(heading, Padding(Text("  ".join(names)), (0, 0, 0, 2)))


def _listing(catalog: Catalog, kind: Kind) -> RenderableType:
    columns, rows = {
        Kind.MODELS: _model_rows,
        Kind.CHIPS: _chip_rows,
        Kind.NODES: _node_rows,
        Kind.PRICES: _price_rows,
        Kind.API: _api_rows,
        Kind.GRIDS: _grid_rows,
    }[kind](catalog)
    return _table(columns, rows)


_Rows = tuple[list[str], list[list[Any]]]


def _model_rows(catalog: Catalog) -> _Rows:
    columns = ["name", "total", "active", "layers", "context", "KV per token, bf16", "weights"]
    return columns, [
        [
            m.name,
            f"{float(m.total_parameters) / 1e9:.2f} B",
            f"{float(m.active_parameters) / 1e9:.2f} B",
            str(m.layer_count),
            f"{m.context_tokens:,}",
            f"{m.kv_bytes_per_token() / 1024:.1f} KiB",
            m.weight_dtype,
        ]
        for m in catalog.models.values()
    ]


def _chip_rows(catalog: Catalog) -> _Rows:
    dtypes = ("bf16", "fp16", "fp8", "int8", "fp4")
    columns = ["dense TFLOPS or TOPS", *dtypes, "memory", "bandwidth", "power"]
    return columns, [
        [
            c.name,
            *(
                f"{float(c.peak_flops[dtype]) / 1e12:g}" if dtype in c.peak_flops else "–"
                for dtype in dtypes
            ),
            f"{float(c.memory_bytes) / 2**30:.4g} GiB",
            c.memory_bandwidth,
            c.tdp_w,
        ]
        for c in catalog.chips.values()
    ]


def _node_rows(catalog: Catalog) -> _Rows:
    columns = ["name", "title", "chip", "devices", "sold by", "power"]
    return columns, [
        [n.name, n.title, n.chip, str(n.devices), n.sold_by, n.power_w]
        for n in catalog.nodes.values()
    ]


def _price_rows(catalog: Catalog) -> _Rows:
    columns = ["name", "chip", "terms", "per device", "from", "provider", "reference"]
    return columns, [
        [p.name, p.chip, p.terms, p.per_device_hour, p.date, p.provider, "×" if p.reference else ""]
        for p in catalog.machine_prices.values()
    ]


def _api_rows(catalog: Catalog) -> _Rows:
    columns = ["name", "provider", "input", "cached input", "output", "from"]
    return columns, [
        [p.name, p.provider, p.input, p.cached_input, p.output, p.date]
        for p in catalog.api_prices.values()
    ]


def _grid_rows(catalog: Catalog) -> _Rows:
    columns = ["name", "title", "intensity", "from"]
    return columns, [
        [g.name, g.title, g.intensity, g.intensity.date] for g in catalog.grids.values()
    ]


def _facts(catalog: Catalog, entry: Entry) -> RenderableType:
    """Return what is no figure: names, counts, and the entries that refer to this one."""
    from rich.text import Text

    from planner.catalog import Chip, Grid, MachinePrice, Model, Node

    lines: list[str] = []
    match entry:
        case Model():
            lines = [
                f"hidden size {entry.hidden_size:,}, vocabulary {entry.vocabulary_size:,}, "
                f"context {entry.context_tokens:,} tokens, weights in {entry.weight_dtype}"
                + (", embeddings tied" if entry.tied_embeddings else ""),
                f"by its shape {entry.parameters() / 1e9:.2f} B parameters, of which a token meets "
                f"{entry.parameters_per_token() / 1e9:.2f} B; KV cache "
                f"{entry.kv_bytes_per_token() / 1024:.1f} KiB per token in bf16, without windows",
                f"shape: {entry.shape_source.citation} ({entry.shape_source.date})",
            ]
        case Chip():
            prices = [p.name for p in catalog.machine_prices.values() if p.chip == entry.name]
            nodes = [n.name for n in catalog.nodes.values() if n.chip == entry.name]
            lines = [
                f"{entry.vendor}, {entry.status}; scale-up domain: {entry.scale_up_domain} devices",
                f"nodes: {', '.join(nodes) or 'none'}",
                f"prices: {', '.join(prices) or 'none'}",
            ]
        case Node():
            lines = [f"{entry.devices} × {entry.chip}, sold by the {entry.sold_by}"]
        case MachinePrice():
            kind = "reference price" if entry.reference else "example, chosen by name only"
            lines = [f"{entry.chip}, {entry.terms}, {entry.provider}; {kind}"]
            lines += _validity(entry)
        case Grid():
            lines = ["mean carbon intensity, for `site.region`"]
        case _:
            lines = [entry.provider, *_validity(entry)]
    return Text("\n".join(lines))


def _validity(price: MachinePrice | ApiPrice) -> list[str]:
    """Return on which days a price holds, if its file says more than from when."""
    end = f" until {price.until}" if price.until else ""
    series = f", one of the series {price.series}" if price.series else ""
    return [f"holds from {price.date}{end}{series}"] if end or series else []


def _shape(model: Model) -> RenderableType:
    columns = ["layers", "attention", "heads (KV)", "head size", "window", "FFN", "size", "experts"]
    rows: list[list[Any]] = []
    for run in model.layers:
        attention, ffn = run.attention, run.ffn
        shared = f" + {ffn.shared_experts} shared" if ffn.shared_experts else ""
        rows.append(
            [
                str(run.count),
                attention.kind,
                f"{attention.query_heads} ({attention.kv_heads})",
                str(attention.head_dim),
                str(attention.window_tokens or ""),
                ffn.kind,
                str(ffn.intermediate_size),
                f"{ffn.active_experts} of {ffn.experts}{shared}" if ffn.experts else "",
            ]
        )
    return _table(columns, rows)


def _figures(entry: Entry) -> RenderableType:
    from rich.text import Text

    rows: list[list[Any]] = []
    for name, figure in _figures_of(entry):
        source = Text(figure.source)
        if figure.note:
            source.append(f"\n{figure.note}", style="dim")
        tier = Text(figure.tier, style=TIER_STYLES[figure.tier])
        rows.append([name, figure, tier, figure.date, source])
    return _table(["figure", "value", "tier", "date", "source"], rows)


def _figures_of(entry: Entry) -> list[tuple[str, Figure]]:
    from planner.catalog import ApiPrice

    if isinstance(entry, ApiPrice):
        tiers = {("" if t == "standard" else f"{t}."): p for t, p in entry.tiers.items()}
        if entry.long_context is not None:
            above = f"above {entry.long_context.above_tokens:,}."
            long = entry.long_context.tiers
            tiers |= {above + ("" if t == "standard" else f"{t}."): p for t, p in long.items()}
        return [(pre + name, each) for pre, p in tiers.items() for name, each in _own_figures(p)]
    return _own_figures(entry)


def _own_figures(part: Any) -> list[tuple[str, Figure]]:
    from dataclasses import fields

    from planner.catalog import Figure

    found: list[tuple[str, Figure]] = []
    for field in fields(part):
        value = getattr(part, field.name)
        if isinstance(value, Figure):
            found.append((field.name, value))
        elif isinstance(value, dict):
            found += [(f"{field.name}.{key}", figure) for key, figure in value.items()]
    return found


def _table(columns: list[str], rows: list[list[Any]]) -> RenderableType:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        cells = ["–" if cell is None else cell for cell in row]
        table.add_row(*(cell if isinstance(cell, Text) else str(cell) for cell in cells))
    return table


def _print(*parts: RenderableType) -> None:
    import os
    import sys

    from rich.console import Console

    # a pipe has no width: do not fold what a script or a pager is to read
    fits = sys.stdout.isatty() or "COLUMNS" in os.environ
    console = Console(width=None if fits else 160, highlight=False)
    for number, part in enumerate(parts):
        if number:
            console.print()
        console.print(part)
