"""The scenario, schema `planner/v1`: frozen models with one docstring per field.

The docstrings are the reference documentation: they go into the JSON Schema that editors show.
Every quantity is written with its unit and stored in SI (see `planner.units`).
"""

from __future__ import annotations

import datetime
import itertools
import re
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from planner.units import (
    Duration,
    Fraction,
    MoneyPerHour,
    MoneyPerKwh,
    MoneyPerKwMonth,
    MoneyPerMonth,
    MoneyPerMtok,
    PositiveDuration,
    Rate,
)

LENGTH_FORMS = ("preset", "fixed", "uniform", "quantiles", "lognormal_mixture")
CLASS_SOURCES = ("open", "closed", "trace", "share")
ALTERNATIVES = (frozenset(LENGTH_FORMS), frozenset(CLASS_SOURCES))
"""Fields of which only one is given: a layer that gives one replaces an inherited other."""

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_TIME_OF_DAY = r"^([01]?[0-9]|2[0-3]):[0-5][0-9]$"
_DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
PATTERN_ADVICE = {
    _NAME: "must be a name of letters, digits, '-', '_' and '.', as in logged-in-chat",
    _TIME_OF_DAY: "must be a time of day, as in 19:30",
    _DAY: "must be a date, as in 2026-11-01",
}
"""What a value has to look like, by the pattern that it failed."""

Name = Annotated[str, Field(pattern=_NAME, max_length=64, examples=["logged-in-chat"])]
Count = Annotated[int, Field(ge=1, le=10**12)]
Nodes = Annotated[int, Field(ge=0, le=100_000)]
TokenCount = Annotated[int, Field(ge=0, le=10_000_000)]
DeviceCount = Annotated[int, Field(ge=1, le=65_536)]
StepLimit = Annotated[int, Field(ge=1, le=1_000_000)]
Dtype = Literal["fp32", "bf16", "fp16", "fp8", "int8", "fp4", "int4"]
TimeOfDay = Annotated[str, Field(pattern=_TIME_OF_DAY, examples=["19:30"])]


def _real_day(text: str) -> str:
    try:
        datetime.date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a date: {error}") from None
    return text


Day = Annotated[
    str,
    Field(pattern=_DAY, examples=["2026-11-01"]),
    AfterValidator(_real_day),
]
"""A date, YYYY-MM-DD; the text form sorts by time."""
MAXIMUM_WINDOWS = 100_000


class Part(BaseModel):
    """Base of every part of a scenario: unknown fields are errors, values do not change."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


# --- lengths -------------------------------------------------------------------------------------


class LognormalComponent(Part):
    """One component of a lognormal mixture."""

    weight: Annotated[float, Field(gt=0)]
    """Relative weight; the weights of a mixture are normalised."""
    median: Annotated[float, Field(gt=0)]
    """Median in tokens: exp(mu)."""
    sigma: Annotated[float, Field(ge=0, le=5)]
    """Standard deviation of the logarithm."""


class Lengths(Part):
    """Distribution of a length in tokens; exactly one form is given."""

    preset: str | None = None
    """Name of a shipped distribution, as listed by `planner trace synth --list`."""
    fixed: TokenCount | None = None
    """Every request has this length."""
    uniform: Annotated[tuple[TokenCount, TokenCount], Field(strict=False)] | None = None
    """Uniform on the integers from the first to the second, both included."""
    quantiles: dict[str, Annotated[float, Field(ge=0, le=1e7)]] | None = None
    """Empirical quantiles, as `{p1: 20, p50: 1020, p99: 4142}`; log-linear between them. `p0` and
    `p100` bound the distribution; where absent it ends at the outermost given quantiles."""
    lognormal_mixture: Annotated[list[LognormalComponent], Field(min_length=1)] | None = None
    """Mixture of lognormals. Real lengths rarely fit a single one."""
    minimum: TokenCount = 1
    """Shorter draws are raised to this."""
    maximum: TokenCount | None = None
    """Longer draws are cut to this."""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        given = [form for form in LENGTH_FORMS if getattr(self, form) is not None]
        if len(given) != 1:
            found = f"found {', '.join(given)}" if given else "found none"
            raise ValueError(f"needs exactly one of {', '.join(LENGTH_FORMS)}; {found}")
        if self.maximum is not None and self.maximum < self.minimum:
            raise ValueError(f"maximum {self.maximum} is less than minimum {self.minimum}")
        if self.uniform is not None and self.uniform[0] > self.uniform[1]:
            raise ValueError(f"uniform runs from {self.uniform[0]} down to {self.uniform[1]}")
        return self

    @field_validator("quantiles")
    @classmethod
    def _quantiles_rise(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        if value is None:
            return value
        if len(value) < 2:
            raise ValueError("needs at least two quantiles")
        for key in value:
            if not re.fullmatch(r"p(\d{1,2}(\.\d+)?|100)", key):
                raise ValueError(f"{key!r} is not a quantile; write p0, p50, p99.9 … p100")
        ranked = sorted(value.items(), key=lambda item: float(item[0][1:]))
        for (low, a), (high, b) in itertools.pairwise(ranked):
            if b < a:
                raise ValueError(f"{high} ({b:g}) is less than {low} ({a:g})")
        return value


# --- workload ------------------------------------------------------------------------------------


class Burstiness(Part):
    """Renewal process of the gaps between arrivals, on top of the time-varying rate."""

    kind: Literal["poisson", "gamma", "weibull"] = "poisson"
    """Family of the gap distribution; `poisson` has CV 1."""
    cv: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Coefficient of variation of the gaps; production clients have a median of 1.2, p90 of 6."""

    @model_validator(mode="after")
    def _poisson_has_cv_one(self) -> Self:
        if self.kind == "poisson" and self.cv != 1.0:
            raise ValueError(f"poisson has cv 1, found {self.cv:g}; use kind: gamma or weibull")
        return self


Shape = Annotated[
    Annotated[str, Tag("name")]
    | Annotated[list[Annotated[float, Field(ge=0, le=1e9)]], Tag("multipliers")],
    Discriminator(lambda value: "multipliers" if isinstance(value, (list, tuple)) else "name"),
]


class OpenLoop(Part):
    """Requests arrive by themselves, whether or not the fleet keeps up."""

    rate: Rate
    """Mean rate over the shape, as `40 /s`. With sessions: the rate at which sessions start."""
    shape: Shape | None = None
    """Daily (24) or weekly (168, from Monday 00:00) hourly multipliers, or the name of a shipped
    shape; scaled to mean 1. Absent: a constant rate."""
    burstiness: Burstiness = Burstiness()
    """Variability of the gaps between arrivals."""

    @field_validator("shape")
    @classmethod
    def _shape_length(cls, value: str | list[float] | None) -> str | list[float] | None:
        if isinstance(value, list):
            if len(value) not in (24, 168):
                raise ValueError(f"needs 24 or 168 hourly multipliers, found {len(value)}")
            if sum(value) <= 0:
                raise ValueError("all multipliers are zero")
        return value


class ClosedLoop(Part):
    """A fixed number of clients, each sending its next request when the last one ends."""

    clients: Annotated[int, Field(ge=1, le=1_000_000)]
    """Requests in flight, as the concurrency of a benchmark."""
    requests: Count | None = None
    """Total to send; absent: until the end of the workload."""
    think: Duration = 0.0
    """Pause of a client between the end of a request and its next."""


class TraceInput(Part):
    """Requests read from a file."""

    file: str
    """Path, relative to the scenario file."""
    format: Literal[
        "auto", "planner", "azure-2023", "azure-2024", "burstgpt", "mooncake", "servegen"
    ] = "auto"
    """Format of the file; `auto` decides by its columns."""
    time_jitter: Duration = 0.0
    """Each arrival is moved later by a uniform draw from this span: undoes coarse time stamps
    (3 s for the Mooncake conversation trace)."""
    rate_scale: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """2 replays the trace twice as fast."""


class Sessions(Part):
    """Conversations of several turns; each turn's prompt holds what was said before."""

    turns: Lengths
    """Number of turns per session (a distribution over counts)."""
    think_median: Duration
    """Median pause between an answer and the next question."""
    think_sigma: Annotated[float, Field(ge=0, le=5)] = 1.0
    """Standard deviation of the logarithm of that pause."""


class RateLimit(Part):
    """Token bucket per visitor."""

    rate: Rate
    """Requests per unit of time in the long run, as `10 /h`."""
    burst: Count = 1
    """Requests a visitor can send at once after a long silence."""


class Objective(Part):
    """A promise on a latency."""

    metric: Literal["ttft", "tpot", "itl", "e2e"]
    """ttft: first token; tpot: mean time per output token of a request; itl: gap between tokens;
    e2e: last token."""
    percentile: Annotated[float, Field(ge=1, lt=100)]
    """Share of requests (of gaps, for itl) in percent that must keep the limit."""
    limit: PositiveDuration
    """The limit, as `2 s`."""

    @field_validator("percentile", mode="before")
    @classmethod
    def _in_percent(cls, value: object) -> object:
        if isinstance(value, float) and 0 < value < 1:
            raise ValueError(
                f"{value:g} is a share, not a percentile; did you mean {100 * value:g}?"
            )
        return value


class RequestClass(Part):
    """Traffic with one workload, priority, set of objectives and price plan.

    Its requests come from one of `open`, `closed`, `trace` or `share`. With none of them, they are
    the rows of `workload.trace` whose class column holds its name.
    """

    name: Name
    """Unique among the classes, e.g. `anonymous-chat`."""
    pool: Name
    """Pool that serves it."""
    overflow: list[Name] = []
    """Pools tried in order when the one before is over its `overflow_waiting` or full."""
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Smaller is served first by pools with the `priority` scheduler."""
    open: OpenLoop | None = None
    """Synthetic arrivals."""
    closed: ClosedLoop | None = None
    """Synthetic closed loop."""
    trace: TraceInput | None = None
    """Arrivals and lengths of its own file."""
    share: Fraction | None = None
    """Share of the rows of `workload.trace`; drawn by a hash of the session or row. Absent, as are
    `open`, `closed` and `trace`: the rows whose class column names this class."""
    input: Lengths | None = None
    """Prompt length of a single turn. Required unless a trace gives it; overrides the trace's."""
    output: Lengths | None = None
    """Output length, reasoning included. Required unless a trace gives it."""
    reasoning: Lengths | None = None
    """Reasoning tokens, added to the drawn output; billed as output, not shown to the user."""
    sessions: Sessions | None = None
    """Absent: every request stands alone."""
    visitors: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    """Number of distinct visitors; needed with `rate_limit` unless the trace names them."""
    rate_limit: RateLimit | None = None
    """Limit per visitor; what is refused is counted as rate limited."""
    timeout: PositiveDuration | None = None
    """A request not started within this is dropped, as a client that hangs up."""
    objectives: list[Objective] = []
    """Latency promises; goodput counts requests that keep all of those on ttft, tpot and e2e."""
    maximum_loss_rate: Fraction = 0.001
    """Share of requests that may be refused (rate limiting apart), time out, fail or stay
    unfinished."""
    plan: Name | None = None
    """Price plan in `prices.plans`; absent: earns nothing."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [form for form in CLASS_SOURCES if getattr(self, form) is not None]
        if len(given) > 1:
            raise ValueError(
                f"takes only one of {', '.join(CLASS_SOURCES)}; found {' and '.join(given)}"
            )
        if given in (["open"], ["closed"]):
            missing = [field for field in ("input", "output") if getattr(self, field) is None]
            if missing:
                raise ValueError(f"synthetic requests need {' and '.join(missing)} lengths")
        elif self.sessions is not None:
            raise ValueError("sessions are synthetic; a trace brings its own session column")
        if self.closed is not None and self.sessions is not None:
            raise ValueError("sessions need open-loop arrivals; use `open`")
        return self


class Workload(Part):
    """Who asks what, when."""

    start: TimeOfDay = "00:00"
    """Time of day at which the simulation starts; shapes and schedules follow it."""
    weekday: Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"] = "mon"
    """Day of the week at which it starts, for weekly shapes."""
    duration: PositiveDuration
    """Time during which requests arrive."""
    warmup: Duration = 0.0
    """Requests that arrive earlier are simulated but not measured."""
    drain: Duration = 600.0
    """After `duration` the simulation goes on until all is served, at most this long."""
    window: PositiveDuration = 60.0
    """Widest reporting window; it is made narrower so that at least ten fill `duration` evenly."""
    trace: TraceInput | None = None
    """A trace shared by the classes that have a `share` of it, or that its class column names."""
    classes: Annotated[list[RequestClass], Field(min_length=1)]
    """The request classes."""

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        if self.warmup >= self.duration:
            raise ValueError(
                f"warmup ({self.warmup:g} s) must be shorter than duration ({self.duration:g} s)"
            )
        windows = (self.duration + self.drain) / self.window
        if windows > MAXIMUM_WINDOWS:
            raise ValueError(
                f"duration and drain make {windows:.3g} windows of {self.window:g} s; at most "
                f"{MAXIMUM_WINDOWS:,} are kept: use a wider window"
            )
        return self


# --- pools ---------------------------------------------------------------------------------------


class Engine(Part):
    """Limits of the serving engine, by the names of its own flags where they differ."""

    name: Literal["vllm", "sglang", "tensorrt-llm", "generic"] = "vllm"
    """Whose kernels and overheads apply."""
    token_budget: StepLimit = 8192
    """Tokens per step (vLLM `max_num_batched_tokens`, SGLang `chunked_prefill_size`)."""
    maximum_sequences: StepLimit = 256
    """Sequences per step (vLLM `max_num_seqs`, SGLang `max_running_requests`)."""
    memory_fraction: Annotated[Fraction, Field(gt=0)] = 0.9
    """Share of device memory the engine may use (vLLM `gpu_memory_utilization`)."""
    kv_block_tokens: Annotated[int, Field(ge=1, le=1024)] = 16
    """Tokens per KV block (vLLM `block_size`, SGLang `page_size`)."""
    kv_blocks: Count | None = None
    """Overrides the number of KV blocks computed from memory."""
    context_tokens: Count | None = None
    """Longest prompt + output (vLLM `max_model_len`); absent: that of the model."""
    prefill_first: bool | None = None
    """Prompts are prefilled in steps of their own; decodes stand still. Absent: for SGLang."""
    poll_steps: Annotated[int, Field(ge=1, le=1000)] = 1
    """Decode steps between two looks at the queue (SGLang `scheduler_recv_interval`)."""
    scheduler: Literal["fcfs", "priority"] = "fcfs"
    """Order of the waiting queue."""
    queue_limit: Count | None = None
    """Waiting requests per replica; those beyond are refused. Absent: no limit."""

    @model_validator(mode="after")
    def _budget_holds_decodes(self) -> Self:
        if self.token_budget < self.maximum_sequences:
            raise ValueError(
                f"token_budget {self.token_budget} is less than maximum_sequences "
                f"{self.maximum_sequences}: the decodes alone would not fit into a step"
            )
        return self


class ScheduledNodes(Part):
    """From a time of day on, the pool has this many nodes."""

    at: TimeOfDay
    """Time of day; repeats every day."""
    nodes: Nodes
    """Nodes from then on. Removed nodes drain, then stop; added ones serve after `cold_start`."""


class Pool(Part):
    """Identical replicas of one model on one kind of node."""

    name: Name
    """Unique among the pools."""
    model: str
    """Model in the catalogue."""
    node: str
    """Node in the catalogue: a priced machine with its chips."""
    nodes: Nodes
    """Number of nodes at the start."""
    tensor_parallel: DeviceCount = 1
    """Devices that share every layer."""
    pipeline_parallel: DeviceCount = 1
    """Groups of devices that share the layers."""
    expert_parallel: DeviceCount = 1
    """Devices over which experts are spread; at most tensor × data parallel."""
    data_parallel: DeviceCount = 1
    """Attention replicas inside one engine copy."""
    weight_dtype: Dtype = "bf16"
    """Weights in memory."""
    activation_dtype: Dtype | None = None
    """Type of the matrix arithmetic; absent: that of the weights where the chip has it."""
    kv_dtype: Dtype = "bf16"
    """KV cache."""
    minimum_quality: Annotated[Fraction, Field(gt=0)] | None = None
    """Share of the 16-bit model's benchmark scores that must be left, as `98%`: formats of weights
    and cache whose published evaluations average less, or do not exist, are refused."""
    engine: Engine = Engine()
    """Limits of the serving engine."""
    router: Literal["round_robin", "least_loaded", "power_of_two", "session_affinity"] = (
        "power_of_two"
    )
    """How a request finds its replica."""
    overflow_waiting: Annotated[float, Field(ge=0, le=1e9)] = 4.0
    """Mean waiting requests per replica above which classes overflow to their next pool."""
    schedule: list[ScheduledNodes] = []
    """Changes of the number of nodes by time of day."""
    cold_start: Duration = 300.0
    """From ordering a node to its first request."""
    price: str | None = None
    """Price in the catalogue or in `prices.nodes`; absent: `prices.default_terms` for its chip."""


# --- money ---------------------------------------------------------------------------------------


class NodePrice(Part):
    """A price of machine time that the scenario states itself."""

    name: Name
    """Unique name, used by `pools[].price`."""
    per_device_hour: MoneyPerHour
    """Price of one device for one hour."""
    terms: Literal["on_demand", "committed_1y", "committed_3y", "spot", "owned"]
    """What kind of price it is; `owned` adds power and colocation, rented includes them."""
    as_of: Day
    """Date of the price, YYYY-MM-DD."""
    source: str
    """Where it comes from."""


class Plan(Part):
    """What a class pays."""

    name: Name
    """Unique name, used by `classes[].plan`."""
    kind: Literal["api", "subscription", "free"]
    """api: per token; subscription: per seat, allocated by use; free: nothing."""
    api_price: str | None = None
    """An API price of the catalogue, instead of the next three fields."""
    input: MoneyPerMtok | None = None
    """API: uncached input tokens."""
    cached_input: MoneyPerMtok | None = None
    """API: input tokens found in the prefix cache."""
    output: MoneyPerMtok | None = None
    """API: output tokens, reasoning included."""
    per_seat: MoneyPerMonth | None = None
    """Subscription: price of one seat."""
    requests_per_seat_month: Annotated[float, Field(gt=0)] | None = None
    """Subscription: mean use of a seat; its price is allocated per request served."""
    as_of: Day | None = None
    """Date of the price, YYYY-MM-DD."""
    source: str | None = None
    """Where it comes from."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        per_token = ("input", "cached_input", "output")
        per_seat = ("per_seat", "requests_per_seat_month")
        if self.kind == "api" and self.api_price is None:
            if missing := self._absent("input", "output"):
                raise ValueError(f"an api plan needs api_price, or {' and '.join(missing)}")
        elif self.kind == "subscription" and (missing := self._absent(*per_seat)):
            raise ValueError(f"a subscription plan needs {' and '.join(missing)}")
        idle = {
            "api": per_seat if self.api_price is None else (*per_token, *per_seat),
            "subscription": ("api_price", *per_token),
            "free": ("api_price", *per_token, *per_seat),
        }[self.kind]
        if excess := sorted(set(idle) - set(self._absent(*idle))):
            kind = f"a plan of kind {self.kind}" if self.api_price is None else "api_price"
            raise ValueError(f"{kind} does not go with {', '.join(excess)}; delete one of them")
        return self

    def _absent(self, *names: str) -> list[str]:
        return [name for name in names if getattr(self, name) is None]


class Power(Part):
    """Electricity and housing of owned nodes; rented prices include them."""

    electricity: MoneyPerKwh = 0.08
    """Price of electricity."""
    pue: Annotated[float, Field(ge=1, le=3)] = 1.12
    """Power usage effectiveness, applied once."""
    colocation: MoneyPerKwMonth = 130.0
    """Housing, per kW of provisioned IT power and month."""
    idle: Fraction = 0.12
    """Power of an idle device, as a share of its nameplate power."""
    loaded: Fraction = 0.80
    """Power of a fully busy device, as a share of its nameplate power."""


class Prices(Part):
    """Prices, with names and dates."""

    date: Day = "2026-11-01"
    """Day whose prices apply, YYYY-MM-DD."""
    default_terms: Literal["on_demand", "committed_1y", "committed_3y", "spot", "owned"] = (
        "on_demand"
    )
    """Kind of catalogue price for pools without `price`."""
    node_overhead: Fraction = 0.10
    """Storage, network, control plane and support of rented nodes: a share of the device price."""
    nodes: list[NodePrice] = []
    """Prices of machine time of the scenario itself."""
    plans: list[Plan] = []
    """What the classes pay."""
    power: Power = Power()
    """Electricity and housing."""
    partner_revenue_share: Fraction = 0.0
    """Share of revenue that goes to a partner; its own line in the margin."""
    margin: Literal["paid_only", "all_users_in_cogs", "free_in_marketing"] = "all_users_in_cogs"
    """Definition of gross margin that the headline uses; the report shows the others beside it."""


class Output(Part):
    """What is written."""

    requests: bool = False
    """Write one Parquet row per request."""
    report: bool = True
    """Write the HTML report."""


class Calibration(Part):
    """Measurements of your own that step times stand on. Paths are relative to this file."""

    curves: list[str] = []
    """Curve files that `planner fit` wrote; later ones win."""
    overheads: list[str] = []
    """Calibration files that `planner calibrate` wrote; later ones win."""


class Scenario(Part):
    """One question: this traffic, on these pools, under these promises, at these prices."""

    schema_: Annotated[Literal["planner/v1"], Field(alias="schema")]
    """Version of this format."""
    name: Name
    """Short name; also the default name of the output folder."""
    description: str = ""
    """What the scenario shows."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of every random stream."""
    workload: Workload
    """Who asks what, when."""
    pools: Annotated[list[Pool], Field(min_length=1)]
    """The fleet."""
    calibration: Calibration = Calibration()
    """Curves and engine overheads of your own."""
    prices: Prices = Prices()
    """Prices and revenue."""
    output: Output = Output()
    """What is written."""
