"""Drafting heads as models: a layer or a few, and an output head of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from planner.catalog import Ffn, LayerRun, Model


@dataclass(frozen=True)
class Head:
    """What a method of drafting adds to a model."""

    layers: int = 1
    like_target: bool = False
    """Its layer is one of the target's."""
    parallel: bool = False
    """One pass drafts all positions."""


HEADS: Final[Mapping[str, Head]] = {
    "mtp": Head(like_target=True),
    "eagle3": Head(),
    "p-eagle": Head(layers=4, parallel=True),
}
"""By method. Four layers are those of the one published head that drafts all positions at once."""


def head_model(target: Model, *, layers: int = 1, like_target: bool = False) -> Model:
    """Return a drafting head as a model: its layers and an output head of its own.

    Args:
        target: the model that it drafts for.
        layers: 1 for EAGLE-3 and MTP; 4 for P-EAGLE.
        like_target: the layer is one of the target's (MTP), mixture of experts included; else
            it is dense (EAGLE), as wide as the target's dense layers or 3.5 times the hidden size.

    """
    last = target.layers[-1]
    dense = [run.ffn.intermediate_size for run in target.layers if run.ffn.kind == "dense"]
    width = dense[0] if dense else int(3.5 * target.hidden_size)
    ffn = last.ffn if like_target else Ffn("dense", width)
    full = next((run for run in target.layers if run.attention.kind in ("full", "mla")), last)
    attention = last.attention if like_target else full.attention
    return replace(
        target,
        name=f"{target.name}-head",
        title=f"Drafting head of {target.title}",
        layers=(LayerRun(layers, attention, ffn),),
    )


def head_share(target: Model, *, layers: int = 1, like_target: bool = False) -> float:
    """Return the weights that a token meets in one pass of a head, over those in the target."""
    head = head_model(target, layers=layers, like_target=like_target)
    return head.parameters_per_token() / target.parameters_per_token()
