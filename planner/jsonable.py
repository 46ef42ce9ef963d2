"""Values as JSON can hold them, and the JSON in which answers are printed and kept."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Return `value` in JSON's own types; what is not a finite number becomes None.

    >>> plain({"shares": (np.float64(0.5), float("nan")), 3: np.int64(2)})
    {'shares': [0.5, None], '3': 2}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def json_text(content: Any) -> str:
    """Return JSON for people and programs: sorted keys, the same bytes for the same content."""
    return json.dumps(plain(content), indent=1, sort_keys=True, ensure_ascii=False)
