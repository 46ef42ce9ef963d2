"""How the tokens of a step fall on the data-parallel groups and micro-batches of a replica.

A step of the simulation is a *round*: every decoding sequence advances once. A replica with d data
groups and q micro-batches in its pipeline takes it in d·q parts. The largest sets the pace:

- Data groups meet at every mixture layer, so a step is that of the fullest group; a group without
  work runs a dummy batch (vLLM, data parallel deployment).
- Micro-batches follow each other through the stages and cannot overtake, so a round is p stages of
  the largest one, if there are as many as stages. With fewer, stages idle in between; with more, a
  round is longer by what queues.

Of n tokens those that decode, at most the engines' `maximum_sequences` (with drafts, times the
tokens of a sequence), are shared evenly: routers and schedulers balance counts. Prompts are not cut
to fit: the fullest group has a typical prompt, or its share where that is more, and the scheduler
packs it into one micro-batch as far as the token budget of an engine goes. That is the bubble of a
lone prompt, which p stages take one after the other. TensorRT-LLM holds prompts back until all
groups have one: even.

Which of the n tokens decode is not known to a table over n: those above that are taken as a
prompt's. A lone prompt of n tokens is so charged as n less what (1 - 1/dq) of these sequences are.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planner.curves.layout import Parallelism

Array = NDArray[np.float64]

CONTEXT_CV: Final = 0.57
"""Standard deviation over mean of the contexts that decode steps see: prompt and half the output,
weighted by output tokens, in the Azure 2023 conversation trace (CC-BY-4.0)."""

EVEN_ENGINES: Final = ("tensorrt-llm",)
"""Their data groups wait for each other's prompts."""


@dataclass(frozen=True)
class Spread:
    """The groups and micro-batches of a replica, and what a step may hold."""

    data: int
    stages: int
    batches: int
    """Micro-batches in flight."""
    budget: float
    """Tokens of one step of one engine."""
    sequences: float
    """Most of the whole replica."""
    prompt_tokens: float
    """Of a typical prompt."""
    even: bool
    """Whether prompts are shared evenly by the data groups."""
    width: float = 1.0
    """Tokens of a decoding sequence in a full step: with drafts, those verified and its own."""

    @classmethod
    def of(
        cls,
        parallelism: Parallelism,
        token_budget: int,
        maximum_sequences: int,
        prompt_tokens: float,
        engine: str,
        width: float = 1.0,
    ) -> Spread:
        """Return the spread of a replica; budget and sequences are those of all of it."""
        parts = parallelism.data * parallelism.batches
        return cls(
            parallelism.data,
            parallelism.pipeline,
            parallelism.batches,
            token_budget / parts,
            float(maximum_sequences),
            prompt_tokens,
            engine in EVEN_ENGINES,
            width,
        )

    @property
    def pace(self) -> float:
        """Times that a micro-batch's way through all stages fits into a round."""
        return max(1.0, self.batches / self.stages)

    @property
    def parts(self) -> int:
        """Parts of a round among which context and attention work are shared."""
        return self.data * min(self.batches, self.stages)

    def group(self, tokens: Array) -> Array:
        """Return the tokens of the largest micro-batch of the fullest group."""
        return self._largest(tokens, self.data)

    def stage(self, tokens: Array) -> Array:
        """Return the tokens of the largest micro-batch of all groups: those that experts see."""
        return self._largest(tokens, 1) if self.batches > 1 else tokens

    def sampled(self, tokens: Array) -> Array:
        """Return the positions of a micro-batch of one group whose next token is drawn."""
        return self._decoding(tokens) / (self.data * self.batches)

    def longest_context(self, tokens: Array) -> Array:
        """Return by how many typical contexts the group with most context exceeds the mean.

        Counts are balanced, contexts are not: of d groups of m sequences, the largest sum exceeds
        the mean by z·cv·√m, z the largest of d normal values (Blom 1958).
        """
        if self.data == 1 or self.even:
            return np.zeros_like(tokens)
        largest = NormalDist().inv_cdf((self.data - 0.375) / (self.data + 0.25))
        held = self._decoding(tokens) / (self.width * self.data)
        excess: Array = largest * CONTEXT_CV * np.sqrt(held)
        return excess

    def _decoding(self, tokens: Array) -> Array:
        return np.minimum(tokens, self.sequences * self.width)

    def _largest(self, tokens: Array, groups: int) -> Array:
        budget = self.budget * self.data / groups
        if self.batches == 1 and (groups == 1 or self.even):
            return tokens / groups
        decoding = self._decoding(tokens)
        prompts = tokens - decoding
        fullest = prompts / groups
        if not self.even:
            fullest = np.maximum(fullest, np.minimum(prompts, self.prompt_tokens))
        largest: Array = np.minimum(decoding / (groups * self.batches) + fullest, budget)
        return largest


def slowest_stage(layers: int, stages: int) -> float:
    """Return the layers of the longest stage over the mean: layers are not cut.

    >>> slowest_stage(61, 4)
    1.0491803278688525
    """
    return ceil(layers / stages) * stages / layers
