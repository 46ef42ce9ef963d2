import subprocess
import sys

import pytest

import planner.curves


def test_memory_plan_needs_no_array_library() -> None:
    program = (
        "import sys, planner.curves, planner.curves.memory\n"
        "from planner.curves import Dtypes, Parallelism, memory_plan\n"
        "print(*sorted({'numpy', 'numba', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_every_public_name_resolves() -> None:
    for name in planner.curves.__all__:
        assert getattr(planner.curves, name) is not None
        assert name in dir(planner.curves)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        planner.curves.nothing  # noqa: B018
