"""Names of the numbers in records: fates, metrics, routers, schedulers, states.

Nothing is imported here but the standard library, so that every part of planner can use them.
"""

from __future__ import annotations

from enum import IntEnum


class Fate(IntEnum):
    """How a request ended; every request that arrives has exactly one."""

    SERVED = 0
    """All its output tokens were emitted."""
    RATE_LIMITED = 1
    """Its visitor had used up the token bucket of the class."""
    REFUSED = 2
    """Every pool it may use had a full queue or no active replica."""
    TOO_LONG = 3
    """Prompt and output exceed the context length or the KV memory of a replica of its pools."""
    TIMED_OUT = 4
    """It waited longer than the time-out of its class without being started."""
    FAILED = 5
    """Its replica was lost, or nobody could take it over from the pool that had served a part."""
    UNFINISHED = 6
    """The simulation ended first."""
    SHED = 7
    """Admission control turned it away: it, or others behind it, would have waited too long."""


class Metric(IntEnum):
    """Row of the histograms kept per class."""

    TTFT = 0
    TPOT = 1
    ITL = 2
    E2E = 3
    QUEUE = 4
    """Arrival until first scheduled."""
    TTFAT = 5
    """Arrival until the first token of the answer, which follows the reasoning."""
    TASK_LATENCY = 6
    """First arrival of a session until the end of its last turn."""


class Router(IntEnum):
    """How a pool picks the replica for a request."""

    ROUND_ROBIN = 0
    LEAST_LOADED = 1
    POWER_OF_TWO = 2
    SESSION_AFFINITY = 3
    CACHE_AWARE = 4
    """The one that holds most of the prompt, unless it is busy; else the least loaded."""


class Scheduler(IntEnum):
    """Order of the waiting queue of a replica; requests of equal rank come as they arrived."""

    FCFS = 0
    PRIORITY = 1
    """By the priority of the class, the smallest first, however long others wait."""
    AGEING = 2
    """By arrival, each step of priority counting as `priority_step_s` of waiting."""
    DEADLINE = 3
    """By the instant at which the first token is due."""
    SHORTEST_PROMPT = 4
    """By the tokens of the input."""
    WEIGHTED = 5
    """By the tokens served to the class so far, divided by its weight (see sharing.py)."""


class ReplicaStatus(IntEnum):
    """Life of a replica."""

    STOPPED = 0
    STARTING = 1
    ACTIVE = 2
    DRAINING = 3
    """Finishes what it has, takes nothing new."""
    LOST = 4


class Handover(IntEnum):
    """Where a request stands between a pool that prefills it and the one that decodes it."""

    NONE = 0
    """In one pool."""
    OFFERED = 1
    """Prefilled; waits for memory in the other pool, while the first keeps its KV."""
    SENDING = 2
    """Has memory in both; its KV is sent, or is next in line."""
    LANDED = 3
    """Its KV has come; it decodes from the next boundary on."""


class Leg(IntEnum):
    """Which model serves a request of a class that has a lighter one as well."""

    MAIN = 0
    """That of the class's own pools."""
    LIGHT = 1
    """The lighter one."""
    ESCALATED = 2
    """That of the class's own pools, after the lighter one."""


class Stop(IntEnum):
    """Why the kernel handed control back."""

    REACHED = 0
    """Everything up to the asked time has happened."""
    NEED_ROWS = 1
    """The arrival buffer of stream `state.starved_stream` is used up and not marked as ended."""
    NEED_REQUESTS = 2
    """No free slot in `requests`: grow it."""
    NEED_RETURNS = 3
    """No room in the heap of generated arrivals: grow it."""
    FLUSH_FINISHED = 4
    """The buffer of per-request output is full: write it out."""
    NEED_ENTRIES = 5
    """No room in `entries` for what an event may leave in the caches: grow it."""
