"""Who asks what, when: request classes, their arrivals, lengths and objectives."""

from __future__ import annotations

import itertools
import re
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from planner.scenario.schema.fields import (
    CLASS_SOURCES,
    LENGTH_FORMS,
    MAXIMUM_WINDOWS,
    Count,
    Name,
    Part,
    TimeOfDay,
    TokenCount,
)
from planner.units import Duration, Fraction, PositiveDuration, Rate

Task = Literal[
    "chat", "coding", "humanities", "math", "mixed", "multilingual", "qa", "rag", "reasoning",
    "roleplay", "stem", "summarization", "writing",
]  # fmt: skip


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
    scale: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Every draw is multiplied by this, before the next two apply: 1.2 for lengths that are a fifth
    longer."""
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
    """Mean rate over the shape, as `40 /s`. With sessions or an agent: the rate at which sessions
    (tasks) start."""
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


class Agent(Part):
    """Tasks of dependent calls: the model answers, a tool works, the model is called again.

    A task begins with the `input` of the class (instructions, descriptions of tools, the task
    itself). Each further call reads the context of the one before, what that one answered, and what
    the tool returned; `output` and `reasoning` are of one call.
    """

    calls: Lengths
    """Calls per task (a distribution over counts)."""
    tool_tokens: Lengths
    """What the result of a tool adds to the context."""
    tool_time_median: Duration
    """Median time between an answer and the next call, in which the tool works."""
    tool_time_sigma: Annotated[float, Field(ge=0, le=5)] = 1.0
    """Standard deviation of the logarithm of that time."""
    context_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Longest prompt and output of a call. Absent: what the pools of the class serve. A task whose
    next call would be longer ends there, or is compacted."""
    compact_to: TokenCount | None = None
    """A context that is full is replaced by the first input and a summary of so many tokens, and
    the task goes on. Absent: it ends."""


class RateLimit(Part):
    """Token bucket per visitor."""

    rate: Rate
    """Requests per unit of time in the long run, as `10 /h`."""
    burst: Count = 1
    """Requests a visitor can send at once after a long silence."""


class Objective(Part):
    """A promise on a latency."""

    metric: Literal["ttft", "ttfat", "tpot", "itl", "e2e", "task_latency"]
    """ttft: first token; ttfat: first token of the answer, after the reasoning (time to first
    answer token); tpot: mean time per output token of a request; itl: gap between tokens; e2e: last
    token; task_latency: from the first arrival of a session to the end of its last turn."""
    percentile: Annotated[float, Field(ge=1, lt=100)]
    """Share of requests (gaps for itl, tasks for task_latency) in percent that must keep the
    limit."""
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


class LightModel(Part):
    """A lighter model that answers some requests of a class, or answers first (a cascade).

    Which requests are meant for it is decided by a hash of each, so that they are the same in every
    fleet; how many of them it takes depends on its room, and so on the fleet.
    """

    pool: Name
    """Pool of the lighter model. If it is over its `overflow_waiting`, full or without nodes, the
    request goes to the pools of the class, as one that was never meant for it."""
    share: Annotated[Fraction, Field(gt=0)] = 1.0
    """Share of the requests (with inputs up to `maximum_input`) that go there first."""
    maximum_input: TokenCount | None = None
    """Longest input of these; absent: any."""
    escalation: Fraction = 0.0
    """Share of its answers that are not good enough: the class's own pools serve the request again,
    and the client waits for both. The first answer is thrown away and has cost as much."""
    quality: Annotated[Fraction, Field(gt=0)] | None = None
    """Quality of the answers that are kept, as a share of that of the class's own model."""
    minimum_quality: Annotated[Fraction, Field(gt=0)] | None = None
    """Quality that the class keeps at least, on average over its requests."""

    @model_validator(mode="after")
    def _keeps_quality(self) -> Self:
        if self.minimum_quality is None:
            return self
        if self.quality is None:
            raise ValueError("minimum_quality needs the quality of the lighter model; state it")
        if self.expected_quality < self.minimum_quality - 1e-12:
            raise ValueError(
                f"up to {self.kept_share:.3g} of the answers are the lighter model's, which leaves "
                f"{self.expected_quality:.4g} of the quality, less than minimum_quality "
                f"{self.minimum_quality:g}; lower the share, or raise the escalation"
            )
        return self

    @property
    def kept_share(self) -> float:
        """Share of the answers that are the lighter model's, if every input is short enough."""
        return self.share * (1.0 - self.escalation)

    @property
    def expected_quality(self) -> float:
        """Quality over all requests, at least: 1 is that of the class's own model."""
        return 1.0 - self.kept_share * (1.0 - (1.0 if self.quality is None else self.quality))


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
    light: LightModel | None = None
    """A lighter model for some of its requests; absent: none."""
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Smaller is served first by pools with the `priority` scheduler."""
    weight: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Its share of the tokens, beside the weights of other classes that wait, in pools with the
    `weighted` scheduler."""
    service: Literal["interactive", "batch"] = "interactive"
    """batch: served where interactive classes leave room (`engine.batch_below`), never refused for
    a full queue, and first to be preempted. Promise `e2e`, say of 24 h. All of a job at once is
    `closed` with as many `clients` as `requests`."""
    sheddable: bool = False
    """Turned away by pools whose `admission` has a `kv_usage` when their memory is nearly full."""
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
    system_prompt: TokenCount = 0
    """Tokens with which every prompt of the class begins, the same for all. They are part of
    `input`, except with `sessions`, whose inputs say what each turn adds: there they come before
    the first. Saves work in pools with `prefix_cache`."""
    reasoning_kept: bool = False
    """The next turn of a session, or call of an agent, repeats the reasoning of this one. Chat
    templates of open models mostly drop it; some services keep it from one tool call to the next.
    """
    task: Task | None = None
    """What it is about, as benchmarks of speculative decoding divide it: decides how many drafted
    tokens are accepted. Absent: the mean of those measured."""
    sessions: Sessions | None = None
    """Absent: every request stands alone."""
    agent: Agent | None = None
    """Sessions of an agent instead of a person's."""
    visitors: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    """Number of distinct visitors; needed with `rate_limit` unless the trace names them."""
    rate_limit: RateLimit | None = None
    """Limit per visitor; what is refused is counted as rate limited."""
    timeout: PositiveDuration | None = None
    """A request not started within this is dropped, as a client that hangs up."""
    objectives: list[Objective] = []
    """Latency promises; goodput counts requests that keep all of those on ttft, ttfat, tpot and
    e2e."""
    maximum_loss_rate: Fraction = 0.001
    """Share of requests that may be refused (rate limiting apart), shed, too long for every pool,
    time out, fail or stay unfinished."""
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
        elif self.sessions is not None or self.agent is not None:
            kind = "sessions" if self.sessions is not None else "agents"
            raise ValueError(f"{kind} are synthetic; a trace brings its own session column")
        if self.closed is not None and self.sessions is not None:
            raise ValueError("sessions need open-loop arrivals; use `open`")
        several = self.sessions is not None or self.agent is not None
        if given in (["open"], ["closed"]) and self.reasoning_kept and not several:
            raise ValueError(
                "reasoning_kept is for the next turn; add sessions or an agent, or delete it"
            )
        if self.closed is not None and self.agent is not None:
            raise ValueError("agents need open-loop arrivals: use `open`, at the rate of tasks")
        if self.sessions is not None and self.agent is not None:
            raise ValueError("takes either sessions or an agent, whose tasks are sessions")
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
    sample: Annotated[Fraction, Field(gt=0)] = 1.0
    """Share of the real traffic that is stated and simulated, where all of it would take too long
    and the fleet is known to serve it: of `0.1%`, requests, tokens, revenue and what follows from
    them are counted 1,000-fold; machine time, and so cost, is that of the whole fleet. Latency and
    utilisation are those of the sample, so nothing can be sized by it."""
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
