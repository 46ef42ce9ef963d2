"""Reads every public set of measurements that lies in a folder, by the names of its files."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from planner.measurements.gpustack import read_gpustack
from planner.measurements.inferencex import read_inferencex
from planner.measurements.llm_inference_bench import read_llm_inference_bench
from planner.measurements.mlperf import read_mlperf
from planner.measurements.mlperf_custom import read_mlperf_custom
from planner.measurements.point import MeasurementError
from planner.measurements.reading import Measurements
from planner.measurements.trtllm_overview import read_trtllm_overview
from planner.measurements.vllm_requests import read_vllm_requests

_LENGTHS: Final = "traces/mlperf_output_lengths/mlperf_test06_output_lengths.csv.gz"
_LAYOUTS: Final = "e2e/mlperf_nvidia_parallelism.csv"


def read_collection(folder: Path) -> dict[str, Measurements]:
    """Return the measurements of each set in `folder`, by the name of its file.

    Args:
        folder: holds some of `e2e/inferencex_silicon.csv`, `e2e/vllm_requests/`, `e2e/mlperf.csv`,
            `e2e/custom_chips_mlperf_v4.0.csv`, `e2e/llm_inference_bench.csv`,
            `e2e/trtllm_perf_overview.csv` and `e2e/gpustack_perf_lab.csv`.

    Raises:
        MeasurementError: none is there, or one has faults.
    """
    layouts, lengths = folder / _LAYOUTS, folder / _LENGTHS
    known_layouts = layouts if layouts.exists() else None
    known_lengths = lengths if lengths.exists() else None
    readers = {
        "inferencex_silicon.csv": read_inferencex,
        "vllm_requests": read_vllm_requests,
        "mlperf.csv": lambda path: read_mlperf(path, known_layouts, known_lengths),
        "custom_chips_mlperf_v4.0.csv": lambda path: read_mlperf_custom(path, known_lengths),
        "llm_inference_bench.csv": read_llm_inference_bench,
        "trtllm_perf_overview.csv": read_trtllm_overview,
        "gpustack_perf_lab.csv": read_gpustack,
    }
    found = {
        name: read(path)
        for name, read in readers.items()
        if (path := folder / "e2e" / name).exists()
    }
    if not found:
        raise MeasurementError(
            f"{folder}: holds no set of measurements; expected e2e/ with one of "
            f"{', '.join(readers)}"
        )
    return found
