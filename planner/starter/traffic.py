"""The traffic of a first scenario: how many requests, how long, and how that is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from planner.trace.library import load_length_preset, load_shape

PEAK_SHAPE = "azure-2024-conversation-weekday"
"""From requests per day to the busiest hour: the weekday of a large public chat service."""
REASONING = "servegen-deepseek-r1-reasoning"
"""Hidden reasoning before an answer, where a share of requests does reason."""
SIGMA = 1.0
"""Spread of the logarithm of lengths known by their mean only: between those of public traces."""
_MEDIAN_TO_MEAN = 1.6487212707001282
"""Of a lognormal with that spread: exp(σ²/2)."""
_DAY_S = 86400.0


@dataclass(frozen=True)
class Length:
    """A length in tokens: its mean, and how a scenario says it."""

    mean: float
    yaml: str
    source: str
    """What it stands on, in words."""


@dataclass(frozen=True)
class Traffic:
    """What arrives.

    Args:
        rate_rps: requests per second of the hour that is simulated.
        rate_source: where that number is from, in words.
        input, output: lengths of prompts and answers.
        reasoning: length of hidden reasoning, of the share below.
        reasoning_share: of the requests, those that reason.
        trace: file that is replayed, in place of rates and lengths.
        duration_s: that is simulated.
    """

    rate_rps: float
    rate_source: str
    input: Length
    output: Length
    reasoning: Length | None = None
    reasoning_share: float = 0.0
    trace: Path | None = None
    duration_s: float = 3600.0
    notes: tuple[str, ...] = field(default=())

    @property
    def emitted_tokens(self) -> float:
        """Tokens that a request makes the model write, in the mean."""
        hidden = self.reasoning.mean if self.reasoning else 0.0
        return self.output.mean + self.reasoning_share * hidden


def length_of(preset: str) -> Length:
    """Return a shipped length distribution."""
    found = load_length_preset(preset)
    return Length(found.mean, f"{{preset: {preset}}}", _short(found.origin))


def _short(origin: str) -> str:
    """Return the name of a data set without its particulars, which `planner trace` knows.

    >>> _short("WildChat (529,428 conversations): published statistics; Zhao et al., ICLR 2024")
    'WildChat'
    """
    return origin.partition(";")[0].partition(",")[0].partition(" (")[0].partition(":")[0]


def length_around(mean: float) -> Length:
    """Return a lognormal of that mean, which is all that is known of it.

    >>> length_around(1000).yaml
    '{lognormal_mixture: [{weight: 1, median: 607, sigma: 1}]}'
    """
    median = mean / _MEDIAN_TO_MEAN
    text = f"{{lognormal_mixture: [{{weight: 1, median: {median:.0f}, sigma: {SIGMA:g}}}]}}"
    return Length(mean, text, f"of mean {mean:,.0f}; the spread is an assumption")


def traffic_of(
    *,
    lengths: str | None,
    rate_rps: float | None = None,
    requests_per_day: float | None = None,
    input_tokens: float | None = None,
    output_tokens: float | None = None,
    reasoning_share: float = 0.0,
) -> Traffic:
    """Return the busiest hour of a service.

    Args:
        lengths: a family of shipped lengths, for what is not given by its mean; None: both are.
        rate_rps: requests per second in that hour.
        requests_per_day: of a weekday, from which that hour follows.
        input_tokens: mean length of a prompt.
        output_tokens: mean length of an answer.
        reasoning_share: of the requests.
    """
    if rate_rps is None:
        assert requests_per_day is not None
        peak = load_shape(PEAK_SHAPE).peak_to_mean
        rate_rps = requests_per_day / _DAY_S * peak
        source = (
            f"the busiest hour of {requests_per_day:,.0f} requests a day, {peak:.2f} times the "
            f"mean as in {PEAK_SHAPE}"
        )
    else:
        source = "the busiest hour, as given"
    reasoning = length_of(REASONING) if reasoning_share else None
    return Traffic(
        rate_rps=float(f"{rate_rps:.4g}"),
        rate_source=source,
        input=_length(input_tokens, f"{lengths}-input"),
        output=_length(output_tokens, f"{lengths}-output"),
        reasoning=reasoning,
        reasoning_share=reasoning_share,
    )


def _length(mean: float | None, preset: str) -> Length:
    return length_of(preset) if mean is None else length_around(mean)


def traffic_from_trace(path: Path) -> Traffic:
    """Return the traffic of a recorded trace, measured by reading it once.

    Raises:
        TraceError: it cannot be read, or rows make no sense.
    """
    from planner.trace import open_trace
    from planner.trace.stats import trace_stats

    source = open_trace(path)
    found = trace_stats(source, source.class_names)
    means = [found.input_tokens.mean, found.output_tokens.mean + found.reasoning_tokens.mean]
    words = f"measured on {found.requests:,} requests of {path.name}"
    lengths = [Length(mean, "", words) for mean in means]
    return Traffic(
        rate_rps=found.rate_rps,
        rate_source=f"the mean of {path.name}, format {source.format}",
        input=lengths[0],
        output=lengths[1],
        trace=path,
        duration_s=max(1.0, float(int(found.last_arrival_s) + 1)),
        notes=tuple(source.notes),
    )
