"""Results of benchmark tools: small invented files in the layout that each tool writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.measurements import (
    ClosedLoop,
    Empirical,
    Fixed,
    Flood,
    MeasurementError,
    Measurements,
    Point,
    Poisson,
    Uniform,
    detect_format,
    read_benchmark,
)
from planner.measurements.documents import documents
from planner.measurements.reading import Reading
from tests.conftest import WriteFile
from tests.measurements.samples import DEPLOYMENT

VLLM: dict[str, Any] = {
    "date": "20260314-101112",
    "backend": "vllm",
    "model_id": "meta-llama/Llama-3.1-8B-Instruct",
    "num_prompts": 160,
    "request_rate": "inf",
    "burstiness": 1.0,
    "max_concurrency": 16,
    "duration": 20.0,
    "completed": 160,
    "failed": 0,
    "total_input_tokens": 163840,
    "total_output_tokens": 20480,
    "request_throughput": 8.0,
    "request_goodput": None,
    "output_throughput": 1024.0,
    "total_token_throughput": 9216.0,
    "mean_ttft_ms": 90.0,
    "median_ttft_ms": 60.0,
    "std_ttft_ms": 30.0,
    "p99_ttft_ms": 400.0,
    "mean_tpot_ms": 14.0,
    "median_tpot_ms": 14.1,
    "p99_tpot_ms": 15.0,
    "mean_itl_ms": 14.0,
    "median_itl_ms": 13.0,
    "p99_itl_ms": 40.0,
}
SGLANG: dict[str, Any] = {
    "backend": "sglang",
    "dataset_name": "random",
    "request_rate": float("inf"),
    "max_concurrency": 32,
    "random_input_len": 1024,
    "random_output_len": 512,
    "random_range_ratio": 0.5,
    "duration": 10.0,
    "completed": 320,
    "total_input_tokens": 320 * 768,
    "total_output_tokens": 320 * 384,
    "total_output_tokens_retokenized": 320 * 383,
    "request_throughput": 32.0,
    "input_throughput": 24576.0,
    "output_throughput": 12288.0,
    "mean_e2e_latency_ms": 990.0,
    "median_e2e_latency_ms": 980.0,
    "p99_e2e_latency_ms": 1500.0,
    "mean_ttft_ms": 100.0,
    "median_ttft_ms": 80.0,
    "p99_ttft_ms": 300.0,
    "mean_tpot_ms": 2.3,
    "median_tpot_ms": 2.3,
    "p99_tpot_ms": 3.0,
    "mean_itl_ms": 2.3,
    "p95_itl_ms": 3.0,
    "p99_itl_ms": 9.0,
    "accept_length": None,
}


def distribution(mean: float, **percentiles: float) -> dict[str, Any]:
    return {"successful": {"mean": mean, "percentiles": percentiles}, "errored": {"mean": 0.0}}


def guidellm_run(strategy: dict[str, Any]) -> dict[str, Any]:
    return {
        "config": {"strategy": strategy},
        "metrics": {
            "request_totals": {"successful": 50, "errored": 0, "incomplete": 2, "total": 52},
            "prompt_token_count": distribution(256.2),
            "output_token_count": distribution(127.8),
            "time_to_first_token_ms": distribution(40.0, p50=35.0, p90=60.0, p95=70.0, p99=90.0),
            "inter_token_latency_ms": distribution(9.0, p50=9.0, p99=10.0),
            "time_per_output_token_ms": distribution(9.3, p50=9.3),
            "request_latency": distribution(1.2, p50=1.2, p99=1.5),
            "output_tokens_per_second": distribution(900.0),
            "tokens_per_second": distribution(2700.0),
            "requests_per_second": distribution(7.0),
        },
    }


def statistic(unit: str, average: float, **percentiles: float) -> dict[str, Any]:
    return {"unit": unit, "avg": average, "std": 0.1, **percentiles}


AIPERF: dict[str, Any] = {
    "request_throughput": statistic("requests/sec", 5.0),
    "request_latency": statistic("ms", 1500.0, p50=1490.0, p99=1600.0),
    "request_count": statistic("requests", 100.0),
    "time_to_first_token": statistic("ms", 50.0, p50=45.0, p90=60.0, p99=80.0),
    "inter_token_latency": statistic("ms", 11.4, p50=11.3, p99=12.0),
    "output_token_throughput": statistic("tokens/sec", 640.0),
    "output_sequence_length": statistic("tokens", 128.0),
    "input_sequence_length": statistic("tokens", 550.4),
    "input_config": {"loadgen": {"concurrency": 10, "request_rate": None}},
}


@pytest.fixture
def read(write_file: WriteFile) -> Any:
    """Return `read(content)`: the measurements of a file with this content, format detected."""

    def read_content(content: object, name: str = "result.json") -> Measurements:
        text = content if isinstance(content, str) else json.dumps(content)
        return read_benchmark(write_file(name, text), DEPLOYMENT)

    return read_content


def only(measurements: Measurements) -> Point:
    (point,) = measurements.points
    return point


def test_vllm(read: Any) -> None:
    point = only(read(VLLM))
    assert (point.source, point.date, point.engine_version) == (
        "vllm bench serve",
        "2026-03-14",
        "0.11.0",
    )
    assert point.protocol == ClosedLoop(16, 160)
    assert (point.prompt, point.output) == (Fixed(1024), Fixed(128))
    assert "all taken as the mean" in point.assumptions[0]
    assert point.metrics == pytest.approx(
        {
            "ttft_mean_s": 0.09, "ttft_p50_s": 0.06, "ttft_p99_s": 0.4,
            "tpot_mean_s": 0.014, "tpot_p50_s": 0.0141, "tpot_p99_s": 0.015,
            "itl_mean_s": 0.014, "itl_p50_s": 0.013, "itl_p99_s": 0.04,
            "output_tps": 1024.0, "total_tps": 9216.0, "request_rps": 8.0,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "protocol"),
    [
        ({"max_concurrency": None}, Flood(160)),
        ({"max_concurrency": 500}, ClosedLoop(160, 160)),
        ({"max_concurrency": None, "request_rate": 4.0}, Poisson(4.0, 160)),
        (
            {"request_rate": 4.0, "burstiness": 0.5},
            Poisson(4.0, 160, None, 0.5, maximum_concurrency=16),
        ),
    ],
)
def test_vllm_load(read: Any, changes: dict[str, Any], protocol: object) -> None:
    assert only(read(VLLM | changes)).protocol == protocol


def test_vllm_lengths_by_request_are_paired_and_without_failures(read: Any) -> None:
    lists = {"input_lens": [5, 9, 7], "output_lens": [3, 0, 2], "completed": 2, "failed": 1}
    point = only(read(VLLM | lists | {"num_prompts": 3, "spec_decode_acceptance_length": 1.7}))
    assert isinstance(point.prompt, Empirical)
    assert isinstance(point.output, Empirical)
    assert (point.prompt.values, point.output.values) == ((5, 7), (3, 2))
    assert point.paired
    assert point.flags == ("1 requests failed", "speculative decoding")


def test_vllm_appended_results_are_read_line_by_line(read: Any) -> None:
    lines = [json.dumps(VLLM | {"max_concurrency": c}) for c in (4, 8)]
    found = read("\n" + "\n\n".join(lines) + "\n")
    assert [point.protocol for point in found.points] == [ClosedLoop(4, 160), ClosedLoop(8, 160)]
    assert [point.id for point in found.points] == ["result.json:2", "result.json:4"]


def test_vllm_runs_that_cannot_be_used_are_counted(read: Any) -> None:
    runs = [VLLM, VLLM | {"completed": 0}, VLLM | {"ramp_up_strategy": "linear"}]
    found = read("\n".join(map(json.dumps, runs)))
    assert len(found.points) == 1
    assert found.skipped == {
        "no request succeeded": 1,
        "the rate was ramped up, which cannot be replayed": 1,
    }


def test_sglang_random_lengths(read: Any) -> None:
    point = only(read(SGLANG, "run.jsonl"))
    assert point.source == "sglang bench_serving"
    assert point.protocol == ClosedLoop(32, 320)
    assert (point.prompt, point.output) == (Uniform(512, 1024), Uniform(256, 512))
    assert point.metrics["total_tps"] == 24576.0 + 12288.0
    assert point.metrics["e2e_p99_s"] == 1.5
    assert point.assumptions == ()


def test_sglang_totals_count_where_stated_lengths_disagree(read: Any) -> None:
    point = only(read(SGLANG | {"total_output_tokens": 320 * 100, "accept_length": 2.4}))
    assert (point.prompt, point.output) == (Fixed(768), Fixed(100))
    assert point.flags == ("speculative decoding",)


def test_sglang_details_and_runs_without_success(read: Any) -> None:
    detailed = SGLANG | {"input_lens": [5, 6], "output_lens": [2, 2]}
    named = SGLANG | {"dataset_name": "sharegpt"}
    found = read("\n".join(map(json.dumps, (detailed, SGLANG | {"completed": 0}, named))))
    assert found.skipped == {"no request succeeded": 1}
    assert found.points[0].paired
    assert found.points[0].prompt.mean_tokens == 5.5
    assert found.points[1].prompt == Fixed(768)


def test_guidellm(read: Any) -> None:
    strategies: list[dict[str, Any]] = [
        {"type_": "synchronous"},
        {"type_": "concurrent", "streams": 8},
        {"max_concurrency": 8},
        {"type_": "throughput"},
        {"type_": "throughput", "max_concurrency": 20},
        {"type_": "poisson", "rate": 3.0},
        {"type_": "constant", "rate": 3.0, "max_concurrency": 0},
        {"type_": "incremental"},
    ]
    found = read({"benchmarks": [guidellm_run(strategy) for strategy in strategies]})
    assert [point.protocol for point in found.points] == [
        ClosedLoop(1, 50),
        ClosedLoop(8, 50),
        ClosedLoop(8, 50),
        Flood(50),
        ClosedLoop(20, 50),
        Poisson(3.0, 50),
        Poisson(3.0, 50),
    ]
    assert found.skipped == {"strategy incremental cannot be replayed": 1}
    first = found.points[0]
    assert (first.prompt, first.output) == (Fixed(256), Fixed(128))
    assert first.metrics["tpot_mean_s"] == pytest.approx(
        0.009
    )  # its time per output token counts the first
    assert first.metrics["e2e_mean_s"] == 1.2
    assert first.metrics["ttft_p95_s"] == pytest.approx(0.07)
    assert "constant pace" in found.points[6].assumptions[-1]


def test_guidellm_runs_without_success_are_counted(read: Any) -> None:
    failed, slower = guidellm_run({"streams": 2}), guidellm_run({"streams": 2})
    failed["metrics"]["request_totals"]["successful"] = 0
    slower["metrics"]["tokens_per_second"] = distribution(1.0)
    found = read({"benchmarks": [failed, slower]})
    assert found.skipped == {"no request succeeded": 1}
    assert "total_tps" not in only(found).metrics


def test_guidellm_of_an_older_release(read: Any) -> None:
    run = guidellm_run({})
    run["args"] = {"strategy": {"type_": "concurrent", "streams": 4}}
    del run["config"], run["metrics"]["request_totals"]
    run["run_stats"] = {"requests_made": {"successful": 40}}
    assert only(read({"benchmarks": [run]})).protocol == ClosedLoop(4, 40)


@pytest.mark.parametrize(
    "config",
    [
        {"loadgen": {"concurrency": 10}},
        {"concurrency": 10},
        {"perf_analyzer": {"stimulus": {"concurrency": 10}}},
        {"phases": [{"name": "profiling", "concurrency": 10, "request_rate": None}]},
    ],
)
def test_aiperf_and_genai_perf(read: Any, config: dict[str, Any]) -> None:
    point = only(read(AIPERF | {"input_config": config}))
    assert point.protocol == ClosedLoop(10, 100)
    assert (point.prompt, point.output) == (Fixed(550), Fixed(128))
    assert point.metrics["tpot_mean_s"] == pytest.approx(0.0114)
    assert point.metrics["e2e_p99_s"] == 1.6
    assert point.metrics["output_tps"] == 640.0


def test_aiperf_of_an_early_release_and_at_a_rate(read: Any) -> None:
    values = {key: value for key, value in AIPERF.items() if key != "input_config"}
    values["time_to_first_token"] = statistic("us", 50_000.0)
    content = {"records": values, "input_config": {"loadgen": {"request_rate": 5.0}}}
    point = only(read(content))
    assert point.protocol == Poisson(5.0, 100)
    assert point.metrics["ttft_mean_s"] == pytest.approx(0.05)


def test_plain_table(read: Any) -> None:
    found = read(
        "concurrency,rate_rps,prompt_tokens,output_tokens,ttft_ms,tpot_ms,ttft_p99_ms,requests\n"
        "8,,1024,128,50,9.5,120,80\n"
        "\n"
        ",2.5,1024,128,60,9.9,,\n",
        "mine.csv",
    )
    first, second = found.points
    assert (first.id, first.protocol) == ("mine.csv:2", ClosedLoop(8, 80))
    assert first.metrics == pytest.approx(
        {"ttft_mean_s": 0.05, "tpot_mean_s": 0.0095, "ttft_p99_s": 0.12}
    )
    assert second.protocol == Poisson(2.5, 1000)
    assert second.assumptions == ("number of requests not stated: 1,000 taken",)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (VLLM, "vllm"),
        (SGLANG, "sglang"),
        ({"benchmarks": [guidellm_run({"type_": "synchronous"})]}, "guidellm"),
        (AIPERF, "aiperf"),
        ({"records": AIPERF}, "aiperf"),
    ],
)
def test_formats_are_recognised(write_file: WriteFile, content: object, name: str) -> None:
    assert detect_format(write_file("any", json.dumps(content))) == name


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "is empty"),
        ("{", r"result\.json:1:2: not JSON"),
        ("{}", "like no result of vllm, sglang, guidellm, aiperf, csv; it has the keys of nothing"),
        ({"latency": 3}, "it has the keys latency. State the format"),
        (VLLM | {"mean_ttft_ms": "90 ms"}, r":1:1: mean_ttft_ms: '90 ms' is not a finite number"),
        (VLLM | {"mean_ttft_ms": float("nan")}, "mean_ttft_ms: nan is not a finite number"),
        (VLLM | {"mean_ttft_ms": -3.0}, "ttft_mean_s is -0.003"),
        (VLLM | {"mean_tpot_ms": True}, "mean_tpot_ms: true is not a finite number"),
        (VLLM | {"completed": 1.5}, "completed: 1.5 is not a count"),
        (VLLM | {"completed": None}, "completed: missing"),
        (VLLM | {"request_rate": "fast"}, "request_rate: 'fast' is not a finite number"),
        (VLLM | {"p99_ttft_ms": 1.0}, "ttft_p50_s 0.06 is above ttft_p99_s 0.001"),
        (VLLM | {"total_input_tokens": None}, "total_input_tokens: missing; and so are input_lens"),
        (VLLM | {"total_output_tokens": 3}, "less than one token for each completed request"),
        (VLLM | {"input_lens": [1], "output_lens": [1, 2]}, "does not belong to input_lens"),
        (VLLM | {"input_lens": [1], "output_lens": [0]}, "holds no output"),
        (VLLM | {"input_lens": 7, "output_lens": [0]}, "input_lens: 7 is not a list"),
        (VLLM | {"input_lens": [1, -1], "output_lens": [1, 1]}, r"input_lens\[1\]: -1 is not"),
        (SGLANG | {"completed": None}, "completed: missing; is this a result of SGLang"),
        (SGLANG | {"total_output_tokens": None}, "total_output_tokens: missing"),
        (SGLANG | {"total_output_tokens": 3}, "less than one token for each completed request"),
        (SGLANG | {"input_lens": [1], "output_lens": [0]}, "holds no output"),
        (SGLANG | {"total_input_tokens": 10**400}, "a whole number of 1329 bits is not a finite"),
        ({"benchmarks": 3}, "benchmarks: missing or no list"),
        ({"benchmarks": [4]}, r"benchmarks\[0\]: is not an object"),
        ({"benchmarks": [guidellm_run({"type_": "poisson"})]}, "'poisson' without rate or streams"),
        ({"benchmarks": [guidellm_run({})]}, r"benchmarks\[0\]\.config\.strategy\.type_: ''"),
        ({"benchmarks": [{"config": {"strategy": {}}}]}, "has no number of successful requests"),
        ({"benchmarks": []}, "has no results; is this the right file"),
        (AIPERF | {"input_config": {}}, "input_config: states neither concurrency nor"),
        (AIPERF | {"request_count": {}}, "request_count: missing"),
        (AIPERF | {"time_to_first_token": statistic("min", 1.0)}, "'min' is none of ms, s, us, ns"),
        (AIPERF | {"output_sequence_length": {}}, "no mean of prompt and output tokens"),
        ("a,b\n1,2\n", r"unknown column 'a'; known: prompt_tokens"),
        ("prompt_tokens,output_tokens,ttft_ms\n1,2,3\n", "concurrency or rate_rps has to state"),
        ("concurrency,ttft_ms\n1,3\n", "column 'prompt_tokens', 'output_tokens' not found"),
        (
            "concurrency,prompt_token,output_tokens\n1,3,4\n",
            r"unknown column 'prompt_token'; did you mean prompt_tokens\?",
        ),
        (
            "concurrency,prompt_tokens,output_tokens,ttft_ms\n1,3,4\n",
            "has 3 fields where the header has 4",
        ),
        ("concurrency,prompt_tokens,output_tokens,ttft_ms\n", "has no results"),
        (
            "concurrency,prompt_tokens,output_tokens,ttft_ms\nx,3,4,\n0,3,4,1\n,3,4,1\n2,,4,1\n",
            r"(?s):2:1: concurrency: 'x'.*:3:1: concurrency: is 0.*:4:1.*:5:1: prompt_tokens: em",
        ),
        (
            "concurrency,prompt_tokens,output_tokens,ttft_ms\n1,2,3,1e999\n",
            "'1e999' is not a finite",
        ),
        ("concurrency,prompt_tokens,output_tokens,ttft_ms\n1,2,3,\n", "nothing was measured"),
        (
            'concurrency,prompt_tokens,output_tokens,ttft_ms\n1,2,3,"4\n',
            "not CSV: .*check the quotes",
        ),
        ("concurrency,prompt_tokens,prompt_tokens,output_tokens\n", "stands twice in the header"),
    ],
)
def test_hostile_results(read: Any, content: object, complaint: str) -> None:
    with pytest.raises(MeasurementError, match=complaint):
        read(content)


def test_all_faults_of_a_file_come_together_in_order(read: Any) -> None:
    bad = [VLLM | {"completed": -1}, VLLM, VLLM | {"mean_ttft_ms": "x", "mean_tpot_ms": []}]
    with pytest.raises(MeasurementError) as caught:
        read("\n".join(map(json.dumps, bad)) + "\n{nonsense\n[1]")
    lines = [line.split(":")[1] for line in str(caught.value).splitlines()]
    assert lines == ["1", "3", "3", "4", "5"]


def test_a_long_list_of_faults_is_cut(read: Any) -> None:
    with pytest.raises(MeasurementError, match="and 980 more like these"):
        read("\n".join([json.dumps(VLLM | {"completed": -1})] * 1000))


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"\xff\xfe{}", r":1: not UTF-8 text \(byte 0\)"),
        (b"a\n\x1f\x8b\x08", r":2: not UTF-8 text"),
        (b"a,b\n1,\0\n", ":2: holds a NUL character"),
        (b" \n\n", "is empty"),
    ],
)
def test_files_that_are_no_text(tmp_path: Path, data: bytes, complaint: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(data)
    with pytest.raises(MeasurementError, match=complaint):
        read_benchmark(path, DEPLOYMENT)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "no.json", tmp_path):
        with pytest.raises(MeasurementError, match="cannot be read"):
            read_benchmark(path, DEPLOYMENT)
    with pytest.raises(MeasurementError, match=r"unknown format 'vlm' of .*did you mean vllm\?"):
        read_benchmark(tmp_path / "x", DEPLOYMENT, "vlm")


def test_deep_nesting_is_refused(read: Any) -> None:
    with pytest.raises(MeasurementError, match="not JSON"):
        read("[" * 200_000)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(VLLM)), JSON, max_size=6), st.sampled_from([VLLM]))
def test_any_value_gives_points_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[str, Any], base: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(base | changes), encoding="utf-8")
    try:
        found = read_benchmark(path, DEPLOYMENT, "vllm")
    except MeasurementError:
        return
    assert found.points or found.skipped


@given(st.text(max_size=60))
def test_any_text_gives_points_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "text.json"
    path.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(MeasurementError, match=r"text\.json"):
        read_benchmark(path, DEPLOYMENT)


def test_documents_know_their_lines(write_file: WriteFile) -> None:
    reading = Reading(write_file("d.jsonl", '\n{"a": 1}\n\n{"a": 2}\n'))
    assert [(d.line, d.values["a"]) for d in documents(reading)] == [(2, 1), (4, 2)]
