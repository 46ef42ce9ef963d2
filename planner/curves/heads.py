"""Drafting heads as models: a layer or a few, what joins them to the target, and an output head.

- *MTP* (DeepSeek-V3 and its kin): one layer of the target, to which a matrix brings the embedding
  of the token and the hidden state before it. Embedding and output head are the target's: of the
  11.5 billion parameters that its documentation names, none are theirs
  (https://huggingface.co/deepseek-ai/DeepSeek-V3-Base/blob/main/README_WEIGHTS.md). SGLang shares
  the weights as well (https://github.com/sgl-project/sglang/pull/4033).
- *EAGLE-3* (Li et al. 2025, https://arxiv.org/abs/2503.01840): one dense layer, whose attention
  takes embedding and hidden state side by side. Another matrix fuses the hidden states of three
  layers of the target, once for every token that the target has seen. The embedding is the
  target's; the output head is its own, mostly over the 32,000 most frequent tokens only
  (`draft_vocab_size`).
- *P-EAGLE*: the same with four layers (https://huggingface.co/amazon/gpt-oss-20b-p-eagle).

Over a pipeline, a head runs on the last stage and has an embedding of its own, since the target's
is on the first (https://github.com/vllm-project/vllm/pull/17326).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from planner.catalog import Attention, Ffn, LayerRun, Model, Projection

FEW_TOKENS: Final = 32_000
"""Vocabulary of most EAGLE-3 heads, as the authors' own and as SpecForge's configurations have it
(https://github.com/sgl-project/SpecForge)."""

_FUSION: Final = "head.fusion"


@dataclass(frozen=True)
class Head:
    """What a method of drafting adds to a model."""

    layers: int = 1
    like_target: bool = False
    """Its layer is one of the target's, and so is its output head (MTP)."""
    parallel: bool = False
    """One pass drafts all positions."""
    vocabulary: int | None = None
    """Tokens that it can draft, unless something else is known; None: all."""


HEADS: Final[Mapping[str, Head]] = {
    "mtp": Head(like_target=True),
    "eagle3": Head(vocabulary=FEW_TOKENS),
    "p-eagle": Head(layers=4, parallel=True, vocabulary=FEW_TOKENS),
}
"""By method."""


def head_model(
    target: Model, head: Head, *, vocabulary: int | None = None, stages: int = 1
) -> Model:
    """Return a drafting head as a model.

    Its dense layers are as wide as those of the target, or 3.5 times the hidden size.

    Args:
        target: the model that it drafts for.
        head: what it adds.
        vocabulary: tokens that it can draft; None: as usual for its kind.
        stages: of the target's pipeline.

    """
    last, hidden = target.layers[-1], target.hidden_size
    dense = [run.ffn.intermediate_size for run in target.layers if run.ffn.kind == "dense"]
    wide = Ffn("dense", dense[0] if dense else int(3.5 * hidden))
    full = next((run for run in target.layers if run.attention.kind in ("full", "mla")), last)
    run = last if head.like_target else full
    entry = (
        (Projection("head.entry", 2 * hidden, hidden),)
        if head.like_target
        else (Projection(_FUSION, 3 * hidden, hidden), _second_input(full.attention, hidden))
    )
    tokens = vocabulary or head.vocabulary or target.vocabulary_size
    return replace(
        target,
        name=f"{target.name}-head",
        title=f"Drafting head of {target.title}",
        layers=(LayerRun(head.layers, run.attention, run.ffn if head.like_target else wide),),
        vocabulary_size=min(tokens, target.vocabulary_size),
        tied_embeddings=False,
        projections=entry,
        borrowed=(
            *(("embedding",) if stages == 1 else ()),
            *(("output_head",) if head.like_target else ()),
        ),
    )


def later_passes(head: Model) -> Model:
    """Return the head as it runs on what it has drafted itself: nothing of the target is fused."""
    kept = tuple(each for each in head.projections if each.name != _FUSION)
    return replace(head, projections=kept)


def head_share(target: Model, head: Head) -> float:
    """Return the weights that a token meets in one pass of a head, over those in the target."""
    return head_model(target, head).parameters_per_token() / target.parameters_per_token()


def _second_input(attention: Attention, hidden_size: int) -> Projection:
    """Return what the attention's input matrices have more for taking two vectors side by side."""
    query = attention.query_heads * attention.head_dim
    if attention.kind == "mla":
        latent = attention.kv_lora_rank + attention.qk_rope_head_dim
        width = (attention.q_lora_rank or query) + latent
    else:
        width = query + attention.kv_heads * (attention.head_dim + attention.value_head_dim)
    return Projection("head.second_input", hidden_size, width, split=attention.kind != "mla")
