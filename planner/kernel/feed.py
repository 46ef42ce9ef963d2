"""Loading rows into the kernel's arrival buffer."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from planner.kernel.dtypes import NONE
from planner.kernel.ends import send
from planner.kernel.heap import copy_arrival
from planner.kernel.jit import kernel
from planner.kernel.world import World


@kernel
def load_rows(world: World, block: NDArray[np.void], stream_index: int) -> None:
    """Append a block of `ARRIVAL` rows to a stream's region of the arrival buffer.

    A row without arrival time in stream 0 is a later turn: it goes to `turns`, linked from the turn
    before it. The caller has made room in the region and in `turns`.
    """
    state = world.state[0]
    stream = world.streams[stream_index]
    arrivals = world.arrivals
    turns = world.turns
    previous = NONE  # turn that the next row would follow; NONE: it follows the row just loaded
    for number in range(len(block)):
        row = block[number]
        state["longest_chain"] = max(state["longest_chain"], row["hashes"])
        if stream_index == 0 and math.isnan(row["arrival_s"]):
            index = int(state["free_turn"])
            turn = turns[index]
            state["free_turn"] = turn["next"]
            state["turns_in_use"] += 1
            copy_arrival(row, turn["arrival"])
            turn["arrival"]["next_turn"] = NONE
            if previous == NONE:
                arrivals[stream["last_row"] - 1]["next_turn"] = index
            else:
                turns[previous]["arrival"]["next_turn"] = index
            previous = index
        else:
            target = arrivals[stream["last_row"]]
            copy_arrival(row, target)
            target["next_turn"] = NONE
            target["stream"] = stream_index
            stream["last_row"] += 1
            previous = NONE


@kernel
def send_clients(world: World, stream_index: int, clients: int) -> None:
    """Send the first rows of a closed-loop stream, one per client; see `ClosedStream`."""
    stream = world.streams[stream_index]
    for _ in range(clients):
        if stream["cursor"] < stream["last_row"]:
            row = world.arrivals[stream["cursor"]]
            stream["cursor"] += 1
            start_s = 0.0 if math.isnan(row["arrival_s"]) else row["arrival_s"]
            if start_s > world.state[0]["end_s"]:
                world.state[0]["unsent"] += 1
            else:
                send(world, row, start_s)
