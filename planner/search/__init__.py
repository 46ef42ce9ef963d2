"""Searches: many simulations to answer one question."""

from planner.search.fleets import SizingError, Trial
from planner.search.size import Sizing, size

__all__ = ["Sizing", "SizingError", "Trial", "size"]
