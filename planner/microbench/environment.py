"""What stands beside the timings: the state of the machine while they were taken."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

_NVIDIA_FIELDS: Final = (
    *("name", "driver_version", "vbios_version", "pstate", "mig.mode.current"),
    *("clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem"),
    *("power.draw", "power.limit", "temperature.gpu", "clocks_throttle_reasons.active"),
)
_PATIENCE_S: Final = 10.0


def machine() -> dict[str, Any]:
    """Return what is known of the host; nothing that names it or its user."""
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
    }


def accelerator(uuid: str) -> dict[str, Any]:
    """Return clocks, power, temperature and driver of an accelerator at this moment.

    The vendor's tool counts devices in its own way, so the device is named by its unique number,
    which is not kept.

    Empty where no vendor's tool answers: timings are still good, though harder to compare.
    """
    return _nvidia(uuid) or _rocm()


def _nvidia(uuid: str) -> dict[str, Any]:
    query = ["nvidia-smi", f"--id=GPU-{uuid}", "--format=csv,noheader,nounits"]
    text = _answer([*query, f"--query-gpu={','.join(_NVIDIA_FIELDS)}"])
    return parsed_nvidia(text)


def parsed_nvidia(text: str) -> dict[str, Any]:
    """Return what a line of nvidia-smi's CSV says, by field; empty if it is none.

    Clocks are in MHz, power in W, temperature in °C.
    """
    values = [value.strip() for value in text.strip().split("\n")[0].split(",")]
    if len(values) != len(_NVIDIA_FIELDS):
        return {}
    fields = zip(_NVIDIA_FIELDS, values, strict=True)
    return {name: _number(value) for name, value in fields if "[" not in value}


def _rocm() -> dict[str, Any]:
    import json

    options = ("--showdriverversion", "--showclocks", "--showpower", "--showtemp")
    text = _answer(["rocm-smi", *options, "--json"])
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        f"{part}.{name}": value
        for part, values in found.items()
        if isinstance(values, dict)
        for name, value in values.items()
    }


def _answer(command: Sequence[str]) -> str:
    try:
        finished = subprocess.run(
            command, capture_output=True, check=False, text=True, timeout=_PATIENCE_S
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return finished.stdout if finished.returncode == 0 else ""


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
