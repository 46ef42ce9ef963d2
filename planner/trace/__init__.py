"""Traces: the one table of requests, readers, synthesis and statistics."""

from __future__ import annotations

from planner.trace.lengths import LengthDistribution
from planner.trace.source import TraceSource, open_trace
from planner.trace.synthetic import closed_rows, synthesize
from planner.trace.table import TRACE_ROW, HashIds, RequestBlock
from planner.trace.workload import Arrivals, ClassWorkload

__all__ = [
    "TRACE_ROW",
    "Arrivals",
    "ClassWorkload",
    "HashIds",
    "LengthDistribution",
    "RequestBlock",
    "TraceSource",
    "closed_rows",
    "open_trace",
    "synthesize",
]
