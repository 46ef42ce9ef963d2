"""Scenario text that the tests of this folder change and break."""

from __future__ import annotations

VALID = """\
schema: planner/v1
name: evening
workload:
  duration: 1 h
  start: 19:30
  classes:
    - name: chat
      pool: small
      overflow: [big]
      open: {rate: 24 /s}
      input: {quantiles: {p1: 20, p50: 1020, p99: 4142}}
      output: {uniform: [10, 500]}
      visitors: 5000
      rate_limit: {rate: 10 /h, burst: 3}
      objectives:
        - {metric: ttft, percentile: 99, limit: 2 s}
    - name: reasoning
      pool: big
      closed: {clients: 40}
      input: {fixed: 900}
      output: {lognormal_mixture: [{weight: 1, median: 300, sigma: 0.8}]}
      plan: api
pools:
  - name: small
    model: llama-3.1-8b
    node: hgx-h100
    nodes: 2
  - name: big
    model: llama-3.1-70b
    node: hgx-h100
    nodes: 2
    tensor_parallel: 4
    schedule:
      - {at: 7:00, nodes: 4}
      - {at: 22:00, nodes: 2}
prices:
  date: 2026-11-01
  plans:
    - {name: api, kind: api, input: 0.60 USD/Mtok, output: 2.40 USD/Mtok}
"""


def changed(old: str, new: str) -> str:
    """Return the valid text with its only `old` replaced."""
    assert VALID.count(old) == 1, old
    return VALID.replace(old, new)


def large(classes: int) -> str:
    """Return a valid scenario of about nine lines per class."""
    start, end = VALID.index("    - name: chat"), VALID.index("    - name: reasoning")
    block = VALID[start:end]
    blocks = "".join(block.replace("name: chat", f"name: chat-{i}") for i in range(classes))
    return VALID[:start] + blocks + VALID[end:]
