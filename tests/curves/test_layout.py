import pytest

from planner.curves import Dtypes, Parallelism
from planner.curves.layout import sixteen_bit
from planner.errors import CatalogError
from tests.curves.shapes import A100, B200, H100, chip


def test_devices_of_a_replica() -> None:
    parallelism = Parallelism(tensor=4, pipeline=2, data=2, expert=8)
    assert (parallelism.devices, parallelism.expert_devices) == (16, 8)


def test_impossible_parallelism_is_refused() -> None:
    with pytest.raises(ValueError, match="tensor parallelism is 0"):
        Parallelism(tensor=0)
    with pytest.raises(ValueError, match="expert parallelism 3 does not divide tensor · data = 8"):
        Parallelism(tensor=8, expert=3)


@pytest.mark.parametrize(
    ("dtypes", "on", "expected"),
    [
        (Dtypes("bf16"), H100, "bf16"),
        (Dtypes("fp8"), H100, "fp8"),
        (Dtypes("fp8"), A100, "bf16"),
        (Dtypes("int4"), H100, "bf16"),
        (Dtypes("fp4"), B200, "fp4"),
        (Dtypes("fp4"), H100, "bf16"),
        (Dtypes("fp32"), H100, "bf16"),
        (Dtypes("fp4", "fp8"), B200, "fp8"),
        (Dtypes("fp8", "bf16"), H100, "bf16"),
    ],
)
def test_arithmetic_format(dtypes: Dtypes, on: object, expected: str) -> None:
    assert dtypes.arithmetic(on) == expected  # type: ignore[arg-type]


def test_missing_arithmetic_names_what_the_chip_has() -> None:
    with pytest.raises(
        CatalogError, match="a100-sxm has no fp8 arithmetic; it has bf16, fp16, int8"
    ):
        Dtypes("fp8", "fp8").arithmetic(A100)
    integer = chip("integer", {"int8": 100}, 1e9, 1e9, None)
    with pytest.raises(
        CatalogError, match="no bf16, fp16 or fp8 peak in the catalogue; it has int8"
    ):
        sixteen_bit(integer)


def test_unknown_dtype_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown kv dtype 'fp6'; known are fp32, bf16"):
        Dtypes(kv="fp6")
