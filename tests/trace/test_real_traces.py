"""The real public traces, where they are at hand: read whole, statistics as published."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from planner.trace import LengthDistribution, open_trace
from planner.trace.stats import trace_stats
from planner.trace.table import concatenate

ROOT = Path(__file__).parents[2]
TRACES = Path(os.environ.get("PLANNER_SHARED_DATA", ROOT / ".." / "shared" / "data")) / "traces"


def real(name: str) -> Path:
    path = TRACES / name
    if not path.exists():
        pytest.skip(f"no public trace at {path}")
    return path


@pytest.mark.parametrize(
    ("name", "requests", "rate_rps", "gap_cv", "peak_to_mean_10s", "input_p50", "output_p99"),
    [
        ("conv", 19_366, 5.53, 1.09, 1.78, 1020, 601),
        ("code", 8_819, 2.567, 13.15, 12.76, 1469, 252),
    ],
)
def test_azure_2023(
    name: str,
    requests: int,
    rate_rps: float,
    gap_cv: float,
    peak_to_mean_10s: float,
    input_p50: int,
    output_p99: int,
) -> None:
    source = open_trace(real(f"azure_2023/AzureLLMInferenceTrace_{name}.csv"))
    assert source.format == "azure-2023"
    found = trace_stats(source)
    assert found.requests == requests
    assert found.rate_rps == pytest.approx(rate_rps, rel=1e-3)
    assert found.gap_cv == pytest.approx(gap_cv, rel=5e-3)
    assert found.windows[1].peak_to_mean == pytest.approx(peak_to_mean_10s, rel=0.01)
    assert found.input_tokens.quantiles["p50"] == input_p50
    assert found.output_tokens.quantiles["p99"] == output_p99


def test_mooncake_conversation() -> None:
    path = real("mooncake/conversation_trace.jsonl")
    found = trace_stats(open_trace(path))
    assert found.requests == 12_031
    assert found.distinct_arrivals_rate == pytest.approx(1180 / 12_031)
    assert found.input_tokens.quantiles["p50"] == 6909
    assert found.prefix is not None
    assert found.prefix.hit_rate == pytest.approx(0.37, abs=0.01)
    assert found.prefix.requests_with_hit_rate == pytest.approx(0.387, abs=0.001)
    assert found.prefix.unique_blocks == pytest.approx(183_000, rel=0.002)
    smooth = trace_stats(open_trace(path, time_jitter_s=3.0))
    assert smooth.distinct_arrivals_rate == 1.0
    assert smooth.gap_cv == pytest.approx(1.0, abs=0.1)
    assert smooth.prefix is not None
    assert smooth.prefix.unique_blocks == found.prefix.unique_blocks


def test_servegen_reasoning_model(tmp_path: Path) -> None:
    with tarfile.open(real("servegen/raw/reason_deepseek-r1.tar.gz")) as archive:
        archive.extractall(tmp_path, filter="data")
    source = open_trace(next(tmp_path.rglob("chunk-*-trace.csv")).parent)
    assert source.format == "servegen"
    rows = concatenate(list(source)).rows
    assert source.notes == ()
    assert len(rows) == pytest.approx(16.015 * 86400, rel=0.01)
    assert len(set(rows["visitor_id"].tolist())) > 60
    assert rows["output_tokens"].mean() == pytest.approx(1527.4, rel=0.01)
    assert np.quantile(rows["output_tokens"], 0.99) == pytest.approx(12_607, rel=0.03)
    ratio = rows["reasoning_tokens"] / np.maximum(rows["output_tokens"], 1)
    assert np.median(ratio) == pytest.approx(0.764, abs=0.01)
    hourly = np.bincount((rows["arrival_s"] // 3600).astype(int), minlength=24)
    assert hourly.max() / hourly.mean() == pytest.approx(2.19, abs=0.03)


@pytest.mark.parametrize("side", ["input", "output"])
def test_presets_follow_the_trace_they_came_from(side: str) -> None:
    path = real("azure_2023/AzureLLMInferenceTrace_conv.csv")
    rows = concatenate(list(open_trace(path))).rows
    observed = np.sort(rows[f"{side}_tokens"])
    preset = LengthDistribution.from_preset(f"azure-2023-conversation-{side}")
    drawn = np.sort(preset.sample(np.random.default_rng(1), 200_000))
    grid = np.unique(observed)
    apart = np.abs(
        np.searchsorted(observed, grid, "right") / len(observed)
        - np.searchsorted(drawn, grid, "right") / len(drawn)
    )
    print(f"{side}: Kolmogorov–Smirnov distance {apart.max():.4f}")
    assert apart.max() < 0.02
