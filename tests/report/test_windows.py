"""Long runs on a page: fewer windows, the same sums and means, under 6 MB."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from planner.report.html import render_html
from planner.report.windows import windows_together, with_fewer_windows
from planner.results.result import Result
from tests.results.synthetic import make_result


def long_result(times: int) -> Result:
    """Return the result with its windows so many times one after another."""
    result = make_result()

    def repeated(windows: pd.DataFrame) -> pd.DataFrame:
        length_s = float(windows["window_end_s"].max())
        shift = ["window_start_s", "window_end_s"]
        parts = [windows.assign(**windows[shift] + at * length_s) for at in range(times)]
        return pd.concat(parts, ignore_index=True)

    frames = replace(
        result.frames,
        class_windows=repeated(result.frames.class_windows),
        pool_windows=repeated(result.frames.pool_windows),
    )
    end_s = float(frames.class_windows["window_end_s"].max())
    return replace(result, frames=frames, end_s=end_s, duration_s=end_s)


def test_a_short_run_is_shown_as_it_is() -> None:
    result = make_result()
    assert with_fewer_windows(result) is result


def test_sums_and_means_stay_what_they_were() -> None:
    result = long_result(100)
    fewer = with_fewer_windows(result)
    together = windows_together(result)
    assert together > 1
    for name, key in (("class_windows", "class"), ("pool_windows", "pool")):
        before, after = result.to_pandas(name), fewer.to_pandas(name)
        assert list(after.columns) == list(before.columns)
        assert len(after) == pytest.approx(len(before) / together, rel=0.02)
        assert after["window_end_s"].max() == before["window_end_s"].max()
        assert set(after[key]) == set(before[key])
        counted = "arrived" if key == "class" else "decode_tokens"
        np.testing.assert_allclose(
            after.groupby(key)[counted].sum(), before.groupby(key)[counted].sum()
        )
    rows = fewer.frames.class_windows.iloc[0]
    first = result.frames.class_windows
    first = first[first["class"] == rows["class"]].iloc[:together]
    width_s = rows["window_end_s"] - rows["window_start_s"]
    assert rows["arrival_rps"] == pytest.approx(first["arrived"].sum() / width_s)


def test_the_page_of_a_week_of_minutes_is_small_and_says_what_it_leaves_out() -> None:
    result = long_result(10_080 // make_result().frames.class_windows["window_start_s"].nunique())
    html = render_html(result)
    assert len(html.encode()) < 6_000_000
    assert f"By time, {windows_together(result)} windows are one here" in html
