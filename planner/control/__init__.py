"""The control plane: SimPy processes that watch and change the fleet, at human time scales."""

from planner.control.fleet import Fleet, PoolView
from planner.control.schedule import follow_schedule

__all__ = ["Fleet", "PoolView", "follow_schedule"]
