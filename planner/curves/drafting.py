"""What drafting costs, and how much faster speculation makes decoding.

With k drafted tokens and b decoding sequences, a step emits L(k) tokens per sequence and takes

    T(b · (1 + k)) + D(k, b)        instead of  T(b)  for one token each,

so tokens come L(k) · T(b) / (T(b · (1 + k)) + D(k, b)) times as fast (after Leviathan, Kalman and
Matias 2023, theorem 3.8, whose c is one pass of D over T). T is the target's step time with its
context; D depends on what drafts:

- a *model of its own* or a *head* on the target (EAGLE, MTP): a first pass over all tokens of the
  step, so that it knows prompts and what was verified, then one over the decoding sequences for
  each further position, as vLLM runs EAGLE. Only the first, where the head was trained to draft
  all positions at once (P-EAGLE);
- *nothing* on the device (n-gram): the host searches the prompt, sequence after sequence.

A tree of v tokens in k levels is drafted with v/k tokens per sequence and pass. Every pass also
costs a fixed time for launching and for picking a token.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from planner.catalog import Catalog, Chip, Model, Node
from planner.curves.heads import HEADS, head_model, head_share, later_passes
from planner.curves.layout import Dtypes, Parallelism
from planner.curves.speculation import AcceptanceCurve, acceptance
from planner.curves.steptime import StepTime, step_time
from planner.curves.tables import read_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Array = NDArray[np.float64]

PASS_S = 0.3e-3
"""Fixed time of one drafting pass. Estimate: EAGLE-3 heads of Qwen3 1.7B to 8B take 0.37 to 0.57 ms
per pass at one sequence (throughput with and without, AngelSlim benchmarks, vLLM 0.11.2 on H20),
of which reading their weights explains 0.09 to 0.25 ms."""

LOOKUP_S = 20e-6
"""Host time of an n-gram search per sequence and step. Estimate: a vectorised scan of some thousand
token numbers, and assembling the draft."""

_SPEEDUPS = "acceptance_speedup.csv"


@dataclass(frozen=True)
class Drafting:
    """What a step takes to draft, besides the first pass, which depends on all of its tokens."""

    seconds: float
    compute_s: float = 0.0
    """Of it, arithmetic at the chip's peak."""
    memory_s: float = 0.0
    """Of it, memory traffic at the chip's peak."""


@dataclass(frozen=True, eq=False)
class DraftCost:
    """Time that drafting adds to a step."""

    source: str
    first: StepTime | None = None
    """Of the pass over all tokens of a step; None: nothing runs on the device."""
    later: StepTime | None = None
    """Of each further pass."""
    fixed_s: float = 0.0
    """Per pass, whatever it holds."""
    sequence_s: float = 0.0
    """Per sequence and step, on the host."""
    parallel: bool = False
    """The first pass drafts all positions."""
    tier: str = "estimated"

    def passes(self, draft_tokens: int) -> int:
        """Return the passes over the device that a step makes."""
        if self.first is None or not draft_tokens:
            return 0
        return 1 if self.parallel else draft_tokens

    def context_s(self, draft_tokens: int) -> float:
        """Return the seconds per context token of a step's passes, to read the draft's cache."""
        return 0.0 if self.first is None else self.passes(draft_tokens) * self.first.decode_s

    def context_memory_s(self, draft_tokens: int) -> float:
        """Return the memory traffic in `context_s` at the chip's peak."""
        if self.first is None:
            return 0.0
        return self.passes(draft_tokens) * self.first.decode_memory_s

    def drafting(
        self, draft_tokens: int, sequences: int, verified_tokens: int | None = None
    ) -> Drafting:
        """Return what drafting adds to a step, besides the first pass and what contexts take.

        Args:
            draft_tokens: k, drafted one after the other.
            sequences: b, that decode.
            verified_tokens: v, per sequence, of a tree; None: a chain of k.

        Raises:
            ValueError: a count is negative.

        """
        if draft_tokens < 0 or sequences < 0:
            raise ValueError(f"counts must not be negative: {draft_tokens} and {sequences}")
        if not draft_tokens or not sequences:
            return Drafting(0.0)
        passes = self.passes(draft_tokens)
        fixed = passes * self.fixed_s + sequences * self.sequence_s
        if self.later is None or passes < 2:
            return Drafting(fixed)
        tokens = ceil(sequences * (verified_tokens or draft_tokens) / draft_tokens)
        return Drafting(
            fixed + (passes - 1) * _at(self.later.linear_s, tokens),
            (passes - 1) * _at(self.later.compute_s, tokens),
            (passes - 1) * _at(self.later.memory_s, tokens),
        )

    def seconds(self, draft_tokens: int, sequences: int, context_tokens: float = 0.0) -> float:
        """Return the seconds that drafting a chain for each sequence adds to a step of decodes.

        Args:
            draft_tokens: k.
            sequences: b.
            context_tokens: of the sequences, summed.

        Raises:
            ValueError: a count is negative.

        """
        drafting = self.drafting(draft_tokens, sequences)
        if self.first is None or not draft_tokens or not sequences:
            return drafting.seconds
        over = _at(self.first.linear_s, sequences * (1 + draft_tokens))
        return over + drafting.seconds + self.context_s(draft_tokens) * context_tokens


def model_cost(
    draft: Model,
    chip: Chip,
    node: Node,
    parallelism: Parallelism,
    dtypes: Dtypes,
    *,
    parallel: bool = False,
    source: str = "",
    sequence_tokens: float = 1.0,
    **options: Any,
) -> DraftCost:
    """Return the cost of a draft model, or of a head as one, on the target's own devices.

    It is spread as the target is, but over no pipeline; its loop runs without the engine's
    scheduler.

    Args:
        draft: the model.
        chip: of the replica.
        node: of the replica.
        parallelism: of the replica.
        dtypes: of the draft.
        parallel: one pass drafts all positions.
        source: what the cost stands on; empty: the draft's step time.
        sequence_tokens: of a decoding sequence in the first pass.
        options: of `step_time`.

    """
    spread = replace(parallelism, pipeline=1, micro_batches=None)
    options = {"token_budget": 512} | options
    first, later = (
        step_time(each, chip, node, spread, dtypes, sequence_tokens=width, **options)
        for each, width in ((draft, sequence_tokens), (later_passes(draft), 1.0))
    )
    return DraftCost(source or f"step time of {draft.name}", first, later, PASS_S, 0.0, parallel)


def head_cost(
    target: Model,
    chip: Chip,
    node: Node,
    parallelism: Parallelism,
    method: str = "eagle3",
    *,
    vocabulary: int | None = None,
    dtypes: Dtypes | None = None,
    **options: Any,
) -> DraftCost:
    """Return the cost of a head on the target's own devices.

    Args:
        target: the model that it drafts for.
        chip: of the replica.
        node: of the replica.
        parallelism: of the replica.
        method: one of `HEADS`.
        vocabulary: tokens that it can draft; None: as usual for its kind.
        dtypes: of the head; None: 16 bits, as most published ones.
        options: of `model_cost`.

    """
    kind = HEADS[method]
    head = head_model(target, kind, vocabulary=vocabulary, stages=parallelism.pipeline)
    return model_cost(
        head,
        chip,
        node,
        parallelism,
        dtypes or Dtypes(),
        parallel=kind.parallel,
        source=head_source(target, method),
        **options,
    )


def head_source(target: Model, method: str) -> str:
    """Return what a head's cost stands on, for people.

    A reduced vocabulary other than the usual one is left aside.
    """
    head = HEADS[method]
    share = head_share(target, head)
    layers = f"{head.layers} layer{'s' * (head.layers > 1)}"
    return f"{layers} and output head: {share:.1%} of {target.name}"


def lookup_cost(sequence_s: float = LOOKUP_S, groups: int = 1) -> DraftCost:
    """Return the cost of n-gram drafts: host time only, `sequence_s` per sequence and step.

    Each data-parallel group searches for its own sequences, at the same time as the others. Ranks
    of tensor parallelism all do the same search
    (https://github.com/vllm-project/vllm/pull/24986).
    """
    return DraftCost(f"host search, {sequence_s:.1e} s each", sequence_s=sequence_s / groups)


def speed_up(
    curve: AcceptanceCurve,
    draft_tokens: int,
    target: StepTime,
    cost: DraftCost,
    sequences: int,
    context_tokens: float = 0.0,
) -> float:
    """Return tokens per second with speculation over those without; the module has the formula.

    Args:
        curve: acceptance of the drafts.
        draft_tokens: k.
        target: step time of the target; its table must reach sequences · (1 + k) tokens.
        cost: of drafting.
        sequences: b, decoding sequences of the replica.
        context_tokens: mean context of a sequence.

    Raises:
        ValueError: the verified tokens exceed the target's table.

    """
    verified = sequences * (1 + draft_tokens)
    if verified >= target.linear_s.size:
        raise ValueError(
            f"{sequences} sequences with {draft_tokens} drafted tokens verify {verified} tokens; "
            f"the step time covers {target.linear_s.size - 1}: give it a larger token budget"
        )
    context = sequences * context_tokens
    alone = target.step_s(sequences, sequences, context)
    together = target.step_s(verified, sequences, context)
    together += cost.seconds(draft_tokens, sequences, context)
    return curve.length(draft_tokens) * alone / together


# --- against measurements ------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """A measured speed-up beside the expected one."""

    method: str
    model: str
    chip: str
    task: str
    concurrency: int
    draft_tokens: int
    over: str
    """What the speed-up is over: none (no speculation), or eagle3."""
    measured: float
    expected: float
    source: str

    @property
    def error(self) -> float:
        """Expected over measured, less one."""
        return self.expected / self.measured - 1.0


@dataclass(frozen=True)
class _Setup:
    """What a measurement ran on, where the table does not say."""

    model: str
    dtypes: Dtypes
    context_tokens: float
    head_vocabulary: int | None = None
    """Of the EAGLE-3 head, where it is known to differ from most."""


_SETUPS = {
    "kimi-k2.6": _Setup("kimi-k2", Dtypes("fp4"), 2000.0, 163_840),
    "gpt-oss-20b": _Setup("gpt-oss-20b", Dtypes("fp4", "fp8", "fp8"), 1000.0),
    "llama-3.1-8b": _Setup("llama-3.1-8b", Dtypes(), 500.0),
}
"""Shape in the catalogue (Kimi K2.6 has that of K2), formats of the command line published with the
figures, and an assumed mean context. The head of Kimi K2.6 drafts every token: only so has it the 3
billion parameters of its model card, and the configuration of one for K2.5 says the same
(https://huggingface.co/lightseekorg/kimi-k2.6-eagle3.1-mla,
https://huggingface.co/k-l-lambda/Kimi-K2.5-Eagle3)."""


def compare_speedups(catalog: Catalog) -> Iterator[Comparison]:
    """Yield every measured speed-up that states concurrency and chip, beside the expected one.

    None of them was used to set `PASS_S`. The AngelSlim rows, which were, are left out.
    """
    known: dict[tuple[str, ...], tuple[StepTime, DraftCost]] = {}
    for row in read_table(_SPEEDUPS):
        setup = _SETUPS.get(row["model"])
        if setup is None or row["chip"] not in catalog.chips or not row["concurrency"]:
            continue
        sequences = int(row["concurrency"])
        drafted = int(row["draft_tokens"] or 3)
        expected = 1.0
        for method, k, sign in ((row["method"], drafted, 1), (row["over"], 3, -1)):
            if method == "none":
                continue
            place = (row["model"], row["chip"], row["tensor_parallel"], row["engine"], method)
            if place not in known:
                known[place] = _times(row, setup, catalog, method)
            curve = acceptance(method, row["model"], row["task"])
            step, cost = known[place]
            expected *= speed_up(curve, k, step, cost, sequences, setup.context_tokens) ** sign
        yield Comparison(
            method=row["method"],
            model=row["model"],
            chip=row["chip"],
            task=row["task"],
            concurrency=sequences,
            draft_tokens=drafted,
            over=row["over"],
            measured=float(row["speedup"]),
            expected=expected,
            source=row["source"],
        )


def _times(
    row: Mapping[str, str], setup: _Setup, catalog: Catalog, method: str
) -> tuple[StepTime, DraftCost]:
    """Return the step time of the model of a row, and what a head of a method costs there."""
    model, chip = catalog.model(setup.model), catalog.chip(row["chip"])
    node = next(node for node in catalog.nodes.values() if node.chip == chip.name)
    spread = Parallelism(tensor=int(row["tensor_parallel"]))
    step = step_time(
        model, chip, node, spread, setup.dtypes, token_budget=1024, engine=row["engine"]
    )
    return step, head_cost(model, chip, node, spread, method, vocabulary=setup.head_vocabulary)


def _at(table: Array, tokens: int) -> float:
    """Return a table's entry; beyond it the last slope goes on, for arithmetic is linear there."""
    last = table.size - 1
    if tokens <= last:
        return float(table[tokens])
    return float(table[last] + (tokens - last) * (table[last] - table[last - 1]))
