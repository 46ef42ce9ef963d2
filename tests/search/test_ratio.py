"""Ratios between pools that prefill and pools that decode, with fleets judged by a formula."""

from __future__ import annotations

import pytest

from planner.catalog import load_catalog
from planner.lowering.pools import LoweredPool
from planner.results.result import Result
from planner.search.fleets import Nodes, Search, Trial
from planner.search.ratio import best_ratios
from tests.small import load

TWO_CHAINS = """\
schema: planner/v1
name: two-chains
workload:
  duration: 60 s
  classes:
    - {name: a, pool: first, open: {rate: 1 /s}, input: {fixed: 9}, output: {fixed: 9}}
    - {name: b, pool: second, open: {rate: 1 /s}, input: {fixed: 9}, output: {fixed: 9}}
pools:
  - {name: first, model: llama-3.1-8b, node: hgx-h100, nodes: 1,
     decode: {pool: decode, bandwidth: 50 GB/s}}
  - {name: second, model: llama-3.1-8b, node: hgx-h100, nodes: 1,
     decode: {pool: decode, bandwidth: 50 GB/s}}
  - {name: decode, model: llama-3.1-8b, node: hgx-h100, nodes: 1}
"""


class Formula(Search):
    """A search that asks a formula instead of the simulation: each chain wants so much work."""

    prices = (1.0, 1.0, 1.0)
    wanted = (40, 90)

    def _try(
        self, nodes: Nodes, lowered: tuple[LoweredPool, ...], lifted: str = ""
    ) -> tuple[Trial, Result]:
        first, second, decode = nodes
        passed = first * decode >= self.wanted[0] and second * decode >= self.wanted[1]
        usd = sum(price * count for price, count in zip(self.prices, nodes, strict=True))
        trial = Trial(
            len(self.log) + 1, dict(zip(self.names, nodes, strict=True)), passed, (), 1.0, usd
        )
        self.log.append(trial)
        return trial, None  # type: ignore[return-value]  # no result is asked for


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Formula:
    loaded = load(tmp_path_factory.mktemp("ratio"), text=TWO_CHAINS)
    return Formula(loaded, load_catalog(), 64, None, None)


@pytest.mark.parametrize("start", [(40, 45, 2), (2, 4, 25), (10, 23, 4)])
def test_ratios_of_chains_that_share_a_pool_are_of_the_same_fleet(
    search: Formula, start: Nodes
) -> None:
    assert search.simulate(start).passed
    nodes, ratios = best_ratios(search, start)
    assert [(ratio.prefill, ratio.decode) for ratio in ratios] == [
        ("first", "decode"),
        ("second", "decode"),
    ]
    answer = dict(zip(search.names, nodes, strict=True))
    for ratio in ratios:
        other = "second" if ratio.prefill == "first" else "first"
        assert ratio.best.nodes == answer
        assert ratio.best in ratio.frontier
        assert all(trial.passed for trial in ratio.frontier)
        assert {trial.nodes[other] for trial in ratio.frontier} == {answer[other]}
        costs = [trial.cost_per_hour_usd or 0.0 for trial in ratio.frontier]
        assert min(costs) == ratio.best.cost_per_hour_usd
        assert {trial.nodes[other] for trial in ratio.tried} == {answer[other]}
