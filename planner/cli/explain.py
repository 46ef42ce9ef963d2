"""`planner explain`: where the time of a pool's steps goes, and what the figures stand on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options import Json, Named, Overrides, Sets

if TYPE_CHECKING:
    from planner.catalog import Catalog
    from planner.cli.explain_tables import ExplainedPool
    from planner.errors import Fault
    from planner.kernel.plan import PoolPlan
    from planner.lowering.pools import LoweredPool
    from planner.scenario import LoadedScenario
    from planner.scenario.schema.pools import Pool

USUAL_CONTEXT = 2048
"""Tokens of context, where none are asked for and the pool serves as many."""


def explain(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Scenario file.")],
    pool: Annotated[
        list[str] | None,
        typer.Option("--pool", metavar="NAME", help="Only this pool; may be repeated."),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            "--batch",
            metavar="N,N,…",
            help="Decoding sequences of a replica; by default powers of 4 up to its maximum.",
        ),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            "--context",
            metavar="TOKENS",
            help=f"Context of a decoding sequence, and length of a prompt; default {USUAL_CONTEXT}",
        ),
    ] = None,
    sets: Sets = None,
    overrides: Overrides = None,
    scenario: Named = None,
    json_output: Json = False,
) -> None:
    r"""Show where a step's time goes: operators, communication, host code.

    For every pool: decode steps of several sizes and a full prefill step.
    Of a pool that drafts: what that costs and gains by the size of the batch.
    Each operator has its place on the roofline and the curve it is timed by.
    A pool that leaves a curve's measured range says so. Nothing is simulated.

    For example:

        planner explain scenarios/quickstart.yaml

        planner explain scenarios/quickstart.yaml --pool chat --batch 1,16,128 \
          --context 8192

        planner explain scenarios/quickstart.yaml --json \
          --set pools.chat.weight_dtype=int4
    """
    from planner.catalog import load_catalog
    from planner.cli.explain_tables import as_json, print_pools
    from planner.scenario import load_checked

    catalog = load_catalog()
    loaded = load_checked(
        file, catalog, overrides=overrides or (), sets=sets or (), scenario=scenario
    )
    explained = explain_pools(loaded, catalog, pool or (), _batches(batch), context)
    if json_output:
        typer.echo(as_json(loaded.scenario.name, explained))
    else:
        print_pools(explained)


def explain_pools(
    loaded: LoadedScenario,
    catalog: Catalog,
    names: list[str] | tuple[str, ...],
    batches: tuple[int, ...],
    context: int | None,
) -> list[ExplainedPool]:
    """Take the steps of a scenario's pools apart.

    Args:
        loaded: the scenario.
        catalog: models, chips and nodes.
        names: of the pools; empty: all.
        batches: decoding sequences of the steps; empty: powers of 4 up to the pool's maximum.
        context: tokens per sequence; None: usual ones.

    Raises:
        ScenarioError: a pool is unknown, or takes no such batch or context.
        CatalogError: a chip lacks a figure, or a calibration file has faults.
    """
    from planner.errors import Fault, ScenarioError
    from planner.lowering.pools import basis_of, lower_pool

    pools = _chosen(loaded, names)
    basis = basis_of(loaded)
    lowered = [lower_pool(pool, catalog, basis) for pool in pools]
    faults = [
        Fault(str(loaded.path), 0, 0, f"pool {each.plan.name}", message)
        for each in lowered
        for message in _beyond(each.plan, batches, context)
    ]
    if faults:
        raise ScenarioError(faults)
    return [
        _explained(pool, each, catalog, batches, context)
        for pool, each in zip(pools, lowered, strict=True)
    ]


def _explained(
    pool: Pool,
    lowered: LoweredPool,
    catalog: Catalog,
    batches: tuple[int, ...],
    context: int | None,
) -> ExplainedPool:
    from planner.cli.explain_drafts import explain_drafts
    from planner.cli.explain_tables import ExplainedPool, ExplainedTier
    from planner.curves.anatomy import decode_load, prefill_load
    from planner.curves.explain import explain_replica
    from planner.lowering.tiers import break_even_tokens
    from planner.scenario import dtypes_of, parallelism_of

    plan = lowered.plan
    tokens = context or min(USUAL_CONTEXT, plan.context_tokens)
    decoding = batches or _usual_batches(plan)
    loads = [decode_load(sequences, tokens) for sequences in decoding]
    loads.append(prefill_load(plan.token_budget, tokens))
    blocks = -(-tokens // plan.kv_block_tokens)
    anatomy = explain_replica(
        lowered.curve,
        loads,
        catalog.model(pool.model),
        lowered.chip,
        lowered.node,
        parallelism_of(pool),
        dtypes_of(pool),
        maximum_sequences=plan.maximum_sequences,
        engine=pool.engine.name,
        curves=lowered.basis.curves(lowered.chip),
    )
    return ExplainedPool(
        meta=lowered.meta,
        engine=pool.engine.name,
        host=lowered.curve.host,
        context_tokens=tokens,
        most_sequences=plan.kv_blocks // blocks,
        anatomy=anatomy,
        tiers=tuple(
            ExplainedTier(
                name=tier.name,
                shared=tier.shared,
                tokens=tier.blocks * plan.kv_block_tokens,
                token_s=tier.block_s / plan.kv_block_tokens,
                latency_s=tier.latency_s,
                break_even_tokens=break_even_tokens(plan, tier),
            )
            for tier in plan.tiers
        ),
        drafts=explain_drafts(pool.speculation, lowered, decoding, tokens),
    )


def _chosen(loaded: LoadedScenario, names: list[str] | tuple[str, ...]) -> list[Pool]:
    from planner.errors import Fault, ScenarioError, did_you_mean, shown

    pools = {pool.name: pool for pool in loaded.scenario.pools}
    faults = []
    for name in names:
        if name not in pools:
            advice = did_you_mean(name, pools)
            message = f"the scenario has no pool {shown(name)}" + (f"; {advice}" if advice else "")
            faults.append(Fault(str(loaded.path), 0, 0, "--pool", message))
    if faults:
        raise ScenarioError(faults)
    return [pool for name, pool in pools.items() if not names or name in names]


def _beyond(plan: PoolPlan, batches: tuple[int, ...], context: int | None) -> Iterator[str]:
    """Yield what is wrong with the batches and the context asked for."""
    most = min(plan.maximum_sequences, plan.token_budget)
    for sequences in batches:
        if sequences > most:
            what = "maximum_sequences" if most == plan.maximum_sequences else "token_budget"
            yield (
                f"--batch {sequences:,} is more than a replica decodes at a time: {what} gives "
                f"{most:,}; ask for fewer, raise it with --set, or name another pool with --pool"
            )
    if context is not None and not 1 <= context <= plan.context_tokens:
        yield (
            f"--context {context:,} is not within 1 and {plan.context_tokens:,}, the longest "
            "prompt and output that it serves"
        )


def _batches(text: str | None) -> tuple[int, ...]:
    """Read `1,8,32`: sorted, each once.

    >>> _batches("32, 1,8,8")
    (1, 8, 32)
    """
    from planner.errors import Fault, ScenarioError, shown

    if text is None:
        return ()
    faults: list[Fault] = []
    found = set()
    for item in text.split(","):
        plain = item.strip()
        if plain.isascii() and plain.isdigit() and len(plain) < 10 and int(plain) > 0:
            found.add(int(plain))
        else:
            message = f"{shown(plain)} is not a number of sequences; write numbers as in 1,8,32"
            faults.append(Fault("--batch", 0, 0, "", message))
    if faults:
        raise ScenarioError(faults)
    return tuple(sorted(found))


def _usual_batches(plan: PoolPlan) -> tuple[int, ...]:
    """Return powers of 4 up to the pool's maximum, and that."""
    most = min(plan.maximum_sequences, plan.token_budget)
    powers = [4**power for power in range(32) if 4**power < most]
    return (*powers, most)
