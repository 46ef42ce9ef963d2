"""Numbers that look random, from numbers that do not."""

from __future__ import annotations

from typing import Final

from planner.kernel.jit import kernel

_MASK: Final = 0xFFFFFFFF


@kernel
def mixed(value: int) -> int:
    """Return 32 well-mixed bits of a number: two rounds of multiplication and shift."""
    bits = value & _MASK
    for _ in range(2):
        bits = (((bits >> 16) ^ bits) * 0x45D9F3B) & _MASK
    return (bits >> 16) ^ bits
