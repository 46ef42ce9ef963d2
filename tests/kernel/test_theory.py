"""The kernel against queueing theory, where a simulator's answer is known in closed form.

A pool becomes a textbook queue by the choice of its step time. With `fixed_s = τ` alone a step
takes τ whatever the batch, so a request of n output tokens (prompt 1) is served in exactly n·τ:

- `maximum_sequences = 1`: one server, FCFS. Starts and ends coincide with step boundaries, so
  nothing is approximated: with n geometric the service time is exponential but for a grain of τ.
- `maximum_sequences = c`: c servers. A request that finds a free one still waits for the end of the
  step under way, τ/2 in the mean; τ is a thousandth of a service, and that wait is added to theory.

With `linear_s[n] = τ·n` a step takes τ per sequence: egalitarian processor sharing with quantum τ.

Every test runs 20 replications with fixed seeds and asserts |mean − theory| < 4 standard errors;
both are printed (`pytest -s`). Formulas: L. Kleinrock, Queueing Systems, 1975 and 1976.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from planner.engine import Engine
from planner.invariants import check_invariants
from planner.kernel.dtypes import ARRIVAL, NONE
from planner.kernel.enums import Fate, Router, Scheduler
from planner.kernel.plan import ClassPlan, ClosedStream, Plan, PoolPlan

pytestmark = pytest.mark.compiled

REPLICATIONS = 20
STANDARD_ERRORS = 4.0
MEAN_TOKENS = 1000
TAU_S = 1.0 / MEAN_TOKENS
"""Of a step; a mean service takes one second."""
CUSTOMERS = 40_000
WARM_UP = 4_000
"""Customers left out at the start, while the queue fills from empty."""

ONE_SERVER = PoolPlan(
    name="server",
    fixed_s=TAU_S,
    linear_s=np.zeros(2),
    decode_s=0.0,
    decode_seq_s=0.0,
    prefill_s=0.0,
    token_budget=1,
    maximum_sequences=1,
    kv_blocks=2**40,
)
SHARED = replace(
    ONE_SERVER,
    fixed_s=0.0,
    linear_s=TAU_S * np.arange(1025),
    token_budget=1024,
    maximum_sequences=1024,
)
ANYONE = ClassPlan("anyone", pools=(0,))

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Service = Callable[[np.random.Generator], Integers]


def servers(count: int) -> PoolPlan:
    """Return one replica that serves `count` requests side by side, none slowing another."""
    return replace(
        ONE_SERVER, linear_s=np.zeros(count + 1), token_budget=count, maximum_sequences=count
    )


# --- Customers ---


def poisson(rng: np.random.Generator, rate_rps: float, count: int = CUSTOMERS) -> Floats:
    return np.cumsum(rng.exponential(1.0 / rate_rps, count))


def exponential_service(rng: np.random.Generator, count: int = CUSTOMERS) -> Integers:
    return rng.geometric(1.0 / MEAN_TOKENS, count)


def constant_service(_: np.random.Generator, count: int = CUSTOMERS) -> Integers:
    return np.full(count, MEAN_TOKENS)


def two_point_service(rng: np.random.Generator, count: int = CUSTOMERS) -> Integers:
    """Nine short requests for each long one: mean 1, coefficient of variation 1.5."""
    return np.where(rng.random(count) < 0.9, MEAN_TOKENS // 2, 5 * MEAN_TOKENS + MEAN_TOKENS // 2)


def rows_of(arrival_s: Floats, tokens: Integers, klass: Integers | int = 0) -> NDArray[np.void]:
    rows = np.zeros(len(tokens), ARRIVAL)
    rows["arrival_s"] = arrival_s
    rows["input_tokens"] = 1
    rows["output_tokens"] = tokens
    rows["row"] = np.arange(len(tokens))
    rows["class"] = klass
    for name in ("session", "visitor"):
        rows[name] = NONE
    return rows


# --- Simulations ---


@dataclass
class Observed:
    """One replication."""

    engine: Engine
    rows: NDArray[np.void]
    """`FINISHED` rows in order of arrival."""

    @property
    def late(self) -> NDArray[np.void]:
        """The rows after the warm-up."""
        return self.rows[WARM_UP:]

    @property
    def waits_s(self) -> Floats:
        return self.late["started_s"] - self.late["arrival_s"]

    @property
    def sojourns_s(self) -> Floats:
        return self.late["finish_s"] - self.late["arrival_s"]


def observe(
    pool: PoolPlan,
    rows: NDArray[np.void],
    classes: tuple[ClassPlan, ...] = (ANYONE,),
    replicas: int = 1,
    closed: tuple[ClosedStream, ...] = (),
    until_s: float = math.inf,
) -> Observed:
    """Simulate one pool until it is empty, or until an instant."""
    kept: list[NDArray[np.void]] = []
    plan = Plan((pool,), classes, iter([rows]), closed=closed, window_s=1e9, keep_finished=True)
    engine = Engine(plan, kept.append)
    engine.activate(engine.add_replicas(0, replicas, node=0))
    engine.run_to(until_s)
    engine.finish()
    finished = np.concatenate(kept)
    assert not check_invariants(engine.world, finished)
    return Observed(engine, finished[np.argsort(finished["arrival_s"], kind="stable")])


def assert_agrees(
    what: str, theory: float, replication: Callable[[np.random.Generator], float]
) -> None:
    """Run the replications and compare their mean with theory."""
    values = [replication(np.random.default_rng([seed, 2026])) for seed in range(REPLICATIONS)]
    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / math.sqrt(REPLICATIONS)
    distance = abs(mean - theory) / error
    line = (
        f"{what}: simulated {mean:.5g} ± {error:.2g}, theory {theory:.5g}, "
        f"{distance:.1f} standard errors"
    )
    print(line)
    assert distance < STANDARD_ERRORS, line


def mean_wait_s(
    pool: PoolPlan, rate_rps: float, service: Service, replicas: int = 1
) -> Callable[[np.random.Generator], float]:
    """Return a replication: Poisson arrivals, and the mean wait until started."""

    def replication(rng: np.random.Generator) -> float:
        rows = rows_of(poisson(rng, rate_rps), service(rng))
        return float(observe(pool, rows, replicas=replicas).waits_s.mean())

    return replication


# --- One server ---


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_m_m_1_wait(load: float) -> None:
    assert_agrees(
        f"M/M/1 at load {load}: wait [s]",
        load / (1.0 - load),
        mean_wait_s(ONE_SERVER, load, exponential_service),
    )


def test_m_m_1_sojourn_is_exponential() -> None:
    load, beyond_s = 0.7, 8.0

    def share_beyond(rng: np.random.Generator) -> float:
        observed = observe(ONE_SERVER, rows_of(poisson(rng, load), exponential_service(rng)))
        return float((observed.sojourns_s > beyond_s).mean())

    assert_agrees(
        f"M/M/1 at load {load}: share that stays longer than {beyond_s} s",
        math.exp(-(1.0 - load) * beyond_s),
        share_beyond,
    )


@pytest.mark.parametrize(
    ("name", "service", "second_moment"),
    [("M/D/1", constant_service, 1.0), ("M/G/1", two_point_service, 0.9 * 0.25 + 0.1 * 5.5**2)],
)
def test_pollaczek_khinchine(name: str, service: Service, second_moment: float) -> None:
    load = 0.7
    assert_agrees(
        f"{name} at load {load}: wait [s]",
        load * second_moment / (2.0 * (1.0 - load)),
        mean_wait_s(ONE_SERVER, load, service),
    )


def test_full_queue_turns_away_as_in_m_m_1_k() -> None:
    load, places = 0.9, 5
    pool = replace(ONE_SERVER, queue_limit=places - 1)

    def share_refused(rng: np.random.Generator) -> float:
        observed = observe(pool, rows_of(poisson(rng, load), exponential_service(rng)))
        return float((observed.late["fate"] == Fate.REFUSED).mean())

    assert_agrees(
        f"M/M/1/{places} at load {load}: share refused",
        (1.0 - load) * load**places / (1.0 - load ** (places + 1)),
        share_refused,
    )


@pytest.mark.parametrize("priority", [0, 1])
def test_priorities_wait_as_cobham_says(priority: int) -> None:
    """A. Cobham, Operations Research 2, 1954: non-preemptive priorities, here at equal shares."""
    load = 0.8
    pool = replace(ONE_SERVER, scheduler=Scheduler.PRIORITY)
    classes = tuple(ClassPlan(f"class-{p}", pools=(0,), priority=p) for p in range(2))
    residual_s = load * 2.0 / 2.0  # rate · E[service²] / 2
    above, with_own = load / 2.0 * priority, load / 2.0 * (priority + 1)

    def wait_s(rng: np.random.Generator) -> float:
        klass = rng.integers(0, 2, CUSTOMERS)
        rows = rows_of(poisson(rng, load), exponential_service(rng), klass)
        observed = observe(pool, rows, classes)
        return float(observed.waits_s[observed.late["class"] == priority].mean())

    assert_agrees(
        f"M/M/1 with two priorities at load {load}: wait of priority {priority} [s]",
        residual_s / ((1.0 - above) * (1.0 - with_own)),
        wait_s,
    )


# --- Several servers ---


def erlang_c(count: int, offered: float) -> float:
    """Return the probability that all of `count` servers are busy in M/M/c."""
    blocked = 1.0  # Erlang B by its recursion
    for servers_so_far in range(1, count + 1):
        blocked = offered * blocked / (servers_so_far + offered * blocked)
    return blocked / (1.0 - offered / count * (1.0 - blocked))


def idle_probability(count: int, offered: float) -> float:
    """Return the probability that M/M/c is empty."""
    terms = [offered**k / math.factorial(k) for k in range(count)]
    return 1.0 / (sum(terms) + offered**count / math.factorial(count) / (1.0 - offered / count))


@pytest.mark.parametrize(("count", "load"), [(2, 0.8), (8, 0.8), (32, 0.9)])
def test_m_m_c_wait(count: int, load: float) -> None:
    offered = count * load
    wait_s = erlang_c(count, offered) / (count - offered)
    to_boundary_s = (1.0 - idle_probability(count, offered)) * TAU_S / 2.0
    assert_agrees(
        f"M/M/{count} at load {load}: wait [s]",
        wait_s + to_boundary_s,
        mean_wait_s(servers(count), offered, exponential_service),
    )


def test_round_robin_makes_erlang_arrivals() -> None:
    """Two replicas in turn: each is an E₂/M/1 queue, whose wait is σ/(1 − σ) service times.

    σ is the root in (0, 1) of σ = (2λ/(2λ + 1 − σ))², the transform of the gaps at 1 − σ.
    """
    load = 0.8
    sigma = 0.5
    for _ in range(200):
        sigma = (2.0 * load / (2.0 * load + 1.0 - sigma)) ** 2
    pool = replace(ONE_SERVER, router=Router.ROUND_ROBIN)
    assert_agrees(
        f"E2/M/1 at load {load}: wait [s]",
        sigma / (1.0 - sigma),
        mean_wait_s(pool, 2.0 * load, exponential_service, replicas=2),
    )


# --- Processor sharing ---


@pytest.mark.parametrize(
    ("name", "service"),
    [
        ("M/M/1-PS", exponential_service),
        ("M/D/1-PS", constant_service),
        ("M/G/1-PS", two_point_service),
    ],
)
def test_processor_sharing_is_insensitive(name: str, service: Service) -> None:
    """The mean sojourn depends on the service time's mean alone."""
    load = 0.75
    assert_agrees(
        f"{name} at load {load}: sojourn [s]",
        1.0 / (1.0 - load),
        lambda rng: float(
            observe(SHARED, rows_of(poisson(rng, load), service(rng))).sojourns_s.mean()
        ),
    )


@pytest.mark.parametrize("long", [False, True])
def test_processor_sharing_is_fair(long: bool) -> None:
    """Everyone is slowed down by the same factor, whatever the length."""
    load = 0.75

    def slowdown(rng: np.random.Generator) -> float:
        observed = observe(SHARED, rows_of(poisson(rng, load), two_point_service(rng)))
        tokens = observed.late["output_tokens"]
        chosen = (tokens > MEAN_TOKENS) == long
        return float((observed.sojourns_s / (tokens * TAU_S))[chosen].mean())

    assert_agrees(
        f"M/G/1-PS at load {load}: slowdown of the {'long' if long else 'short'}",
        1.0 / (1.0 - load),
        slowdown,
    )


# --- Laws that hold for any queue ---


@pytest.mark.parametrize(("count", "load"), [(1, 0.6), (8, 0.8)])
def test_utilisation_law(count: int, load: float) -> None:
    """Requests in service = arrival rate × service time."""
    offered = count * load

    def in_service(rng: np.random.Generator) -> float:
        rows = rows_of(poisson(rng, offered), exponential_service(rng))
        observed = observe(servers(count), rows, until_s=float(rows["arrival_s"][-1]))
        running_s = float(observed.engine.world.pool_windows["running_s"].sum())
        return running_s / observed.engine.now_s

    assert_agrees(f"{count} servers at load {load}: requests in service", offered, in_service)


def test_busy_share_of_one_server() -> None:
    load = 0.6

    def busy_rate(rng: np.random.Generator) -> float:
        rows = rows_of(poisson(rng, load), two_point_service(rng))
        observed = observe(ONE_SERVER, rows, until_s=float(rows["arrival_s"][-1]))
        return float(observed.engine.world.pool_windows["busy_s"].sum()) / observed.engine.now_s

    assert_agrees("M/G/1: busy share", load, busy_rate)


def test_littles_law_holds_exactly() -> None:
    """On a pool with chunked prefill, growing contexts, preemption and time-outs."""
    pool = PoolPlan(
        name="pool",
        fixed_s=0.004,
        linear_s=3e-5 * np.arange(257),
        decode_s=2e-8,
        decode_seq_s=1e-5,
        prefill_s=1e-9,
        token_budget=256,
        maximum_sequences=64,
        kv_blocks=600,
        kv_block_tokens=16,
    )
    impatient = replace(ANYONE, timeout_s=2.0)
    for seed in range(REPLICATIONS):
        rng = np.random.default_rng([seed, 2026])
        rows = rows_of(poisson(rng, 200.0, 3000), rng.geometric(1 / 80, 3000))
        rows["input_tokens"] = rng.geometric(1 / 200, 3000)
        observed = observe(pool, rows, (impatient,), replicas=2)
        fates = np.bincount(observed.rows["fate"], minlength=len(Fate))
        assert fates[Fate.SERVED] > 1000
        assert fates[Fate.TIMED_OUT] > 0
        assert observed.rows["preemptions"].sum() > 0
        spent_s = float((observed.rows["finish_s"] - observed.rows["arrival_s"]).sum())
        totals = observed.engine.world.pool_windows
        assert totals["waiting_s"].sum() + totals["running_s"].sum() == pytest.approx(
            spent_s, rel=1e-9
        )


# --- Closed loop ---


@pytest.mark.parametrize("clients", [2, 10])
def test_machine_repairman(clients: int) -> None:
    """Clients think 5 s and share one server: C. Palm, Industritidningen Norden 75, 1947."""
    think_s = 5.0
    weights = [
        math.factorial(clients) / math.factorial(clients - busy) / think_s**busy
        for busy in range(clients + 1)
    ]

    def served_per_s(rng: np.random.Generator) -> float:
        rows = rows_of(np.zeros(CUSTOMERS), exponential_service(rng))
        rows["think_s"] = rng.exponential(think_s, CUSTOMERS)
        stream = ClosedStream(clients, iter([rows]))
        observed = observe(ONE_SERVER, rows[:0], closed=(stream,))
        finish_s = observed.late["finish_s"]
        return (len(finish_s) - clients) / float(finish_s[-clients] - finish_s[0])

    assert_agrees(
        f"{clients} clients, one server: served per second",
        1.0 - weights[0] / sum(weights),
        served_per_s,
    )


def test_saturated_batch_serves_its_capacity() -> None:
    """Many clients without think time keep all places of the batch taken: places/(tokens·τ)."""
    places, clients = 16, 64

    def served_per_s(rng: np.random.Generator) -> float:
        rows = rows_of(np.zeros(CUSTOMERS), exponential_service(rng))
        observed = observe(
            servers(places), rows[:0], closed=(ClosedStream(clients, iter([rows])),), until_s=2000.0
        )
        return float((observed.rows["fate"] == Fate.SERVED).sum()) / 2000.0

    assert_agrees(f"{places} places, all taken: served per second", places, served_per_s)


# --- Fluid limit ---


def test_overload_grows_as_the_fluid_does() -> None:
    """At rate λ > μ the number in the system grows by λ − μ a second.

    Theory adds μ/(λ − μ), what the server idles away before the queue takes off.
    """
    rate_rps, until_s = 1.5, 20_000.0

    def in_system(rng: np.random.Generator) -> float:
        arrival_s = poisson(rng, rate_rps, int(1.1 * rate_rps * until_s))
        rows = rows_of(arrival_s, exponential_service(rng, len(arrival_s)))
        observed = observe(ONE_SERVER, rows, until_s=until_s)
        return float((observed.rows["fate"] == Fate.UNFINISHED).sum())

    assert_agrees(
        f"overload {rate_rps}: in the system after {until_s} s",
        (rate_rps - 1.0) * until_s + 1.0 / (rate_rps - 1.0),
        in_system,
    )


@pytest.mark.parametrize("scale", [10, 100, 1000])
def test_path_converges_to_the_fluid(scale: int) -> None:
    """Scaled by n in time and number, the whole path nears the fluid's: up, then down to empty.

    Arrivals at rate 2 for n seconds, then none; served at rate 1. The number in the system at n·t
    is near n·min(t, 2 − t), and its distance is of the order of √n.
    """
    instants = np.linspace(0.1, 1.9, 19)
    worst = []
    for seed in range(REPLICATIONS):
        rng = np.random.default_rng([seed, 2026])
        arrival_s = poisson(rng, 2.0, 3 * scale)
        arrival_s = arrival_s[arrival_s <= scale]
        rows = observe(
            ONE_SERVER, rows_of(arrival_s, exponential_service(rng, len(arrival_s)))
        ).rows
        here = (rows["arrival_s"][None, :] <= scale * instants[:, None]) & (
            rows["finish_s"][None, :] > scale * instants[:, None]
        )
        distance = np.abs(here.sum(axis=1) / scale - np.minimum(instants, 2.0 - instants))
        worst.append(float(distance.max()))
    mean = float(np.mean(worst))
    in_roots = mean * math.sqrt(scale)
    print(f"fluid path at scale {scale}: greatest distance {mean:.4f} = {in_roots:.2f}/√n")
    assert in_roots < 4.0
