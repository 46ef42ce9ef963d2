"""Readers of layer profiles, the TPU profile, Splitwise and Dynamo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.catalog import Catalog, load_catalog
from planner.curves.readers.columns import Profile, model_of, read_sheet
from planner.curves.readers.dynamo import read_dynamo
from planner.curves.readers.layer_profiles import (
    head_shape,
    matrices,
    read_layer_profiles,
    streams,
)
from planner.curves.readers.splitwise import read_splitwise
from planner.curves.readers.tpu import read_tpu
from planner.curves.timing_checks import check_timings
from planner.curves.timings import CurveError
from tests.conftest import WriteFile

NEW = "profiles/RTX4090/meta-llama/Llama-3.1-8B/bf16"
OLD = "profiles/H100/meta-llama/Llama-3.1-70B"
META = "vllm_version: 0.19.0\nprofiled_at: '2026-08-17T19:43:32+00:00'\n"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def only(profile: Profile, operator: str) -> dict[str, list[float]]:
    timings = profile.timings.select(operator=operator)
    shape = {
        name: column.tolist()
        for name, column in timings.shape.items()
        if len(column) and not np.isnan(column).all()
    }
    return {**shape, "us": np.round(timings.seconds * 1e6, 6).tolist()}


def test_matrices_are_those_of_the_model_split_over_devices(catalog: Catalog) -> None:
    llama = catalog.model("llama-3.1-70b")
    assert matrices(llama, 4) == {
        "qkv_proj": (8192.0, 2048.0 + 2 * 256.0),
        "q_proj": (8192.0, 2048.0),
        "k_proj": (8192.0, 256.0),
        "v_proj": (8192.0, 256.0),
        "o_proj": (2048.0, 8192.0),
        "lm_head": (8192.0, 32064.0),
        "gate_up_proj": (8192.0, 14336.0),
        "gate_proj": (8192.0, 7168.0),
        "up_proj": (8192.0, 7168.0),
        "down_proj": (7168.0, 8192.0),
    }
    assert head_shape(llama, 16)["kv_heads"] == 1.0
    assert streams(llama, 1)["act_fn"] == 3 * 28672 * 2


def test_a_mixture_has_no_dense_products(catalog: Catalog) -> None:
    assert "down_proj" not in matrices(catalog.model("qwen3-30b-a3b"), 1)


def test_the_new_format(write_file: WriteFile, catalog: Catalog) -> None:
    write_file(f"{NEW}/meta.yaml", META)
    write_file(
        f"{NEW}/tp2/dense.csv",
        "layer,tokens,time_us\nqkv_proj,3,12.5\nlayernorm,3,2\nmystery,3,1\n",
    )
    write_file(f"{NEW}/tp2/per_sequence.csv", "layer,sequences,time_us\nlm_head,2,400\n")
    path = write_file(
        f"{NEW}/tp2/attention.csv",
        "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n"
        "0,0,4,512,20\n128,64,0,0,9\n128,64,4,512,50\n",
    )
    profile = read_layer_profiles(path.parents[5], catalog)
    assert (profile.licence, profile.date) == ("MIT", "2026-08-17")
    assert profile.notes == ("left out: rows of mystery in dense.csv",)
    products = only(profile, "gemm")
    assert sorted(
        zip(products["m"], products["n"], products["k"], products["us"], strict=True)
    ) == [
        (2.0, 64128.0, 4096.0, 400.0),
        (3.0, 3072.0, 4096.0, 12.5),
    ]
    assert only(profile, "stream")["bytes"] == [3 * 4 * 4096 * 2.0]
    decode = only(profile, "decode_attention")
    assert (decode["sequences"], decode["context_tokens"], decode["us"]) == ([4.0], [512.0], [20.0])
    assert (decode["query_heads"], decode["kv_heads"]) == ([16.0], [4.0])
    prefill = only(profile, "prefill_attention")
    assert (prefill["new_tokens"], prefill["context_tokens"]) == ([128.0], [64.0])
    labels = profile.timings.labels
    assert set(labels["chip"]) == {"rtx-4090"}
    assert set(labels["version"]) == {"0.19.0"}
    assert not check_timings(profile.timings).rejected


def test_the_old_format(write_file: WriteFile, catalog: Catalog) -> None:
    write_file(
        f"{OLD}/tp4/layers.csv",
        "layer_name,input,kv_cache,tp_size,latency(ns)\nq_proj,7,0,4,16243\nattn,7,0,4,5000\n",
    )
    head = "time_stats.attn_prefill.median,time_stats.attn_decode.median,"
    path = write_file(
        f"{OLD}/tp4/attention.csv",
        f"{head}batch_size,prefill_chunk_size,kv_cache_size,is_prefill\n"
        "0.0053,,1,32,64,True\n,0.0112,9,0,320,False\n",
    )
    profile = read_layer_profiles(path.parents[4], catalog)
    assert only(profile, "gemm") == {"m": [7.0], "n": [2048.0], "k": [8192.0], "us": [16.243]}
    prefill = only(profile, "prefill_attention")
    assert prefill["us"] == [5.0, 5.3]
    assert prefill["context_tokens"] == [0.0, 64.0]
    decode = only(profile, "decode_attention")
    assert (decode["sequences"], decode["us"]) == ([9.0], [11.2])


def test_decodes_that_memory_does_not_allow_are_left_out(
    write_file: WriteFile, catalog: Catalog
) -> None:
    head = "time_stats.attn_prefill.median,time_stats.attn_decode.median,"
    path = write_file(
        f"{OLD}/tp4/attention.csv",
        f"{head}batch_size,prefill_chunk_size,kv_cache_size,is_prefill\n"
        "0.0053,,1,32,64,True\n,0.02,128,0,65536,False\n",
    )
    write_file(f"{OLD}/tp4/layers.csv", "layer_name,input,latency(ns)\nq_proj,1,16243\n")
    profile = read_layer_profiles(path.parents[4], catalog)
    assert not len(profile.timings.select(operator="decode_attention"))
    assert "faster than its memory can" in profile.notes[0]


def test_experts_with_a_stated_number_hit(write_file: WriteFile, catalog: Catalog) -> None:
    folder = "profiles/RTXPRO6000/Qwen/Qwen3-30B-A3B-Instruct-2507/bf16"
    write_file(f"{folder}/meta.yaml", META)
    path = write_file(
        f"{folder}/tp1/moe.csv", "tokens,activated_experts,time_us\n1,8,50\n2,16,134\n64,32,235\n"
    )
    profile = read_layer_profiles(path.parents[5], catalog)
    found = only(profile, "experts")
    assert (found["tokens"], found["experts"], found["us"]) == (
        [1.0, 64.0],
        [8.0, 32.0],
        [50.0, 235.0],
    )
    assert (found["hidden"][0], found["inner"][0]) == (2048.0, 768.0)
    assert "1 rows of moe.csv" in profile.notes[0]


def test_the_tpu_profile(write_file: WriteFile, catalog: Catalog) -> None:
    folder = "tpu/meta-llama/Llama-3.1-8B/tp1"
    write_file(
        f"{folder}/layers.csv",
        "layer_name,input,kv_cache,tp_size,latency(ns)\nq_proj,1,0,1,23468\n",
    )
    path = write_file(
        f"{folder}/attention.csv",
        "prefill_chunk_size,kv_cache_size,batch_size,is_prefill,mean_ns,p50_ns\n"
        "32,0,1,True,7100,7102\n0,64,5,False,9000,8800\n",
    )
    profile = read_tpu(path.parents[3], catalog)
    assert set(profile.timings.labels["chip"]) == {"tpu-v6e"}
    assert only(profile, "gemm")["k"] == [4096.0]
    assert only(profile, "prefill_attention")["us"] == [7.102]
    assert only(profile, "decode_attention")["us"] == [8.8]


SPLITWISE = (
    "model,hardware,prompt_size,batch_size,token_size,prompt_time,token_time,tensor_parallel"
)


def test_splitwise(write_file: WriteFile) -> None:
    path = write_file(
        "perf.csv",
        f"{SPLITWISE}\nllama2-70b,a100-80gb,512,2,128,196,54.9,8\n"
        "llama2-70b,h100-80gb-pcap,512,2,128,1,1,8\n",
    )
    profile = read_splitwise(path)
    assert profile.notes == ("left out: perf.csv: 1 rows of h100-80gb-pcap",)
    prefill, decode = only(profile, "step_prefill"), only(profile, "step_decode")
    assert (prefill["new_tokens"], prefill["us"]) == ([512.0], [196000.0])
    assert (decode["context_tokens"], decode["sequences"]) == ([576.0], [2.0])
    assert set(profile.timings.labels["chip"]) == {"a100-sxm"}
    assert set(profile.timings.labels["model"]) == {"llama-2-70b"}  # as the catalogue spells it


def test_splitwise_batches_that_were_not_read_at_once(write_file: WriteFile) -> None:
    """64 prompts in less time than 32, on the same devices, are no step of 64 prompts."""
    rows = [f"llama2-70b,h100-80gb,512,{b},128,{ms},40,2" for b, ms in ((32, 2398), (64, 361))]
    rows += [f"llama2-70b,h100-80gb,512,{b},128,{ms},40,8" for b, ms in ((32, 1552), (64, 2936))]
    profile = read_splitwise(write_file("perf.csv", "\n".join([SPLITWISE, *rows]) + "\n"))
    assert profile.timings.select(operator="step_prefill").lines.tolist() == [2, 4, 5]
    assert profile.timings.select(operator="step_decode").lines.tolist() == [2, 4, 5]
    (note,) = profile.notes
    assert "1 rows of llama2-70b on 2 × h100-80gb, batch 64: quicker than a smaller batch" in note


def test_dynamo(write_file: WriteFile) -> None:
    write_file("d/prefill.csv", "isl,ttft_ms,throughput_tok_s_per_gpu\n100,19.5,5121\n")
    path = write_file(
        "d/decode.csv",
        "kv_usage,context_length,itl_ms,throughput_tok_s_per_gpu\n0.1,350,19.1,13423.7\n",
    )
    profile = read_dynamo(path.parent)
    assert only(profile, "step_decode")["sequences"] == [256.0]
    assert only(profile, "step_prefill")["new_tokens"] == [100.0]
    path.unlink()
    assert read_dynamo(path.parent).notes == ("d: no decode.csv",)


def read_any_new(path: Path, catalog: Catalog) -> object:
    return read_layer_profiles(path, catalog)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("profiles/RTX4090/meta-llama/Llama-3.1-8B/tp1/layers.csv", "a,b\n1,2\n", "layers.csv:1"),
        (f"{NEW}/tp1/dense.csv", "layer,tokens,time_us\nx,1,nan\n", "dense.csv:2:1: time_us"),
        (f"{NEW}/tp1/dense.csv", "layer,tokens,time_us\nx,-1,2\n", "zero or more; was '-1'"),
        (f"{NEW}/tp1/dense.csv", "layer,tokens,time_us\nx,1\n", "2 cells, but the header has 3"),
        (f"{NEW}/tp1/dense.csv", "layer,tokens,time_us\n", "a header but no rows"),
        (f"{NEW}/tp1/dense.csv", "", "empty"),
        (f"{NEW}/tpx/dense.csv", "layer,tokens,time_us\nx,1,2\n", "tp and a number"),
        ("p/RTX9090/meta-llama/Llama-3.1-8B/tp1/layers.csv", "x\n", "unknown hardware 'RTX9090'"),
        ("p/H100/someone/Llama-9/tp1/layers.csv", "x\n", "'Llama-9' is not in the catalogue"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    write_file: WriteFile, catalog: Catalog, tmp_path: Path, name: str, text: str, words: str
) -> None:
    path = write_file(name, text)
    if NEW in name:
        write_file(f"{NEW}/meta.yaml", META)
    with pytest.raises(CurveError) as raised:
        read_layer_profiles(tmp_path, catalog)
    assert words in str(raised.value)
    assert str(path.parent) in str(raised.value) or str(path) in str(raised.value)


def test_every_fault_is_reported_at_once(write_file: WriteFile) -> None:
    path = write_file("a.csv", "x,y\n1,2\nq,3\n4,inf\n5\n")
    with pytest.raises(CurveError) as raised:
        read_sheet(path, ("x", "y"))
    lines = str(raised.value).splitlines()
    assert [line.split(".csv:")[1].split(":")[0] for line in lines] == ["3", "4", "5"]


@pytest.mark.parametrize("read", [read_splitwise, read_dynamo], ids=["splitwise", "dynamo"])
def test_nothing_there(tmp_path: Path, read: Callable[[Path], Profile]) -> None:
    with pytest.raises(CurveError):
        read(tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(CurveError):
        read(empty)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(junk=st.binary(max_size=200))
def test_junk_is_refused_not_crashed_on(tmp_path: Path, catalog: Catalog, junk: bytes) -> None:
    folder = tmp_path / NEW / "tp1"
    folder.mkdir(parents=True, exist_ok=True)
    (folder.parent / "meta.yaml").write_text(META, encoding="utf-8")
    (folder / "dense.csv").write_bytes(junk)
    with pytest.raises(CurveError):
        read_layer_profiles(tmp_path, catalog)
    with pytest.raises(CurveError):
        read_splitwise(folder / "dense.csv")


@given(st.text(max_size=30))
def test_names_of_models_are_found_or_refused(catalog: Catalog, name: str) -> None:
    wanted = name.rsplit("/", 1)[-1].casefold()
    if any(wanted == known or wanted.startswith(f"{known}-") for known in catalog.models):
        assert model_of(catalog, name, "here").name in wanted
        return
    with pytest.raises(CurveError, match=r"^here: "):
        model_of(catalog, name, "here")


def test_a_version_after_the_name_is_passed_over(catalog: Catalog) -> None:
    assert model_of(catalog, "Qwen/Qwen3-30B-A3B-Instruct-2507", "").name == "qwen3-30b-a3b"


def test_the_original_tables(shared_data: Path, catalog: Catalog) -> None:
    folder = shared_data / "microbench"
    profile = read_layer_profiles(folder / "layer_profiles" / "RTXPRO6000", catalog)
    counts = {key.operator: len(profile.timings.only(key)) for key in profile.timings.keys()}  # noqa: SIM118
    assert counts == {
        "decode_attention": 1026,
        "experts": 42,
        "gemm": 3280,
        "prefill_attention": 1398,
        "stream": 4864,
    }
    assert len(read_tpu(folder / "tpu_v6e", catalog).timings) == 30624
    assert len(read_splitwise(folder / "splitwise_sim" / "perf_model.csv").timings) == 1660
    assert len(read_dynamo(folder / "dynamo_planner_h200").timings) == 58
