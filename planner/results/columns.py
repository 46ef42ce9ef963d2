"""Every column of every table: name, unit, meaning, and how rows combine.

`aggregation` says how rows combine: `sum`; `mean` (weighted by time or requests); `max`;
`recompute` (from the sums or histograms behind the column, not the column itself); `key`; `same`.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Column(NamedTuple):
    """One column of one table."""

    name: str
    unit: str
    meaning: str
    aggregation: str


PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)
"""Quantiles that the class table shows."""
METRICS: Final = ("ttft", "tpot", "itl", "e2e", "queue", "ttfat", "task_latency")
"""In the order of `planner.kernel.enums.Metric`."""
TASK_METRIC: Final = "task_latency"
"""The one that is of whole sessions; the others are of requests."""
REQUEST_METRICS: Final = ("ttft", "ttfat", "tpot", "itl", "e2e", "queue")
"""In the order in which they are shown."""
FATES: Final = (
    "served", "rate_limited", "refused", "too_long", "timed_out", "failed", "unfinished",
    "shed",
)  # fmt: skip
"""In the order of `planner.kernel.enums.Fate`."""
FLOWS: Final = (
    "routed", "overflowed", "received", "escalated", "preemptions", "swaps", "prefill_tokens",
    "decode_tokens", "cached_tokens",
)  # fmt: skip
"""Counts of a pool, which the kernel calls the same."""
LOADED_COLUMNS: Final = ("tier1_tokens", "tier2_tokens", "tier3_tokens")
"""One per possible tier of a KV cache, the nearest first."""
LOST_FATES: Final = FATES[2:]
"""Fates that are the fleet's failure; a rate limit is the visitor's own."""
KEPT: Final = "kept"
BROKEN: Final = "broken"
NO_SAMPLE: Final = "no sample"
"""Verdicts on a promise; of one without samples nothing is known."""

METRIC_TITLES: Final = {
    "ttft": "time to first token",
    "ttfat": "time to first answer token",
    "tpot": "time per output token",
    "itl": "gap between tokens",
    "e2e": "time to last token",
    "queue": "time until first scheduled",
    "task_latency": "time of a task",
}
_FATE_MEANINGS: Final = {
    "served": "all output tokens were emitted",
    "rate_limited": "its visitor had used up the rate limit of the class",
    "refused": "every pool it may use had a full queue or no active replica",
    "too_long": "prompt and output exceed the context length or the KV memory of a replica",
    "timed_out": "it waited longer than the time-out of its class",
    "failed": "its replica was lost, or no pool took it over half done, if only by shedding it",
    "unfinished": "the simulation ended first",
    "shed": "admission control turned it away",
}


def quantile_column(metric: str, percentile: float) -> str:
    """Return the name of a quantile's column.

    >>> quantile_column("ttft", 99.9)
    'ttft_p99_9_s'
    """
    return f"{metric}_p{percentile:g}_s".replace(".", "_")


def _latency_columns() -> tuple[Column, ...]:
    columns = []
    for metric in REQUEST_METRICS:
        over = (
            "token gaps of measured served requests"
            if metric == "itl"
            else "measured served requests"
        )
        title = METRIC_TITLES[metric]
        columns.append(Column(f"{metric}_mean_s", "s", f"mean {title}, over {over}", "recompute"))
        columns += [
            Column(quantile_column(metric, p), "s", f"p{p:g} of {title}, over {over}", "recompute")
            for p in PERCENTILES
        ]
    return tuple(columns)


def _fate_columns(scope: str) -> tuple[Column, ...]:
    return tuple(Column(f, "requests", f"{scope}{_FATE_MEANINGS[f]}", "sum") for f in FATES)


_CLASS = Column("class", "", "request class", "key")
_POOL = Column("pool", "", "pool", "key")
_WINDOW = (
    Column("window_start_s", "s", "start of the window, since the start of the trace", "key"),
    Column("window_end_s", "s", "its end; the last window takes everything after it", "same"),
)
_TOKENS = (
    Column("input_tokens", "tokens", "prompt tokens of requests served, warm-up included", "sum"),
    Column(
        "cached_input_tokens", "tokens", "of these, found in a KV cache when first admitted", "sum"
    ),
    Column(
        "output_tokens", "tokens", "output tokens of requests served, reasoning included", "sum"
    ),
    Column("reasoning_tokens", "tokens", "of these, reasoning", "sum"),
)
TOKEN_FIELDS: Final = {
    "input_tokens": "input_tokens",
    "cached_input_tokens": "cached_tokens",
    "output_tokens": "output_tokens",
    "reasoning_tokens": "reasoning_tokens",
}
"""Columns of tokens by class, and what the kernel calls them."""
_PREEMPTIONS = Column("preemptions", "", "preemptions for lack of KV blocks", "sum")

CLASSES: Final = (
    _CLASS,
    Column("pool", "", "pool that the class prefers", "same"),
    Column("priority", "", "smaller is served first by priority schedulers", "same"),
    Column("service", "", "interactive, or batch: served where the others leave room", "same"),
    Column("plan", "", "price plan; empty earns nothing", "same"),
    Column("arrived", "requests", "requests that arrived, warm-up included", "sum"),
    Column("measured", "requests", "requests that arrived after the warm-up", "sum"),
    Column("measured_served", "requests", "of the measured: served", "sum"),
    Column("measured_rate_limited", "requests", "of them: refused by their visitor's limit", "sum"),
    Column("measured_lost", "requests", "of them: any other fate", "sum"),
    Column("measured_good", "requests", "of them: within all limits per request", "sum"),
    Column("loss_rate", "1", "measured: lost / (all - rate limited)", "recompute"),
    Column("slo_attainment_rate", "1", "measured: good / (all - rate limited)", "recompute"),
    Column("light_rate", "1", "share of the served that a lighter model answered", "recompute"),
    Column(
        "escalated_rate", "1", "share of the served that a lighter model answered first, in vain",
        "recompute",
    ),
    Column(
        "quality_rate", "1", "quality of the answers as a share of that of the class's own model; "
        "NaN where that of the lighter is not stated", "recompute",
    ),
    Column("arrival_rps", "1/s", "measured requests per second of the measured period", "sum"),
    Column("goodput_rps", "1/s", "good requests per second of the measured period", "sum"),
    Column(
        "objectives_met", "", "every objective and the allowed loss are known to be kept; false "
        "where one has no sample", "recompute",
    ),
    *_TOKENS,
    Column("prefix_hit_rate", "1", "cached input tokens / input tokens", "recompute"),
    Column("output_tokens_per_s", "tokens/s", "output tokens per second of arrivals", "sum"),
    _PREEMPTIONS,
    *_latency_columns(),
)  # fmt: skip
FATE_TABLE: Final = (
    _CLASS,
    Column("arrived", "requests", "requests that arrived, warm-up included", "sum"),
    *_fate_columns(""),
)
TASKS: Final = (
    _CLASS,
    Column("begun", "tasks", "sessions that began after the warm-up", "sum"),
    Column("finished", "tasks", "of these: the last turn was served", "sum"),
    Column("abandoned", "tasks", "of these: a turn was not served, so the others were not sent",
           "sum"),
    Column("under_way", "tasks", "of these: not over when the simulation ended", "sum"),
    Column("calls_per_task", "requests", "mean turns of those that finished", "recompute"),
    Column("tokens_per_task", "tokens", "mean prompt and output tokens of the same", "recompute"),
    Column("reusable_input_rate", "1", "share of the prompt tokens of sessions that the turn "
           "before had in its context: what a prefix cache of any size finds of them", "recompute"),
    Column(f"{TASK_METRIC}_mean_s", "s", "mean time from the first arrival to the last end, of "
           "those that finished", "recompute"),
    *(
        Column(quantile_column(TASK_METRIC, p), "s", f"p{p:g} of the same", "recompute")
        for p in PERCENTILES
    ),
)  # fmt: skip
OBJECTIVES: Final = (
    _CLASS,
    Column("metric", "", "ttft, ttfat, tpot, itl, e2e, task_latency or loss", "key"),
    Column("percentile", "%", "share that must keep the limit; NaN for loss", "key"),
    Column("limit", "unit", "the promise", "same"),
    Column("value", "unit", "the quantile (or loss rate) found; NaN without samples", "recompute"),
    Column("unit", "", "s, or 1 for loss", "same"),
    Column("over", "", "what the percentile runs over", "same"),
    Column("samples", "", "how many there were", "sum"),
    Column("verdict", "", "kept, broken, or no sample: nothing was measured to judge by",
           "recompute"),
    Column("met", "", "the verdict is kept", "recompute"),
)  # fmt: skip
_USE = (
    Column("busy_rate", "1", "share of in-service time spent in steps", "mean"),
    Column("compute_rate", "1", "arithmetic at peak rate, share of in-service time", "mean"),
    Column(
        "memory_rate", "1", "memory traffic at peak bandwidth, share of in-service time", "mean"
    ),
    Column("kv_usage_rate", "1", "KV blocks in use, share of those in service", "mean"),
    Column(
        "kv_parked_rate",
        "1",
        "of these, of requests between two pools, share of those in service",
        "mean",
    ),
    Column("link_rate", "1", "links that send KV to another pool, share of the time", "mean"),
    Column(
        "landing",
        "requests",
        "mean requests that come from another pool: memory is reserved, their KV is on its way",
        "mean",
    ),
    Column("running", "requests", "mean sequences that run", "mean"),
    Column("waiting", "requests", "mean requests that wait, batch classes apart", "mean"),
    Column("batch_waiting", "requests", "mean requests of batch classes that wait", "mean"),
)
_FLOW = (
    Column("routed", "requests", "requests sent to the pool", "sum"),
    Column("overflowed", "requests", "of these, not to the first pool of their class", "sum"),
    Column("received", "requests", "of these, handed over by a pool that prefills", "sum"),
    Column("escalated", "requests", "of these, served by a lighter model before", "sum"),
    _PREEMPTIONS,
    Column("swaps", "", "of these, to the first tier of the KV cache", "sum"),
    Column("prefill_tokens", "tokens", "prompt tokens computed, recomputation included", "sum"),
    Column("decode_tokens", "tokens", "tokens decoded", "sum"),
    Column("cached_tokens", "tokens", "prompt tokens found in the replica's own cache", "sum"),
    *(
        Column(name, "tokens", f"prompt tokens fetched from the {rank} tier", "sum")
        for name, rank in zip(LOADED_COLUMNS, ("first", "second", "third"), strict=True)
    ),
)
POOLS: Final = (
    _POOL,
    Column("model", "", "model in the catalogue", "same"),
    Column("chip", "", "chip in the catalogue", "same"),
    Column("node", "", "node in the catalogue", "same"),
    Column("parallelism", "", "how a replica spreads over its devices", "same"),
    Column("weight_dtype", "", "type of the weights", "same"),
    Column("tier", "", "what the step times stand on: measured, fitted or estimated", "same"),
    Column("prefix_cache", "", "prompts that begin alike share their KV cache", "same"),
    Column("kv_tiers", "", "tiers of the KV cache, the nearest first", "same"),
    Column("nodes_at_peak", "nodes", "most nodes paid for at one time", "sum"),
    Column("accelerators_at_peak", "devices", "devices of these nodes", "sum"),
    Column("devices_per_replica", "devices", "devices of one engine copy", "same"),
    Column("replicas", "", "mean replicas in service", "mean"),
    *_USE,
    Column(
        "decode_tokens_per_s_per_accelerator",
        "1/s",
        "tokens decoded (each output token but the "
        "first) in the measured time, per second and device in service",
        "recompute",
    ),
    Column(
        "acceptance_length",
        "tokens",
        "tokens that a step with drafts emits of a sequence, the model's own included: "
        "expected, in the mean over the steps of what its classes decoded; NaN where nothing "
        "is drafted",
        "recompute",
    ),
    Column("waiting_max", "requests", "longest queue of a window, on mean over the window", "max"),
    *_FLOW,
    Column(
        "prefix_hit_rate",
        "1",
        "prompt tokens found on the replica / (those, fetched and computed ones)",
        "recompute",
    ),
    Column("tier_hit_rate", "1", "the same share of tokens fetched from tiers", "recompute"),
    Column("step_s", "s", "mean time of a step", "recompute"),
    Column("busiest_resource", "", "in the peak windows; see metrics.busiest_resource", "same"),
    Column(
        "queue_growth_rps",
        "1/s",
        "slope of the queue (waiting and landing) through the arrival period",
        "sum",
    ),
    Column("stable", "", "the queue does not grow through the arrival period", "recompute"),
)
QUANTILES: Final = (
    _CLASS,
    Column("metric", "", "ttft, ttfat, tpot, itl, e2e, queue or task_latency", "key"),
    Column("percentile", "%", "share at or below the value", "key"),
    Column("value_s", "s", "the quantile, within 0.5%", "recompute"),
)
CLASS_WINDOWS: Final = (
    *_WINDOW,
    _CLASS,
    Column("arrived", "requests", "requests that arrived in the window", "sum"),
    *_fate_columns("ended in the window: "),
    Column("good", "requests", "of the served, within all objectives", "sum"),
    *_TOKENS,
    _PREEMPTIONS,
    Column("arrival_rps", "1/s", "arrived per second", "recompute"),
    Column("served_rps", "1/s", "served per second", "recompute"),
    Column("goodput_rps", "1/s", "served within all objectives per second", "recompute"),
)
POOL_WINDOWS: Final = (
    *_WINDOW,
    _POOL,
    Column("nodes", "nodes", "most nodes paid for at one time of the window", "max"),
    Column("replicas", "", "mean replicas in service", "mean"),
    Column("accelerators", "devices", "mean devices in service", "mean"),
    Column("accelerators_busy", "devices", "mean devices whose replica is in a step", "mean"),
    *_USE,
    *_FLOW,
)
STEPS: Final = (
    _POOL,
    Column("kind", "", "kind of work: matrix products, experts, attention, …", "key"),
    Column("step_s", "s", "time of it in a step of the mean batch", "recompute"),
    Column("share_rate", "1", "its share of that step", "recompute"),
    Column("sequences", "", "sequences that decode in the mean batch of a replica", "same"),
    Column("context_tokens", "tokens", "KV in use in it, of all its sequences", "same"),
    Column("prefill_tokens", "tokens", "prompt tokens computed in it", "same"),
)
_COST_KINDS = (
    Column("workload_usd", "USD", "cost of machines while they work", "sum"),
    Column("idle_usd", "USD", "cost of machines that are paid for and do not work", "sum"),
    Column("overhead_usd", "USD", "cost beside the machines", "sum"),
    Column("cost_usd", "USD", "the sum of the three", "sum"),
)
_CURRENCY = Column("currency", "", "of the amounts", "same")
_PRICE_ORIGIN = (
    Column("source", "", "where the price comes from", "same"),
    Column("date", "", "of the price", "same"),
)
LEDGER: Final = (
    Column("line", "", "what is paid or earned", "key"),
    Column("kind", "", "workload, idle, overhead, revenue or partner_share", "key"),
    Column("pool", "", "pool that a cost belongs to", "key"),
    Column("class", "", "class that revenue comes from", "key"),
    Column("price", "", "price, plan or policy that sets the unit price", "same"),
    Column("quantity", "unit", "how much", "sum"),
    Column("unit", "", "of the quantity", "same"),
    Column("unit_price_usd", "USD/unit", "price of one unit", "same"),
    Column("amount_usd", "USD", "quantity at unit price, for showing", "sum"),
    Column("amount_microusd", "µUSD", "the same, exactly", "sum"),
    _CURRENCY,
    *_PRICE_ORIGIN,
)
MARGINS: Final = (
    Column("definition", "", "name of the definition", "key"),
    Column("headline", "", "the definition that the headline uses", "same"),
    Column("revenue_usd", "USD", "that the definition counts, before the partner's share", "sum"),
    Column("cost_of_revenue_usd", "USD", "inference that the definition counts", "sum"),
    Column("partner_share_usd", "USD", "owed to the partner", "sum"),
    Column("partner_share_deducted_usd", "USD", "of that, deducted by the definition", "sum"),
    Column("gross_profit_usd", "USD", "revenue less what the definition counts", "sum"),
    Column("left_out_usd", "USD", "inference for free users that is not counted", "sum"),
    Column("left_out_revenue_usd", "USD", "advertising to free users that is not counted", "sum"),
    Column("margin_rate", "1", "gross profit / revenue; NaN without revenue", "recompute"),
    Column("margin_before_partner_rate", "1", "as if the partner got nothing", "recompute"),
    Column("meaning", "", "the definition in words", "same"),
)
CLASS_COSTS: Final = (
    _CLASS,
    Column("plan", "", "price plan", "same"),
    Column("paying", "", "its users pay", "same"),
    Column("requests", "requests", "requests served in the arrival period, which is billed", "sum"),
    Column("input_tokens", "tokens", "prompt tokens, cached ones included", "sum"),
    Column("cached_input_tokens", "tokens", "of these, found in the prefix cache", "sum"),
    Column("output_tokens", "tokens", "output tokens, reasoning included", "sum"),
    Column("reasoning_tokens", "tokens", "of these, reasoning", "sum"),
    *_COST_KINDS,
    Column("revenue_usd", "USD", "what the class earns", "sum"),
    Column("partner_share_usd", "USD", "of that, owed to the partner", "sum"),
    Column("gross_profit_usd", "USD", "under the headline's definition", "sum"),
    Column("margin_rate", "1", "gross profit / revenue; NaN without revenue", "recompute"),
    Column("cost_per_request_usd", "USD", "cost per request served", "recompute"),
    Column("cost_per_million_output_tokens_usd", "USD/Mtok", "all cost over output", "recompute"),
    Column(
        "tasks",
        "tasks",
        "sessions that its tokens would do, each with as many as the mean of "
        "those that finished: parts of others count as parts",
        "recompute",
    ),
    Column("cost_per_task_usd", "USD", "cost over these; NaN if none finished", "recompute"),
    Column("revenue_per_task_usd", "USD", "revenue over the same", "recompute"),
    Column("seat_months", "seat-months", "seats needed for a month by its requests", "sum"),
    Column("cost_per_seat_month_usd", "USD", "cost of serving a seat for a month", "recompute"),
    Column("input_cost_usd_per_mtok", "USD/Mtok", "cost of uncached input by itself", "recompute"),
    Column("cached_input_cost_usd_per_mtok", "USD/Mtok", "of cached input by itself", "recompute"),
    Column("output_cost_usd_per_mtok", "USD/Mtok", "of output by itself", "recompute"),
)
POOL_COSTS: Final = (
    _POOL,
    Column("node", "", "node in the catalogue", "same"),
    Column("chip", "", "chip in the catalogue", "same"),
    Column("role", "", "prefill, decode, or both", "same"),
    Column("price", "", "name of the price of machine time", "key"),
    Column("terms", "", "on_demand, committed_1y, …, spot, capacity_block or owned", "same"),
    Column("per_device_hour_usd", "USD/h", "price of one device for one hour", "same"),
    Column("peak_nodes", "nodes", "most nodes paid for at one time", "sum"),
    Column("device_hours", "h", "device-hours held", "sum"),
    Column("billed_device_hours", "h", "device-hours paid for", "sum"),
    Column("busy_device_hours", "h", "of these, in steps", "sum"),
    Column("utilisation_rate", "1", "busy share", "recompute"),
    *_COST_KINDS,
    Column("energy_kwh", "kWh", "energy at the meter, PUE included", "sum"),
    _CURRENCY,
    Column("date", "", "of the price", "same"),
    Column("source", "", "where the price comes from", "same"),
    Column("tier", "", "of the price: official, measured, analyst, estimated, …", "same"),
)
CLASS_POOLS: Final = (
    _CLASS,
    _POOL,
    Column("busy_device_hours", "h", "device-hours of steps that the class took", "sum"),
    Column("cost_share_rate", "1", "share of the pool's cost that it bears", "recompute"),
)
_EMISSIONS = (
    Column("location_kg", "kg", "CO2e of the energy, by the intensity of the local grid", "sum"),
    Column("market_kg", "kg", "the same by contracts; an account of its own", "sum"),
    Column("embodied_kg", "kg", "CO2e of making the machines, by the hours they are held", "sum"),
)
CLASS_FOOTPRINT: Final = (
    _CLASS,
    Column("requests", "requests", "requests served, warm-up included", "sum"),
    Column("output_tokens", "tokens", "output tokens, reasoning included", "sum"),
    Column("energy_kwh", "kWh", "energy at the meter, borne as cost is", "sum"),
    Column("energy_per_request_wh", "Wh", "energy per request served", "recompute"),
    Column("energy_per_output_token_j", "J", "energy per output token", "recompute"),
    *_EMISSIONS,
    Column("sci_per_request_g", "g", "Software Carbon Intensity of a request: (location-based + "
           "embodied) / requests", "recompute"),
)  # fmt: skip
POOL_FOOTPRINT: Final = (
    _POOL,
    Column("node", "", "node in the catalogue", "same"),
    Column("provisioned_kw", "kW", "nameplate power of the most nodes held at once", "sum"),
    Column(
        "utilisation_rate", "1", "share of the device-hours held that was in steps", "recompute"
    ),
    Column("arithmetic_rate", "1", "share of peak arithmetic attained in steps", "recompute"),
    Column("node_power_kw", "kW", "mean power of a node held, without PUE", "recompute"),
    Column("workload_kwh", "kWh", "energy of machines while they work", "sum"),
    Column("idle_kwh", "kWh", "energy of machines that are on and wait", "sum"),
    Column("facility_kwh", "kWh", "what PUE adds", "sum"),
    Column("energy_kwh", "kWh", "the sum of the three: energy at the meter", "sum"),
    *_EMISSIONS,
)
ASSUMPTIONS: Final = (
    Column("name", "", "what it is", "key"),
    Column("value", "unit", "the figure", "same"),
    Column("unit", "", "of the value", "same"),
    Column("source", "", "where it comes from", "same"),
    Column("date", "", "of the figure", "same"),
    Column(
        "tier", "", "official, measured, fitted, analyst, estimated, claimed, or scenario", "same"
    ),
    Column("note", "", "what else a reader should know", "same"),
)

TABLES: Final[dict[str, tuple[Column, ...]]] = {
    "classes": CLASSES,
    "total": CLASSES,
    "fates": FATE_TABLE,
    "tasks": TASKS,
    "objectives": OBJECTIVES,
    "pools": POOLS,
    "quantiles": QUANTILES,
    "class_windows": CLASS_WINDOWS,
    "pool_windows": POOL_WINDOWS,
    "ledger": LEDGER,
    "margins": MARGINS,
    "class_costs": CLASS_COSTS,
    "pool_costs": POOL_COSTS,
    "class_pools": CLASS_POOLS,
    "class_footprint": CLASS_FOOTPRINT,
    "pool_footprint": POOL_FOOTPRINT,
    "steps": STEPS,
    "assumptions": ASSUMPTIONS,
}
"""Table name → its columns, in order."""


def names(table: str) -> list[str]:
    """Return the column names of a table, in order."""
    return [column.name for column in TABLES[table]]
