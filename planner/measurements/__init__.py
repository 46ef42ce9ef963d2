"""End-to-end measurements of serving systems: one record, and readers for what people publish.

>>> from planner.measurements import published
>>> point = published().points[0]
>>> point.engine in ("vllm", "sglang", "tensorrt-llm")
True
"""

from planner.measurements.collection import read_collection
from planner.measurements.deployment import Deployment
from planner.measurements.detect import READERS, detect_format, read_benchmark
from planner.measurements.lengths import Empirical, Fixed, Lengths, Uniform, quantiles_of
from planner.measurements.point import (
    ENGINES,
    METRICS,
    Disaggregated,
    MeasurementError,
    Point,
    Settings,
)
from planner.measurements.protocol import (
    ClosedLoop,
    Flood,
    Poisson,
    Protocol,
    Replay,
    StaticBatch,
    protocol_name,
)
from planner.measurements.reading import MeasurementFileError, Measurements
from planner.measurements.record import read_points, write_points
from planner.measurements.shipped import published, select_published

__all__ = [
    "ENGINES",
    "METRICS",
    "READERS",
    "ClosedLoop",
    "Deployment",
    "Disaggregated",
    "Empirical",
    "Fixed",
    "Flood",
    "Lengths",
    "MeasurementError",
    "MeasurementFileError",
    "Measurements",
    "Point",
    "Poisson",
    "Protocol",
    "Replay",
    "Settings",
    "StaticBatch",
    "Uniform",
    "detect_format",
    "protocol_name",
    "published",
    "quantiles_of",
    "read_benchmark",
    "read_collection",
    "read_points",
    "select_published",
    "write_points",
]
