"""From the catalogue files to a `Catalog`: one function per kind of entry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from planner.catalog.grids import Grid
from planner.catalog.hardware import DTYPES, SOLD_BY, STATUSES, Chip, Node
from planner.catalog.lookup import Catalog
from planner.catalog.models import (
    ATTENTION_KINDS,
    FFN_KINDS,
    Attention,
    AttentionKind,
    Ffn,
    FfnKind,
    LayerRun,
    Model,
)
from planner.catalog.price_fields import check_series, read_api_price, read_machine_price
from planner.catalog.prices import MachinePrice
from planner.catalog.reader import Fields, place_of, read_entries, read_sources
from planner.errors import CatalogError, did_you_mean


def load_catalog(folder: Path | None = None) -> Catalog:
    """Read the catalogue.

    Args:
        folder: holds `sources.yaml`, `models.yaml`, `chips.yaml`, `nodes.yaml`, `prices.yaml`,
            `api.yaml` and `grids.yaml`; absent: the shipped ones.

    Raises:
        CatalogError: an entry is malformed, a name comes twice, or a chip is not there.
    """
    folder = Path(__file__).parent if folder is None else folder
    sources = read_sources(folder / "sources.yaml")
    catalog = Catalog(
        models=read_entries(folder / "models.yaml", sources, _model),
        chips=read_entries(folder / "chips.yaml", sources, _chip),
        nodes=read_entries(folder / "nodes.yaml", sources, _node),
        machine_prices=read_entries(folder / "prices.yaml", sources, read_machine_price),
        api_prices=read_entries(folder / "api.yaml", sources, read_api_price),
        grids=read_entries(folder / "grids.yaml", sources, _grid),
    )
    _check_chips(catalog, folder)
    _check_names(catalog, folder)
    check_series(catalog.machine_prices, lambda name: place_of(folder / "prices.yaml", (name,)))
    check_series(catalog.api_prices, lambda name: place_of(folder / "api.yaml", (name,)))
    return catalog


def _model(name: str, fields: Fields) -> Model:
    return Model(
        name=name,
        title=fields.required("title", str),
        hidden_size=fields.count("hidden_size"),
        vocabulary_size=fields.count("vocabulary_size"),
        context_tokens=fields.count("context_tokens"),
        tied_embeddings=fields.optional("tied_embeddings", bool) or False,
        layers=tuple(_layer_run(run) for run in fields.parts("layers")),
        total_parameters=fields.figure("total_parameters", None, "parameters"),
        active_parameters=fields.figure("active_parameters", None, "parameters"),
        weight_dtype=fields.word("weight_dtype", DTYPES),
        shape_source=fields.source(),
        notes=fields.texts("notes"),
    )


def _layer_run(fields: Fields) -> LayerRun:
    run = LayerRun(
        count=fields.count("count"),
        attention=_attention(fields.part("attention")),
        ffn=_ffn(fields.part("ffn")),
    )
    fields.done()
    return run


def _attention(fields: Fields) -> Attention:
    kind: AttentionKind = fields.word("kind", ATTENTION_KINDS)
    query_heads = fields.count("query_heads")
    nope, rope, latent = 0, 0, 0
    if kind == "mla":
        nope, rope = fields.count("qk_nope_head_dim"), fields.count("qk_rope_head_dim")
        latent = fields.count("kv_lora_rank")
        head_dim, kv_heads = nope + rope, query_heads
        value_head_dim = fields.count("value_head_dim")
    else:
        head_dim, kv_heads = fields.count("head_dim"), fields.count("kv_heads")
        value_head_dim = fields.count("value_head_dim", default=head_dim)
    if query_heads % kv_heads and kind != "linear":
        raise fields.fault("kv_heads", f"{kv_heads} does not divide {query_heads} query heads")
    attention = Attention(
        kind=kind,
        query_heads=query_heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        value_head_dim=value_head_dim,
        window_tokens=fields.count("window_tokens") if kind == "sliding" else None,
        q_lora_rank=fields.count("q_lora_rank", default=0, minimum=0) if kind == "mla" else 0,
        kv_lora_rank=latent,
        qk_nope_head_dim=nope,
        qk_rope_head_dim=rope,
        state_bytes_per_sequence=(
            fields.count("state_bytes_per_sequence") if kind == "linear" else None
        ),
        compression_ratio=float(fields.count("compression_ratio") if kind == "compressed" else 1),
        output_gate=fields.optional("output_gate", bool) or False,
    )
    fields.done()
    return attention


def _ffn(fields: Fields) -> Ffn:
    kind: FfnKind = fields.word("kind", FFN_KINDS)
    size = fields.count("intermediate_size")
    ffn = Ffn(kind, size)
    if kind == "moe":
        ffn = Ffn(
            kind,
            size,
            experts=fields.count("experts"),
            active_experts=fields.count("active_experts"),
            shared_experts=fields.count("shared_experts", default=0, minimum=0),
            shared_intermediate_size=fields.count("shared_intermediate_size", default=size),
        )
        if ffn.active_experts > ffn.experts:
            raise fields.fault("active_experts", f"more than the {ffn.experts} experts there are")
    fields.done()
    return ffn


def _chip(name: str, fields: Fields) -> Chip:
    return Chip(
        name=name,
        title=fields.required("title", str),
        vendor=fields.required("vendor", str),
        peak_flops=fields.figures("peak", "flops", DTYPES),
        memory_bytes=fields.figure("memory", "bytes"),
        memory_bandwidth=fields.figure("memory_bandwidth", "bandwidth"),
        scale_up_domain=fields.count("scale_up_domain"),
        status=fields.word("status", STATUSES, default="shipping"),
        scale_up_bandwidth=fields.optional_figure("scale_up_bandwidth", "bandwidth"),
        scale_out_bandwidth=fields.optional_figure("scale_out_bandwidth", "bandwidth"),
        tdp_w=fields.optional_figure("tdp", "power"),
        system_w=fields.optional_figure("system_power", "power"),
        capex_usd=fields.optional_figure("capex", "money"),
        on_chip_bytes=fields.optional_figure("on_chip_memory", "bytes"),
        embodied_kg=fields.optional_figure("embodied_carbon", "mass"),
        notes=fields.texts("notes"),
    )


def _node(name: str, fields: Fields) -> Node:
    return Node(
        name=name,
        title=fields.required("title", str),
        chip=fields.required("chip", str),
        devices=fields.count("devices"),
        sold_by=fields.word("sold_by", SOLD_BY, default="node"),
        power_w=fields.figure("power", "power"),
        host_memory_bytes=fields.optional_figure("host_memory", "bytes"),
        notes=fields.texts("notes"),
    )


def _grid(name: str, fields: Fields) -> Grid:
    return Grid(
        name=name,
        title=fields.required("title", str),
        intensity=fields.figure("intensity", "carbon_intensity"),
        notes=fields.texts("notes"),
    )


def _check_chips(catalog: Catalog, folder: Path) -> None:
    tables: dict[str, Mapping[str, Node | MachinePrice]] = {
        "nodes.yaml": catalog.nodes,
        "prices.yaml": catalog.machine_prices,
    }
    for file, entries in tables.items():
        for name, entry in entries.items():
            if entry.chip not in catalog.chips:
                place = place_of(folder / file, (name, "chip"))
                advice = did_you_mean(entry.chip, catalog.chips)
                raise CatalogError(f"{place}: {name}.chip: unknown chip {entry.chip!r}; {advice}")


def _check_names(catalog: Catalog, folder: Path) -> None:
    tables: dict[str, Mapping[str, object]] = {
        "models.yaml": catalog.models,
        "chips.yaml": catalog.chips,
        "nodes.yaml": catalog.nodes,
        "prices.yaml": catalog.machine_prices,
        "api.yaml": catalog.api_prices,
        "grids.yaml": catalog.grids,
    }
    taken: dict[str, str] = {}
    for file, entries in tables.items():
        for name in entries:
            if name in taken:
                place = place_of(folder / file, (name,))
                raise CatalogError(f"{place}: {name}: the name is taken in {taken[name]}")
            taken[name] = file
