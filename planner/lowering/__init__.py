"""Lowering: from a scenario, the catalogue, curves and traces to the plain numbers of a plan."""

from planner.lowering.lower import Lowered, lower
from planner.lowering.workload import class_workloads

__all__ = ["Lowered", "class_workloads", "lower"]
