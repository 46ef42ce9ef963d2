"""Which chip of the catalogue a device is, by the name that its driver gives it."""

from __future__ import annotations

import re
from typing import Final

DRIVER_NAMES: Final = (
    (r"\bGB300\b", "gb300"),
    (r"\bGB200\b", "gb200"),
    (r"\bGH200 144G", "gh200-144gb"),
    (r"\bGH200\b", "gh200"),
    (r"\bB300\b", "b300-sxm"),
    (r"\bB200\b", "b200-sxm"),
    (r"\bH200 NVL\b", "h200-nvl"),
    (r"\bH200\b", "h200-sxm"),
    (r"\bH100 PCIe\b", "h100-pcie"),
    (r"\bH100 NVL\b", "h100-nvl"),
    (r"\bH100\b", "h100-sxm"),
    (r"\bH800\b(?!.*\bPCIe\b)", "h800-sxm"),
    (r"\bA100-SXM4-80GB\b", "a100-sxm"),
    (r"\bA100-SXM4-40GB\b", "a100-sxm-40gb"),
    (r"\bL40S\b", "l40s"),
    (r"\bL4\b", "l4"),
    (r"\bRTX 4090\b(?! (?:D|Laptop))", "rtx-4090"),
    (r"\bRTX PRO 6000\b(?!.*Max-Q)", "rtx-pro-6000"),
    (r"\bMI250\b", "mi250"),
    (r"\bMI300X\b", "mi300x"),
    (r"\bMI325X\b", "mi325x"),
    (r"\bMI355X\b", "mi355x"),
)
"""Pattern of the driver's name → chip. Cards with other memory or clocks are no match: a curve
scales with the chip's peaks, and those would be wrong."""


def chip_of(device_name: str) -> str:
    """Return the catalogue's name of a device, or a name made of the driver's.

    >>> chip_of("NVIDIA H100 80GB HBM3"), chip_of("NVIDIA GeForce RTX 3090")
    ('h100-sxm', 'nvidia-geforce-rtx-3090')
    """
    sliced = re.search(r"\bMIG\b", device_name)
    for pattern, chip in DRIVER_NAMES if not sliced else ():
        if re.search(pattern, device_name, re.IGNORECASE):
            return chip
    return re.sub(r"[^a-z0-9]+", "-", device_name.casefold()).strip("-") or "unknown"
