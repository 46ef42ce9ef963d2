"""Searches: many simulations to answer one question."""

from planner.search.size import Search, Sizing, SizingError, Trial, size

__all__ = ["Search", "Sizing", "SizingError", "Trial", "size"]
