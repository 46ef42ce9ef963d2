"""Where compiled kernels are kept, and what the compile flags do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from planner.kernel import jit

ROOT = Path(jit.__file__).parents[2]

READ_BEYOND_THE_END = """
import numpy as np
from planner.kernel.jit import is_jit, kernel

@kernel
def read(array, index):
    return array[index]

print(is_jit(), read(np.arange(3), 7))
"""


def test_the_folder_is_chosen_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PLANNER_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert jit.cache_folder().parent == tmp_path / "home" / ".cache" / "planner"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert jit.cache_folder().parent == tmp_path / "xdg" / "planner"
    monkeypatch.setenv("PLANNER_CACHE_DIR", str(tmp_path / "own"))
    assert jit.cache_folder().parent == tmp_path / "own"


def test_the_folder_is_named_by_the_sources_and_their_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = [jit.cache_folder().name]
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "jit.py"))
    for text in ("a = 1", "a = 2"):
        (tmp_path / "heap.py").write_text(text)
        names.append(jit.cache_folder().name)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "heap.py").write_text("a = 2")
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "elsewhere" / "jit.py"))
    names.append(jit.cache_folder().name)
    assert len(set(names)) == 4


def test_a_folder_that_cannot_be_written_is_not_used(tmp_path: Path) -> None:
    assert jit._usable(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    (tmp_path / "file").write_text("")
    assert not jit._usable(tmp_path / "file" / "folder")


def test_compiled_kernels_are_recognised(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(jit, "CACHE_FOLDER", tmp_path)
    monkeypatch.setattr(jit, "_CACHE", True)
    assert not jit.is_compiled()
    (tmp_path / "kernel_0123").mkdir()
    (tmp_path / "kernel_0123" / "advance.py311.nbi").write_bytes(b"")
    assert jit.is_compiled()
    monkeypatch.setattr(jit, "_CACHE", False)
    assert not jit.is_compiled()


def test_the_switch_of_numba_is_seen() -> None:
    assert jit.is_jit() == (os.environ.get("NUMBA_DISABLE_JIT", "0") == "0")


def test_numbas_own_cache_folder_is_left_alone() -> None:
    before = jit.NUMBA.config.CACHE_DIR
    jit.kernel(lambda number: number)
    assert before == jit.NUMBA.config.CACHE_DIR


@pytest.mark.parametrize("switch", ["NUMBA_BOUNDSCHECK", "NUMBA_DISABLE_JIT"])
def test_an_index_beyond_the_end_is_found_in_both_checking_lanes(
    switch: str, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(READ_BEYOND_THE_END)
    lane = {"NUMBA_BOUNDSCHECK": "0", "NUMBA_DISABLE_JIT": "0", switch: "1"}
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, **lane, "PYTHONPATH": str(ROOT), "PLANNER_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 1
    assert "IndexError" in done.stderr
