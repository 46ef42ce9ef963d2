"""The one `kernel` decorator, and where compiled kernels are kept.

Numba's own cache notices a change of the file that holds a function but not of the files it calls,
and then serves stale machine code. Here the cache folder is named by a hash of every kernel source
and its path (by which Numba looks code up), of Python and Numba, and of the bounds-check switch,
so any change compiles anew.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar, cast

import numba

import planner.kernel.pointer  # noqa: F401  how a `World` comes in

P = ParamSpec("P")
R = TypeVar("R")

NUMBA: Final[Any] = numba  # its type stubs know neither its settings nor the flag `_nrt`


def cache_folder() -> Path:
    """Return the folder of the compiled kernels of these sources.

    It lies in `$PLANNER_CACHE_DIR`, else in `$XDG_CACHE_HOME/planner`, else in `~/.cache/planner`.
    """
    folder = Path(__file__).resolve().parent
    sources = hashlib.sha256(os.fsencode(folder))
    for source in sorted(folder.glob("*.py")):
        sources.update(source.name.encode() + b"\0" + source.read_bytes())
    python = sys.implementation.cache_tag
    sources.update(f"{python} {numba.__version__} {NUMBA.config.BOUNDSCHECK}".encode())
    chosen = os.environ.get("PLANNER_CACHE_DIR")
    home = os.environ.get("XDG_CACHE_HOME") or Path("~").expanduser() / ".cache"
    root = Path(chosen) if chosen else Path(home) / "planner"
    return root / f"kernel-{sources.hexdigest()[:16]}"


def _usable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


CACHE_FOLDER: Final = cache_folder()
_CACHE: Final = _usable(CACHE_FOLDER)


def is_jit() -> bool:
    """Tell whether kernels are compiled at all; `NUMBA_DISABLE_JIT=1` keeps them plain Python."""
    return not NUMBA.config.DISABLE_JIT


def is_compiled() -> bool:
    """Tell whether an earlier run has left compiled kernels of these sources."""
    return _CACHE and any(CACHE_FOLDER.rglob("*.nbi"))


def _compiled(function: Callable[P, R], *, inlined: bool) -> Callable[P, R]:
    """Compile `function` with the flags that every kernel shares.

    - No fast-math, so compiled and plain Python agree to the last bit.
    - Nothing in a kernel allocates, so reference counting is off: counting the arrays of the
      `World` took 80% of the run time. The caller holds every array for the duration of a call.
    - The global interpreter lock is released.
    - With `NUMBA_DISABLE_JIT=1` the function stays plain Python.
    """
    before = NUMBA.config.CACHE_DIR
    NUMBA.config.CACHE_DIR = str(CACHE_FOLDER)
    try:
        compiled = NUMBA.njit(
            cache=_CACHE,
            nogil=True,
            error_model="numpy",
            forceinline=inlined,
            no_cfunc_wrapper=True,  # nothing calls a kernel from C
            _nrt=False,
        )(function)
    finally:
        NUMBA.config.CACHE_DIR = before
    return cast(Callable[P, R], compiled)


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function into each of its callers: what stands on the path of every request."""
    return _compiled(function, inlined=True)


def outlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function of its own: what few requests reach, or none in most scenarios.

    It is compiled once, however many call it, and the common path stays small enough for LLVM to
    keep in registers what it needs.
    """
    return _compiled(function, inlined=False)
