"""Model shapes: a run-length list of layer kinds, from which parameters and KV bytes follow.

Counts hold the weight matrices and embeddings; norms, biases and multi-token-prediction layers are
left out (norms and biases are below 0.1% of every model here).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from planner.catalog.figures import Figure, Source

AttentionKind = Literal["full", "sliding", "linear", "mla", "compressed"]
FfnKind = Literal["dense", "moe"]
End = Literal["embedding", "output_head"]
ATTENTION_KINDS: Final[tuple[AttentionKind, ...]] = get_args(AttentionKind)
FFN_KINDS: Final[tuple[FfnKind, ...]] = get_args(FfnKind)


@dataclass(frozen=True, slots=True)
class Attention:
    """Attention of one layer.

    full: every earlier token is cached; sliding: the last `window_tokens`; linear: no cache
    per token but a state of `state_bytes_per_sequence`; mla: one latent vector of `kv_lora_rank +
    qk_rope_head_dim` per token; compressed: one key and value per `compression_ratio` tokens.
    """

    kind: AttentionKind
    query_heads: int
    kv_heads: int
    """Heads of keys and values; for linear attention the value heads; for MLA as `query_heads`."""
    head_dim: int
    """Dimension of a query and key head (for MLA `qk_nope_head_dim + qk_rope_head_dim`)."""
    value_head_dim: int
    window_tokens: int | None = None
    q_lora_rank: int = 0
    """MLA: rank of the query projection; 0: a full-rank one."""
    kv_lora_rank: int = 0
    """MLA: width of the cached latent."""
    qk_nope_head_dim: int = 0
    qk_rope_head_dim: int = 0
    state_bytes_per_sequence: int | None = None
    compression_ratio: float = 1.0
    output_gate: bool = False
    """The attention output is multiplied by a projection of the input of the same width."""

    def parameters(self, hidden_size: int) -> int:
        """Return the number of projection weights of the layer."""
        query_width = self.query_heads * self.head_dim
        output_width = self.query_heads * self.value_head_dim
        if self.kind == "mla":
            rank = self.q_lora_rank
            query = rank * (hidden_size + query_width) if rank else hidden_size * query_width
            down = hidden_size * (self.kv_lora_rank + self.qk_rope_head_dim)
            up_width = self.query_heads * (self.qk_nope_head_dim + self.value_head_dim)
            return query + down + self.kv_lora_rank * up_width + output_width * hidden_size
        if self.kind == "linear":
            output_width = self.kv_heads * self.value_head_dim
            key_and_value = query_width + output_width
        else:
            key_and_value = self.kv_heads * (self.head_dim + self.value_head_dim)
        gate = output_width if self.output_gate else 0
        return hidden_size * (query_width + key_and_value + gate + output_width)

    def kv_elements_per_token(self) -> float:
        """Return the numbers cached per token of context within the window."""
        if self.kind == "linear":
            return 0.0
        if self.kind == "mla":
            return float(self.kv_lora_rank + self.qk_rope_head_dim)
        return self.kv_heads * (self.head_dim + self.value_head_dim) / self.compression_ratio


@dataclass(frozen=True, slots=True)
class Ffn:
    """Feed-forward part of one layer: gated (three matrices), dense or a mixture of experts."""

    kind: FfnKind
    intermediate_size: int
    """Inner width; of one routed expert for a mixture."""
    experts: int = 0
    active_experts: int = 0
    """Routed experts per token."""
    shared_experts: int = 0
    """Experts that every token passes."""
    shared_intermediate_size: int = 0
    """Inner width of one shared expert."""

    def expert_parameters(self, hidden_size: int) -> int:
        """Return the weights of one routed expert, or of the whole dense FFN."""
        return 3 * hidden_size * self.intermediate_size

    def always_parameters(self, hidden_size: int) -> int:
        """Return the weights every token meets: router and shared experts; all of them if dense."""
        if self.kind == "dense":
            return self.expert_parameters(hidden_size)
        shared = 3 * hidden_size * self.shared_intermediate_size * self.shared_experts
        return hidden_size * self.experts + shared

    def parameters(self, hidden_size: int, *, active_only: bool = False) -> int:
        """Return the weights in memory, or those that one token meets."""
        routed = self.active_experts if active_only else self.experts
        return self.always_parameters(hidden_size) + routed * self.expert_parameters(hidden_size)


@dataclass(frozen=True, slots=True)
class LayerRun:
    """`count` layers of one kind."""

    count: int
    attention: Attention
    ffn: Ffn


@dataclass(frozen=True, slots=True)
class Projection:
    """A matrix that is no layer's."""

    name: str
    inputs: int
    outputs: int
    split: bool = False
    """Over the devices of tensor parallelism; else each has all of it."""


@dataclass(frozen=True, slots=True)
class Model:
    """A transformer as its published configuration describes it."""

    name: str
    title: str
    hidden_size: int
    vocabulary_size: int
    context_tokens: int
    """Longest prompt + output of the published configuration."""
    tied_embeddings: bool
    """The output head shares the weights of the input embedding."""
    layers: tuple[LayerRun, ...]
    total_parameters: Figure
    active_parameters: Figure
    """Parameters that one token meets, embedding and output head included."""
    weight_dtype: str
    """Type in which the weights (of the experts, for mixtures) are published."""
    shape_source: Source
    """Where the shape comes from."""
    notes: tuple[str, ...] = ()
    projections: tuple[Projection, ...] = ()
    """Only drafting heads have any, where token and hidden states enter."""
    borrowed: tuple[End, ...] = ()
    """Ends whose weights another model on the same devices has in memory: a drafting head uses
    those of the model that it drafts for."""

    @property
    def layer_count(self) -> int:
        """Number of layers."""
        return sum(run.count for run in self.layers)

    def parameters(self) -> float:
        """Return the number of weights that the shape implies, without borrowed ones."""
        ends = {"output_head"} if self.tied_embeddings else {"embedding", "output_head"}
        table = self.vocabulary_size * self.hidden_size
        own = len(ends - set(self.borrowed)) * table
        return float(own + self._layer_parameters(active_only=False))

    def parameters_per_token(self) -> float:
        """Return the number of weights that one token meets, embedding and output head included."""
        table = self.vocabulary_size * self.hidden_size
        ends = table * (1 if self.tied_embeddings else 2)
        return float(ends + self._layer_parameters(active_only=True))

    def kv_bytes_per_token(self, element_bytes: float = 2.0) -> float:
        """Return the KV cache of one token over all layers, as if no layer had a window.

        Args:
            element_bytes: bytes per cached number; 2 for bf16, 1 for fp8.
        """
        elements = sum(run.count * run.attention.kv_elements_per_token() for run in self.layers)
        return elements * element_bytes

    def kv_bytes(self, context_tokens: int, element_bytes: float = 2.0) -> float:
        """Return the cache of one sequence, windows and states of linear attention counted."""
        total = 0.0
        for run in self.layers:
            attention = run.attention
            held = min(context_tokens, attention.window_tokens or context_tokens)
            state = attention.state_bytes_per_sequence or 0
            total += run.count * (held * attention.kv_elements_per_token() * element_bytes + state)
        return total

    def _layer_parameters(self, *, active_only: bool) -> int:
        hidden = self.hidden_size
        entry = sum(each.inputs * each.outputs for each in self.projections)
        return entry + sum(
            run.count
            * (
                run.attention.parameters(hidden)
                + run.ffn.parameters(hidden, active_only=active_only)
            )
            for run in self.layers
        )
