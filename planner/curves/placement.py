"""How many tokens fall on the busiest of the devices that share the experts of a layer.

A layer waits for the device with most tokens. Two things make it busier than the mean:

- *popularity*: some experts are chosen more often than others, and devices hold different ones;
- *luck*: the choices of one step are a sample.

Popularity is lognormal over the experts, with a stated coefficient of variation. Of the run whose
coefficient is published (`PUBLISHED_SKEW`), the largest expert (11.9 times the mean) and the
busiest device (2.56 times) follow from the form within 10%. A balancer copies popular experts and
places all copies as DeepSeek's EPLB does (https://github.com/deepseek-ai/EPLB): one copy more for
whoever has most tokens per copy, then the largest first, each to the least loaded device with room.
It is taken to know the popularity; in a service it lags behind it.
"""

from __future__ import annotations

import heapq
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planner.curves.expert_load import ExpertLoad

Array = NDArray[np.float64]

_DRAWS: Final = 128
"""Layers that are drawn; the error of their mean is about 2%."""
_SEED: Final = 5
_MOST_SIGMA: Final = 6.0
"""Of the lognormal distribution: one expert has nearly all."""


def device_shares(load: ExpertLoad) -> Array:
    """Return the share of each device in all choices over its mean, in several layers."""
    popularity = lognormal_shares(load.experts, load.skew) * load.groups
    if load.redundant is not None:
        return balanced(popularity, load.redundant, load.groups)[np.newaxis]
    random = np.random.default_rng(_SEED)
    each = np.tile(popularity, (_DRAWS, 1))
    placed: Array = random.permuted(each, axis=1).reshape(_DRAWS, load.groups, -1).sum(axis=2)
    return placed


def busiest_factor(load: ExpertLoad, tokens: Array) -> Array:
    """Return the tokens of the busiest device over the mean, in steps of `tokens` tokens.

    A device that expects m choices gets m + z·√m of them, z normal. Never more than if every token
    chose nothing but experts of that device.
    """
    if load.groups == 1:
        return np.ones_like(tokens)
    shares = device_shares(load)
    normal = np.random.default_rng(_SEED + 1).standard_normal((_DRAWS, load.groups))
    mean = np.maximum(tokens, 1.0) * load.active_experts / load.groups
    busiest = np.array([_busiest(shares, normal, float(each)) for each in mean])
    held = -(-(load.experts + (load.redundant or 0)) // load.groups)
    most = load.groups * min(1.0, held / load.active_experts)
    factor: Array = np.clip(busiest, 1.0, most)
    return factor


def _busiest(shares: Array, normal: Array, mean: float) -> float:
    return float(np.mean(np.max(shares + normal * np.sqrt(shares / mean), axis=1)))


def lognormal_shares(count: int, skew: float) -> Array:
    """Return `count` shares that add up to 1, lognormal with a coefficient of variation.

    The quantiles of the distribution, so that nothing is random; the width is chosen such that
    the shares themselves have the coefficient asked for.

    >>> shares = lognormal_shares(256, 1.28)
    >>> round(float(shares.std() / shares.mean()), 3)
    1.28
    """
    normal = NormalDist()
    places = np.array([normal.inv_cdf((at + 0.5) / count) for at in range(count)])
    low, high = 0.0, _MOST_SIGMA
    for _ in range(50):
        middle = (low + high) / 2.0
        values = np.exp(middle * places)
        if values.std() < skew * values.mean():
            low = middle
        else:
            high = middle
    values = np.exp(low * places)
    shares: Array = values / values.sum()
    return shares


def balanced(popularity: Array, redundant: int, groups: int) -> Array:
    """Return the load of each device after a balancer has copied and placed the experts.

    Args:
        popularity: of each expert; in any unit, which the loads have as well.
        redundant: copies beside the experts themselves.
        groups: devices; they divide the number of all copies.

    >>> balanced(np.array([4.0, 1.0, 1.0]), 1, 2)
    array([3., 3.])
    """
    most = [(-float(load), expert, 1) for expert, load in enumerate(popularity)]
    heapq.heapify(most)
    for _ in range(redundant):
        negative, expert, copies = most[0]
        less = negative * copies / (copies + 1)
        heapq.heapreplace(most, (less, expert, copies + 1))
    slots = sorted((-load for load, _, copies in most for _ in range(copies)), reverse=True)
    room = -(-len(slots) // groups)
    devices = [(0.0, 0, at) for at in range(groups)]
    loads = np.zeros(groups)
    for slot in slots:
        load, held, at = heapq.heappop(devices)
        loads[at] = load + slot
        if held + 1 < room:
            heapq.heappush(devices, (load + slot, held + 1, at))
    return loads
