"""What tests of scenarios stand on."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.catalog import Catalog, load_catalog


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder of the test's own: errors then name files without one."""
    monkeypatch.chdir(tmp_path)
