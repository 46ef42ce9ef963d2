"""What a report says of pools that draft."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from planner.results.result import Result


def acceptance_sentence(row: Mapping[Any, Any]) -> str:
    """Return how many tokens a step with drafts emits; empty where nothing is drafted.

    Args:
        row: of the table of pools.
    """
    length = row["acceptance_length"]
    return "" if math.isnan(length) else f"{length:.2f} tokens per draft step"


def drafts(result: Result) -> bool:
    """Tell whether any pool of a result drafts."""
    return bool(result.frames.pools["acceptance_length"].notna().any())
