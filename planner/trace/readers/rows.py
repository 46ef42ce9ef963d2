"""From the columns of a file to checked rows of the trace table."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from planner.errors import TraceError
from planner.trace.table import MAXIMUM_TOKENS, HashIds, RequestBlock, Rows, new_rows

_MEND: Final = "correct the row, or delete it"
SHOWN_FAULTS: Final = 10
LATEST_ARRIVAL_S: Final = 1e9
"""31 years: an arrival beyond is a date or a count of milliseconds."""
MAXIMUM_TURNS: Final = 10_000
MAXIMUM_CLASSES: Final = 10_000
NO_ID: Final = -1
_SMALL_NUMBER: Final = re.compile(r"-1|[0-9]{1,18}")
"""Text that is an id as it stands; -1 is no id."""

Columns = Mapping[str, pa.Array]
"""Arrow arrays of one length by the names of the trace table; a missing value is null."""
_Mask = NDArray[np.bool_]
_Floats = NDArray[np.float64]


class Faults:
    """Faults of a file, reported together: the first ten, and how many there are."""

    def __init__(self, path: Path, unit: str = "line") -> None:
        self.path = path
        self.unit = unit
        self._found: list[tuple[int, str]] = []
        self._unshown = 0

    def add(self, number: int, message: str) -> None:
        """Note a fault at line (or row) `number`."""
        self._found.append((number, message))

    def add_unshown(self, count: int) -> None:
        """Count faults that come after ten of their kind."""
        self._unshown += count

    def raise_if_any(self, last_read: int) -> None:
        """Raise all faults noted so far, in file order.

        Args:
            last_read: line (or row) up to which the file has been read.
        """
        if self._found:
            raise self.error(last_read)

    def error(self, last_read: int) -> TraceError:
        """Return the error that names the faults noted so far."""
        places = sorted(self._found, key=lambda fault: fault[0])
        mark = "" if self.unit == "line" else f"{self.unit} "
        shown = [f"{self.path}:{mark}{number}: {text}" for number, text in places[:SHOWN_FAULTS]]
        more = len(places) + self._unshown - len(shown)
        if more:
            shown.append(f"… and {more:,} more faults up to {self.unit} {last_read:,}")
        return TraceError("\n".join(shown))


class ClassNames:
    """The names behind the class column of a source.

    Args:
        given: names that fix the indices; if empty, names are collected as they appear.
    """

    def __init__(self, given: tuple[str, ...]) -> None:
        self.names = list(given)
        self.unmatched: dict[str, int] = {}
        self._open = not given

    def indices(self, names: pa.Array) -> NDArray[np.int32]:
        """Return the class index of each row, −1 where the name is missing or not a given one.

        Raises:
            TraceError: more than 10,000 names.
        """
        encoded = pc.dictionary_encode(names)
        found = [str(name) for name in encoded.dictionary.to_pylist()]
        codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
        counts = np.bincount(codes[codes >= 0], minlength=len(found))
        lookup = np.array(
            [*(self._index(n, int(c)) for n, c in zip(found, counts, strict=True)), -1]
        )
        indices: NDArray[np.int32] = lookup[codes].astype(np.int32)
        return indices

    def _index(self, name: str, rows: int) -> int:
        if self._open and name not in self.names:
            if len(self.names) == MAXIMUM_CLASSES:
                raise TraceError(
                    f"more than {MAXIMUM_CLASSES:,} class names, the last one {name!r}; does the "
                    f"class column hold ids?"
                )
            self.names.append(name)
        if name in self.names:
            return self.names.index(name)
        self.unmatched[name] = self.unmatched.get(name, 0) + rows
        return -1


class RowBuilder:
    """Turns columns into checked rows, chunk by chunk, carrying what must hold across chunks.

    Args:
        faults: where faults are noted.
        classes: names behind the class column.
        titles: what the file calls a column, for messages; absent: the name of the trace table.
        ordered: arrivals must not fall; off when the source is going to be sorted.
    """

    def __init__(
        self, faults: Faults, classes: ClassNames, titles: Mapping[str, str], *, ordered: bool
    ) -> None:
        self._faults = faults
        self._classes = classes
        self._titles = titles
        self._ordered = ordered
        self._last_arrival_s = -np.inf
        self._last_session = -1
        self._last_turn = -1

    def note(self, locate: Callable[[int], int]) -> _Note:
        """Return a note pad for faults found before `build`, which raises them."""
        return _Note(self._faults, locate, self._titles)

    def build(self, columns: Columns, locate: Callable[[int], int], last_read: int) -> RequestBlock:
        """Return the rows of one chunk.

        Args:
            columns: at least arrival_s, input_tokens and output_tokens.
            locate: row of the chunk → line (or row) of the file; called for faults only.
            last_read: last line (or row) of the chunk.

        Raises:
            TraceError: faults, each with its place.
        """
        rows = new_rows(len(columns["input_tokens"]))
        note = self.note(locate)
        for name in ("input_tokens", "output_tokens", "reasoning_tokens", "turn"):
            if name in columns:
                rows[name] = self._whole(note, name, columns[name])
        note.mask(
            rows["reasoning_tokens"] > rows["output_tokens"],
            "reasoning_tokens",
            rows["reasoning_tokens"],
            "exceeds the output tokens; output_tokens include reasoning",
        )
        for name in ("session_id", "visitor_id"):
            if name in columns:
                rows[name] = integer_ids(columns[name])
                note.mask(rows[name] < NO_ID, name, rows[name], "is a negative id")
        if "class" in columns:
            rows["class"] = self._classes.indices(columns["class"])
        later = np.zeros(len(rows), dtype=bool)
        if "think_s" in columns:
            think_s = to_floats(note, "think_s", columns["think_s"])
            later = ~np.isnan(think_s)
            bad = later & ~((think_s >= 0) & (think_s < LATEST_ARRIVAL_S))
            note.mask(bad, "think_s", think_s, "must be a pause of at least 0 seconds")
            rows["think_s"] = think_s
        self._arrivals(note, rows, later, columns)
        self._chains(note, rows, later, count_turns="turn" not in columns)
        hash_ids = ragged_ids(note, columns["hash_ids"]) if "hash_ids" in columns else None
        self._faults.raise_if_any(last_read)
        return RequestBlock(rows, hash_ids)

    def _whole(self, note: _Note, name: str, column: pa.Array) -> NDArray[np.int64]:
        values = to_floats(note, name, column)
        if name in ("input_tokens", "output_tokens"):
            note.mask(np.isnan(values), name, values, f"is missing or not a number; {_MEND}")
        values = np.nan_to_num(values, nan=0.0, posinf=np.inf, neginf=-np.inf)
        note.mask(values < 0, name, values, f"is negative; {_MEND}")
        above = f"is above the limit of {MAXIMUM_TOKENS:,}; {_MEND}"
        note.mask(values > MAXIMUM_TOKENS, name, values, above)
        inside = (values >= 0) & (values <= MAXIMUM_TOKENS)
        broken = inside & (values != np.floor(values))
        note.mask(broken, name, values, f"is not a whole number; {_MEND}")
        return np.where(inside, values, 0).astype(np.int64)

    def _arrivals(self, note: _Note, rows: Rows, later: _Mask, columns: Columns) -> None:
        arrival_s = to_floats(note, "arrival_s", columns["arrival_s"])
        rows["arrival_s"] = np.where(later, np.nan, arrival_s)
        name = "arrival_s"
        note.mask(
            later & ~np.isnan(arrival_s),
            name,
            arrival_s,
            "stands beside think_s; leave it empty for a later turn, or leave think_s empty",
        )
        own = ~later
        missing = own & np.isnan(arrival_s)
        note.mask(missing, name, arrival_s, f"is missing or not a number; {_MEND}")
        if self._ordered:
            note.mask(own & (arrival_s < 0), name, arrival_s, f"is negative; {_MEND}")
        note.mask(
            own & (arrival_s > LATEST_ARRIVAL_S),
            name,
            arrival_s,
            "is beyond 31 years; give seconds since the start of the trace",
        )
        index = np.flatnonzero(own & np.isfinite(arrival_s))
        if not self._ordered or not len(index):
            return
        given = arrival_s[index]
        before = np.maximum.accumulate(np.append(self._last_arrival_s, given))[:-1]
        falls = np.zeros(len(rows), dtype=bool)
        falls[index] = given < before
        note.mask(
            falls,
            name,
            arrival_s,
            "is earlier than a row before it; sort the file first: "
            "`planner trace import --sort FILE OUT`",
        )
        self._last_arrival_s = max(self._last_arrival_s, float(given.max()))

    def _chains(self, note: _Note, rows: Rows, later: _Mask, *, count_turns: bool) -> None:
        """Check that later turns follow their session, and number them."""
        if not len(rows):
            return
        session = rows["session_id"]
        before = np.append(self._last_session, session[:-1])
        orphan = later & ((session < 0) | (session != before))
        note.mask(
            orphan,
            "session_id",
            session,
            "has a later turn (with think_s) that does not stand directly behind the turn before",
        )
        index = np.arange(len(rows))
        start = np.maximum.accumulate(np.where(later, -1 - self._last_turn, index))
        turn = index - start
        note.mask(turn >= MAXIMUM_TURNS, "session_id", session, "has more than 10,000 turns")
        if count_turns:
            rows["turn"] = turn
        self._last_session, self._last_turn = int(session[-1]), int(turn[-1])


class _Note:
    """Notes the rows of a mask as faults."""

    def __init__(
        self, faults: Faults, locate: Callable[[int], int], titles: Mapping[str, str]
    ) -> None:
        self._faults = faults
        self._locate = locate
        self._titles = titles

    def mask(self, bad: _Mask, name: str, values: NDArray[Any], message: str) -> None:
        found = np.flatnonzero(bad)
        self._faults.add_unshown(max(0, len(found) - SHOWN_FAULTS))
        for row in found[:SHOWN_FAULTS].tolist():
            value = float(values[row])
            self.row(row, name, message if np.isnan(value) else f"{value:.15g} {message}")

    def row(self, row: int, name: str, message: str) -> None:
        self._faults.add(self._locate(row), f"{self._titles.get(name, name)}: {message}")


def to_floats(note: _Note, name: str, column: pa.Array) -> _Floats:
    """Return a column as floats, NaN where missing; text that is no number is noted."""
    try:
        numbers = pc.cast(column, pa.float64())
    except pa.ArrowInvalid:
        numbers = pa.array(_parse_each(note, name, column), pa.float64())
    return np.array(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)


def _parse_each(note: _Note, name: str, column: pa.Array) -> list[float | None]:
    values: list[float | None] = []
    for row, text in enumerate(column.to_pylist()):
        try:
            values.append(None if text is None else _number(str(text)))
        except ValueError:
            note.row(row, name, f"{str(text)[:40]!r} is not a number; {_MEND}")
            values.append(0.0)
    return values


def _number(text: str) -> float:
    """Return a number as every other tool reads it: Python alone takes `1_000` for one."""
    if "_" in text:
        raise ValueError(text)
    return float(text)


def integer_ids(column: pa.Array) -> NDArray[np.int64]:
    """Return ids as integers: numbers as they are, text as a 63-bit hash, missing as −1."""
    if pa.types.is_floating(column.type):
        column = pc.cast(column, pa.int64(), safe=False)
    if pa.types.is_integer(column.type):
        numbers = pc.fill_null(pc.cast(column, pa.int64()), -1)
        return np.array(numbers.to_numpy(zero_copy_only=False), dtype=np.int64)
    encoded = pc.dictionary_encode(pc.cast(column, pa.string()))
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    names = encoded.dictionary.to_pylist()
    ids: NDArray[np.int64] = np.array([*_name_ids(names), -1], dtype=np.int64)[codes]
    return ids


def _name_ids(names: list[str]) -> list[int]:
    from pandas.util import hash_array

    hashed = hash_array(np.array(names, dtype=object), categorize=False).tolist()
    return [
        int(name) if _SMALL_NUMBER.fullmatch(name) else code >> 1
        for name, code in zip(names, hashed, strict=True)
    ]


def ragged_ids(note: _Note, column: pa.Array) -> HashIds:
    """Return lists (or text of numbers between spaces) as ragged ids; missing lists are empty."""
    try:
        if not pa.types.is_list(column.type) and not pa.types.is_large_list(column.type):
            column = pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
            column = pc.utf8_split_whitespace(column)
        values = pc.fill_null(pc.cast(pc.list_flatten(column), pa.int64()), NO_ID)
    except pa.ArrowInvalid:
        for row, cell in enumerate(column.to_pylist()):
            if not all(_SMALL_NUMBER.fullmatch(str(part)) for part in cell or ()):
                note.row(row, "hash_ids", "must be whole numbers, between spaces or as a list")
        return HashIds(np.zeros(len(column) + 1, np.int64), np.zeros(0, np.int64))
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    return HashIds(offsets, np.array(values.to_numpy(zero_copy_only=False), dtype=np.int64))
