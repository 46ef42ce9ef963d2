"""The names that a notebook sees."""

from __future__ import annotations

import planner

PROMISED = {"Result", "load_scenario", "run", "size"}


def test_promised_names_are_public() -> None:
    assert set(planner.__all__) >= PROMISED


def test_every_public_name_can_be_imported() -> None:
    for name in planner.__all__:
        assert getattr(planner, name) is not None, name


def test_public_names_are_listed_once_and_shown_by_dir() -> None:
    assert len(planner.__all__) == len(set(planner.__all__))
    assert set(planner.__all__) <= set(dir(planner))


def test_public_names_are_documented() -> None:
    bare = [
        name
        for name in planner.__all__
        if callable(getattr(planner, name)) and not getattr(planner, name).__doc__
    ]
    assert not bare, f"public names without a docstring: {bare}"


def test_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(planner, "no_such_name")
