"""Chips, and the machines they are sold in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from planner.catalog.figures import Figure
from planner.errors import CatalogError

Status = Literal["shipping", "announced", "claimed"]
SoldBy = Literal["node", "rack"]
STATUSES: Final[tuple[Status, ...]] = get_args(Status)
SOLD_BY: Final[tuple[SoldBy, ...]] = get_args(SoldBy)
DTYPES: Final = ("fp32", "bf16", "fp16", "fp8", "int8", "fp4", "int4")
"""Types of arithmetic, as scenarios name them."""


@dataclass(frozen=True, slots=True)
class Chip:
    """An accelerator, by its data sheet. What no source gives is None."""

    name: str
    title: str
    vendor: str
    peak_flops: Mapping[str, Figure] = field(hash=False)
    """Dense peak by dtype in FLOP/s (OP/s for integers). A dtype that is absent is not supported:
    peaks are never derived from one another, since chips of one family cut or lack types."""
    memory_bytes: Figure
    """Device memory; SRAM for chips without any other."""
    memory_bandwidth: Figure
    """Bytes per second of that memory."""
    scale_up_domain: int
    """Devices that one scale-up fabric joins."""
    status: Status = "shipping"
    scale_up_bandwidth: Figure | None = None
    """Bytes per second and direction of one device into the scale-up fabric."""
    scale_out_bandwidth: Figure | None = None
    """Bytes per second and direction of one device into the network between machines."""
    tdp_w: Figure | None = None
    """Design power of the device alone."""
    system_w: Figure | None = None
    """Power per device with its share of host, network and cooling."""
    capex_usd: Figure | None = None
    """Purchase price per device with its share of the machine."""
    on_chip_bytes: Figure | None = None
    """On-chip SRAM or last-level cache, where it is not the memory itself."""
    embodied_kg: Figure | None = None
    """What making it emitted, kg of CO2e, with its share of board and fabric."""
    notes: tuple[str, ...] = ()

    def peak(self, dtype: str) -> Figure:
        """Return the dense peak for `dtype`.

        Raises:
            CatalogError: the chip has no arithmetic of that type; the message lists what it has.
        """
        if dtype not in self.peak_flops:
            raise CatalogError(
                f"chip {self.name} has no {dtype} arithmetic; it has {', '.join(self.peak_flops)}"
            )
        return self.peak_flops[dtype]


@dataclass(frozen=True, slots=True)
class Node:
    """A machine as it is bought or rented: one or more chips with their host."""

    name: str
    title: str
    chip: str
    """Name of the chip in the catalogue."""
    devices: int
    sold_by: SoldBy
    """rack: capacity comes in whole racks."""
    power_w: Figure
    """Nameplate IT power of the whole machine, host and internal network included."""
    host_memory_bytes: Figure | None = None
    """Memory of the host, as machines of this kind usually have it."""
    notes: tuple[str, ...] = ()
