"""ServeGen clients: a folder of `chunk-N-trace.csv` and `chunk-N-dataset.json`, a pair per client.

These are not requests but what they are drawn from. A trace file has, per window of ten minutes
and without a header, `t_s, rate_rps, cv, pattern, p1, p2`; a dataset file has, per window of
hours, the probabilities of `input_tokens`, `output_tokens` and, for reasoning models,
`reason_ratio`. The reader draws each client as a renewal process with the rate and CV of each
window (Gamma or Weibull as `pattern` says; the fitted p1 and p2 are not used, they miss the
measured CV) and lengths from the window's probabilities. The client number is the `visitor_id`.
Rates were scaled by the authors: use shapes and `rate_scale`, not absolute numbers. Published
under Apache-2.0 (github.com/alibaba/ServeGen).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from planner.errors import TraceError
from planner.trace.readers.delimited import split_fields
from planner.trace.readers.lines import line_chunks
from planner.trace.readers.reading import Reading
from planner.trace.readers.rows import Faults
from planner.trace.synthetic import renewal_times
from planner.trace.table import MAXIMUM_TOKENS, RequestBlock, Rows, new_rows
from planner.trace.workload import Burstiness

FIELDS: Final = ("input_tokens", "output_tokens", "reason_ratio")
_NUMBER: Final = r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_PMF: Final = re.compile(rf"\s*({_NUMBER})\s*:\s*({_NUMBER})\s*(?:,|\Z)")
_PATTERNS: Final[Mapping[str, Burstiness]] = {"Gamma": "gamma", "Weibull": "weibull"}
_DEFAULT_WINDOW_S: Final = 600.0

_Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pmf:
    """A discrete distribution: `values` and the probability up to and including each."""

    values: _Floats
    cumulative: _Floats

    @classmethod
    def from_weights(cls, weights: Mapping[float, float]) -> Pmf:
        """Normalise weights; their sum must be above zero."""
        values = np.array(sorted(weights))
        cumulative = np.cumsum([weights[value] for value in values.tolist()])
        return cls(values, cumulative / cumulative[-1])

    def sample(self, rng: np.random.Generator, count: int) -> _Floats:
        """Draw `count` values."""
        index = np.searchsorted(self.cumulative, rng.random(count), side="right")
        return self.values[np.minimum(index, len(self.values) - 1)]


Lengths = Mapping[str, Pmf]
"""Field → distribution."""


@dataclass(frozen=True, eq=False)
class Client:
    """One client: rate, CV and pattern per window, and lengths from window starts on."""

    number: int
    start_s: _Floats
    rate_rps: _Floats
    cv: _Floats
    patterns: tuple[str, ...]
    lengths: tuple[tuple[float, Lengths], ...]

    def lengths_at(self, time_s: float) -> Lengths:
        """Return the lengths of the window nearest before `time_s`, or the first there is."""
        before = [lengths for start_s, lengths in self.lengths if start_s <= time_s]
        return before[-1] if before else self.lengths[0][1]


def trace_files(folder: Path) -> list[Path]:
    """Return the trace files of a ServeGen folder, in order of client number."""
    found = [path for path in folder.glob("chunk-*-trace.csv") if path.name[6:-10].isdigit()]
    return sorted(found, key=_client_number)


def _client_number(path: Path) -> int:
    return int(path.name.split("-")[1])


def read(reading: Reading) -> Iterator[RequestBlock]:
    """Yield requests drawn from the clients of a folder, one window at a time.

    Raises:
        TraceError: no client files, no lengths at all, or faults of a file with their line.
    """
    files = trace_files(reading.path)
    if not files:
        inside = sorted({path.parent.name for path in reading.path.glob("*/chunk-*-trace.csv")})
        hint = f"; choose one of its folders {', '.join(inside)}" if inside else ""
        raise TraceError(f"{reading.path}: no ServeGen files chunk-N-trace.csv here{hint}")
    clients = [_read_client(path) for path in files]
    pool = _pooled(reading, clients)
    rngs = [
        np.random.Generator(
            np.random.PCG64(
                np.random.SeedSequence(reading.seed.entropy, spawn_key=(1, client.number))
            )
        )
        for client in clients
    ]
    starts = np.unique(np.concatenate([client.start_s for client in clients]))
    width_s = float(np.diff(starts).min()) if len(starts) > 1 else _DEFAULT_WINDOW_S
    drawn = 0
    for start_s in starts.tolist():
        parts = [
            _draw(client, rng, start_s, width_s, pool)
            for client, rng in zip(clients, rngs, strict=True)
        ]
        rows = np.concatenate(parts)
        if len(rows):
            drawn += len(rows)
            yield RequestBlock(rows.take(np.argsort(rows["arrival_s"], kind="stable")))
    if not drawn:
        raise TraceError(f"{reading.path}: every client has rate 0 throughout; no requests")


def _draw(
    client: Client, rng: np.random.Generator, start_s: float, width_s: float, pool: Lengths
) -> Rows:
    window = int(np.searchsorted(client.start_s, start_s))
    if window == len(client.start_s) or client.start_s[window] != start_s:
        return new_rows(0)
    rate_rps = float(client.rate_rps[window])
    expected = rate_rps * width_s
    if expected == 0:
        return new_rows(0)
    kind = _PATTERNS.get(client.patterns[window], "gamma")
    cv = float(client.cv[window]) or 1.0
    points = np.concatenate(list(renewal_times(rng, kind, cv, expected, int(expected * 1.2) + 16)))
    rows = new_rows(len(points))
    lengths = client.lengths_at(start_s) if client.lengths else pool
    rows["arrival_s"] = start_s + points / rate_rps
    rows["visitor_id"] = client.number
    rows["input_tokens"] = lengths["input_tokens"].sample(rng, len(rows))
    rows["output_tokens"] = lengths["output_tokens"].sample(rng, len(rows))
    if "reason_ratio" in lengths:
        ratio = np.minimum(lengths["reason_ratio"].sample(rng, len(rows)), 1.0)
        rows["reasoning_tokens"] = np.rint(rows["output_tokens"] * ratio)
    return rows


def _pooled(reading: Reading, clients: list[Client]) -> Lengths:
    """Return the lengths of all clients that have some, weighted by their requests."""
    known = [client for client in clients if client.lengths]
    if not known:
        raise TraceError(
            f"{reading.path}: no chunk-N-dataset.json with lengths; fetch the dataset files of the "
            f"ServeGen repository into the same folder"
        )
    unknown = [client for client in clients if not client.lengths]
    if unknown:
        total = sum(float(client.rate_rps.sum()) for client in clients)
        share = sum(float(client.rate_rps.sum()) for client in unknown) / total if total else 0.0
        reading.notes.append(
            f"{len(unknown)} of {len(clients)} clients ({share:.0%} of requests) have no dataset "
            f"file; their lengths are drawn from the other clients"
        )
    weights: dict[str, dict[float, float]] = {}
    for client in known:
        share = max(float(client.rate_rps.mean()), 1e-12) / len(client.lengths)
        for _, lengths in client.lengths:
            for field, pmf in lengths.items():
                into = weights.setdefault(field, {})
                masses = np.diff(pmf.cumulative, prepend=0.0)
                for value, mass in zip(pmf.values.tolist(), masses.tolist(), strict=True):
                    into[value] = into.get(value, 0.0) + share * mass
    return {field: Pmf.from_weights(of_field) for field, of_field in weights.items()}


def _read_client(path: Path) -> Client:
    faults = Faults(path)
    numbers: list[tuple[float, float, float]] = []
    patterns: list[str] = []
    last = 0
    for chunk in line_chunks(path):
        for line, text in chunk.lines():
            last = line
            fields = split_fields(text)
            try:
                start_s, rate_rps, cv = (float(field) for field in fields[:3])
                pattern = fields[3]
            except (ValueError, IndexError):
                faults.add(line, f"must be t_s,rate_rps,cv,pattern,p1,p2; found {text[:60]!r}")
                continue
            if not (0 <= rate_rps < 1e9 and 0 <= cv < 1e6 and 0 <= start_s < 1e9):
                faults.add(line, f"time, rate and CV must be at least 0 and finite: {text[:60]!r}")
            elif numbers and start_s <= numbers[-1][0]:
                faults.add(line, f"time {start_s:g} s does not come after {numbers[-1][0]:g} s")
            numbers.append((start_s, rate_rps, cv))
            patterns.append(pattern)
    faults.raise_if_any(last)
    table = np.array(numbers)
    dataset = path.with_name(path.name.replace("-trace.csv", "-dataset.json"))
    lengths = _read_lengths(dataset) if dataset.exists() else ()
    return Client(
        _client_number(path), table[:, 0], table[:, 1], table[:, 2], tuple(patterns), lengths
    )


def _read_lengths(path: Path) -> tuple[tuple[float, Lengths], ...]:
    """Return (window start, lengths) of the windows that have both input and output lengths."""
    try:
        windows = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise TraceError(f"{path}: is not JSON: {error}; fetch the file again") from None
    if not isinstance(windows, dict):
        raise TraceError(f"{path}: must be an object of windows; found {type(windows).__name__}")
    found: list[tuple[float, Lengths]] = []
    for start, fields in windows.items():
        if not isinstance(fields, dict) or not start.isdigit():
            raise TraceError(f"{path}: window {start[:20]!r} must be seconds, and hold an object")
        lengths = {
            field: pmf
            for field in FIELDS
            if (pmf := _read_pmf(path, f"{start}.{field}", fields.get(field)))
        }
        if {"input_tokens", "output_tokens"} <= set(lengths):
            found.append((float(start), lengths))
    return tuple(sorted(found, key=lambda window: window[0]))


def _read_pmf(path: Path, where: str, value: Any) -> Pmf | None:
    """Parse `"{39: 0.25, 40: 0.75}"`, which is a Python dict as text, or the same as an object."""
    if value is None:
        return None
    if isinstance(value, dict):
        value = json.dumps(value).replace('"', "")
    text = value.strip() if isinstance(value, str) else ""
    if not (text.startswith("{") and text.endswith("}")):
        raise TraceError(f"{path}: {where}: must be like '{{39: 0.25}}', found {str(value)[:40]!r}")
    body = text[1:-1]
    weights: dict[float, float] = {}
    end = 0
    while end < len(body) and (match := _PMF.match(body, end)):
        weights[float(match[1])] = weights.get(float(match[1]), 0.0) + float(match[2])
        end = match.end()
    if body[end:].strip():
        raise TraceError(f"{path}: {where}: cannot read {body[end : end + 40]!r}")
    if any(length > MAXIMUM_TOKENS for length in weights):
        raise TraceError(f"{path}: {where}: a length is above the limit of {MAXIMUM_TOKENS:,}")
    return Pmf.from_weights(weights) if sum(weights.values()) > 0 else None
