"""Derive the shipped shapes and length distributions from the public traces.

    python traces/derive_presets.py DATA_FOLDER [OUTPUT_FOLDER]

`DATA_FOLDER` holds the `traces` folder described in `planner/trace/data/README.md`; the two YAML
files are written to `OUTPUT_FOLDER`, by default `planner/trace/data`. Same data, same bytes.
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

PROBABILITIES = [
    0, 0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2, 0.225, 0.25,
    0.275, 0.3, 0.325, 0.35, 0.375, 0.4, 0.425, 0.45, 0.475, 0.5, 0.525, 0.55, 0.575, 0.6, 0.625,
    0.65, 0.675, 0.7, 0.725, 0.75, 0.775, 0.8, 0.825, 0.85, 0.875, 0.9, 0.925, 0.95, 0.96, 0.97,
    0.98, 0.985, 0.99, 0.993, 0.996, 0.998, 0.999, 0.9995, 0.9999, 1,
]  # fmt: skip

AZURE_2023 = {
    "origin": "Azure LLM inference trace 2023 (one hour of two services, 2023-11-16); Patel et "
    "al., Splitwise, ISCA 2024",
    "url": "https://github.com/Azure/AzurePublicDataset",
    "licence": "CC-BY-4.0",
}
AZURE_2024 = {
    "origin": "Azure LLM inference trace 2024 (one week, May 2024), digitized from the plots of "
    "its notebook; Stojkovic et al., DynamoLLM, HPCA 2025",
    "url": "https://github.com/Azure/AzurePublicDataset",
    "licence": "CC-BY-4.0",
}
BURSTGPT = {
    "origin": "BurstGPT, hourly medians digitized from its figures; Wang et al., arXiv:2401.17644",
    "url": "https://github.com/HPMLL/BurstGPT",
    "licence": "CC-BY-4.0",
}
DEEPSEEK = {
    "origin": "DeepSeek-V3/R1 inference system overview, 2025-02-27/28: hourly theoretical income, "
    "digitized, as a measure of demand",
    "url": "https://github.com/deepseek-ai/open-infra-index",
    "licence": "CC0-1.0",
}
MOONCAKE = {
    "origin": "Mooncake conversation trace (one hour of Kimi traffic); Qin et al., FAST 2025",
    "url": "https://github.com/kvcache-ai/Mooncake",
    "licence": "Apache-2.0",
}
SERVEGEN = {
    "origin": "ServeGen, production workloads of Alibaba Cloud Model Studio; Xiang et al., "
    "NSDI 2026",
    "url": "https://github.com/alibaba/ServeGen",
    "licence": "Apache-2.0",
}
MLPERF = {
    "origin": "MLPerf Inference v4.1 to v6.0, output lengths of the TEST06 accuracy logs",
    "url": "https://github.com/mlcommons/inference_results_v5.1",
    "licence": "Apache-2.0",
}
LMCACHE = {
    "origin": "LMCache agent trace: 69 sessions of coding and tool agents; 4 characters per token",
    "url": "https://github.com/LMCache/lmcache-agent-trace",
    "licence": "Apache-2.0",
}
WILDCHAT = {
    "origin": "WildChat (529,428 conversations): published statistics; Zhao et al., ICLR 2024",
    "url": "https://huggingface.co/datasets/allenai/WildChat",
    "licence": "ODC-BY-1.0 (data set); the statistics are cited facts",
}
SHAPE_SOURCES = {
    "azure-2024": AZURE_2024,
    "burstgpt": BURSTGPT,
    "deepseek": DEEPSEEK,
    "servegen": SERVEGEN,
}
LENGTH_SOURCES = {
    "azure-2023": AZURE_2023,
    "azure-2024": AZURE_2024,
    "lmcache": LMCACHE,
    "mlperf": MLPERF,
    "mooncake": MOONCAKE,
    "servegen": SERVEGEN,
    "wildchat": WILDCHAT,
}


# --- lengths -------------------------------------------------------------------------------------


def preset(
    title: str,
    source: str,
    values: NDArray[Any],
    weights: NDArray[Any] | None = None,
    note: str = "",
) -> dict[str, Any]:
    """Return the entry of a distribution given by observed values, or values and their weights."""
    order = np.argsort(values, kind="stable")
    values = np.asarray(values, dtype=float)[order]
    mass = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=float)[order]
    cumulative = np.cumsum(mass)
    places = np.searchsorted(cumulative, np.array(PROBABILITIES) * cumulative[-1])
    tokens = values[np.clip(places, 0, len(values) - 1)]
    entry = {
        "title": title,
        "source": source,
        "requests": round(float(cumulative[-1])),
        "mean": round(float(np.sum(values * mass) / cumulative[-1]), 2),
        "tokens": [round(token) for token in tokens.tolist()],
    }
    return entry | ({"note": note} if note else {})


def azure_2023(traces: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield presets of the Azure 2023 traces."""
    for service, name in (("conversation", "conv"), ("code", "code")):
        frame = pd.read_csv(traces / "azure_2023" / f"AzureLLMInferenceTrace_{name}.csv")
        for side, column in (("input", "ContextTokens"), ("output", "GeneratedTokens")):
            title = f"{service} service, {side} tokens"
            yield (
                f"azure-2023-{service}-{side}",
                preset(title, "azure-2023", frame[column].to_numpy()),
            )


def azure_2024(traces: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield presets of the digitized quantiles; the output of the coding service is too coarse."""
    frame = pd.read_csv(traces / "azure_2024_digitized" / "token_quantiles.csv")
    totals = {"Conversation": 27_303_999, "Coding": 16_803_695}
    for service, side, column in (
        ("Conversation", "input", "ContextTokens"),
        ("Conversation", "output", "GeneratedTokens"),
        ("Coding", "input", "ContextTokens"),
    ):
        rows = frame[(frame.trace == service) & (frame.field == column)]
        probabilities = (rows.quantile_pct / 100).round(4).tolist()
        tokens = rows.tokens_digitized.clip(lower=1).tolist()
        middle = np.interp(np.linspace(0, 1, 100_001), probabilities, tokens)
        yield (
            f"azure-2024-{service.lower()}-{side}",
            {
                "title": f"{service.lower()} service, {side} tokens",
                "source": "azure-2024",
                "requests": totals[service],
                "mean": round(float(middle.mean()), 1),
                "probabilities": probabilities,
                "tokens": tokens,
                "note": "read off a plot, within 18 tokens; the tail ends at p99; the mean is that "
                "of the quantiles",
            },
        )


def mooncake(traces: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield presets of the Mooncake conversation trace."""
    frame = pd.read_json(traces / "mooncake" / "conversation_trace.jsonl", lines=True)
    for side in ("input", "output"):
        title = f"long-context chat (Kimi), {side} tokens"
        yield (
            f"mooncake-conversation-{side}",
            preset(title, "mooncake", frame[f"{side}_length"].to_numpy()),
        )


def servegen(traces: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield presets of the four ServeGen language models."""
    missing = {"m-large": 37, "m-mid": 29, "m-small": 57}
    for model in ("m-large", "m-mid", "m-small", "deepseek-r1"):
        for side in ("input", "output"):
            frame = pd.read_csv(traces / "servegen" / f"{model}_{side}_tokens_pmf.csv")
            title = f"{model}, {side} tokens"
            if model == "deepseek-r1" and side == "output":
                title += " (reasoning and answer)"
            note = (
                f"clients with {missing[model]}% of the requests published no lengths"
                if model in missing
                else ""
            )
            values, weights = frame["value"].to_numpy(), frame["weight_requests"].to_numpy()
            yield f"servegen-{model}-{side}", preset(title, "servegen", values, weights, note)
    reasoning, answer = reasoning_split(traces / "servegen" / "raw" / "reason_deepseek-r1.tar.gz")
    note = "output times the share of reasoning, taken as independent within a client's window"
    for name, counts in (("reasoning", reasoning), ("answer", answer)):
        title = f"deepseek-r1, {name} tokens"
        yield (
            f"servegen-deepseek-r1-{name}",
            preset(title, "servegen", np.arange(len(counts)), counts, note),
        )


def reasoning_split(archive: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weights of each number of reasoning tokens and of answer tokens."""
    from planner.trace.readers.reading import Reading
    from planner.trace.readers.rows import ClassNames
    from planner.trace.readers.servegen import read

    totals = (np.zeros(1 << 16), np.zeros(1 << 16))
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        client = next(Path(folder).rglob("chunk-*-trace.csv"))
        for block in read(Reading(client.parent, ClassNames(()))):
            thought = block.rows["reasoning_tokens"]
            answered = block.rows["output_tokens"] - thought
            for counts, tokens in zip(totals, (thought, answered), strict=True):
                counts[:] += np.bincount(tokens, minlength=len(counts))
    return totals


def mlperf(traces: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield presets of the MLPerf models: mean length per prompt over the submitters."""
    folder = traces / "mlperf_output_lengths"
    frame = pd.read_csv(folder / "mlperf_test06_output_lengths.csv.gz")
    tasks = {
        "deepseek-r1": "maths, science and code, reasoning and answer",
        "llama2-70b": "chat (OpenOrca)",
        "llama3.1-405b": "long context",
        "mixtral-8x7b": "chat, maths and code",
    }
    for model, task in tasks.items():
        rows = frame[frame.benchmark.str.startswith(model)]
        note = "reasoning is cut at 20,000 tokens" if model == "deepseek-r1" else ""
        title = f"{model}, {task}, output tokens"
        yield (
            f"mlperf-{model}-output",
            preset(title, "mlperf", rows.token_count.to_numpy(), note=note),
        )


def agent(traces: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield presets of agent sessions: what a step answers, and steps per session."""
    frame = pd.read_csv(traces / "lmcache_agent" / "agent_steps_lengths.csv")
    characters_per_token = 4
    tokens = np.rint(frame.output_chars.clip(lower=characters_per_token) / characters_per_token)
    title = "coding and tool agents, output tokens of a step"
    yield "agent-output", preset(title, "lmcache", tokens.to_numpy())
    steps = frame.groupby("session").size().to_numpy()
    yield "agent-turns", preset("coding and tool agents, steps per session", "lmcache", steps)
    yield from swe_agent(frame[frame.agent == "miniswe"], characters_per_token)


def swe_agent(frame: pd.DataFrame, characters_per_token: int) -> Iterator[tuple[str, Any]]:
    """Yield presets of the software engineering agent of the trace (mini-SWE-agent).

    The steps of a session belong to several lines of work. A step continues the one whose prompt is
    the longest that it repeats; what is new in it, less the output of that step, came from a tool.
    """
    tools: list[float] = []
    for _, steps in frame.sort_values("step").groupby("session"):
        ends: list[Any] = []
        for step in steps.itertuples():
            shared = step.prefix_chars_shared_with_earlier_step
            begun = [end for end in ends if end.input_chars <= shared]
            before = max(begun, key=lambda end: end.input_chars, default=None)
            if before is not None:
                ends.remove(before)
                tools.append(step.input_chars - before.input_chars - before.output_chars)
            ends.append(step)

    def tokens(characters: Any) -> NDArray[Any]:
        return np.maximum(np.rint(np.asarray(characters) / characters_per_token), 1)

    def named(what: str) -> str:
        return f"software engineering agent (mini-SWE-agent), {what}"

    first = frame[frame.step == 0].input_chars
    calls = frame.groupby("session").size().to_numpy()
    note = "what a prompt grows by beyond the recorded output, at least one token"
    yield "swe-agent-calls", preset(named("calls per session"), "lmcache", calls)
    yield "swe-agent-first-input", preset(named("first prompt"), "lmcache", tokens(first))
    yield "swe-agent-output", preset(named("output"), "lmcache", tokens(frame.output_chars))
    yield "swe-agent-tool", preset(named("tool result"), "lmcache", tokens(tools), note=note)


def wildchat() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield turns per conversation from the published figures.

    57.9% have one turn, 87.6% fewer than five; p90 5, p99 13. Nothing is published beyond p99: the
    longest is taken to have 24 turns.
    """
    yield (
        "wildchat-turns",
        {
            "title": "turns per chat conversation",
            "source": "wildchat",
            "requests": 529_428,
            "mean": 2.35,
            "probabilities": [0, 0.579, 0.579, 0.876, 0.9, 0.99, 1],
            "tokens": [1, 1, 1.5, 4.5, 5, 13, 24],
            "note": "quantiles as published, log-linear between; that gives a mean of 2.43",
        },
    )


# --- shapes --------------------------------------------------------------------------------------

FLATTER = "a mean of days is flatter than any one: the busiest hour of 14 days is {} times the mean"


def shapes(traces: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every shape."""
    daily = pd.read_csv(traces / "diurnal_24h_multipliers.csv", index_col="series")
    hours = [f"h{hour:02d}" for hour in range(24)]
    for name, title, source, series, zone, note in (
        ("deepseek-2025-day", "chat and API of DeepSeek, one day", "deepseek",
         "DeepSeek V3/R1 production token-revenue (UTC+8)", "UTC+8",
         "income, so tokens, not requests"),
        ("azure-2024-conversation-weekday", "conversation service, mean weekday", "azure-2024",
         "Azure2024 conversation weekday (UTC)", "UTC", ""),
        ("azure-2024-conversation-weekend", "conversation service, mean weekend day", "azure-2024",
         "Azure2024 conversation weekend (UTC)", "UTC", ""),
        ("azure-2024-coding-weekday", "coding service, mean weekday", "azure-2024",
         "Azure2024 coding weekday (UTC)", "UTC", ""),
        ("azure-2024-coding-weekend", "coding service, mean weekend day", "azure-2024",
         "Azure2024 coding weekend (UTC)", "UTC", ""),
        ("burstgpt-chatgpt-conversation-day", "campus chat service on GPT-3.5", "burstgpt",
         "BurstGPT ChatGPT_conv (weekday+weekend medians, local China time)", "UTC+8",
         "medians of the hours"),
        ("burstgpt-gpt4-conversation-day", "campus chat service on GPT-4", "burstgpt",
         "BurstGPT GPT4_conv (weekday+weekend medians, local China time)", "UTC+8",
         "medians of the hours"),
        ("servegen-m-large-day", "m-large, mean of 14 days", "servegen",
         "ServeGen m-large 14d mean (UTC+8)", "UTC+8",
         FLATTER.format("1.86")),
        ("servegen-m-mid-day", "m-mid, mean of 14 days", "servegen",
         "ServeGen m-mid 14d mean (UTC+8)", "UTC+8",
         FLATTER.format("1.83")),
        ("servegen-m-small-day", "m-small, mean of 14 days", "servegen",
         "ServeGen m-small 14d mean (UTC+8)", "UTC+8",
         FLATTER.format("2.06")),
        ("servegen-deepseek-r1-day", "deepseek-r1, one day", "servegen",
         "ServeGen deepseek-r1 1d mean (UTC+8)", "UTC+8", "a single day"),
    ):  # fmt: skip
        yield name, shape(title, source, daily.loc[series, hours].to_numpy(float), zone, note)
    for service in ("conversation", "coding"):
        frame = pd.read_csv(
            traces / "azure_2024_digitized" / f"{service}_hourly.csv",
            parse_dates=["hour_start_utc"],
        )
        start = frame.hour_start_utc.dt
        frame = frame.assign(place=start.day_of_week * 24 + start.hour).sort_values("place")
        rate = frame.requests_per_minute.to_numpy(float)
        yield (
            f"azure-2024-{service}-week",
            shape(f"{service} service, one week", "azure-2024", rate, "UTC", ""),
        )


def shape(
    title: str, source: str, rate: NDArray[np.float64], zone: str, note: str
) -> dict[str, Any]:
    """Return the entry of a shape, scaled to mean 1."""
    entry = {
        "title": title,
        "source": source,
        "time_zone": zone,
        "hourly": [round(value, 4) for value in (rate / rate.mean()).tolist()],
    }
    return entry | ({"note": note} if note else {})


# --- writing -------------------------------------------------------------------------------------


def write(path: Path, head: str, data: dict[str, Any]) -> None:
    """Write YAML with lists on one line."""

    class Dumper(yaml.SafeDumper):
        pass

    def flow_list(dumper: yaml.SafeDumper, value: list[Any]) -> yaml.Node:
        return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)

    Dumper.add_representer(list, flow_list)
    text = yaml.dump(data, Dumper=Dumper, sort_keys=False, width=100, allow_unicode=True)
    path.write_text(head + text, encoding="utf-8")


def main(arguments: list[str]) -> None:
    """Read the data folder and write both files."""
    traces = Path(arguments[0]) / "traces"
    default = Path(__file__).parents[1] / "planner" / "trace" / "data"
    output = Path(arguments[1]) if len(arguments) > 1 else default
    lengths: dict[str, Any] = {}
    for presets in (azure_2023, azure_2024, mooncake, servegen, mlperf, agent):
        lengths |= dict(presets(traces))
    lengths |= dict(wildchat())
    head = "# Written by traces/derive_presets.py; see README.md. Origin and licence: `sources`.\n"
    write(
        output / "lengths.yaml",
        head,
        {"sources": LENGTH_SOURCES, "probabilities": PROBABILITIES, "presets": lengths},
    )
    write(output / "shapes.yaml", head, {"sources": SHAPE_SOURCES, "shapes": dict(shapes(traces))})


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(sys.argv[1:])
