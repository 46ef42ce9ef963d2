"""Text files as chunks of whole lines: plain or gzip, checked to be UTF-8, of any size."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Final

from planner.errors import TraceError

CHUNK_BYTES: Final = 8 << 20
LONGEST_LINE_BYTES: Final = 4 << 20
_GZIP_MAGIC: Final = b"\x1f\x8b"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class LineChunk:
    """Consecutive whole lines of a file.

    Args:
        path: the file.
        first_line: number of the first line, from 1.
        data: the lines as UTF-8, the last one with its newline unless the file ends without.
    """

    path: Path
    first_line: int
    data: bytes

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield (line number, text) of the lines that are not empty: row i is the i-th of these."""
        for number, line in enumerate(self.data.decode().split("\n"), self.first_line):
            if text := line.removesuffix("\r"):
                yield number, text

    @cached_property
    def _numbers(self) -> list[int]:
        return [number for number, _ in self.lines()]

    @property
    def last_line(self) -> int:
        """Number of the last line."""
        return self.first_line + self.data.rstrip(b"\r\n").count(b"\n")

    def line_of(self, row: int) -> int:
        """Return the line number of row `row`."""
        return self._numbers[row]

    def split_first(self) -> tuple[int, str, LineChunk]:
        """Return number and text of the first line that is not empty, and the lines after it."""
        number, text = next(self.lines())
        skipped = self.data.split(b"\n", number - self.first_line + 1)
        rest = skipped[-1] if len(skipped) > number - self.first_line + 1 else b""
        return number, text, LineChunk(self.path, number + 1, rest)


def open_binary(path: Path) -> io.BufferedReader:
    """Open a file for reading.

    Raises:
        TraceError: it is not there, is not a file, or may not be read.
    """
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise TraceError(f"{path}: no such trace; check the path") from None
    except IsADirectoryError:
        raise TraceError(
            f"{path}: is a folder; only ServeGen client files are read as a folder"
        ) from None
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror}") from None


def line_chunks(path: Path, chunk_bytes: int = CHUNK_BYTES) -> Iterator[LineChunk]:
    """Yield the file in chunks that have at least one line that is not empty.

    Args:
        path: plain text or gzip, told apart by content.
        chunk_bytes: bytes read at a time; a chunk is longer by at most one line.

    Raises:
        TraceError: the file is missing, empty, a damaged gzip stream or not UTF-8, or has a line
            above 4 MiB; with the line where it happens.
    """
    with open_binary(path) as raw:
        file: io.BufferedIOBase = raw
        if raw.peek(2)[:2] == _GZIP_MAGIC:
            file = gzip.GzipFile(fileobj=raw)
        pieces = chain(_pieces(path, file, chunk_bytes), (b"",))
        found, line, rest = False, 1, b""
        for piece in pieces:
            whole, rest = _split_last_line(rest + piece, ended=not piece)
            if len(rest) > LONGEST_LINE_BYTES:
                line += whole.count(b"\n")
                raise TraceError(f"{path}:{line}: line of more than 4 MiB; is this a text trace?")
            if whole.strip():
                _check_utf8(path, line, whole)
                yield LineChunk(path, line, whole)
                found = True
            line += whole.count(b"\n")
    if not found:
        raise TraceError(f"{path}: is empty; a trace needs at least one request")


def _pieces(path: Path, file: io.BufferedIOBase, chunk_bytes: int) -> Iterator[bytes]:
    """Yield the bytes of `file`; a damaged gzip stream is reported with the line reached."""
    line = 1
    first = True
    while True:
        parts = list[bytes]()
        wanted = chunk_bytes
        try:
            while wanted and (part := file.read1(wanted)):
                parts.append(part)
                line += part.count(b"\n")
                wanted -= len(part)
        except EOFError:
            raise TraceError(
                f"{path}: the gzip stream ends too early (after about line {line}); the file is "
                f"truncated, fetch or write it again"
            ) from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise TraceError(
                f"{path}: damaged gzip stream (after about line {line}): {error}; fetch or write "
                f"the file again"
            ) from None
        if not (piece := b"".join(parts)):
            return
        yield piece.removeprefix(_BYTE_ORDER_MARK) if first else piece
        first = False


def _split_last_line(data: bytes, *, ended: bool) -> tuple[bytes, bytes]:
    """Split off an unfinished last line."""
    if ended:
        return data, b""
    cut = data.rfind(b"\n") + 1
    return data[:cut], data[cut:]


def _check_utf8(path: Path, first_line: int, data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = first_line + data.count(b"\n", 0, error.start)
        raise TraceError(
            f"{path}:{line}: byte 0x{data[error.start]:02x} is not UTF-8; convert the file, for "
            f"example with `iconv -f latin1 -t utf-8`, or check that it is a text trace"
        ) from None
