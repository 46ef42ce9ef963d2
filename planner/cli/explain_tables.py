"""What `planner explain` found, as tables for the terminal and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from planner.curves.anatomy import KINDS, CurveUse, OperatorTime, ReplicaAnatomy, StepAnatomy
from planner.jsonable import plain
from planner.report.console import print_parts
from planner.results.formatting import MISSING, percent

if TYPE_CHECKING:
    from planner.cli.explain_drafts import ExplainedDrafts
    from planner.curves.engines import EngineOverhead
    from planner.results.meta import PoolMeta

STEPS_PER_TABLE: Final = 6
SHOWN_SHARE: Final = 0.005
"""Operators with a smaller share of the step are summed up in one row."""
_TIER_STYLES: Final = {"measured": "green", "fitted": "green", "estimated": "yellow"}


@dataclass(frozen=True)
class ExplainedTier:
    """One tier of a pool's KV cache."""

    name: str
    shared: bool
    """By all replicas; else each has its own."""
    tokens: int
    """It holds."""
    token_s: float
    """To fetch one token [s]."""
    latency_s: float
    break_even_tokens: float
    """Fewer are computed in less time than they are fetched."""


@dataclass(frozen=True)
class ExplainedPool:
    """One pool, taken apart."""

    meta: PoolMeta
    engine: str
    host: EngineOverhead
    context_tokens: int
    """Of each decoding sequence and of each prompt."""
    most_sequences: int
    """Of that context that the KV cache of a replica holds."""
    anatomy: ReplicaAnatomy
    tiers: tuple[ExplainedTier, ...] = ()
    """Of its KV cache."""
    drafts: ExplainedDrafts | None = None
    """Of tokens that its model verifies."""


# --- JSON ----------------------------------------------------------------------------------------


def as_json(scenario: str, pools: Sequence[ExplainedPool]) -> str:
    """Return everything as JSON; what is unknown is null."""
    content = {"scenario": scenario, "pools": [_pool_content(pool) for pool in pools]}
    return json.dumps(plain(content), indent=1, allow_nan=False)


def _pool_content(pool: ExplainedPool) -> dict[str, Any]:
    meta = pool.meta
    return {
        "pool": meta.name,
        "model": meta.model,
        "chip": meta.chip,
        "node": meta.node,
        "parallelism": meta.parallelism,
        "weight_dtype": meta.weight_dtype,
        "engine": pool.engine,
        "tier": meta.tier,
        "context_tokens": pool.context_tokens,
        "kv_cache_sequences": pool.most_sequences,
        "ridge_flops_per_byte": pool.anatomy.ridges,
        "host": pool.host.as_dict(),
        "prefix_cache": meta.prefix_cache,
        "kv_cache_tokens": meta.kv_blocks * meta.kv_block_tokens,
        "kv_tiers": [asdict(tier) for tier in pool.tiers],
        "drafts": _drafts_content(pool.drafts),
        "steps": [asdict(step) for step in pool.anatomy.steps],
        "curves": [asdict(curve) for curve in pool.anatomy.curves],
    }


def _drafts_content(drafts: ExplainedDrafts | None) -> dict[str, Any] | None:
    if drafts is None:
        return None
    steps = [asdict(step) | {"speed_up": step.speed_up} for step in drafts.steps]
    return asdict(drafts) | {"steps": steps}


# --- tables --------------------------------------------------------------------------------------


def print_pools(pools: Sequence[ExplainedPool], console: Console | None = None) -> None:
    """Print the pools one after the other, within 100 columns; plain text where piped."""
    print_parts((part for pool in pools for part in _pool(pool)), console)


def _pool(pool: ExplainedPool) -> Iterator[RenderableType]:
    steps = pool.anatomy.steps
    yield _title(pool)
    for first in range(0, len(steps), STEPS_PER_TABLE):
        yield _kinds(pool, steps[first : first + STEPS_PER_TABLE])
    yield _host(pool)
    if pool.drafts is not None:
        yield from _drafts(pool, pool.drafts)
    if pool.tiers:
        yield _tiers(pool)
    decodes = [step for step in steps if step.load.phase == "decode"]
    held = [step for step in decodes if step.load.sequences <= pool.most_sequences]
    yield _operators(pool, max(held or decodes[:1], key=lambda step: step.load.sequences))
    yield from (_operators(pool, step) for step in steps if step.load.phase == "prefill")
    if pool.anatomy.curves:
        yield _curves(pool)
    remarks = [*_cache_remarks(pool), *_curve_remarks(pool)]
    if remarks:
        yield Padding(Text("\n").join(Text(f"⚠ {each}") for each in remarks), (0, 0, 1, 0))


def _title(pool: ExplainedPool) -> RenderableType:
    meta = pool.meta
    title = Text(f"pool {meta.name}", style="bold")
    ridges = ", ".join(f"{dtype} {ridge:,.0f}" for dtype, ridge in pool.anatomy.ridges.items())
    facts = (
        f"{meta.model} {meta.weight_dtype} on {meta.chip}, {meta.parallelism}, {pool.engine}; "
        f"tier {meta.tier}; ridge of the roofline at {ridges} FLOP/byte"
    )
    return Padding(Group(title, Text(facts, style="dim")), (1, 0, 1, 0))


def _table() -> Table:
    return Table(
        box=box.SIMPLE_HEAD,
        header_style="dim",
        pad_edge=False,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )


def _titled(title: str, note: str, table: RenderableType) -> RenderableType:
    """Return the table under a title, which may be wider than it."""
    heading = Text(title, style="bold")
    heading.append(f"  {note}", style="dim not bold")
    return Padding(Group(heading, Text(""), table), (0, 0, 1, 0))


def _kinds(pool: ExplainedPool, steps: Sequence[StepAnatomy]) -> RenderableType:
    table = _table()
    table.add_column("one replica", no_wrap=True)
    for step in steps:
        table.add_column(_load_text(step), justify="right", no_wrap=True)
    for kind in KINDS:
        if any(step.kinds[kind] for step in steps):
            table.add_row(kind, *(_with_share(step.kinds[kind], step.total_s) for step in steps))
    table.add_section()
    table.add_row("step", *(f"{_ms(step.total_s)}     " for step in steps), style="bold")
    table.add_row("tokens/s", *(f"{step.load.tokens / step.total_s:,.0f}     " for step in steps))
    table.add_section()
    rows = (
        ("kernels as measured", [step.kernels_s for step in steps]),
        ("lost by the engine", [step.attained_s for step in steps]),
        ("made to rise", [step.raised_s for step in steps]),
        ("host, per step", [step.host_step_s for step in steps]),
        ("host, per sequence", [step.host_sequences_s for step in steps]),
    )
    for name, seconds in rows:
        shares = [s / step.total_s for s, step in zip(seconds, steps, strict=True)]
        if max(map(abs, shares)) >= 0.0005:
            cells = (_with_share(s, t.total_s) for s, t in zip(seconds, steps, strict=True))
            table.add_row(name, *cells, style="dim")
    note = f"ms and share; sequences and prompts of {pool.context_tokens:,} tokens"
    return _titled("Where a step's time goes", note, table)


def _host(pool: ExplainedPool) -> RenderableType:
    host = pool.host
    version = f" {host.version}" if host.version else ""
    rates = (
        f"{percent(host.compute_rate)} of the kernels' arithmetic, "
        f"{percent(host.bandwidth_rate)} of their traffic, {percent(host.link_rate)} of the links, "
        f"{percent(host.compute_rate * host.experts_rate)} of the experts' arithmetic"
    )
    text = (
        f"{host.engine}{version} ({host.tier}): attains {rates}; adds "
        f"{host.step_s * 1e3:.3g} ms per step, {host.sequence_s * 1e6:.3g} µs per sequence and "
        f"{host.request_s * 1e3:.3g} ms per request; the first token is sent "
        f"{host.late_steps:.2g} steps late. From: {host.source}"
    )
    return Padding(Text(text, style="dim"), (0, 0, 1, 0))


def _drafts(pool: ExplainedPool, drafts: ExplainedDrafts) -> Iterator[RenderableType]:
    what = f"{drafts.method}, {drafts.draft_tokens} tokens"
    if drafts.verified_tokens > drafts.draft_tokens:
        what += f" deep, {drafts.verified_tokens} verified"
    if drafts.switched_off:
        text = f"steps would emit {drafts.length:.2f} tokens, less than minimum_length"
        yield _titled("Drafts", f"{what}: off", Text(text))
    else:
        table = _table()
        names = ("sequences", "ms without", "verify ms", "draft ms", "share", "tokens", "speed-up")
        for name in names:
            table.add_column(name, justify="right", no_wrap=True)
        for step in drafts.steps:
            total_s = step.verify_s + step.draft_s
            table.add_row(
                f"{step.sequences:,}",
                _ms(step.plain_s),
                _ms(step.verify_s),
                _ms(step.draft_s),
                percent(step.draft_s / total_s),
                f"{step.tokens:.2f}",
                f"{step.speed_up:.2f}",
            )
        note = f"{what}; contexts of {pool.context_tokens:,} tokens; other tables are without"
        yield _titled("Drafts: cost and gain of a decode step", note, table)
        text = f"Drafting ({drafts.cost_tier}): {drafts.cost_source}"
        yield Padding(Text(text, style="dim"), (0, 0, 1, 0))
    yield _acceptance(drafts)


def _acceptance(drafts: ExplainedDrafts) -> RenderableType:
    table = _table()
    table.add_column("class", overflow="fold")
    table.add_column("tokens", justify="right", no_wrap=True)
    table.add_column("by position", overflow="fold", max_width=30)
    table.add_column("tier", no_wrap=True)
    table.add_column("source", overflow="fold")
    for each in drafts.acceptance:
        table.add_row(
            each.request_class,
            f"{each.length:.2f}",
            " ".join(percent(rate) for rate in each.by_position),
            _tier(each.tier),
            each.source,
        )
    note = "tokens per step, and the share of each draft accepted if those before were"
    return _titled("Acceptance", note, table)


def _tiers(pool: ExplainedPool) -> RenderableType:
    table = _table()
    table.add_column("tier", no_wrap=True)
    for name in ("tokens", "ms per 1,000", "latency ms", "pays from"):
        table.add_column(name, justify="right", no_wrap=True)
    own = pool.meta.kv_blocks * pool.meta.kv_block_tokens
    table.add_row("the replica's own", f"{own:,}", MISSING, MISSING, MISSING)
    for tier in pool.tiers:
        least = tier.break_even_tokens
        table.add_row(
            f"{tier.name}{' (shared)' if tier.shared else ''}",
            f"{tier.tokens:,}",
            _ms(1e3 * tier.token_s),
            _ms(tier.latency_s),
            f"{math.ceil(least):,} tokens" if math.isfinite(least) else "never",
        )
    note = "what is fetched in less time than it is computed, the links being free"
    return _titled("KV cache and its tiers", note, table)


def _operators(pool: ExplainedPool, step: StepAnatomy) -> RenderableType:
    table = _table()
    table.add_column("operator", no_wrap=True)
    for name in ("ms", "share", "FLOP/B"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("bound", no_wrap=True)
    table.add_column("of peak", justify="right", no_wrap=True)
    table.add_column("tier", no_wrap=True)
    table.add_column("curve", overflow="fold")
    table.add_column("error", justify="right", no_wrap=True)
    small = [each for each in step.operators if each.share < SHOWN_SHARE]
    for operator in step.operators:
        if len(small) < 2 or operator.share >= SHOWN_SHARE:
            table.add_row(*_operator_cells(operator))
    if len(small) > 1:
        seconds = sum(each.seconds for each in small)
        table.add_row(f"{len(small)} others", _ms(seconds), percent(seconds / step.total_s))
    tokens = f"{step.load.sequences or step.load.tokens:,}"
    what = "sequences" if step.load.phase == "decode" else "prompt tokens"
    note = f"{tokens} {what}, all layers"
    return _titled(f"Operators of a {step.load.phase} step", note, table)


def _operator_cells(operator: OperatorTime) -> tuple[str | Text, ...]:
    intensity = MISSING if math.isnan(operator.ridge) else _figure(operator.intensity)
    return (
        operator.name,
        _ms(operator.seconds),
        percent(operator.share),
        intensity,
        operator.bound,
        _percent(operator.peak_share),
        _tier(operator.tier),
        operator.basis,
        _percent(operator.error),
    )


def _curves(pool: ExplainedPool) -> RenderableType:
    table = _table()
    table.add_column("operator", no_wrap=True)
    table.add_column("format", no_wrap=True)
    table.add_column("kernels", no_wrap=True)
    table.add_column("date", no_wrap=True)
    table.add_column("tier", no_wrap=True)
    for name in ("timings", "fitted", "left out"):
        table.add_column(name, justify="right", no_wrap=True)
    for curve in pool.anatomy.curves:
        table.add_row(
            curve.operator,
            " ".join(each for each in (curve.dtype, curve.kv_dtype) if each),
            f"{curve.engine} {curve.version}".strip(),
            curve.date or MISSING,
            _tier(curve.tier),
            f"{curve.points:,}",
            _percent(curve.mape_in),
            _percent(curve.mape_out),
        )
    note = "mean absolute error on the shapes fitted, and on those left out of the fit"
    return _titled("Curves in use", note, table)


def _cache_remarks(pool: ExplainedPool) -> Iterator[str]:
    batches = [step.load.sequences for step in pool.anatomy.steps]
    beyond = [f"{sequences:,}" for sequences in batches if sequences > pool.most_sequences]
    if beyond:
        yield (
            f"the KV cache of a replica holds {pool.most_sequences:,} sequences of "
            f"{pool.context_tokens:,} tokens: it never decodes {' or '.join(beyond)} of them"
        )


def _curve_remarks(pool: ExplainedPool) -> Iterator[str]:
    for curve in pool.anatomy.curves:
        name = f"{curve.operator} {curve.dtype}"
        if curve.outside:
            ranges = ", ".join(f"{column} {_range(curve, column)}" for column in curve.outside)
            yield f"{name}: beyond its measured range the form extrapolates ({ranges})"
        if curve.chip != pool.meta.chip:
            yield f"{name}: {pool.meta.chip} has no curve; the efficiency of {curve.chip} stands in"
    if not pool.anatomy.curves:
        yield "no curve serves this pool: all times are estimates from data sheets"


def _range(curve: CurveUse, column: str) -> str:
    if column not in curve.valid:
        return ""
    low, high = curve.valid[column]
    return f"{low:,.6g}…{high:,.6g}"


def _load_text(step: StepAnatomy) -> str:
    if step.load.phase == "decode":
        return f"decode {step.load.sequences:,}"
    return f"prefill {step.load.tokens:,}"


def _with_share(seconds: float, total_s: float) -> str:
    return f"{_ms(seconds)} {100 * seconds / total_s:>3.0f}%" if total_s else _ms(seconds)


def _ms(seconds: float) -> str:
    """Return milliseconds with as many digits as help.

    >>> _ms(0.0123456), _ms(0.123456), _ms(0.00000123)
    ('12.35', '123.5', '0.00')
    """
    value = seconds * 1e3
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:,.2f}"


def _figure(value: float) -> str:
    if math.isnan(value):
        return MISSING
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _percent(rate: float) -> str:
    return MISSING if math.isnan(rate) else percent(rate)


def _tier(tier: str) -> Text:
    return Text(tier, style=_TIER_STYLES.get(tier, ""))
