"""The table of operator timings that curves are fitted from, and what is checked in it.

One row per timing. In memory all numbers are float64 in SI units; a shape column that an operator
does not use is NaN. `OPERATORS` names the columns of each operator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from planner.curves.curve import WHOLE_STEPS, CurveKey
from planner.curves.forms.base import Array, Form
from planner.errors import PlannerError, did_you_mean, shown

LABELS: Final = ("operator", "chip", "engine", "version", "dtype", "kv_dtype", "source", "model")
"""Columns of text. `model` is used by whole engine steps only."""

DTYPES: Final = (
    "bf16",
    "fp8",
    "fp8_block",
    "fp4",
    "fp4_fp8",
    "int8",
    "int8_wo",
    "int4_wo",
    "fp4_wo",
    "fp8_wo",
    "int4_fp8",
)
"""Formats of weights and arithmetic; `_wo`: weights only, with 16-bit arithmetic."""


class CurveError(PlannerError):
    """Timings, a fit or a curve file that cannot be used."""


@dataclass(frozen=True)
class OperatorColumns:
    """The shape columns of one operator."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    """Blank means 0 (no window, no prior context), or 1 where `ones` says so."""
    may_be_zero: tuple[str, ...] = ()


_HEADS = ("query_heads", "kv_heads", "head_dim")
_MESSAGE = OperatorColumns(("devices", "bytes"), ("nodes",))
OPERATORS: Final[Mapping[str, OperatorColumns]] = {
    "gemm": OperatorColumns(("m", "n", "k")),
    "prefill_attention": OperatorColumns(
        ("sequences", "new_tokens", "context_tokens", *_HEADS),
        ("window_tokens",),
        ("context_tokens", "window_tokens"),
    ),
    "decode_attention": OperatorColumns(
        ("sequences", "context_tokens", *_HEADS),
        ("window_tokens",),
        ("context_tokens", "window_tokens"),
    ),
    "mla_prefill_attention": OperatorColumns(
        ("sequences", "new_tokens", "context_tokens", "query_heads"), (), ("context_tokens",)
    ),
    "mla_decode_attention": OperatorColumns(
        ("sequences", "context_tokens", "query_heads"), (), ("context_tokens",)
    ),
    "linear_prefill": OperatorColumns(
        ("sequences", "new_tokens", "key_heads", "value_heads", "head_dim")
    ),
    "linear_decode": OperatorColumns(
        ("sequences", "new_tokens", "key_heads", "value_heads", "head_dim")
    ),
    "experts": OperatorColumns(
        (
            "tokens",
            "hidden",
            "inner",
            "active_experts",
            "experts",
            "tensor_parallel",
            "expert_parallel",
        )
    ),
    "all_reduce": _MESSAGE,
    "all_gather": _MESSAGE,
    "reduce_scatter": _MESSAGE,
    "all_to_all": _MESSAGE,
    "send": _MESSAGE,
    "stream": OperatorColumns(("bytes",)),
    "step_prefill": OperatorColumns(
        ("tensor_parallel", "sequences", "new_tokens", "context_tokens"), (), ("context_tokens",)
    ),
    "step_decode": OperatorColumns(
        ("tensor_parallel", "sequences", "new_tokens", "context_tokens"),
        (),
        ("new_tokens", "context_tokens"),
    ),
}

SHAPE_COLUMNS: Final = tuple(
    dict.fromkeys(
        name for columns in OPERATORS.values() for name in columns.required + columns.optional
    )
)
"""Every shape column of the table, in the order in which a CSV file lists them."""
MOST_DEVICES: Final = 4096
"""A layer that is split over more is taken for a mistake."""
_PLACES: Final = 5
"""Rows that a message names."""
_FILES: Final = 3
"""Files that a message about a table names."""


@dataclass(frozen=True)
class Timings:
    """Operator timings, column by column; all arrays have one length."""

    labels: Mapping[str, NDArray[np.str_]]
    """The columns of `LABELS`."""
    shape: Mapping[str, Array]
    """Shape columns by name; NaN where an operator has none. Columns nobody uses may be absent."""
    seconds: Array
    lines: NDArray[np.int64]
    """Line of the file each row was read from; 0: made in memory."""
    origin: NDArray[np.int64]
    """Number of the file, in `files`, that each row was read from."""
    files: tuple[str, ...] = ("timings",)
    """As messages name them."""

    def __len__(self) -> int:
        return len(self.seconds)

    @property
    def file(self) -> str:
        """The files that the rows were read from, for messages about the table as a whole."""
        used = [self.files[at] for at in np.unique(self.origin)] or list(self.files)
        more = len(used) - _FILES
        return ", ".join(used[:_FILES]) + (f" and {more} more" if more > 0 else "")

    def file_of(self, row: int) -> str:
        """Return the file that a row was read from."""
        return self.files[int(self.origin[row])]

    def places(self, which: NDArray[Any]) -> str:
        """Return where rows stand, the first few of many: as lines where they share a file."""
        some = np.arange(len(self))[which]
        more = " …" if len(some) > _PLACES else ""
        if len(np.unique(self.origin[some])) == 1:
            return "lines " + ", ".join(str(line) for line in self.lines[some[:_PLACES]]) + more
        return ", ".join(f"{self.file_of(row)}:{self.lines[row]}" for row in some[:_PLACES]) + more

    @classmethod
    def of(
        cls,
        *,
        seconds: Any,
        shape: Mapping[str, Any],
        lines: Any = 0,
        file: str = "timings",
        **labels: Any,
    ) -> Timings:
        """Return timings from columns; a single label or number stands for the whole column.

        Args:
            seconds: of each operation.
            shape: shape columns by name, SI units.
            lines: of the file.
            file: that all rows come from, as messages name it.
            labels: of `LABELS`; those left out are empty.

        Raises:
            CurveError: a label or shape column that the table does not have.

        """
        times = np.atleast_1d(np.asarray(seconds, dtype=np.float64))
        for name, known in ((n, LABELS) for n in labels):
            _known("label", name, known)
        for name in shape:
            _known("shape column", name, SHAPE_COLUMNS)
        rows = len(times)
        return cls(
            labels={
                name: np.broadcast_to(np.asarray(labels.get(name, ""), dtype=np.str_), (rows,))
                for name in LABELS
            },
            shape={
                name: np.broadcast_to(np.asarray(values, dtype=np.float64), (rows,))
                for name, values in shape.items()
            },
            seconds=times,
            lines=np.broadcast_to(np.asarray(lines, dtype=np.int64), (rows,)),
            origin=np.broadcast_to(np.int64(0), (rows,)),
            files=(file,),
        )

    def rows(self, which: NDArray[Any]) -> Timings:
        """Return the rows of a mask or of indices."""
        return Timings(
            {name: column[which] for name, column in self.labels.items()},
            {name: column[which] for name, column in self.shape.items()},
            self.seconds[which],
            self.lines[which],
            self.origin[which],
            self.files,
        )

    def select(self, **labels: str | None) -> Timings:
        """Return the rows with these labels, as in `select(operator="gemm", chip="h100-sxm")`.

        A label that is None selects nothing out.

        Raises:
            CurveError: a label that the table does not have.
        """
        keep = np.ones(len(self), dtype=np.bool_)
        for name, wanted in labels.items():
            _known("label", name, LABELS)
            if wanted is not None:
                keep &= self.labels[name] == wanted
        return self.rows(keep)

    def keys(self) -> tuple[CurveKey, ...]:
        """Return what the rows were measured on, each once, sorted."""
        if not len(self):
            return ()
        names_of_key = ("operator", "chip", "engine", "dtype", "kv_dtype")
        columns: list[NDArray[Any]] = [self.labels[name] for name in names_of_key]
        columns += [*self._models()]
        # NOTE: codes, because np.unique on rows of text is slow on a million of them
        codes = np.zeros(len(self), dtype=np.int64)
        for column in columns:
            names, inverse = np.unique(column, return_inverse=True)
            codes = codes * len(names) + inverse
        _, first = np.unique(codes, return_index=True)
        found = {tuple(column[row].item() for column in columns) for row in first}
        return tuple(CurveKey(*each) for each in sorted(found))

    def only(self, key: CurveKey) -> Timings:
        """Return the rows measured on `key`."""
        part = self.select(
            operator=key.operator,
            chip=key.chip,
            engine=key.engine,
            dtype=key.dtype,
            kv_dtype=key.kv_dtype,
        )
        if not key.is_whole_step:
            return part
        models, devices = part._models()
        return part.rows((models == key.model) & (devices == key.tensor_parallel))

    def _models(self) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
        """Return model and split of whole steps: nothing and 0 for the rows of single operators.

        A split that is no number of devices is 0 as well; `check_timings` rejects such rows.
        """
        steps = np.isin(self.labels["operator"], WHOLE_STEPS)
        split = np.nan_to_num(self.shape.get("tensor_parallel", np.zeros(len(self))), posinf=0.0)
        devices = np.where(steps & is_device_count(split), split, 0.0).astype(np.int64)
        return np.where(steps, self.labels["model"], ""), devices

    @staticmethod
    def joined(parts: Sequence[Timings]) -> Timings:
        """Return the rows of all `parts`, in their order."""
        if not parts:
            return Timings.of(seconds=np.empty(0), shape={})
        columns = tuple(dict.fromkeys(name for part in parts for name in part.shape))
        files = tuple(dict.fromkeys(file for part in parts for file in part.files))

        def column(name: str) -> Array:
            blank = np.nan
            return np.concatenate(
                [part.shape.get(name, np.full(len(part), blank)) for part in parts]
            )

        return Timings(
            {name: np.concatenate([part.labels[name] for part in parts]) for name in LABELS},
            {name: column(name) for name in columns},
            np.concatenate([part.seconds for part in parts]),
            np.concatenate([part.lines for part in parts]),
            np.concatenate([_renumbered(part, files) for part in parts]),
            files,
        )


def is_device_count(split: Array) -> NDArray[np.bool_]:
    """Return which numbers can be those of the devices that a layer is split over."""
    counts: NDArray[np.bool_] = (split >= 1) & (split <= MOST_DEVICES) & (split == np.rint(split))
    return counts


def _renumbered(part: Timings, files: Sequence[str]) -> NDArray[np.int64]:
    """Return where in `files` each row's file is."""
    return np.array([files.index(file) for file in part.files], dtype=np.int64)[part.origin]


def _known(what: str, name: str, choices: Sequence[str]) -> None:
    if name not in choices:
        advice = did_you_mean(name, choices, list_up_to=20)
        raise CurveError(
            f"timings have no {what} {shown(name)}" + (f"; {advice}" if advice else "")
        )


def shape_of(timings: Timings, form: Form) -> dict[str, Array]:
    """Return the columns that `form` reads; an optional one that is blank is 0 (nodes: 1).

    Raises:
        CurveError: the timings lack a column that the form needs.

    """
    columns: dict[str, Array] = {}
    optional = {name for operator in form.operators for name in OPERATORS[operator].optional}
    for name in form.shape:
        column = timings.shape.get(name)
        if column is None and name not in optional:
            raise CurveError(
                f"{timings.file}: the form {form.name} needs the column {name}, which is absent; "
                f"it reads {', '.join(form.shape)}"
            )
        values = np.full(len(timings), np.nan) if column is None else column
        if name in optional:
            values = np.where(np.isnan(values), 1.0 if name == "nodes" else 0.0, values)
        columns[name] = values
    return columns
