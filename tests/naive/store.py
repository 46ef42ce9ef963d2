"""What a replica or a tier keeps of segments: their first so many blocks, in plain lists."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import count
from math import inf

_unknown_keys = count()


@dataclass(frozen=True)
class Segment:
    """A part of a prompt that others may begin with as well, in blocks from its start."""

    key: Hashable
    first: int
    end: float
    """Infinity: the context of a session."""


@dataclass
class Store:
    """The first so many blocks of segments, by key."""

    blocks: dict[Hashable, int] = field(default_factory=dict)
    users: dict[Hashable, int] = field(default_factory=dict)
    idle: list[Hashable] = field(default_factory=list)
    """Out of use, the longest first."""
    pinned: int = 0
    """Blocks that were swapped out, which no segment has."""

    @property
    def idle_blocks(self) -> int:
        return sum(self.blocks[key] for key in self.idle)

    @property
    def used_blocks(self) -> int:
        return sum(blocks for key, blocks in self.blocks.items() if key in self.users)

    def shrink(self, limit: int) -> None:
        """Evict block by block until at most `limit` are out of use or pinned."""
        while self.idle and self.idle_blocks + self.pinned > limit:
            key = self.idle[0]
            self.blocks[key] -= 1
            if not self.blocks[key]:
                self.drop(key)

    def drop(self, key: Hashable) -> None:
        self.idle.remove(key)
        del self.blocks[key]

    def attach(self, key: Hashable, blocks: int) -> None:
        """Use a segment of which `blocks` are needed, from now on."""
        if key in self.users:
            self.users[key] += 1
            self.blocks[key] = max(self.blocks[key], blocks)
        else:
            if key in self.idle:
                self.idle.remove(key)
            self.users[key] = 1
            self.blocks[key] = blocks

    def detach(self, key: Hashable, keep: float = inf) -> None:
        """Use it no more; the last user may keep less than all of it."""
        self.users[key] -= 1
        if not self.users[key]:
            del self.users[key]
            self.put(key, int(min(self.blocks[key], keep)))

    def put(self, key: Hashable, blocks: int) -> None:
        """Keep so many blocks of a segment that nobody uses, as the latest."""
        if key in self.idle:
            self.drop(key)
        self.blocks.pop(key, None)
        if blocks > 0:
            self.blocks[key] = blocks
            self.idle.append(key)

    def put_unknown(self, blocks: int) -> None:
        self.put(("unknown", next(_unknown_keys)), blocks)

    def found(self, segments: Sequence[Segment], shared: int, most: int) -> int:
        """Blocks of a prompt that are kept, from its start on."""
        found = 0
        for segment in segments:
            kept = self.blocks.get(segment.key, 0)
            if segment.end == inf and segment.first + kept > shared:
                break  # written anew
            found = segment.first + kept
            if found < segment.end:
                break
        return min(found, most)
