"""Regression of forecasts: stored baselines, what changed since, and whether that fails."""
