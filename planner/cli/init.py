"""`planner init`: a scenario of one's own, from a few questions or flags."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from planner.cli.completion import catalog_names, length_families
from planner.cli.options import Force
from planner.errors import CatalogError

if TYPE_CHECKING:
    from planner.catalog import Catalog
    from planner.starter import Fleet, Traffic, Wishes

OWN_PRICE = "ours"
"""Name of a price that the user states."""


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Scenario to write.")] = Path(
        "scenario.yaml"
    ),
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Model in the catalogue.", autocompletion=catalog_names("models")
        ),
    ] = None,
    chip: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Chip or node in the catalogue.",
            autocompletion=catalog_names("chips", "nodes"),
        ),
    ] = None,
    requests_per_second: Annotated[
        str | None, typer.Option(metavar="RATE", help="In the busiest hour.")
    ] = None,
    requests_per_day: Annotated[
        float | None, typer.Option(metavar="COUNT", min=1, help="Instead: of a weekday.")
    ] = None,
    lengths: Annotated[
        str | None,
        typer.Option(
            metavar="PRESET",
            help="Lengths of prompts and answers as in a public trace.",
            autocompletion=length_families,
        ),
    ] = None,
    input_tokens: Annotated[
        float | None, typer.Option(metavar="TOKENS", min=1, help="Instead: mean prompt.")
    ] = None,
    output_tokens: Annotated[
        float | None, typer.Option(metavar="TOKENS", min=1, help="Instead: mean answer.")
    ] = None,
    reasoning: Annotated[
        str, typer.Option(metavar="SHARE", help="Of the requests, those that reason first: 30%.")
    ] = "0%",
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Replay this trace, in place of rate and lengths."),
    ] = None,
    ttft: Annotated[
        str | None, typer.Option(metavar="TIME", help="Promised p99 of the time to first token.")
    ] = None,
    tpot: Annotated[
        str | None, typer.Option(metavar="TIME", help="Promised p99 of the time per output token.")
    ] = None,
    nodes: Annotated[
        int | None, typer.Option(min=1, metavar="COUNT", help="Default: estimated.")
    ] = None,
    tensor_parallel: Annotated[
        int | None,
        typer.Option(min=1, max=64, metavar="COUNT", help="Devices of a replica; default: chosen."),
    ] = None,
    weight_dtype: Annotated[
        str | None,
        typer.Option(metavar="DTYPE", help="fp8, fp4, int4, …; default: as published."),
    ] = None,
    price: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of machine time, in the catalogue; or your own of a device: '2.50 USD/h'.",
            autocompletion=catalog_names("machine_prices"),
        ),
    ] = None,
    api_price: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What the traffic pays per token, in the catalogue; default: nothing.",
            autocompletion=catalog_names("api_prices"),
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing; take defaults for what is not given.")
    ] = False,
    force: Force = False,
) -> None:
    r"""Write a scenario of your own, every line of it explained.

    On a terminal it asks for what matters most and was not given; elsewhere, and with --yes, it
    takes defaults and says which. The number of nodes is a guess from the length of the mean
    step, good to a factor of two for chats and too low for long prompts with short answers;
    `planner size` replaces it by what a simulation finds.

    For example:

        planner init

        planner init chat.yaml --model llama-3.1-70b --chip h100-sxm \
          --requests-per-second 30 --ttft "1 s" --tpot "40 ms"

        planner init r1.yaml --model deepseek-r1 --chip h200-sxm --reasoning 60% \
          --requests-per-day 400000 --api-price deepseek-reasoner-2025-02

        planner init replay.yaml --trace traces/sample-mixed-10min.csv
    """
    from planner.catalog import load_catalog
    from planner.cli.asking import Questions, is_terminal, one_of, quantity, read_option, share
    from planner.cli.outputs import check_outputs
    from planner.files import write_whole
    from planner.scenario import load_checked
    from planner.scenario.schema.fields import Dtype
    from planner.starter import Wishes, choose_fleet, scenario_text, traffic_from_trace, traffic_of
    from planner.starter import wishes as usual
    from planner.trace.library import length_pairs

    check_outputs([file], force=force, inputs=[] if trace is None else [trace])
    _check_contradictions(
        trace, requests_per_second, requests_per_day, lengths, input_tokens, output_tokens
    )
    catalog = load_catalog()
    ask = Questions(asking=not yes and is_terminal())
    chosen = ask("Model", "--model", model, usual.MODEL, catalog.model)
    node = ask("Chip", "--chip", chip, usual.CHIP, lambda name: usual.node_with(catalog, name))
    if trace is not None:
        traffic = traffic_from_trace(trace)
    else:
        rate = None
        if requests_per_day is None:
            question = "Requests per second in the busiest hour"
            asked = "--requests-per-second", requests_per_second, usual.REQUESTS_PER_SECOND
            rate = ask(question, *asked, quantity("rate"))
        if input_tokens is None or output_tokens is None:
            family = one_of("lengths", length_pairs())
            lengths = ask("Lengths as in", "--lengths", lengths, usual.LENGTHS, family)
        traffic = traffic_of(
            lengths=lengths,
            rate_rps=rate,
            requests_per_day=requests_per_day,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            reasoning_share=read_option("--reasoning", reasoning, share),
        )
    seconds = quantity("duration")
    usual_price = usual.usual_price(catalog, node.chip)
    if usual_price is None and not ask.asking and price is None:
        raise CatalogError(
            f'the catalogue has no price of {node.chip}; state one, as in --price "2.50 USD/h", '
            "which is that of one device"
        )
    price_name, own_price = ask(
        "Price of machine time, as 2.50 USD/h of a device or a name",
        "--price",
        price,
        usual_price,
        lambda text: _price(catalog, node.chip, text),
    )
    wishes = Wishes(
        name=_name_of(file),
        model=chosen,
        node=node,
        weight_dtype=read_option(
            "--weight-dtype", weight_dtype or chosen.weight_dtype, one_of("format", get_args(Dtype))
        ),
        ttft_s=ask("Promised p99 of the time to first token", "--ttft", ttft, usual.TTFT, seconds),
        tpot_s=ask("Promised p99 of the time per token", "--tpot", tpot, usual.TPOT, seconds),
        price=price_name,
        own_price=own_price,
        api_price=None if api_price is None else catalog.api_price(api_price).name,
        tensor_parallel=tensor_parallel,
        nodes=nodes,
    )
    fleet = choose_fleet(wishes, traffic, catalog)
    write_whole(file, scenario_text(wishes, traffic, fleet, catalog, file))
    load_checked(file, catalog)  # a fault has its place in the file that is there now
    _print_choices(file, wishes, traffic, fleet, ask.defaulted)


def _check_contradictions(
    trace: Path | None,
    rate: str | None,
    per_day: float | None,
    lengths: str | None,
    input_tokens: float | None,
    output_tokens: float | None,
) -> None:
    if rate is not None and per_day is not None:
        raise typer.BadParameter("give --requests-per-second or --requests-per-day, not both")
    others = [rate, per_day, lengths, input_tokens, output_tokens]
    if trace is not None and any(other is not None for other in others):
        raise typer.BadParameter(
            "--trace has rates and lengths of its own; leave out those of other options, or the "
            "trace"
        )


def _price(catalog: Catalog, chip: str, given: str) -> tuple[str, str | None]:
    """Return the name of the price of machine time, and the price itself if it is the user's."""
    from planner.cli.asking import one_of
    from planner.units import parse_quantity

    try:
        parse_quantity(given, "money_per_hour")
    except ValueError:
        of_chip = [name for name, p in catalog.machine_prices.items() if p.chip == chip]
        return one_of(f"price of {chip}", of_chip)(given), None
    return OWN_PRICE, given


def _name_of(file: Path) -> str:
    """Return a name for the scenario: that of the file, in letters that names may have.

    >>> _name_of(Path("my plan.yaml"))
    'my-plan'
    """
    return re.sub(r"[^\w.-]+", "-", file.stem, flags=re.ASCII).strip("-.") or "scenario"


def _print_choices(
    file: Path, wishes: Wishes, traffic: Traffic, fleet: Fleet, defaulted: list[str]
) -> None:
    node = wishes.node
    rate = f"{traffic.rate_rps:.4g} requests/s: {traffic.rate_source}"
    lengths = f"{traffic.input.mean:,.0f} tokens in, {traffic.emitted_tokens:,.0f} out, in the mean"
    guess = f"{fleet.devices:,} accelerators, {fleet.tensor_parallel} per replica"
    revenue = wishes.api_price or "none stated"
    rows = {
        "model": f"{wishes.model.name} in {wishes.weight_dtype}",
        "traffic": rate,
        "": lengths,
        "promises": f"p99 TTFT {wishes.ttft_s:g} s, p99 TPOT {wishes.tpot_s * 1e3:g} ms",
        "fleet": f"{fleet.nodes:,} × {node.name}: {guess}"
        + ("" if wishes.nodes else "; a guess, see the file"),
        "price": f"{wishes.own_price or wishes.price}; revenue: {revenue}",
    }
    typer.echo(f"{file}: written")
    for title, text in rows.items():
        typer.echo(f"  {title:<9} {text}")
    if defaulted:
        typer.echo("  defaults  " + ", ".join(defaulted))
    for note in (*traffic.notes, *fleet.notes):
        typer.echo(f"  note: {note}")
    word = shlex.quote(str(file))
    typer.echo(f"\nNext:\n  planner run {word}     latency, cost and margin of this fleet")
    typer.echo(f"  planner size {word}    the fewest nodes that keep the promises")
