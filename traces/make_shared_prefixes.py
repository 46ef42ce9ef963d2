"""Writes `shared-prefixes-10min.csv`: questions about documents, with ids of prompt blocks.

    python traces/make_shared_prefixes.py traces/shared-prefixes-10min.csv

Every prompt is a system prompt of two blocks, a document of 4 to 16 blocks (the n-th most popular
of 60 in proportion to 1/n), and a question of its own, which ends within a block. All of it is
drawn here: no recorded request is in it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from planner.trace import RequestBlock
from planner.trace.table import HASH_BLOCK_TOKENS, HashIds, new_rows
from planner.trace.writers import write_trace

DURATION_S = 600.0
RATE_RPS = 1.2
DOCUMENTS = 60
SYSTEM_BLOCKS = 2


def requests(seed: int) -> RequestBlock:
    """Return the requests of the trace.

    Args:
        seed: of all draws.
    """
    rng = np.random.default_rng(seed)
    arrival_s = np.cumsum(rng.exponential(1.0 / RATE_RPS, int(2 * DURATION_S * RATE_RPS)))
    arrival_s = arrival_s[arrival_s < DURATION_S]
    count = len(arrival_s)
    pages = rng.integers(4, 17, DOCUMENTS)
    first = SYSTEM_BLOCKS + np.cumsum(pages) - pages
    popularity = 1.0 / np.arange(1, DOCUMENTS + 1)
    chosen = rng.choice(DOCUMENTS, count, p=popularity / popularity.sum())
    questions = rng.integers(20, 900, count)
    own = -(-questions // HASH_BLOCK_TOKENS)
    last = SYSTEM_BLOCKS + int(pages.sum())
    ids = []
    for document, blocks in zip(chosen.tolist(), own.tolist(), strict=True):
        about = range(first[document], first[document] + pages[document])
        ids.append([*range(SYSTEM_BLOCKS), *about, *range(last, last + blocks)])
        last += blocks
    rows = new_rows(count)
    rows["arrival_s"] = np.round(arrival_s, 3)
    rows["input_tokens"] = (SYSTEM_BLOCKS + pages[chosen]) * HASH_BLOCK_TOKENS + questions
    rows["output_tokens"] = np.maximum(1, np.round(rng.lognormal(np.log(120.0), 0.7, count)))
    rows["class"] = 0
    offsets = np.concatenate(([0], np.cumsum([len(each) for each in ids])))
    return RequestBlock(rows, HashIds(offsets, np.concatenate([np.array(each) for each in ids])))


if __name__ == "__main__":
    write_trace(Path(sys.argv[1]), [requests(seed=5)], ["documents"], overwrite=True)
