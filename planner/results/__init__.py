"""Results: the tables of a run, what their columns mean, and how they are stored."""

from planner.results.frames import Frames, build_frames
from planner.results.meta import ClassMeta, ObjectiveMeta, PoolMeta
from planner.results.result import Assumption, Finance, Result

__all__ = [
    "Assumption",
    "ClassMeta",
    "Finance",
    "Frames",
    "ObjectiveMeta",
    "PoolMeta",
    "Result",
    "build_frames",
]
