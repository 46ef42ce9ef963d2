"""Tables of published measurements that ship with the package, and the names in them.

Plain Python: checking a scenario reads one of them and needs no array library.
"""

from __future__ import annotations

import csv
import re
from importlib import resources

from planner.errors import CatalogError

FAMILIES = (
    ("deepseek-r1-distill-qwen", "qwen2.5"),
    ("qwq", "qwen2.5"),
    ("qwen2.5", "qwen2.5"),
    ("qwen1.5", "qwen1.5"),
    ("qwen3.5", "qwen3.5"),
    ("qwen3", "qwen3"),
    ("deepseek", "deepseek"),
    ("gpt-oss", "gpt-oss"),
    ("internlm", "internlm"),
    ("llama-2", "llama-2"),
    ("llama-3", "llama-3"),
    ("seed-oss", "seed-oss"),
)
"""Beginning of a model's name, and its family; a model not listed belongs to its first word."""

_TUNING = re.compile(r"-(instruct|chat|it|thinking|base|hf|v1\.3)(?=-|$)")
_FORMAT = re.compile(r"-(bf16|fp8|fp4|nvfp4|mxfp4|int4|int8|awq|gptq|w4afp8)(?=-|$)")
_SEPARATORS = re.compile(r"[\s_/-]+")


def plain_model(name: str) -> str:
    """Return a model's name as the catalogue spells it, without tuning and number format.

    >>> [plain_model(name) for name in ("Qwen3-8B", "Llama2-7B", "Kimi-K2.6-NVFP4")]
    ['qwen3-8b', 'llama-2-7b', 'kimi-k2.6']
    >>> plain_model("Llama-3.1-70B-Instruct")
    'llama-3.1-70b'
    """
    plain = _SEPARATORS.sub("-", name.strip().lower())
    plain = re.sub(r"^llama(?=\d)", "llama-", plain)
    return _FORMAT.sub("", _TUNING.sub("", plain))


def family_of(model: str) -> str:
    """Return the family of a model: those that share architecture and training recipe.

    >>> [family_of(name) for name in ("kimi-k2", "qwen3-coder-480b-a35b", "QwQ-32B", "gemma-3-4b")]
    ['kimi', 'qwen3', 'qwen2.5', 'gemma']
    """
    plain = plain_model(model)
    for beginning, family in FAMILIES:
        if plain.startswith(beginning):
            return family
    return plain.partition("-")[0]


def read_table(name: str) -> list[dict[str, str]]:
    """Return the rows of a shipped table, every field as text.

    Args:
        name: file name in the package's folder `curves/data`.

    Raises:
        CatalogError: the file is missing, or a row has more or fewer fields than the header.

    """
    file = resources.files("planner.curves").joinpath("data", name)
    try:
        lines = file.read_text("utf-8").splitlines()
    except FileNotFoundError:
        raise CatalogError(
            f"planner/curves/data/{name} is missing; install the package again"
        ) from None
    rows = []
    reader = csv.DictReader(lines)
    for row in reader:
        if None in row or None in row.values():
            raise CatalogError(
                f"planner/curves/data/{name}:{reader.line_num}: has not as many fields as the "
                "header; make the table again with derive_tables.py"
            )
        rows.append(dict(row))
    return rows
