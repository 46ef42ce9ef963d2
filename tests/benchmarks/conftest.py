"""How benchmarks speak: past pytest's capture, so that the figures show without `-s`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Say = Callable[..., None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Return a `print` that shows at once."""

    def print_now(*words: object) -> None:
        with capsys.disabled():
            print("\n ", *words, end="", flush=True)

    return print_now
