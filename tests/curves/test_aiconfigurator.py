"""The reader of aiconfigurator's tables, on small tables of its layout and on the package."""

from __future__ import annotations

from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from planner.catalog import load_catalog
from planner.curves.curve import CurveKey
from planner.curves.data.jobs_dense import from_memory, within_a_node
from planner.curves.readers.aiconfigurator import (
    CHIPS,
    ENGINES,
    package_folder,
    quickest,
    read_aiconfigurator,
)
from planner.curves.readers.aiconfigurator_tables import DTYPES, TABLES
from planner.curves.timings import DTYPES as OUR_DTYPES
from planner.curves.timings import OPERATORS, CurveError, Timings


def table(folder: Path, place: str, **columns: Any) -> None:
    """Write `system/family/backend/version/table` with columns, of which scalars are repeated."""
    rows = max(len(column) for column in columns.values() if isinstance(column, list))
    full = {
        name: column if isinstance(column, list) else [column] * rows
        for name, column in columns.items()
    }
    path = folder / f"{place}.parquet"
    path.parent.mkdir(parents=True)
    parquet.write_table(pa.table(full), path)


def test_products_are_read_in_seconds(tmp_path: Path) -> None:
    table(
        tmp_path,
        "h100_sxm/gemm/trtllm/1.3.0/gemm_perf",
        gemm_dtype=["bfloat16", "nvfp4", "sq", "odd"],
        m=[1, 2, 4, 8],
        n=64,
        k=32,
        latency=[0.005, 0.004, 0.003, 0.002],
        kernel_source="x",
    )
    reading = read_aiconfigurator("gemm", "h100-sxm", folder=tmp_path)
    timings = reading.timings
    assert timings.keys() == tuple(
        CurveKey("gemm", "h100-sxm", "tensorrt-llm", dtype) for dtype in ("bf16", "fp4", "int8")
    )
    assert timings.select(dtype="bf16").seconds.tolist() == [5e-6]
    assert timings.select(dtype="fp4").shape["m"].tolist() == [2.0]
    assert "left out dtype odd" in reading.notes[0]


def test_the_newest_version_of_each_dtype_counts(tmp_path: Path) -> None:
    for version, dtypes, latency in (
        ("1.3.0rc9", ["fp8", "int8_wo"], [0.009, 0.009]),
        ("1.3.0rc20", ["fp8", "bfloat16"], [0.02, 0.02]),
    ):
        table(
            tmp_path,
            f"h100_sxm/gemm/vllm/{version}/gemm_perf",
            gemm_dtype=dtypes,
            m=[1, 2],
            n=64,
            k=32,
            latency=latency,
        )
    timings = read_aiconfigurator("gemm", "h100-sxm", folder=tmp_path).timings
    assert timings.select(dtype="fp8").labels["version"].tolist() == ["1.3.0rc20"]
    assert timings.select(dtype="int8_wo").labels["version"].tolist() == ["1.3.0rc9"]
    every = read_aiconfigurator("gemm", "h100-sxm", folder=tmp_path, newest=False).timings
    assert len(every.select(dtype="fp8")) == 2


def test_zero_times_copies_of_bf16_and_host_times_are_left_out(tmp_path: Path) -> None:
    m = [1, 2, 4, 8]
    common = {"n": 64, "k": 32}
    table(
        tmp_path,
        "h100_sxm/gemm/sglang/0.5.1/gemm_perf",
        gemm_dtype=["bfloat16"] * 4 + ["fp8"] * 4 + ["fp8_block"] * 4,
        m=m * 3,
        latency=[0.005, 0.006, 0.007, 0.0] * 2 + [0.15, 0.15, 0.16, 0.2],
        **common,
    )
    reading = read_aiconfigurator("gemm", "h100-sxm", folder=tmp_path)
    assert reading.timings.keys() == (CurveKey("gemm", "h100-sxm", "sglang", "bf16"),)
    assert len(reading.timings) == 3
    notes = "\n".join(reading.notes)
    assert "2 rows left out: their time is zero or negative" in notes
    assert "fp8: 3 rows left out: they are the times of bf16" in notes
    assert "fp8_block: 4 rows left out: the quickest takes 150 µs, so the host was timed" in notes


def test_products_in_fp8_do_not_pay_for_a_scale_that_is_known(tmp_path: Path) -> None:
    table(
        tmp_path,
        "h100_sxm/gemm/trtllm/1.3.0/gemm_perf",
        gemm_dtype=["fp8", "fp8", "fp8", "bfloat16"],
        m=[1, 2, 4, 1],
        n=64,
        k=32,
        latency=[0.0125, 0.013, 0.014, 0.006],
    )
    table(
        tmp_path,
        "h100_sxm/quantize/trtllm/1.3.0/computescale_perf",
        m=[1, 2, 2],
        k=32,
        latency=[0.008, 0.009, 0.007],
    )
    reading = read_aiconfigurator("gemm", "h100-sxm", folder=tmp_path)
    assert reading.timings.select(dtype="fp8").seconds == pytest.approx([4.5e-6, 5e-6])
    assert reading.timings.select(dtype="bf16").seconds == pytest.approx([6e-6])
    assert "(median 8.0 µs) is taken off; 1 rows have none and are left out" in reading.notes[0]


def test_collectives_count_elements_and_prefer_replayed_graphs(tmp_path: Path) -> None:
    table(
        tmp_path,
        "h200_sxm/comm/vllm/0.24.0/custom_allreduce_perf",
        allreduce_dtype="bfloat16",
        num_gpus=[2, 2],
        message_size=[1024, 1024],
        backend=["vllm_eager", "vllm_graph"],
        latency=[0.02, 0.004],
    )
    table(
        tmp_path,
        "h200_sxm/comm/nccl/2.29/nccl_perf",
        op_name=["all_reduce", "alltoall", "all_reduce"],
        nccl_dtype=["half", "half", "int8"],
        num_gpus=8,
        message_size=[512, 256, 512],
        latency=[0.01, 0.02, 0.03],
    )
    reduce = read_aiconfigurator("all_reduce", "h200-sxm", folder=tmp_path).timings
    assert reduce.select(engine="vllm").seconds == pytest.approx([4e-6])
    assert reduce.select(engine="vllm").shape["bytes"].tolist() == [2048.0]
    assert reduce.select(engine="generic").shape["bytes"].tolist() == [1024.0]
    exchange = read_aiconfigurator("all_to_all", "h200-sxm", folder=tmp_path).timings
    assert exchange.keys()[0].engine == "generic"
    assert exchange.shape["bytes"].tolist() == [512.0]


def test_expert_exchanges_are_in_microseconds(tmp_path: Path) -> None:
    table(
        tmp_path,
        "b200_sxm/comm/vllm/0.24.0/moe_a2a_perf",
        comm_backend=["deepep_ht", "deepep_ll", "deepep_ll"],
        comm_dtype="default",
        ep_size=8,
        node_num=1,
        hidden_size=7168,
        topk=[8, 8, 6],
        num_tokens=16,
        latency=[83.0, 50.0, 40.0],
    )
    timings = read_aiconfigurator("all_to_all", "b200-sxm", folder=tmp_path).timings
    # of two kernels for one exchange the quicker one; six experts per token are not read
    assert timings.seconds == pytest.approx([50e-6])
    assert timings.shape["bytes"].tolist() == [16 * 8 * 7168 * 2.0]


def test_deepep_has_four_devices_to_a_tray(tmp_path: Path) -> None:
    for system, device in (("gb200", "NVIDIA GB200"), ("h100_sxm", "NVIDIA H100")):
        table(
            tmp_path,
            f"{system}/comm/sglang/0.5.12/wideep_deepep_normal_perf",
            device=device,
            op_name="normal",
            node_num=[1, 1, 2],
            hidden_size=1024,
            num_token=4,
            num_topk=8,
            dispatch_sms=[20, 24, 20],
            combine_sms=[20, 24, 20],
            dispatch_transmit_us=[30.0, 29.0, 60.0],
            combine_transmit_us=[50.0, 49.0, 90.0],
        )
    tray = read_aiconfigurator("all_to_all", "gb200", folder=tmp_path).timings
    assert tray.select(dtype="bf16").shape["devices"].tolist() == [4.0, 8.0]
    node = within_a_node(read_aiconfigurator("all_to_all", "h100-sxm", folder=tmp_path).timings)
    assert node.select(dtype="bf16").shape["devices"].tolist() == [8.0]
    assert node.select(dtype="fp8").seconds == pytest.approx([30e-6])
    assert node.select(dtype="fp8").shape["bytes"] == pytest.approx([4 * 8 * 1024 * (1 + 1 / 32)])


def test_attention_has_windows_caches_and_contexts(tmp_path: Path) -> None:
    heads = {
        "num_heads": 8,
        "num_key_value_heads": [0, 2],
        "head_dim": 128,
        "window_size": [0, 128],
        "attn_dtype": "bfloat16",
        "kv_cache_dtype": ["bfloat16", "fp8"],
        "latency": [0.01, 0.02],
        "batch_size": 4,
    }
    place = "h100_sxm/attention/vllm/0.24.0"
    table(tmp_path, f"{place}/context_attention_perf", isl=[512, 64], step=[0, 100], **heads)
    other = tmp_path / "other"
    table(other, f"{place}/generation_attention_perf", isl=1, step=[99, 15], **heads)
    prefill = read_aiconfigurator("prefill_attention", "h100-sxm", folder=tmp_path).timings
    assert prefill.keys() == tuple(
        CurveKey("prefill_attention", "h100-sxm", "vllm", "bf16", cache)
        for cache in ("bf16", "fp8")
    )
    assert prefill.shape["kv_heads"].tolist() == [8.0, 2.0]
    assert prefill.shape["new_tokens"].tolist() == [512.0, 64.0]
    assert prefill.shape["context_tokens"].tolist() == [0.0, 100.0]
    assert prefill.shape["window_tokens"].tolist() == [0.0, 128.0]
    decode = read_aiconfigurator("decode_attention", "h100-sxm", folder=other).timings
    assert decode.shape["context_tokens"].tolist() == [100.0, 16.0]


def test_skewed_routing_is_preferred(tmp_path: Path) -> None:
    table(
        tmp_path,
        "h100_sxm/moe/vllm/0.24.0/moe_perf",
        moe_dtype=["bfloat16", "bfloat16", "w4a16_mxfp4"],
        num_tokens=64,
        hidden_size=4096,
        inter_size=1536,
        topk=8,
        num_experts=128,
        moe_tp_size=1,
        moe_ep_size=4,
        distribution=["balanced", "power_law_1.01", "balanced"],
        latency=[0.1, 0.2, 0.3],
    )
    timings = read_aiconfigurator("experts", "h100-sxm", folder=tmp_path).timings
    assert timings.select(dtype="bf16").seconds == pytest.approx([2e-4])
    assert timings.select(dtype="fp4_wo").seconds == pytest.approx([3e-4])


def test_stages_of_linear_attention_are_added(tmp_path: Path) -> None:
    table(
        tmp_path,
        "h100_sxm/linear_attention/vllm/0.24.0/gdn_perf",
        phase="context",
        kernel_source=["causal_conv1d_fn", "chunk_rule_a", "chunk_rule_b"],
        batch_size=2,
        seq_len=128,
        num_k_heads=16,
        num_v_heads=32,
        head_v_dim=128,
        latency=[0.01, 0.05, 0.04],
    )
    timings = read_aiconfigurator("linear_prefill", "h100-sxm", folder=tmp_path).timings
    assert timings.seconds == pytest.approx([5e-5])
    assert not len(read_aiconfigurator("linear_decode", "h100-sxm", folder=tmp_path).timings)


def test_the_quickest_kernel_by_the_median_of_its_repeats() -> None:
    timings = Timings.of(
        seconds=[5.0, 1.0, 4.0, 3.0, 9.0],
        shape={"bytes": [8.0, 8.0, 8.0, 8.0, 16.0]},
        model=["a", "a", "a", "b", "b"],
    )
    # of a: the median, 4; of b: 3
    assert quickest(timings).seconds.tolist() == [3.0, 9.0]


def test_products_out_of_the_cache_are_left_out() -> None:
    """On an L40S, 864 GB/s: 16 MB in 10 µs cannot come from memory, 128 MB in 180 µs can."""
    n = np.array([2048.0, 2048.0, 4096.0, 16384.0])
    timings = Timings.of(
        operator="gemm",
        chip="l40s",
        dtype="bf16",
        shape={"m": [16.0, 4096.0, 16.0, 16.0], "n": n, "k": 4096.0},
        seconds=[10e-6, 300e-6, 45e-6, 180e-6],
    )
    kept = from_memory(timings)
    assert kept.shape["m"].tolist() == [4096.0, 16.0, 16.0]
    assert kept.shape["n"].tolist() == [2048.0, 4096.0, 16384.0]
    assert len(from_memory(timings.rows(np.array([2, 3])))) == 2


@pytest.mark.parametrize(
    ("operator", "chip", "said"),
    [
        ("gem", "h100-sxm", r"no operator 'gem'; did you mean gemm\?"),
        ("gemm", "h100-sxn", r"no chip 'h100-sxn'; did you mean h100-sxm\?"),
    ],
)
def test_unknown_names_are_advised(operator: str, chip: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(CurveError, match=said):
        read_aiconfigurator(operator, chip, folder=tmp_path)


def test_a_folder_without_tables_and_a_broken_table_say_so(tmp_path: Path) -> None:
    with pytest.raises(CurveError, match="no tables of aiconfigurator-core here"):
        read_aiconfigurator("gemm", "h100-sxm", folder=tmp_path)
    path = tmp_path / "h100_sxm/gemm/vllm/1/gemm_perf.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1 nonsense")
    with pytest.raises(CurveError, match="not a readable Parquet file"):
        read_aiconfigurator("gemm", "h100-sxm", folder=tmp_path)
    path.unlink()
    path.parent.rmdir()
    table(tmp_path, "h100_sxm/gemm/vllm/1/gemm_perf", gemm_dtype=["fp8"], m=[1], n=1)
    with pytest.raises(CurveError, match="the column 'k' is absent"):
        read_aiconfigurator("gemm", "h100-sxm", folder=tmp_path)


def test_names_map_onto_the_catalogue_and_the_timing_table() -> None:
    assert set(DTYPES.values()) <= set(OUR_DTYPES)
    assert {name for names, _ in TABLES.values() for name in names} <= set(OPERATORS)
    assert set(CHIPS) <= set(load_catalog().chips)
    assert set(ENGINES.values()) == {"vllm", "sglang", "tensorrt-llm", "generic"}


def test_an_absent_package_is_explained() -> None:
    if util.find_spec("aiconfigurator_core") is not None:
        pytest.skip("aiconfigurator-core is installed")
    with pytest.raises(CurveError, match=r"not installed; run `pip install planner\[kernels\]`"):
        read_aiconfigurator("gemm", "h100-sxm")


def test_the_package_itself_is_read() -> None:
    if util.find_spec("aiconfigurator_core") is None:
        pytest.skip("needs aiconfigurator-core: pip install planner[kernels]")
    _, version = package_folder()
    timings = read_aiconfigurator("all_reduce", "h200-sxm").timings
    largest = timings.select(engine="vllm").shape["bytes"].max()
    assert version.startswith("0.")
    assert largest == 2.0**30
    assert np.all(timings.seconds > 1e-6)
    assert np.all(timings.seconds < 1.0)
