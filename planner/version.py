"""The version of planner, written into every result."""

from typing import Final

VERSION: Final = "0.1.0"
