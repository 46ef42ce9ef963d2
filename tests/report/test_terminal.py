"""The terminal report: within 100 columns, readable without colour and without Unicode."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from planner.economics.cost import Policy
from planner.economics.statement import settle
from planner.kernel.dtypes import CLASS_WINDOW
from planner.report import sections
from planner.report.html import render_html
from planner.report.terminal import print_result
from planner.report.wording import margin_sentence
from planner.results import Finance, Result
from tests.results.synthetic import make_result, make_run, make_usage


def printed(result: Result, **options: object) -> str:
    """Return what a pipe would get."""
    stream = io.StringIO()
    print_result(result, Console(file=stream, **{"width": 100, **options}))  # type: ignore[arg-type]
    return stream.getvalue()


@pytest.mark.parametrize("overload", [0.0, 2.0])
def test_it_fits_100_columns_and_leaves_no_blanks_at_the_end(overload: float) -> None:
    lines = printed(make_result(overload=overload)).split("\n")
    assert max(map(len, lines)) <= 100
    assert all(line == line.rstrip() for line in lines)


def test_a_pipe_gets_no_colour_and_a_terminal_does() -> None:
    result = make_result(overload=2.0)
    assert "\x1b" not in printed(result)
    assert "\x1b[" in printed(result, force_terminal=True, color_system="truecolor")


def test_standard_output_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    print_result(make_result())
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) > 90, "a pipe is as wide as a report"
    assert "accelerators at peak" in out


def caching_result() -> Result:
    """Return a result whose first pool found 60% of its prompts in a cache, and more in a tier."""
    run = make_run()
    prefill = run.pool_windows["prefill_tokens"]
    run.pool_windows["cached_tokens"][:, 0] = 2 * prefill[:, 0]
    run.pool_windows["loaded_tokens"][:, 0, 0] = prefill[:, 0] // 3
    run.pool_windows["swaps"][7, 0] = 4
    run.class_windows["cached_tokens"][:, :2] = run.class_windows["input_tokens"][:, :2] // 2
    chat = replace(run.pools[0], prefix_cache=True, kv_tiers=("host",))
    return replace(make_result(), frames=replace(run, pools=(chat, *run.pools[1:])).frames())


def test_drafts_are_shown_where_there_are_any() -> None:
    assert "draft step" not in printed(make_result())
    assert "draft step" not in page_text(make_result())
    run = make_run()
    lengths = {klass.name: 2.5 for klass in run.classes}
    pools = (replace(run.pools[0], acceptance=lengths), *run.pools[1:])
    drafting = replace(make_result(), frames=replace(run, pools=pools).frames())
    assert printed(drafting).count("2.50 tokens per draft step") == 1
    page = page_text(drafting)
    assert "tokens per draft step" in page
    assert "2.50" in page


def test_caches_are_shown_where_there_are_any() -> None:
    assert "cached" not in printed(make_result())
    assert "cached" not in page_text(make_result())
    text = printed(caching_result())
    traffic, _, rest = text.partition("Latency")
    assert "cached input" in traffic
    assert len(re.findall(r"\b50%", traffic)) == 2
    said = "60% of prompt tokens cached, 10% from host, 4 swaps"
    assert said in " ".join(rest.split()).replace("memory bandwidth ", "")
    assert max(map(len, text.split("\n"))) <= 100
    page = page_text(caching_result())
    assert said in page
    assert "prompt cached" in page
    assert page.count("50% of input tokens cached") == 2


def page_text(result: Result) -> str:
    """Return the sections of the page, without its scripts and tables behind charts."""
    return sections.promises(result) + sections.pools(result)


def test_the_four_numbers_come_first() -> None:
    head = printed(make_result()).split("Traffic")[0]
    for text in ("296", "1.17 s", "$7.48", "75.9%", "all promises kept", "all_users_in_cogs"):
        assert text in head


def test_all_quantiles_promises_and_margins_are_there() -> None:
    text = printed(make_result())
    for header in ("p50", "p90", "p99", "p99.9"):
        assert header in text
    for metric in ("TTFT", "TPOT", "ITL", "E2E"):
        assert text.count(metric) >= 3
    assert "✓ p99 1.25 s ≤ 3 s" in text
    assert "✓ p95 117 s ≤ 120 s" in text
    assert "88.7% (paid_only), 80.7%" in text
    assert text.count("estimated step times") == 2
    assert text.count("tok/s per accel.") == 2


def test_trouble_is_said_in_words() -> None:
    text = printed(make_result(overload=2.0))
    assert "cannot keep up" in text
    assert "✗ p99 6.36 s > 3 s" in text
    assert "✗ queue grows" in text
    assert "3 of 9 promises broken" in text
    assert "37 nodes: not enough" in text
    assert text.count("promises broken") == 3, "beside latency, cost and margin"


def test_fates_that_nobody_met_take_no_column() -> None:
    text = printed(make_result())
    assert "timed out" in text
    assert "unfinished" not in text


def test_ascii_terminals_get_ascii() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_result(make_result(overload=2.0), Console(file=stream, width=100))
    stream.seek(0)
    text = stream.read()
    assert "MISSED p99 6.36 s > 3 s" in text
    assert "ok p99 48.8 ms <= 80 ms" in text


def test_a_run_without_prices_says_so() -> None:
    text = printed(make_result(money=False))
    assert "no prices" in text
    assert "Money" not in text


def test_long_names_fold_and_lose_nothing() -> None:
    run = make_run()
    name = "c" * 64
    run.classes = (replace(run.classes[0], name=name), *run.classes[1:])
    lines = printed(make_result(frames=run.frames(), money=False)).splitlines()
    assert max(map(len, lines)) <= 100
    assert sum(line.count("c" * 20) for line in lines) >= 2


def test_markup_in_texts_is_shown_as_it_is() -> None:
    assert "[bold]x[/bold]" in printed(make_result(description="[bold]x[/bold]"))


def test_a_run_that_measured_nothing_keeps_no_promise() -> None:
    run = make_run()
    run.class_windows[:] = np.zeros((), dtype=CLASS_WINDOW)
    run.histograms[:] = 0
    result = make_result(frames=run.frames(), money=False)
    text = printed(result)
    assert result.headline["objectives_met"] is None
    assert "promises kept" not in text
    assert "✓" not in text
    assert "p99 no sample for ≤ 3 s" in text


def test_a_rate_limit_that_refuses_many_is_said_beside_the_slo() -> None:
    text = printed(make_result())
    assert "anonymous-chat: 2.1% of arrivals refused by the rate limit, not counted." in text
    assert "logged-in-chat: " not in text


def test_margins_are_not_repeated_and_none_is_said() -> None:
    finance = make_result().finance
    assert finance is not None
    same = replace(finance, margins=finance.margins.assign(margin_rate=0.5))
    sentence = margin_sentence(make_result(finance=same))
    assert sentence.startswith("Gross margin is 50.0% (all_users_in_cogs), the same under every")
    free = make_result(finance=replace(finance, gross_margin_rate=None))
    assert margin_sentence(free) == "There is no revenue, hence no gross margin."
    assert "no revenue" in printed(free).split("Traffic")[0]


def test_cost_that_no_class_bears_has_a_row_and_the_rows_add_up() -> None:
    pools, classes = make_usage(make_run())
    weightless = [replace(each, pool_weights={"chat": 1.0}) for each in classes]
    finance = Finance.of(settle(pools, weightless, Policy()))
    costs = finance.class_costs
    assert costs["class"].iloc[-1] == "(unallocated)"
    assert costs["cost_usd"].sum() == pytest.approx(finance.cost_usd)
    result = make_result(finance=finance)
    assert "(unallocated)" in printed(result)
    assert '<th scope="row">(unallocated)</th>' in render_html(result)
