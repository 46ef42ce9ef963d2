"""The grid of measured over fitted seconds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.curves.forms.base import Array
from planner.curves.grid import Grid, Grids, GridSpec, coordinate, fit_correction, fit_grid
from planner.curves.timings import CurveError

TOKENS = np.exp2(np.arange(0.0, 14.0))


def shapes() -> dict[str, Array]:
    m, n = np.meshgrid(TOKENS, np.array([512.0, 1024.0, 4096.0, 16384.0]))
    return {"m": m.ravel(), "n": n.ravel()}


def test_a_constant_ratio_comes_back_everywhere() -> None:
    grid = fit_grid(GridSpec(("m", "n"), (5, 3)), shapes(), np.full(56, 1.25))
    far = {"m": np.array([3.0, 1e6]), "n": np.array([700.0, 1e6])}
    assert grid.ratio(far) == pytest.approx([1.25, 1.25], rel=2e-3)


def test_a_plane_in_the_logarithms_is_met_exactly() -> None:
    at = shapes()
    ratio = np.exp(0.1 * np.log1p(at["m"]) - 0.05 * np.log1p(at["n"]))
    grid = fit_grid(GridSpec(("m", "n"), (4, 4), stiffness=1e-4), at, ratio)
    between = {"m": np.array([11.0, 300.0]), "n": np.array([800.0, 9000.0])}
    expected = np.exp(0.1 * np.log1p(between["m"]) - 0.05 * np.log1p(between["n"]))
    assert grid.ratio(between) == pytest.approx(expected, rel=3e-3)


def test_a_step_is_kept_where_nodes_are_few() -> None:
    m = np.unique(np.r_[np.exp2(np.arange(0, 14)), np.exp2(np.arange(0, 14)) + 1.0])
    ratio = np.where(m > 128.0, 1.5, 1.0)
    grid = fit_grid(GridSpec(("m",), (10,), stiffness=1e-3), {"m": m}, ratio)
    found = grid.ratio({"m": np.array([64.0, 128.0, 129.0, 256.0])})
    assert found == pytest.approx([1.0, 1.0, 1.5, 1.5], abs=0.02)


def test_single_odd_ratios_weigh_little() -> None:
    at = shapes()
    ratio = np.full(56, 1.1)
    ratio[20] = 20.0
    grid = fit_grid(GridSpec(("m", "n"), (5, 3), stiffness=1.0), at, ratio)
    assert np.median(grid.ratio(at)) == pytest.approx(1.1, rel=0.02)


def test_beyond_the_grid_the_edge_holds_or_fades() -> None:
    held = Grid(("m",), (np.array([1.0, 8.0]),), np.array([1000, 2000]), "hold")
    fading = Grid(("m",), (np.array([1.0, 8.0]),), np.array([1000, 2000]), "one")
    far = {"m": np.array([8.0, 35.0, 1e6])}
    assert held.ratio(far) == pytest.approx([2.0, 2.0, 2.0])
    at_edge, near, distant = fading.ratio(far)
    assert at_edge == pytest.approx(2.0)
    # 35 is a factor of four beyond the edge in 1 + m, so the logarithm fell to a third or so
    assert near == pytest.approx(2.0 ** np.exp(-1.0))
    assert distant == pytest.approx(1.0, abs=1e-3)


def test_a_column_that_never_varied_has_one_node() -> None:
    at = {"devices": np.full(14, 8.0), "bytes": TOKENS}
    grid = fit_grid(GridSpec(("devices", "bytes"), (4, 14), 1e-4), at, 1.0 + TOKENS / 16384.0)
    assert grid.per_mille.shape == (1, 14)
    assert grid.ratio({"devices": np.array([2.0]), "bytes": np.array([8192.0])}) == pytest.approx(
        [1.5], rel=0.01
    )


def test_products_of_columns_are_coordinates() -> None:
    at = {"m": np.array([4.0]), "n": np.array([6.0]), "k": np.array([3.0])}
    assert coordinate(at, "m*n/k").tolist() == [8.0]
    assert coordinate(at, " m * n ").tolist() == [24.0]
    with pytest.raises(KeyError):
        coordinate(at, "m*q")


def test_grids_multiply() -> None:
    at = shapes()
    ratio = (1.0 + 0.5 * (at["m"] * at["n"] > 1e6)) * 1.2
    specs = [GridSpec(("m", "n"), (3, 2)), GridSpec(("m*n",), (12,))]
    correction = fit_correction(specs, at, ratio)
    assert isinstance(correction, Grids)
    assert len(correction) == sum(len(part) for part in correction.parts)
    alone = fit_correction(specs[0], at, ratio)
    assert alone is not None
    error = np.abs(correction.ratio(at) / ratio - 1.0).mean()
    assert error < np.abs(alone.ratio(at) / ratio - 1.0).mean()
    assert fit_correction(None, at, ratio) is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0])
def test_a_ratio_that_is_none_is_refused(bad: float) -> None:
    ratio = np.ones(56)
    ratio[3] = bad
    with pytest.raises(CurveError, match="positive, finite ratios"):
        fit_grid(GridSpec(("m", "n"), (3, 3)), shapes(), ratio)


def test_no_rows_are_refused() -> None:
    empty = {"m": np.empty(0)}
    with pytest.raises(CurveError, match="positive, finite"):
        fit_grid(GridSpec(("m",), (3,)), empty, np.empty(0))


@given(
    st.lists(
        st.tuples(st.integers(0, 10**6), st.integers(0, 10**9), st.floats(0.05, 20.0)),
        min_size=1,
        max_size=30,
    )
)
def test_a_fitted_grid_stays_within_its_timings(rows: list[tuple[int, int, float]]) -> None:
    at = {
        "a": np.array([float(row[0]) for row in rows]),
        "b": np.array([float(r[1]) for r in rows]),
    }
    ratio = np.array([row[2] for row in rows])
    grid = fit_grid(GridSpec(("a", "b"), (4, 4)), at, ratio)
    found = grid.ratio(at)
    assert np.all(np.isfinite(found))
    assert np.all(found > 0)
    again = fit_grid(GridSpec(("a", "b"), (4, 4)), at, ratio)
    assert np.array_equal(grid.per_mille, again.per_mille)
