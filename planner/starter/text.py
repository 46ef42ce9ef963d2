"""A scenario as YAML that explains itself, line by line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from planner.catalog import Catalog
from planner.starter.fleet import LOAD, Fleet
from planner.starter.traffic import Length, Traffic
from planner.starter.wishes import Wishes

_SCHEMA = Path(__file__).resolve().parent.parent / "scenario" / "planner-v1.schema.json"
DATE = "2026-11-01"
"""That of the newest prices in the catalogue, and what scenarios without a date use."""
_YAML_WORDS = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")
_FAR = 3
"""So many folders up, and a full path says better where the schema is."""


def scenario_text(
    wishes: Wishes, traffic: Traffic, fleet: Fleet, catalog: Catalog, path: Path
) -> str:
    """Return the text of a scenario.

    Args:
        wishes, traffic, fleet: what it says.
        catalog: where its names are explained.
        path: of the file, from whose folder other files are named.
    """
    lines = [
        *_head(wishes, path),
        "",
        *_workload(wishes, traffic, path),
        "",
        *_pool(wishes, fleet, traffic),
        "",
        *_prices(wishes, catalog),
        "",
        *_variants(traffic, fleet),
    ]
    return "\n".join(lines) + "\n"


def _head(wishes: Wishes, path: Path) -> Iterator[str]:
    yield f"# yaml-language-server: $schema={_schema_from(path)}"
    yield "#"
    yield "# The line above lets editors complete and explain every field (`planner schema` prints"
    yield "# the schema). Quantities carry units: 500 ms, 2 s, 1 h, 20 /s, 5000 /day, 3.20 USD/h."
    yield "#"
    yield f"#   planner check {path}    finds mistakes, with their place"
    yield f"#   planner run {path}      latency, cost and margin of this fleet"
    yield f"#   planner size {path}     the fewest nodes that keep the promises"
    yield "schema: planner/v1"
    yield f"name: {_name(wishes.name)} # results are written to results/{wishes.name}"
    yield "seed: 1 # same file and seed: same numbers; another seed: another draw of the traffic"


def _workload(wishes: Wishes, traffic: Traffic, path: Path) -> Iterator[str]:
    warmup_s = min(120.0, traffic.duration_s // 10)
    yield "workload:"
    yield '  start: "14:00" # time of day of the first second; schedules follow it'
    yield f"  duration: {_span(traffic.duration_s)} # during which requests arrive"
    yield f"  warmup: {_span(warmup_s)} # simulated, but not measured: the fleet starts empty"
    yield "  classes: # one per kind of request; add more of them here"
    if traffic.trace is not None:
        yield from _trace_class(wishes, traffic, traffic.trace, path)
        return
    for name, share in class_shares(traffic):
        hidden = traffic.reasoning if name == "reasoning" else None
        yield from _class(name, traffic, share, wishes, hidden)


def class_shares(traffic: Traffic) -> list[tuple[str, float]]:
    """Return the classes of traffic that is no trace, with their shares of the requests."""
    share = traffic.reasoning_share
    return [each for each in (("chat", 1 - share), ("reasoning", share)) if each[1] > 0]


def _class(
    name: str, traffic: Traffic, share: float, wishes: Wishes, hidden: Length | None
) -> Iterator[str]:
    yield f"    - name: {name}"
    yield "      pool: serving # which serves it, below"
    part = "" if share == 1 else f"{100 * share:.4g}% of the requests; "
    yield f"      # {part}{traffic.rate_source}"
    yield "      open: # arrivals that do not wait for answers"
    yield f"        rate: {traffic.rate_rps * share:.4g} /s # requests per second, in the mean"
    yield "        burstiness: {kind: gamma, cv: 1.5} # 1: random arrivals; above 1: bursts"
    room = _context_room(wishes, traffic)
    yield from _length("input", traffic.input, "a prompt", room)
    yield from _length("output", traffic.output, "an answer", room)
    if hidden is not None:
        yield from _length("reasoning", hidden, "hidden reasoning before the answer", room)
    yield from _promises(wishes)


def _length(field: str, length: Length, what: str, room: int | None) -> Iterator[str]:
    yield f"      # tokens of {what}: {length.mean:,.0f} in the mean; {length.source}"
    bound = "" if room is None else f", maximum: {room}"
    yield f"      {field}: {length.yaml.removesuffix('}')}{bound}}}"


def _context_room(wishes: Wishes, traffic: Traffic) -> int | None:
    """Return what each length may be at most, where the model's context is short."""
    parts = 2 + (traffic.reasoning is not None)
    context = wishes.model.context_tokens
    return context // parts if context < _LONG_CONTEXT else None


_LONG_CONTEXT = 65536
"""Longer than prompt, reasoning and answer of nearly every request."""


def _trace_class(wishes: Wishes, traffic: Traffic, trace: Path, path: Path) -> Iterator[str]:
    relative = os.path.relpath(trace.resolve(), path.resolve().parent)
    yield "    - name: recorded"
    yield "      pool: serving # which serves it, below"
    yield "      # every request arrives when it did, with the lengths it had: in the mean"
    lengths = f"{traffic.input.mean:,.0f} tokens of prompt and {traffic.output.mean:,.0f} of answer"
    yield f"      # {traffic.rate_rps:.4g} requests/s, {lengths};"
    yield "      # `rate_scale: 2` beside `file` makes it twice as fast"
    yield f"      trace: {{file: {_quoted(relative)}}} # from the folder of this scenario"
    yield from _promises(wishes)


def _promises(wishes: Wishes) -> Iterator[str]:
    yield "      objectives: # what users are promised; `planner size` keeps all of it"
    yield (
        f"        - {{metric: ttft, percentile: 99, limit: {_span(wishes.ttft_s)}}} "
        "# time to first token"
    )
    yield (
        f"        - {{metric: tpot, percentile: 99, limit: {_span(wishes.tpot_s)}}} "
        "# time per output token after it"
    )
    if wishes.api_price:
        yield "      plan: users # what it pays, below"


def _pool(wishes: Wishes, fleet: Fleet, traffic: Traffic) -> Iterator[str]:
    tensor = fleet.tensor_parallel
    yield "pools: # groups of identical replicas"
    yield "  - name: serving"
    yield f"    model: {wishes.model.name} # {wishes.model.title}; `planner catalog list models`"
    yield f"    node: {wishes.node.name} # {wishes.node.title}; `planner catalog list nodes`"
    for line in _nodes_rule(wishes, fleet, traffic):
        yield f"    # {line}"
    yield f"    nodes: {fleet.nodes} # {fleet.devices} accelerators"
    many = "devices that share" if tensor > 1 else "device that holds"
    yield f"    tensor_parallel: {tensor} # {many} one copy of the model"
    yield f"    weight_dtype: {wishes.weight_dtype} # {_dtype_words(wishes)}"
    yield "    engine: {name: vllm} # or sglang, tensorrt-llm: their overheads differ"
    where = "below" if wishes.own_price else f"`planner catalog show {wishes.price}` has its source"
    yield f"    price: {wishes.price} # of machine time; {where}"


def _nodes_rule(wishes: Wishes, fleet: Fleet, traffic: Traffic) -> Iterator[str]:
    """Yield how the number of nodes came about."""
    if wishes.nodes is not None:
        yield "As you asked; `planner size` finds the fewest that keep the promises."
        return
    yield (
        f"A guess, for `planner size` to replace: {traffic.rate_rps:.4g} requests/s, over "
        f"{fleet.node_rps:.3g} that a node carries"
    )
    yield (
        f"in the mean (batches of {fleet.batch} keep the promised pace), and a load of {LOAD:.0%} "
        "to leave room for bursts."
    )


def _dtype_words(wishes: Wishes) -> str:
    if wishes.weight_dtype == wishes.model.weight_dtype:
        return "as the model is published"
    return f"published in {wishes.model.weight_dtype}"


def _prices(wishes: Wishes, catalog: Catalog) -> Iterator[str]:
    yield "prices:"
    yield f'  date: "{DATE}" # the day whose prices apply'
    if wishes.own_price:
        yield "  nodes: # prices of machine time of your own"
        price = f"per_device_hour: {wishes.own_price}, terms: on_demand"
        yield f"    - {{name: {wishes.price}, {price},"
        yield f'       as_of: "{DATE}", source: stated by the user}}'
    yield "  node_overhead: 10% # network, storage and support, on top of the price of devices"
    if not wishes.api_price:
        yield "  # What the traffic earns, if you say so, with `plan: users` in its class;"
        yield "  # `planner catalog list api` has public prices, for `api_price: NAME`."
        yield "  # plans:"
        yield "  #   - {name: users, kind: api, input: 0.60 USD/Mtok, output: 2.40 USD/Mtok}"
        return
    paid = catalog.api_price(wishes.api_price)
    yield "  plans:"
    yield f"    # {paid.title}, {paid.provider}; or state `input` and `output` in USD/Mtok"
    yield f"    - {{name: users, kind: api, api_price: {wishes.api_price}}}"


def _variants(traffic: Traffic, fleet: Fleet) -> Iterator[str]:
    yield "# Named changes, laid over the file with --override; one value alone changes with"
    yield f"# --set pools.serving.nodes={2 * fleet.nodes}."
    yield "overrides:"
    yield f"  twice-the-nodes: {{pools.serving.nodes: {2 * fleet.nodes}}}"
    if traffic.trace is not None:
        yield "  half-as-much-again: {workload.classes.recorded.trace.rate_scale: 1.5}"
        return
    yield "  half-as-much-again:"
    for name, share in class_shares(traffic):
        rate = 1.5 * share * traffic.rate_rps
        yield f"    workload.classes.{name}.open.rate: {rate:.4g} /s"


def _schema_from(path: Path) -> str:
    relative = Path(os.path.relpath(_SCHEMA, path.resolve().parent))
    near = relative.parts.count("..") < _FAR
    return relative.as_posix() if near else _SCHEMA.as_posix()


def _span(seconds: float) -> str:
    """Return a duration in the largest unit that needs no more than two decimals.

    >>> [_span(value) for value in (7200, 90, 2, 0.05)]
    ['2 h', '90 s', '2 s', '50 ms']
    """
    for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if seconds >= size and (seconds / size).is_integer():
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1e3:g} ms"


def _name(text: str) -> str:
    """Return a name; one that YAML would read as a number or a date stands in quotes."""
    return text if text[0].isalpha() and text.lower() not in _YAML_WORDS else _quoted(text)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
