"""Scenarios that simulate in a fraction of a second, for the tests of whole runs."""

from __future__ import annotations

from pathlib import Path

import yaml

from planner.scenario import LoadedScenario
from planner.simulation import load_scenario

SMALL = """\
schema: planner/v1
name: small
seed: 3
workload:
  start: "19:00"
  duration: 3 min
  window: 10 s
  drain: 5 min
  classes:
    - name: chat
      pool: chat
      open: {rate: 12 /s, burstiness: {kind: gamma, cv: 1.5}}
      input: {uniform: [100, 1500]}
      output: {uniform: [20, 200]}
      objectives:
        - {metric: ttft, percentile: 99, limit: 1 s}
        - {metric: tpot, percentile: 95, limit: 50 ms}
      plan: members
    - name: reasoning
      pool: reasoning
      open: {rate: 1 /s}
      input: {uniform: [50, 400]}
      output: {uniform: [50, 300]}
      reasoning: {uniform: [200, 800]}
      objectives:
        - {metric: ttft, percentile: 95, limit: 2 s}
      plan: api
pools:
  - name: chat
    model: llama-3.1-70b
    node: hgx-h100
    nodes: 2
    tensor_parallel: 8
    weight_dtype: fp8
    engine: {token_budget: 4096, maximum_sequences: 128}
  - name: reasoning
    model: llama-3.1-70b
    node: hgx-h200
    nodes: 1
    tensor_parallel: 8
    weight_dtype: fp8
prices:
  plans:
    - {name: members, kind: subscription, per_seat: 20 USD/month, requests_per_seat_month: 600}
    - {name: api, kind: api, input: 1 USD/Mtok, output: 8 USD/Mtok}
"""
"""Two classes, each with a pool of its own: about 2,300 requests, served with room to spare."""

ONE_CLIENT = """\
schema: planner/v1
name: one-client
workload:
  duration: 60 s
  window: 10 s
  classes:
    - name: client
      pool: server
      closed: {clients: 1}
      input: {fixed: 512}
      output: {fixed: 128}
pools:
  - {name: server, model: llama-3.1-8b, node: hgx-h100, nodes: 1}
"""
"""One client of a closed loop: every request takes equally long."""


def load(folder: Path, *sets: str, text: str = SMALL) -> LoadedScenario:
    """Return a scenario, its text changed by `--set` options.

    Args:
        folder: where to write the file.
        sets: as of the command line.
        text: the scenario.
    """
    path = folder / f"{yaml.safe_load(text)['name']}.yaml"
    path.write_text(text, encoding="utf-8")
    return load_scenario(path, sets=sets)


PRICE_TABLE = """\
sources:
  contract: {citation: our contract, date: 2026-01, tier: official}
machines:
  reserved: {title: reserved, chip: h100-sxm, terms: committed_1y, provider: a cloud,
             source: contract, price: 1 USD/h}
api:
  ours:
    title: our model
    provider: us
    source: contract
    input: 1 USD/Mtok
    output: 8 USD/Mtok
    long_context: {above: 1_000, input: 3, output: 2}
"""
"""Prices of one's own, with one for long contexts."""
