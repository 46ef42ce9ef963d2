"""Tables against sums that a reader can check by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from planner.errors import SimulationError
from planner.kernel.dtypes import CLASS_WINDOW, HISTOGRAM_BINS, POOL_WINDOW
from planner.kernel.enums import Fate, Metric
from planner.results import ClassMeta, ObjectiveMeta, PoolMeta, columns
from tests.results.synthetic import Run, make_result, make_run, to_histogram

POOL = PoolMeta("p", "m", "c", "n", 8, 4, kv_blocks=100, kv_block_tokens=16, maximum_sequences=32)


def small_run() -> Run:
    """Return one class and one pool over three windows of 10 s; the first is warm-up."""
    table = np.zeros((4, 1), dtype=CLASS_WINDOW)
    table["arrived"][:3, 0] = [10, 20, 30]
    table["ended"][:3, 0, Fate.SERVED] = [10, 16, 20]
    table["ended"][:3, 0, Fate.RATE_LIMITED] = [0, 2, 8]
    table["ended"][:3, 0, Fate.TIMED_OUT] = [0, 2, 2]
    table["measured"][1:3, 0] = [20, 30]
    table["measured_ended"][1:3] = table["ended"][1:3]
    table["good"][:3, 0] = [10, 12, 18]
    table["measured_good"][1:3, 0] = [12, 18]
    table["output_tokens"][:3, 0] = [100, 200, 300]
    pools = np.zeros((4, 1), dtype=POOL_WINDOW)
    pools["active_s"][:3, 0] = 20.0  # two replicas
    pools["busy_s"][:3, 0] = [20.0, 10.0, 14.0]
    pools["compute_s"][:3, 0] = [9.0, 4.0, 4.0]
    pools["memory_s"][:3, 0] = [9.0, 6.0, 6.0]
    pools["kv_block_s"][:3, 0] = [2000.0, 500.0, 700.0]
    pools["running_s"][:3, 0] = [100.0, 60.0, 80.0]
    pools["waiting_s"][:3, 0] = [90.0, 10.0, 30.0]
    pools["decode_tokens"][:3, 0] = [100, 320, 400]
    pools["steps"][:3, 0] = [1000, 400, 560]
    pools["routed"][:3, 0] = [10, 18, 22]
    histograms = np.zeros((1, len(Metric), HISTOGRAM_BINS))
    histograms[0, Metric.TTFT] = to_histogram(np.linspace(0.1, 3.6, 36))
    meta = ClassMeta("a", "p", objectives=(ObjectiveMeta("ttft", 50.0, 2.0),), plan="api")
    times = {"window_s": 10.0, "duration_s": 30.0, "warmup_s": 10.0, "end_s": 30.0}
    return Run(histograms, table, pools, np.array([[1], [1], [1], [9]]), (meta,), (POOL,), times)


def test_every_table_has_the_columns_that_are_described() -> None:
    frames = make_run().frames()
    for name in ("classes", "total", "fates", "tasks", "objectives", "pools", "quantiles"):
        assert getattr(frames, name).columns.tolist() == columns.names(name), name
    assert frames.class_windows.columns.tolist() == columns.names("class_windows")
    assert frames.pool_windows.columns.tolist() == columns.names("pool_windows")


def test_column_names_are_unique_and_described() -> None:
    for table, described in columns.TABLES.items():
        assert len(columns.names(table)) == len(set(columns.names(table)))
        assert all(column.meaning for column in described)


def test_the_orders_of_fates_and_metrics_are_those_of_the_kernel() -> None:
    assert [fate.name.lower() for fate in Fate] == list(columns.FATES)
    assert [metric.name.lower() for metric in Metric] == list(columns.METRICS)


def test_classes_count_what_arrived_after_the_warm_up() -> None:
    row = small_run().frames().classes.iloc[0]
    assert (row["arrived"], row["measured"], row["measured_served"]) == (60, 50, 36)
    parts = ("measured_rate_limited", "measured_lost", "measured_good")
    assert tuple(row[part] for part in parts) == (10, 4, 30)
    assert row["loss_rate"] == 4 / 40
    assert row["slo_attainment_rate"] == 30 / 40
    assert (row["arrival_rps"], row["goodput_rps"]) == (50 / 20, 30 / 20)
    assert row["output_tokens_per_s"] == 600 / 30
    assert row["ttft_p50_s"] == pytest.approx(1.8, rel=0.005)
    assert math.isnan(row["tpot_p99_s"])


def test_pools_are_averaged_over_the_measured_windows() -> None:
    row = small_run().frames().pools.iloc[0]
    assert (row["nodes_at_peak"], row["accelerators_at_peak"]) == (1, 8)
    assert row["replicas"] == 2.0
    assert row["busy_rate"] == 24 / 40
    assert (row["compute_rate"], row["memory_rate"]) == (8 / 40, 12 / 40)
    assert row["kv_usage_rate"] == 1200 / (100 * 40)
    assert (row["running"], row["waiting"], row["waiting_max"]) == (7.0, 2.0, 9.0)
    assert row["routed"] == 50
    assert row["decode_tokens_per_s_per_accelerator"] == 720 / (40 * 4)
    assert row["step_s"] == 24 / 960
    assert row["busiest_resource"] == "memory_bandwidth"
    assert row["stable"]


def test_tokens_of_a_draft_step_are_those_over_the_steps() -> None:
    """300 tokens at 2 a step and 300 at 4: 225 steps."""
    run = small_run()
    assert math.isnan(run.frames().pools.iloc[0]["acceptance_length"])
    tables = [run.class_windows.copy() for _ in range(2)]
    for table in tables:
        table["output_tokens"][:3, 0] = table["ended"][:3, 0, Fate.SERVED] + 100
    run.class_windows = np.concatenate(tables, axis=1)
    run.histograms = np.concatenate([run.histograms] * 2)
    run.classes = (run.classes[0], replace(run.classes[0], name="b"))
    run.pools = (replace(POOL, acceptance={"a": 2.0, "b": 4.0}),)
    assert run.frames().pools.iloc[0]["acceptance_length"] == pytest.approx(600 / 225)
    run.pools = (replace(POOL, acceptance={"b": 4.0}),)
    assert run.frames().pools.iloc[0]["acceptance_length"] == 4.0


def test_no_window_has_decoded_less_than_nothing() -> None:
    """What a sequence was counted too much is taken from the windows in which it was."""
    run = small_run()
    run.pool_windows["decode_tokens"][:3, 0] = [100, 20, -50]
    frames = run.frames()
    assert frames.pool_windows["decode_tokens"].tolist() == [70, 0, 0]
    assert frames.pools.iloc[0]["decode_tokens"] == 70
    assert run.pool_windows["decode_tokens"][:3, 0].tolist() == [100, 20, -50]


def test_what_caches_saved() -> None:
    run = small_run()
    run.class_windows["input_tokens"][:3, 0] = [1000, 2000, 3000]
    run.class_windows["cached_tokens"][:3, 0] = [0, 600, 900]
    run.pool_windows["prefill_tokens"][:3, 0] = [1000, 1500, 2000]
    run.pool_windows["cached_tokens"][:3, 0] = [0, 400, 700]
    run.pool_windows["loaded_tokens"][1:3, 0] = [[150, 50, 0], [100, 0, 100]]
    run.pool_windows["swaps"][2, 0] = 3
    pool = replace(POOL, prefix_cache=True, kv_tiers=("host", "ssd", "store"))
    frames = replace(run, pools=(pool,)).frames()
    row = frames.classes.iloc[0]
    assert (row["cached_input_tokens"], row["prefix_hit_rate"]) == (1500, 0.25)
    assert frames.class_windows["cached_input_tokens"].tolist() == [0, 600, 900]
    row = frames.pools.iloc[0]
    assert (row["prefix_cache"], row["kv_tiers"]) == (True, "host, ssd, store")
    assert (row["cached_tokens"], row["swaps"]) == (1100, 3)
    assert row[list(columns.LOADED_COLUMNS)].tolist() == [250, 50, 100]
    assert row["prefix_hit_rate"] == 1100 / 6000
    assert row["tier_hit_rate"] == 400 / 6000
    assert frames.pool_windows["tier3_tokens"].tolist() == [0, 0, 100]


def test_windows_after_the_end_are_left_out_and_the_last_one_takes_the_rest() -> None:
    run = small_run()
    assert run.frames().class_windows["window_end_s"].tolist() == [10.0, 20.0, 30.0]
    run.times["end_s"] = 37.5
    windows = run.frames().pool_windows
    assert windows["window_end_s"].tolist() == [10.0, 20.0, 30.0, 37.5]
    assert windows["accelerators"].tolist() == [8.0, 8.0, 8.0, 0.0]
    assert windows["accelerators_busy"].tolist() == [8.0, 4.0, 5.6, 0.0]


def test_what_happens_at_the_very_end_is_kept() -> None:
    run = small_run()
    run.class_windows["arrived"][3] = 1
    run.class_windows["ended"][3, 0, Fate.UNFINISHED] = 1
    windows = run.frames().class_windows
    assert windows["unfinished"].tolist() == [0, 0, 0, 1]
    assert math.isnan(windows["served_rps"].iloc[3])


def test_a_run_that_ends_at_once_has_one_window() -> None:
    run = small_run()
    run.class_windows[:] = np.zeros((), dtype=CLASS_WINDOW)
    run.pool_windows[:] = np.zeros((), dtype=POOL_WINDOW)
    run.histograms[:] = 0
    run.times["end_s"] = 0.0
    frames = run.frames()
    assert frames.class_windows["window_end_s"].tolist() == [10.0]
    assert frames.pools["busiest_resource"].tolist() == ["none"]


def test_fates_sum_to_arrivals_and_a_lost_request_is_an_error() -> None:
    fates = make_run(overload=2.0).frames().fates
    assert (fates[list(columns.FATES)].sum(axis=1) == fates["arrived"]).all()
    run = small_run()
    run.class_windows["arrived"][0, 0] += 1
    with pytest.raises(SimulationError, match="class a: 61 requests arrived but 60 have a fate"):
        run.frames()


def test_flat_and_shaped_arrays_give_the_same_tables() -> None:
    run = make_run()
    flat = replace(
        run,
        class_windows=run.class_windows.reshape(-1),
        pool_windows=run.pool_windows.reshape(-1),
    )
    pd.testing.assert_frame_equal(run.frames().pools, flat.frames().pools)
    pd.testing.assert_frame_equal(run.frames().classes, flat.frames().classes)


def test_verdicts() -> None:
    objectives = small_run().frames().objectives.set_index("metric")
    assert objectives.loc["ttft", "met"]
    assert objectives.loc["ttft", "value"] == pytest.approx(1.8, rel=0.005)
    assert objectives.loc["ttft", "samples"] == 36
    assert not objectives.loc["loss", "met"]
    assert objectives.loc["loss", "value"] == 0.1
    assert objectives.loc["loss", "limit"] == 0.001


@pytest.mark.parametrize(("served", "verdict"), [(40, "no sample"), (36, "broken")])
def test_a_promise_without_samples_is_never_kept(served: int, verdict: str) -> None:
    run = small_run()
    run.classes = (replace(run.classes[0], objectives=(ObjectiveMeta("tpot", 99.0, 0.1),)),)
    lost = 40 - served
    for ended in ("ended", "measured_ended"):
        run.class_windows[ended][1:3] = 0
        run.class_windows[ended][2, 0, Fate.SERVED] = served
        run.class_windows[ended][2, 0, Fate.TIMED_OUT] = lost
        run.class_windows[ended][2, 0, Fate.RATE_LIMITED] = 10
    objectives = run.frames().objectives.set_index("metric")
    assert objectives.loc["tpot", "verdict"] == verdict
    assert not objectives.loc["tpot", "met"]
    assert math.isnan(objectives.loc["tpot", "value"])


def test_tasks_are_counted_by_class() -> None:
    run = small_run()
    assert run.frames().tasks.empty
    for name, number in (("tasks", 10), ("tasks_finished", 6), ("tasks_abandoned", 1)):
        run.class_windows[f"measured_{name}"][1, 0] = number
    run.class_windows["task_calls"][1, 0] = 30
    run.class_windows["task_tokens"][1, 0] = 6000
    run.histograms[0, Metric.TASK_LATENCY] = to_histogram(np.linspace(10.0, 60.0, 6))
    task = run.frames().tasks.iloc[0]
    assert tuple(task[["begun", "finished", "abandoned", "under_way"]]) == (10, 6, 1, 3)
    assert (task["calls_per_task"], task["tokens_per_task"]) == (5.0, 1000.0)
    assert task["task_latency_p50_s"] == pytest.approx(30.0, rel=0.005)
    assert math.isnan(task["reusable_input_rate"])


def test_a_promise_on_tasks_of_which_none_finished_is_not_kept() -> None:
    run = small_run()
    promise = ObjectiveMeta("task_latency", 90.0, 100.0)
    run.classes = (replace(run.classes[0], objectives=(promise,)),)
    assert not run.frames().objectives.set_index("metric").loc["task_latency", "met"]


def test_of_a_class_that_nobody_used_nothing_is_known() -> None:
    run = make_run()
    run.class_windows[:, 2] = np.zeros((), dtype=CLASS_WINDOW)
    run.histograms[2] = 0
    frames = run.frames()
    unused = frames.objectives["class"] == run.classes[2].name
    assert set(frames.objectives.loc[~unused, "verdict"]) == {"kept"}
    assert set(frames.objectives.loc[unused, "verdict"]) == {"no sample"}
    assert frames.classes["objectives_met"].tolist() == [True, True, False]
    assert not frames.total["objectives_met"].any()
    result = make_result(frames=frames, money=False)
    assert result.headline["objectives_met"] is None
    assert not result.overloaded
    assert frames.classes["slo_attainment_rate"].isna().tolist() == [False, False, True]


def test_a_run_that_nobody_used_keeps_no_promise() -> None:
    run = small_run()
    run.class_windows[:] = np.zeros((), dtype=CLASS_WINDOW)
    run.histograms[:] = 0
    frames = run.frames()
    assert set(frames.objectives["verdict"]) == {"no sample"}
    assert not frames.objectives["met"].any()
    assert not frames.classes["objectives_met"].any()
    assert not frames.total["objectives_met"].any()
    assert frames.quantiles.empty


def test_shares_that_round_beyond_one_are_one() -> None:
    run = small_run()
    for name in ("busy_s", "compute_s", "memory_s"):
        run.pool_windows[name][:3] = 20.0 * (1 + 1e-12)
    run.pool_windows["kv_block_s"][:3] = 2000.0 * (1 + 1e-12)
    frames = run.frames()
    for name in ("busy_rate", "compute_rate", "memory_rate", "kv_usage_rate"):
        assert frames.pools[name].tolist() == [1.0]
        assert frames.pool_windows[name].tolist() == [1.0] * 3


def test_a_slope_is_written_as_a_plain_number() -> None:
    run = make_run(overload=187.0)
    assert "the queue grows by 190 requests per second" in run.frames().stability[0]


def test_warnings_name_the_pool_and_the_class() -> None:
    assert make_run().frames().stability == ()
    growing, losing = make_run(overload=2.0).frames().stability
    assert growing.startswith("pool chat: the queue grows by 2 requests per second")
    assert "(busiest resource: compute)" in growing
    assert losing.startswith("class anonymous-chat: 9.02% of its requests are lost")
    assert "timed out" in losing


def test_too_few_windows_with_a_queue_are_mentioned() -> None:
    run = small_run()
    run.pool_windows["waiting_s"][2] = 5000.0
    assert any("2 windows are too few to tell" in text for text in run.frames().stability)
    assert run.frames().pools["stable"].all()


def test_the_total_is_that_of_all_requests_together() -> None:
    run = make_run()
    frames = run.frames()
    total = frames.total.iloc[0]
    assert total["arrived"] == frames.classes["arrived"].sum()
    assert total["goodput_rps"] == pytest.approx(frames.classes["goodput_rps"].sum())
    assert frames.classes["ttft_p99_s"].min() < total["ttft_p99_s"]
    assert total["ttft_p99_s"] < frames.classes["ttft_p99_s"].max()
