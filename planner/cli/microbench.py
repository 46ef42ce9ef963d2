"""`planner microbench`: measure this machine's kernels, write the timings `planner fit` reads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.cli.completion import catalog_names

if TYPE_CHECKING:
    from planner.catalog import Catalog
    from planner.microbench.cases import Case
    from planner.microbench.runner import Tally
    from planner.microbench.table import Table
    from planner.microbench.timing import Discipline
    from planner.microbench.torch_device import TorchDevice

WIDTH = 100
"""Columns of the output where it is piped."""


def microbench(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="CSV of timings to write.")
    ] = Path("timings.csv"),
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="Measure the shapes of this model; repeat.",
            autocompletion=catalog_names("models"),
        ),
    ] = None,
    tensor_parallel: Annotated[
        int, typer.Option("--tensor-parallel", min=1, help="Devices each model is split over.")
    ] = 1,
    operator: Annotated[
        list[str] | None,
        typer.Option(
            "--operator",
            metavar="NAME",
            help="gemm, prefill_attention, decode_attention, stream or all_reduce; repeat. "
            "By default all.",
        ),
    ] = None,
    dtype: Annotated[
        list[str] | None,
        typer.Option(
            "--dtype", metavar="NAME", help="bf16 (the default), fp16, fp8 or int8; repeat."
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A few shapes: under a minute.")] = False,
    device: Annotated[
        str, typer.Option("--device", metavar="KIND", help="cuda (also ROCm), cpu or auto.")
    ] = "auto",
    devices: Annotated[
        int | None,
        typer.Option(
            "--devices", min=1, help="Most devices of an all-reduce; on a CPU: processes."
        ),
    ] = None,
    chip: Annotated[
        str | None,
        typer.Option(
            "--chip",
            metavar="NAME",
            help="Chip in the catalogue; else recognised.",
            autocompletion=catalog_names("chips"),
        ),
    ] = None,
    flush: Annotated[
        bool,
        typer.Option("--flush/--no-flush", help="Keep weights and KV out of the chip's cache."),
    ] = True,
    repeats: Annotated[
        int, typer.Option("--repeats", min=3, max=1000, help="Timings of which the median counts.")
    ] = 7,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Seed of the order and of the operands.")
    ] = 0,
    force: Annotated[bool, typer.Option("--force", help="Start anew if FILE is there.")] = False,
) -> None:
    r"""Measure matrix products, attention, memory and all-reduce on this machine.

    Writes a CSV of timings, and beside it what they were taken on (.json) and how each case went
    (.log.csv). Run again after an interruption: what is in the CSV is not measured again. Needs
    PyTorch: pip install 'planner\[microbench]'.

    For example:

        planner microbench --quick

        planner microbench --model llama-3.1-70b --tensor-parallel 8 \
          --dtype bf16 --dtype fp8

        planner fit timings.csv --output curves.json
    """
    from planner.catalog import load_catalog
    from planner.cli.progress import LateBar
    from planner.microbench.cases import every_case
    from planner.microbench.plans import limits_of, plan_of
    from planner.microbench.runner import measure_cases
    from planner.microbench.table import open_table
    from planner.microbench.timing import Discipline

    catalog = load_catalog()
    asked: dict[str, Any] = {
        "tensor_parallel": tensor_parallel,
        "operators": operator or (),
        "dtypes": dtype or (),
        "quick": quick,
    }
    plan_of(catalog, model or (), **asked)  # what is wrong with it is said before PyTorch loads
    found = _device(catalog, device, chip, flush, seed)
    plan = plan_of(
        catalog,
        model or (),
        **asked,
        devices=devices or found.count,
        small=found.kind == "cpu",
    )
    limits = limits_of(found.limits_flops, found.limits_bytes, kind=found.kind, quick=quick)
    cases = every_case(plan, limits, seed=seed)
    discipline = Discipline(repeats=repeats)
    table = open_table(output, _header(found, discipline, plan.dtypes, seed), force=force)
    typer.echo(
        f"measuring {len(cases):,} cases on {table.header['device']} ({found.chip})", err=True
    )
    with LateBar("measuring") as bar:
        try:
            tally = measure_cases(
                found,
                cases,
                table,
                discipline,
                progress=bar,
                collectives=lambda joint: _together(found, joint, discipline),
            )
        finally:
            table.header["state_after"] = found.environment().get("state")
            table.header["finished"] = _now()
            table.save()
    _print(table, cases, catalog, tally)
    if not tally.measured + tally.already:
        typer.echo("error: nothing could be measured; the reasons are in the log", err=True)
        raise typer.Exit(1)


def _device(catalog: Catalog, kind: str, chip: str | None, flush: bool, seed: int) -> TorchDevice:
    from planner.errors import did_you_mean, shown
    from planner.microbench.timing import MicrobenchError
    from planner.microbench.torch_device import KINDS, TorchDevice

    if kind not in KINDS:
        raise MicrobenchError(f"unknown --device {shown(kind)}; {did_you_mean(kind, KINDS)}")
    if chip is not None:
        catalog.chip(chip)
    found = TorchDevice(kind, chip=chip or "", flush=flush, seed=seed)
    if found.chip not in catalog.chips:
        typer.echo(
            f"note: {found.chip} is no chip of the catalogue, so its peaks are not known; name one "
            "with --chip here or in planner fit",
            err=True,
        )
    return found


def _together(device: TorchDevice, joint: Sequence[Case], discipline: Discipline) -> Any:
    from planner.microbench.collectives import measure_all_reduce

    device.release()  # the processes of the group need the memory
    return measure_all_reduce(device.kind, joint, discipline)


def _header(
    device: TorchDevice, discipline: Discipline, dtypes: Sequence[str], seed: int
) -> dict[str, Any]:
    """Return what stands beside the timings."""
    from dataclasses import asdict

    from planner.microbench.table import ENGINE, SCHEMA
    from planner.version import VERSION

    return device.environment() | {
        "schema": SCHEMA,
        "planner": VERSION,
        "chip": device.chip,
        "engine": ENGINE,
        "version": device.version,
        "sixteen_bit": "fp16" if "fp16" in dtypes else "bf16",
        "seed": seed,
        "discipline": asdict(discipline),
        "started": _now(),
        "date": _now()[:10],
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _print(table: Table, cases: Sequence[Case], catalog: Catalog, tally: Tally) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable

    from planner.microbench.summary import bests
    from planner.microbench.table import header_path, log_path

    shown = RichTable(box=None, pad_edge=False)
    for title in ("operator", "dtype", "timings", "fastest rate", "of peak"):
        shown.add_column(title, justify="left" if title in ("operator", "dtype") else "right")
    for best in bests(table, cases, catalog.chips.get(str(table.header["chip"]))):
        peak = "" if best.of_peak is None else f"{best.of_peak:.0%}"
        shown.add_row(best.operator, best.dtype, f"{best.timings:,}", best.rate, peak)
    console = Console(highlight=False)
    if not console.is_terminal:  # a pipe has no width of its own
        console = Console(highlight=False, width=WIDTH)
    console.print(shown)
    parts = [f"{tally.measured:,} measured"]
    for number, text in (
        (tally.already, "were there already"),
        (tally.out_of_memory, "did not fit into memory"),
        (tally.unsupported, "cannot run here"),
        (tally.unsteady, "spread more than 5%"),
    ):
        parts += [f"{number:,} {text}"] if number else []
    typer.echo("\n" + ", ".join(parts))
    beside = f"{header_path(table.path).name} and {log_path(table.path).name}"
    typer.echo(f"written to {table.path}, with {beside}; next: planner fit {table.path}")
