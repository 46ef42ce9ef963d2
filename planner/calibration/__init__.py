"""Fits the overheads of a serving engine to benchmark results, by replaying them."""
