"""What drafting costs, and how much faster speculation makes decoding.

With k drafted tokens and b decoding sequences, a step emits L(k) tokens per sequence and takes

    T(b · (1 + k)) + D(k, b)        instead of  T(b)  for one token each,

so tokens come L(k) · T(b) / (T(b · (1 + k)) + D(k, b)) times as fast (after Leviathan, Kalman and
Matias 2023, theorem 3.8, whose c is one pass of D over T). T is the target's step time with its
context; D depends on what drafts:

- a *model of its own*: k passes, each of its own step time;
- a *head* on the target (EAGLE, MTP): k passes through one layer and the output head, or a single
  pass for all positions where the head was trained for that (P-EAGLE);
- *nothing* on the device (n-gram): the host searches the prompt, sequence after sequence.

Every pass also costs a fixed time for launching and for picking a token.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from planner.catalog import Catalog, Chip, Model, Node
from planner.curves.heads import head_model, head_share
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


@dataclass(frozen=True, eq=False)
class DraftCost:
    """Time that drafting adds to a step."""

    kind: str
    """model, head or host."""
    pass_s: Array
    """One pass over n tokens, n = 0, 1, … (the last entry goes on); empty for `host`."""
    fixed_s: float
    """Per pass, whatever it holds."""
    sequence_s: float
    """Per sequence and step, on the host."""
    parallel: bool
    """One pass drafts all positions."""
    source: str
    tier: str = "estimated"
    context_s: float = 0.0
    """Per pass and context token, to read its own cache."""

    def passes(self, draft_tokens: int) -> int:
        """Return the passes over the device that a step makes."""
        if not self.pass_s.size or not draft_tokens:
            return 0
        return 1 if self.parallel else draft_tokens

    def pass_over(self, tokens: int) -> float:
        """Return the seconds of one pass over `tokens` tokens, without its fixed time."""
        if not self.pass_s.size:
            return 0.0
        one = float(self.pass_s[min(tokens, self.pass_s.size - 1)])
        # beyond the table the last entries' slope goes on: arithmetic is linear there
        beyond = tokens - (self.pass_s.size - 1)
        if beyond > 0 and self.pass_s.size > 1:
            one += beyond * float(self.pass_s[-1] - self.pass_s[-2])
        return one

    def seconds(self, draft_tokens: int, sequences: int) -> float:
        """Return the seconds that drafting `draft_tokens` for each of `sequences` adds to a step.

        Raises:
            ValueError: a count is negative.

        """
        if draft_tokens < 0 or sequences < 0:
            raise ValueError(f"counts must not be negative: {draft_tokens} and {sequences}")
        if not draft_tokens or not sequences:
            return 0.0
        tokens = sequences * draft_tokens if self.parallel else sequences
        one = self.pass_over(tokens) + self.fixed_s
        return self.passes(draft_tokens) * one + self.sequence_s * sequences


def head_cost(
    target: Model,
    chip: Chip,
    node: Node,
    parallelism: Parallelism,
    *,
    layers: int = 1,
    like_target: bool = False,
    weight_dtype: str = "bf16",
    parallel: bool = False,
    tokens: int = 512,
) -> DraftCost:
    """Return the cost of a head on the target's own devices.

    Args:
        target: the model that it drafts for.
        chip: of the replica.
        node: of the replica.
        parallelism: of the replica; the head is spread as the target is.
        layers: as for `head_model`.
        like_target: as for `head_model`.
        weight_dtype: published heads are mostly bf16.
        parallel: one pass drafts all positions.
        tokens: length of the table, tokens per pass.

    """
    head = head_model(target, layers=layers, like_target=like_target)
    share = head_share(target, layers=layers, like_target=like_target)
    spread = replace(parallelism, pipeline=1, micro_batches=None)
    step = step_time(head, chip, node, spread, Dtypes(weight=weight_dtype), token_budget=tokens)
    source = f"{layers} layer{'s' * (layers > 1)} and output head: {share:.1%} of {target.name}"
    return _cost("head", step, parallel, source)


def model_cost(
    draft: Model,
    chip: Chip,
    node: Node,
    parallelism: Parallelism,
    dtypes: Dtypes,
    *,
    tokens: int = 512,
) -> DraftCost:
    """Return the cost of a draft model on the target's own devices; arguments as for step times."""
    step = step_time(draft, chip, node, parallelism, dtypes, token_budget=tokens)
    return _cost("model", step, False, f"step time of {draft.name}")


def lookup_cost(sequence_s: float = LOOKUP_S) -> DraftCost:
    """Return the cost of n-gram drafts: host time only, `sequence_s` per sequence and step."""
    return DraftCost(
        "host", np.zeros(0), 0.0, sequence_s, False, f"host search, {sequence_s:.1e} s each"
    )


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
    together = target.step_s(verified, sequences, context) + cost.seconds(draft_tokens, sequences)
    together += cost.passes(draft_tokens) * cost.context_s * context
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
    head_layers: int = 1


_SETUPS = {
    "kimi-k2.6": _Setup("kimi-k2", Dtypes("fp4"), 2000.0),
    "gpt-oss-20b": _Setup("gpt-oss-20b", Dtypes("fp4", "fp8", "fp8"), 1000.0, 4),
    "llama-3.1-8b": _Setup("llama-3.1-8b", Dtypes(), 500.0),
}
"""Shape in the catalogue (Kimi K2.6 has that of K2), formats of the command line published with the
figures, and an assumed mean context."""


def compare_speedups(catalog: Catalog) -> Iterator[Comparison]:
    """Yield every measured speed-up that states concurrency and chip, beside the expected one.

    None of them was used to set `PASS_S`. The AngelSlim rows, which were, are left out.
    """
    for row in read_table(_SPEEDUPS):
        setup = _SETUPS.get(row["model"])
        if setup is None or row["chip"] not in catalog.chips or not row["concurrency"]:
            continue
        sequences = int(row["concurrency"])
        drafted = int(row["draft_tokens"] or 3)
        expected = _expected(row, setup, catalog, row["method"], drafted)
        if row["over"] != "none":
            expected /= _expected(row, setup, catalog, row["over"], 3)
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


def _expected(
    row: Mapping[str, str], setup: _Setup, catalog: Catalog, method: str, drafted: int
) -> float:
    model, chip = catalog.model(setup.model), catalog.chip(row["chip"])
    node = next(node for node in catalog.nodes.values() if node.chip == chip.name)
    spread = Parallelism(tensor=int(row["tensor_parallel"]))
    step = step_time(
        model, chip, node, spread, setup.dtypes, token_budget=1024, engine=row["engine"]
    )
    parallel = method == "p-eagle"
    cost = head_cost(
        model, chip, node, spread, layers=setup.head_layers if parallel else 1, parallel=parallel
    )
    curve = acceptance(method, row["model"], row["task"])
    return speed_up(curve, drafted, step, cost, int(row["concurrency"]), setup.context_tokens)


def _cost(kind: str, step: StepTime, parallel: bool, source: str) -> DraftCost:
    """Return the cost of passes of a model whose loop runs without the engine's scheduler."""
    return DraftCost(kind, step.linear_s, PASS_S, 0.0, parallel, source, context_s=step.decode_s)
