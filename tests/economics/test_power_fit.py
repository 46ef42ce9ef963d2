"""The default power of devices, refitted on the measurements that it comes from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import least_squares

from planner.economics import PowerTerms
from planner.scenario.schema.money import Power

PARAMETERS = {  # billion, of dense models, by their model cards
    "Qwen/Qwen3-8B": 8.2,
    "Qwen/Qwen3-14B": 14.8,
    "Qwen/Qwen3-32B": 32.8,
    "google/gemma-3-12b-it": 11.8,
    "google/gemma-3-27b-it": 27.0,
    "meta-llama/Llama-3.1-8B-Instruct": 8.03,
    "meta-llama/Llama-3.1-70B-Instruct": 70.6,
    "meta-llama/Llama-3.3-70B-Instruct": 70.6,
    "meta-llama/Llama-3.1-405B-Instruct": 405.0,
    "meta-llama/Llama-3.1-405B-Instruct-FP8": 405.0,
}
DESIGN_W = {"H100": 700.0, "B200": 1000.0}
PEAK_FLOPS = {"H100": 989e12, "B200": 2250e12}
"""Dense bf16; fp8 does twice as much."""


def measured(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return share of peak arithmetic and of design power: at batch 8 and at the largest batch."""
    rows = pd.read_csv(path)
    arithmetic, power = [], []
    for row in rows[rows["model"].isin(PARAMETERS)].itertuples():
        peak = PEAK_FLOPS[row.gpu] * (2 if row.model.endswith("FP8") else 1)
        small_tps = 8e3 / (row.itl0_ms + 8e-3 * row.slope_us_per_seq) / row.n
        for tokens_per_s, watts in ((small_tps, row.W_b8), (row.peak_tps_gpu, row.W_peak)):
            arithmetic.append(tokens_per_s * 2e9 * PARAMETERS[row.model] / peak)
            power.append(watts / DESIGN_W[row.gpu])
    return np.array(arithmetic), np.array(power)


def test_the_defaults_are_the_fit(shared_data: Path) -> None:
    """ML.ENERGY v3: 0.62 of design power without arithmetic, 0.94 from 15% of peak on."""
    arithmetic, power = measured(
        shared_data / "microbench" / "micro_itl_vs_batch_fits_ml_energy.csv"
    )
    assert len(power) == 46

    def errors(x: np.ndarray) -> np.ndarray:
        return x[0] + (x[1] - x[0]) * np.minimum(1.0, arithmetic / x[2]) - power

    fitted = least_squares(errors, [0.6, 0.9, 0.1], loss="soft_l1", f_scale=0.05).x
    bound, loaded, saturation = fitted
    defaults = Power()
    assert bound / loaded == pytest.approx(defaults.memory_bound, abs=0.01)
    assert saturation == pytest.approx(defaults.saturation, abs=0.01)
    assert np.median(np.abs(errors(fitted))) < 0.05
    terms = PowerTerms(
        loaded_rate=loaded,
        memory_bound_rate=defaults.memory_bound,
        saturation_rate=defaults.saturation,
    )
    shipped = np.array([terms.busy_rate(rate) for rate in arithmetic])
    assert np.median(np.abs(shipped - power)) < 0.055
