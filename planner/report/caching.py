"""What a report says of prefix caches and their tiers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.results.columns import LOADED_COLUMNS
from planner.results.formatting import count, share
from planner.results.result import Result


def cache_sentence(row: Mapping[Any, Any]) -> str:
    """Return how much of a pool's prompts was not computed; empty where nothing is cached.

    Args:
        row: of the table of pools.
    """
    if not row["prefix_cache"]:
        return ""
    found = f"{share(row['prefix_hit_rate'])} of prompt tokens cached"
    prompts = row["prefill_tokens"] + row["cached_tokens"]
    prompts += sum(row[column] for column in LOADED_COLUMNS)
    tiers = row["kv_tiers"].split(", ") if row["kv_tiers"] else []
    parts = [
        f"{share(row[column] / prompts if prompts else None)} from {tier}"
        for tier, column in zip(tiers, LOADED_COLUMNS, strict=False)
    ]
    if row["swaps"]:
        parts.append(f"{count(row['swaps'])} swaps")
    return ", ".join([found, *parts])


def caches(result: Result) -> bool:
    """Tell whether any pool of a result shares the KV cache of prompts that begin alike."""
    return bool(result.frames.pools["prefix_cache"].any())
