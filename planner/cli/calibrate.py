"""`planner calibrate`: results of a serving benchmark to the overhead of an engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.cli.completion import catalog_names
from planner.cli.options import Force, iso_day
from planner.cli.tables import open_console, plain_table, print_table

if TYPE_CHECKING:
    from planner.cli.calibrating import Calibrated


WIDTH = 110
"""Columns of the output where it is piped."""


def calibrate(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULT...",
            help="Results of vllm bench serve, SGLang bench_serving, GuideLLM, AIPerf; or a CSV.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="NAME",
            help="Model of the catalogue.",
            autocompletion=catalog_names("models"),
        ),
    ],
    chip: Annotated[
        str,
        typer.Option(
            "--chip",
            metavar="NAME",
            help="Chip of the catalogue.",
            autocompletion=catalog_names("chips"),
        ),
    ],
    engine: Annotated[
        str, typer.Option("--engine", metavar="NAME", help="vllm, sglang or tensorrt-llm.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Calibration file to write.")
    ] = Path("calibration.json"),
    engine_version: Annotated[
        str, typer.Option("--engine-version", metavar="VERSION", help="As the engine prints it.")
    ] = "",
    tensor: Annotated[int, typer.Option("--tensor-parallel", min=1)] = 1,
    pipeline: Annotated[int, typer.Option("--pipeline-parallel", min=1)] = 1,
    data: Annotated[int, typer.Option("--data-parallel", min=1)] = 1,
    expert: Annotated[int, typer.Option("--expert-parallel", min=1)] = 1,
    replicas: Annotated[
        int, typer.Option("--replicas", min=1, help="Copies that share the requests.")
    ] = 1,
    devices_per_node: Annotated[int, typer.Option("--devices-per-node", min=1)] = 8,
    weight_dtype: Annotated[str, typer.Option("--weight-dtype", metavar="DTYPE")] = "bf16",
    kv_dtype: Annotated[str, typer.Option("--kv-dtype", metavar="DTYPE")] = "bf16",
    maximum_sequences: Annotated[int | None, typer.Option("--maximum-sequences", min=1)] = None,
    token_budget: Annotated[
        int | None, typer.Option("--token-budget", min=1, help="Tokens of a step at most.")
    ] = None,
    memory_fraction: Annotated[
        float | None,
        typer.Option("--memory-fraction", help="Share of the memory, weights included."),
    ] = None,
    kv_blocks: Annotated[
        int | None, typer.Option("--kv-blocks", min=1, help="As the engine's log has it.")
    ] = None,
    kv_block_tokens: Annotated[int | None, typer.Option("--kv-block-tokens", min=1)] = None,
    stream_interval: Annotated[
        int | None, typer.Option("--stream-interval", min=1, help="Tokens sent at a time.")
    ] = None,
    curves: Annotated[
        list[Path] | None,
        typer.Option("--curves", metavar="FILE", help="Own curve file; repeat for more."),
    ] = None,
    format_name: Annotated[
        str | None,
        typer.Option("--format", metavar="NAME", help="vllm, sglang, guidellm, aiperf or csv."),
    ] = None,
    hold_out: Annotated[
        float, typer.Option("--hold-out", help="Share of the results that is only scored.")
    ] = 0.0,
    max_error: Annotated[
        float | None,
        typer.Option(
            "--max-error", min=0.0, help="Exit with 1 if the median error of TPOT is above: 0.05."
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", help="What was measured, in a few words.")
    ] = None,
    date: Annotated[
        str | None,
        typer.Option(
            "--date", metavar="YYYY-MM-DD", callback=iso_day, help="When it was measured."
        ),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the fit as JSON.")] = False,
    force: Force = False,
) -> None:
    r"""Fit what an engine adds to its kernels to your benchmark results; write a calibration file.

    Every result is replayed as it was run, so queueing and batching are not mistaken for overhead.
    Prints the scalars with standard errors, the error of each result before and after, and
    warnings. Exit codes: 0 written; 1 the error exceeds --max-error, or is so large even after the
    fit (tenfold) that nothing is written; 2 bad input.

    Columns of a CSV, a row per operating point: prompt_tokens, output_tokens; concurrency (closed
    loop) or rate_rps (Poisson); requests; ttft_ms, tpot_ms (means), or output_tps; what a row
    leaves blank was not measured.

    For example:

        planner calibrate c1.json c16.json c64.json --model llama-3.1-8b \
          --chip h100-sxm --engine vllm -o calibration.json
    """
    from planner.catalog import load_catalog
    from planner.cli.calibrating import calibrate_points, check_names, named, read_results, usable
    from planner.cli.outputs import check_outputs
    from planner.cli.progress import LateBar, announce_compilation
    from planner.curves.engines import shipped_engines
    from planner.curves.layout import Parallelism
    from planner.measurements import Deployment, Settings

    if not 0 <= hold_out < 1:
        raise typer.BadParameter("is a share: at least 0 and below 1", param_hint="--hold-out")
    if memory_fraction is not None and not 0 < memory_fraction <= 1:
        raise typer.BadParameter("is a share: above 0 up to 1", param_hint="--memory-fraction")
    catalog = load_catalog()
    check_names(catalog, model, chip, engine, sorted({weight_dtype, kv_dtype}))
    check_outputs([output], force=force, inputs=[*results, *(curves or ())])
    try:
        layout = Parallelism(tensor, pipeline, expert, data)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--expert-parallel") from None
    system = Deployment(
        model,
        chip,
        engine,
        engine_version,
        layout,
        replicas,
        weight_dtype,
        kv_dtype=kv_dtype,
        devices_per_node=devices_per_node,
        settings=Settings(
            maximum_sequences=maximum_sequences,
            token_budget=token_budget,
            memory_fraction=memory_fraction,
            kv_blocks=kv_blocks,
            kv_block_tokens=kv_block_tokens,
            stream_interval=stream_interval,
        ),
    )
    read, skipped, notes = read_results(results, system, format_name)
    points = usable(read)
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    start = named(shipped_engines().find(engine, chip), points, source, date)
    announce_compilation()
    with LateBar("replaying") as bar:
        found = calibrate_points(
            points, catalog, start, curves=curves or (), hold_out=hold_out, skipped=skipped, bar=bar
        )
    if json_output:
        typer.echo(as_json(found))
    else:
        _print(found)
    for reason in found.far_off:
        typer.echo(f"error: {reason}", err=True)
    if found.far_off:
        raise typer.Exit(1)
    _write(found, output)
    median = found.calibration.median_error("tpot_mean_s")
    if max_error is not None and not median <= max_error:
        typer.echo(f"error: median error of TPOT {median:.1%}, at most {max_error:.1%}", err=True)
        raise typer.Exit(1)


def _write(found: Calibrated, output: Path) -> None:
    from planner.calibration.store import calibration_text
    from planner.files import write_whole

    write_whole(output, calibration_text([found.calibration.overhead]))
    typer.echo(f"written to {output}", err=True)


def as_json(found: Calibrated) -> str:
    """Return the fit as JSON."""
    import json
    from dataclasses import asdict

    from planner.validation.score import HEADLINE

    content = {
        "overhead": found.calibration.overhead.as_dict(),
        "start": found.start.as_dict(),
        "points": [
            {"id": found.deployments[each.point].point.id} | asdict(each) for each in found.errors
        ],
        "unseen": [
            {"id": score.point.id}
            | {name: round(score.error(name), 6) for name in HEADLINE if name in score.pairs}
            for score in found.unseen
        ],
        "warnings": list(found.warnings),
        "skipped": dict(found.skipped),
    }
    return json.dumps(content, indent=1, sort_keys=True)


def _print(found: Calibrated) -> None:
    from planner.validation.score import HEADLINE, errors_of
    from planner.validation.wording import error_text, signed, words

    console = open_console(WIDTH)
    host = found.calibration.overhead
    version = f" {host.version}" if host.version else ""
    typer.echo(f"{host.engine}{version} on {host.chip}: {len(found.deployments)} results\n")
    _print_scalars(console, found)
    typer.echo("\nError of each result, before and after")
    _print_points(console, found)
    for metric in found.calibration.residuals:
        after = found.calibration.median_error(metric)
        if after == after:  # noqa: PLR0124 - not NaN: measured
            typer.echo(f"median error of {words(metric)}: {error_text(after)}")
    for metric in HEADLINE:
        errors = errors_of(found.unseen, metric)
        if errors is not None:
            typer.echo(
                f"on {errors.points} results kept out, {words(metric)}: "
                f"{error_text(errors.median)}, bias {signed(errors.bias)}"
            )
    for reason, rows in found.skipped.items():
        typer.echo(f"note: {rows} not used: {reason}", err=True)
    for warning in found.warnings:
        typer.echo(f"warning: {warning}", err=True)


def _print_scalars(console: Any, found: Calibrated) -> None:
    from planner.calibration.diagnose import MEANINGS
    from planner.curves.engines import SCALARS
    from planner.report.fit_record import parameter_text

    host = found.calibration.overhead
    table = plain_table(["scalar", "start", "fitted ± standard error", "what it is"])
    table.columns[3].justify = "left"
    for name in SCALARS:
        unit = "s" if name.endswith("_s") else ""
        error = host.errors.get(name, float("nan"))
        start = parameter_text(getattr(found.start, name), 0.0, unit).replace(" ± 0", "")
        shown = parameter_text(getattr(host, name), error, unit)
        table.add_row(name, start, shown, MEANINGS.get(name, ""))
    print_table(console, table)


def _print_points(console: Any, found: Calibrated) -> None:
    from planner.results.formatting import count, duration
    from planner.validation.wording import load_words, signed, words

    table = plain_table(["result", "load", "metric", "measured", "before", "after"], labels=3)
    for each in found.errors:
        point = found.deployments[each.point].point
        shown = duration(each.measured) if each.metric.endswith("_s") else count(each.measured)
        table.add_row(
            point.id, load_words(point), words(each.metric), shown, signed(each.before),
            signed(each.after),
        )  # fmt: skip
    print_table(console, table)
