"""What a plain scalar means: the core schema of YAML 1.2.2, section 10.3.2."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from planner.scenario.nodes import Scalar

_DECIMAL = r"[-+]?[0-9]+"
_FLOAT = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
_CONVERTERS: tuple[tuple[re.Pattern[str], Callable[[str], Scalar]], ...] = (
    (re.compile(r"|~|null|Null|NULL"), lambda _: None),
    (re.compile(r"true|True|TRUE"), lambda _: True),
    (re.compile(r"false|False|FALSE"), lambda _: False),
    (re.compile(_DECIMAL), int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text[2:], 8)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text[2:], 16)),
    (re.compile(_FLOAT), float),
    (re.compile(r"[+]?\.(inf|Inf|INF)"), lambda _: math.inf),
    (re.compile(r"-\.(inf|Inf|INF)"), lambda _: -math.inf),
    (re.compile(r"\.(nan|NaN|NAN)"), lambda _: math.nan),
)
_KINDS = ((bool, "truth value"), (int, "whole number"), (float, "number"), (str, "text"))

TAG_KINDS = {"null": "null", "bool": "truth value", "int": "whole number", "float": "number"}
"""Kind of value that a tag such as `!!int` promises."""


def resolve_scalar(text: str) -> Scalar:
    """Return the value of a plain scalar.

    >>> [resolve_scalar(text) for text in ("1e9", "NO", "12:30", "010", "0o17", "~", "1_000")]
    [1000000000.0, 'NO', '12:30', 10, 15, None, '1_000']
    """
    for pattern, convert in _CONVERTERS:
        if pattern.fullmatch(text):
            return convert(text)
    return text


def is_number(text: str) -> bool:
    """Return whether a plain scalar stands for a number."""
    return any(p.fullmatch(text) for p, convert in _CONVERTERS[3:7])


def kind_of(value: Scalar) -> str:
    """Return what a message calls the kind of `value`."""
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "null")
