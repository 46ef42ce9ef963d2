"""What is fitted and what is scored does not depend on the machine or the order of the rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from planner.validation.split import by_group, share, subsample

NAMES = st.lists(st.text(max_size=6), max_size=60, unique=True)


@given(NAMES, st.integers(1, 30))
def test_a_subsample_is_the_same_names_in_any_order(names: list[str], most: int) -> None:
    chosen = {names[at] for at in subsample(range(len(names)), lambda at: names[at], most)}
    backwards = names[::-1]
    again = {backwards[at] for at in subsample(range(len(names)), lambda at: backwards[at], most)}
    assert chosen == again
    assert len(chosen) == min(most, len(names))


@given(NAMES, st.sampled_from([0.1, 0.25, 0.5]))
def test_fitted_and_scored_points_do_not_overlap(names: list[str], part: float) -> None:
    fitted, rest = share(range(len(names)), lambda at: names[at], lambda at: at, part)
    assert not set(fitted) & set(rest)
    assert set(fitted) | set(rest) == set(range(len(names)))
    if fitted:
        assert rest
        assert len(fitted) <= max(2, round(part * len(names)))


@given(st.integers(8, 60))
def test_light_and_heavy_loads_are_both_fitted(count: int) -> None:
    fitted, _ = share(range(count), str, lambda at: at, 0.25)
    assert fitted[0] < count / 2 <= fitted[-1]


def test_a_share_does_not_depend_on_the_order_of_the_rows() -> None:
    names = [f"point {number}" for number in range(20)]
    loads = {name: number % 5 for number, name in enumerate(names)}
    chosen = []
    for rows in (names, names[::-1]):
        fitted, _ = share(range(20), rows.__getitem__, lambda at: loads[rows[at]], 0.25)  # noqa: B023
        chosen.append({rows[at] for at in fitted})
    assert chosen[0] == chosen[1]


def test_too_few_points_are_only_scored() -> None:
    assert share([4, 2], str, lambda at: at, 0.25) == ([], [2, 4])
    assert share([], str, lambda at: at, 0.25) == ([], [])


def test_groups_hold_positions() -> None:
    assert by_group(["b", "a", "b"], str) == {"a": [1], "b": [0, 2]}
