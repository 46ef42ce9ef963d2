"""`planner fit` as a user calls it: from timings with known parameters back to the parameters."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from planner.catalog import load_catalog
from planner.cli.fit import fit
from planner.cli.fit_reading import detected, reader_names
from planner.curves.curve import Curve, CurveKey
from planner.curves.forms.registry import form_for
from planner.curves.peaks import peaks_of
from planner.curves.store import load_curves
from planner.curves.timings import Timings
from planner.errors import PlannerError
from planner.microbench.cases import Heads, Limits, Plan, every_case
from planner.microbench.runner import measure_cases
from planner.microbench.table import open_table
from planner.microbench.timing import Discipline
from planner.report.fit_record import key_text, standard_errors
from planner.results.formatting import percent
from tests.microbench.fake import FakeDevice, header

CHIP = load_catalog().chip("h100-sxm")
Call = Callable[..., Result]
GEMM = CurveKey("gemm", "h100-sxm", "generic", "bf16")
TRUE_GEMM = {
    **{"launch": 5e-6, "compute": 0.75, "traffic": 0.82, "fill_m": 40.0, "fill_n": 90.0},
    **{"fill_k": 300.0, "loop": 5e-10, "sharpness": 3.0},
}
TRUE_STREAM = {"launch": 2.5e-6, "share": 0.9, "round_trip": 1.5e-6}
SHAPES = [
    (m, n, k)
    for m in (1, 8, 32, 96, 256, 1024, 4096)
    for n, k in ((1280, 8192), (8192, 1024), (4096, 4096), (28672, 4096), (512, 512), (7168, 8192))
]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Return `call(*arguments)`: the command in this process, in the test's folder."""
    monkeypatch.chdir(tmp_path)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(fit)
    return lambda *arguments: CliRunner().invoke(app, [str(each) for each in arguments])


def true_values(key: CurveKey, true: dict[str, float]) -> np.ndarray:
    return np.array([true[parameter.name] for parameter in form_for(key).parameters])


def true_seconds(key: CurveKey, true: dict[str, float], shape: dict[str, float]) -> float:
    columns = {name: np.array([float(value)]) for name, value in shape.items()}
    peaks = peaks_of(CHIP, key.dtype)
    return float(form_for(key).seconds(true_values(key, true), columns, peaks)[0])


def noise(seed: int = 0, size: float = 0.01) -> Iterator[float]:
    rng = np.random.default_rng(seed)
    while True:
        yield float(np.exp(rng.normal(0.0, size)))


def write_gemms(
    path: Path,
    *,
    extra: str = "",
    size: float = 0.01,
    engine: str = "generic",
    unit_s: float = 1e-6,
) -> None:
    """Write timings of products with known parameters, give or take `size`."""
    factors = noise(size=size)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        columns = (
            "operator",
            "chip",
            "engine",
            "version",
            "dtype",
            "source",
            "time_us",
            "m",
            "n",
            "k",
        )
        writer.writerow(columns)
        for m, n, k in SHAPES:
            seconds = true_seconds(GEMM, TRUE_GEMM, {"m": m, "n": n, "k": k}) * next(factors)
            labels = ("gemm", "h100-sxm", engine, "1.0", "bf16", "made up", repr(seconds / unit_s))
            writer.writerow([*labels, m, n, k])
        file.write(extra)


def off_by(curve: Curve, true: dict[str, float]) -> dict[str, float]:
    """Return how many standard errors each parameter is from the truth."""
    errors = standard_errors(curve)
    parameters = curve.form.parameters
    return {
        parameter.name: abs(value - true[parameter.name]) / error
        for parameter, value, error in zip(parameters, curve.values, errors, strict=True)
    }


# --- the closed loop ------------------------------------------------------------------------------


def test_known_parameters_come_back_within_their_errors(call: Call, tmp_path: Path) -> None:
    write_gemms(tmp_path / "t.csv")
    done = call("t.csv", "--form-only", "-o", "curves.json")
    assert done.exit_code == 0, done.output
    (curve,) = load_curves(tmp_path / "curves.json")
    assert curve.key == GEMM
    assert curve.points == len(SHAPES)
    assert curve.correction is None
    assert curve.mape_in < 0.012
    assert curve.mape_out < 0.02
    assert max(off_by(curve, TRUE_GEMM).values()) < 4.0
    for name in ("launch", "compute", "traffic"):
        at = [parameter.name for parameter in curve.form.parameters].index(name)
        assert curve.values[at] == pytest.approx(TRUE_GEMM[name], rel=0.05)


def test_what_microbench_writes_is_what_fit_reads(call: Call, tmp_path: Path) -> None:
    stream = CurveKey("stream", "h100-sxm", "generic", "bf16")
    factors = noise(size=0.005)

    def seconds(case: object) -> float:
        shape = dict(case.shape)  # type: ignore[attr-defined]
        if case.operator == "gemm":  # type: ignore[attr-defined]
            return true_seconds(GEMM, TRUE_GEMM, shape) * next(factors)
        return true_seconds(stream, TRUE_STREAM, shape) * next(factors)

    device = FakeDevice(seconds)
    plan = Plan(
        operators=("gemm", "stream"),
        matrices=tuple(dict.fromkeys((n, k) for _, n, k in SHAPES)),
        tokens=(1, 8, 32, 96, 256, 1024, 4096),
        heads=(Heads(8, 1, 128),),
    )
    table = open_table(tmp_path / "t.csv", header(device) | {"date": "2026-01-02"})
    measure_cases(device, every_case(plan, Limits(), seed=0), table, Discipline(repeats=3))
    done = call("t.csv", "--form-only")
    assert done.exit_code == 0, done.output
    gemm, streamed = load_curves(tmp_path / "curves.json")
    assert max(off_by(gemm, TRUE_GEMM).values()) < 4.0
    # 30 timings, each a group of its own, tell too little of their own spread to count errors in it
    assert streamed.values == pytest.approx(true_values(stream, TRUE_STREAM), rel=0.05)
    assert gemm.version == "fake 1.0"
    assert gemm.date == "2026-01-02"
    assert "planner microbench on Fake 9000" in gemm.source


def test_a_grid_is_kept_only_where_it_helps_on_unseen_shapes(call: Call, tmp_path: Path) -> None:
    write_gemms(tmp_path / "t.csv", size=0.05)
    assert call("t.csv", "--form-only", "-o", "form.json").exit_code == 0
    assert call("t.csv", "-o", "grid.json").exit_code == 0
    (form,), (best,) = (load_curves(tmp_path / name) for name in ("form.json", "grid.json"))
    assert best.mape_out <= form.mape_out


def test_the_same_timings_give_the_same_files(call: Call, tmp_path: Path) -> None:
    write_gemms(tmp_path / "t.csv")
    for name in ("a", "b"):
        assert call("t.csv", "-o", f"{name}.json", "--html", f"{name}.html").exit_code == 0
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


# --- what is printed and written ------------------------------------------------------------------


def test_prints_parameters_ranges_errors_and_flags(call: Call, tmp_path: Path) -> None:
    bad = "gemm,h100-sxm,generic,1.0,bf16,made up,0,16,512,512\r\n"
    bad += "gem,h100-sxm,generic,1.0,bf16,made up,5,16,512,512\r\n"
    write_gemms(tmp_path / "t.csv", extra=bad)
    done = call("t.csv", "--html", "fit.html")
    assert done.exit_code == 0, done.output
    for promised in (
        "gemm bf16 · h100-sxm · generic",
        "fixed time of the kernels of one product",
        "share of the peak that large products attain",
        "42 timings; error",
        "on unseen shapes",
        "measured: m 1 to 4,096, n 512 to 28,672, k 512 to 8,192",
        "left out: the time is 0 µs; it must be positive",
        "left out: unknown operator 'gem'; did you mean gemm?",
        "written to curves.json: 1 curves",
        "report: fit.html",
    ):
        assert promised in done.output, promised
    line = len(SHAPES) + 2
    assert f"t.csv:{line}: left out" in done.output
    page = (tmp_path / "fit.html").read_text(encoding="utf-8")
    assert f"t.csv:{line}" in page
    assert "unknown operator" in page


def test_curves_of_several_engines_and_files_stand_side_by_side(call: Call, tmp_path: Path) -> None:
    write_gemms(tmp_path / "a.csv", engine="vllm")
    write_gemms(tmp_path / "b.csv", engine="sglang")
    done = call("a.csv", "b.csv", "--form-only")
    assert done.exit_code == 0, done.output
    assert [curve.key.engine for curve in load_curves(tmp_path / "curves.json")] == [
        "sglang",
        "vllm",
    ]
    only = call("a.csv", "b.csv", "--form-only", "--engine", "vllm", "-o", "one.json")
    assert only.exit_code == 0
    assert [curve.key.engine for curve in load_curves(tmp_path / "one.json")] == ["vllm"]


def test_origin_that_the_user_states_is_kept(call: Call, tmp_path: Path) -> None:
    write_gemms(tmp_path / "t.csv")
    stated = ("--source", "our lab", "--date", "2026-03-04", "--licence", "CC-BY-4.0")
    assert call("t.csv", "--form-only", *stated).exit_code == 0
    (curve,) = load_curves(tmp_path / "curves.json")
    assert (curve.source, curve.date, curve.licence) == ("our lab", "2026-03-04", "CC-BY-4.0")


def test_a_chip_outside_the_catalogue_needs_a_name(call: Call, tmp_path: Path) -> None:
    write_gemms(tmp_path / "t.csv")
    text = (tmp_path / "t.csv").read_text(encoding="utf-8").replace("h100-sxm", "nvidia-rtx-3090")
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    refused = call("t.csv")
    assert refused.exit_code == 1
    assert "nvidia-rtx-3090 is no chip of the catalogue" in refused.output
    assert "--chip" in refused.output
    assert not (tmp_path / "curves.json").exists()
    assert call("t.csv", "--form-only", "--chip", "h100-sxm").exit_code == 0
    (curve,) = load_curves(tmp_path / "curves.json")
    assert curve.key.chip == "h100-sxm"


# --- readers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "reader"),
    [
        ("t.csv", "dtype,time_us,operator\n", "timings"),
        ("perf_model.csv", "model,hardware,prompt_time,token_time\n", "splitwise"),
        ("d/prefill.csv", "isl,ttft_ms\n", "dynamo"),
        ("d/decode.csv", "kv_usage,context_length,itl_ms\n", "dynamo"),
        ("d/o/m/tp1/attention.csv", "is_prefill,mean_ns,p50_ns\n", "tpu"),
        (
            "d/h/o/m/tp1/attention.csv",
            "prefill_chunk,kv_prefill,n_decode,time_us\n",
            "layer-profiles",
        ),
        ("d/h100_sxm/gemm/vllm/1.0/gemm_perf.parquet", "", "aiconfigurator"),
    ],
)
def test_tables_are_recognised_by_what_they_hold(
    tmp_path: Path, name: str, text: str, reader: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    assert detected(tmp_path / name.partition("/")[0]) == reader


def test_every_reader_of_the_help_is_there() -> None:
    assert set(reader_names()) == {
        *("auto", "timings", "aiconfigurator", "layer-profiles", "tpu", "splitwise", "dynamo"),
    }


@pytest.mark.parametrize("folder", ["layer_profiles/RTX4090", "tpu_v6e"])
def test_published_profiles_are_fitted(call: Call, shared_data: Path, folder: str) -> None:
    done = call(shared_data / "microbench" / folder, "--operator", "gemm")
    assert done.exit_code == 0, done.output
    (curve,) = load_curves(Path("curves.json"))
    assert curve.licence == "MIT"
    assert "LLMServingSim" in curve.source
    assert curve.mape_in < 0.06


@pytest.mark.parametrize(
    ("name", "models", "splits", "prefill", "decode"),
    [
        (
            "splitwise_sim/perf_model.csv",
            {"llama-2-70b", "bloom-176b"},
            {2, 4, 8},
            (0.085, 0.16),
            (0.04, 0.05),
        ),
        ("dynamo_planner_h200", {"llama-3.1-8b"}, {1}, (0.03, 0.085), (0.04, 0.045)),
    ],
    ids=["splitwise", "dynamo"],
)
def test_published_whole_steps_are_fitted_per_model_and_split(
    call: Call,
    shared_data: Path,
    name: str,
    models: set[str],
    splits: set[int],
    prefill: tuple[float, float],
    decode: tuple[float, float],
) -> None:
    """The bounds are those of the worst curve, on the shapes used and on unseen ones."""
    done = call(shared_data / "microbench" / name, "--html", "steps.html")
    assert done.exit_code == 0, done.output
    curves = load_curves(Path("curves.json"))
    assert {curve.key.model for curve in curves} == models
    assert {curve.key.tensor_parallel for curve in curves} == splits
    page = Path("steps.html").read_text(encoding="utf-8")
    for curve in curves:
        assert curve.points >= 12
        most_in, most_out = prefill if curve.key.operator == "step_prefill" else decode
        assert curve.mape_in < most_in, curve.key
        assert curve.mape_out < most_out, curve.key
        for shown in (done.output, page):
            assert key_text(curve.key) in shown
        assert f"error {percent(curve.mape_in)} on them, {percent(curve.mape_out)}" in done.output


def write_steps(path: Path, rows: list[tuple[str, str, int, int]], *, columns: str = "") -> None:
    """Write decodes of 20 ms, 0.2 ms a sequence, 40 ns a token; split by 2, in half that time."""
    labels = "operator,chip,engine,dtype,source,model,tensor_parallel"
    lines = [columns or f"{labels},time_us,sequences,new_tokens,context_tokens"]
    factors = noise()
    for model, split, sequences, context in rows:
        seconds = (0.02 + 2e-4 * sequences + 4e-8 * sequences * context) / float(split or 1)
        cells = f"step_decode,h100-sxm,vllm,bf16,made up,{model},{split}"
        lines.append(f"{cells},{seconds * next(factors) * 1e6!r},{sequences},1,{context}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


LOADS = [(s, c) for s in (1, 4, 16, 64, 256) for c in (500, 2000, 8000)]


def test_whole_steps_of_two_files_are_not_mixed(call: Call, tmp_path: Path) -> None:
    write_steps(tmp_path / "a.csv", [("llama-3-8b", tp, *load) for tp in "12" for load in LOADS])
    write_steps(tmp_path / "b.csv", [("llama-3-70b", "1", *load) for load in LOADS])
    assert call("a.csv", "b.csv").exit_code == 0
    curves = load_curves(tmp_path / "curves.json")
    found = [(curve.key.model, curve.key.tensor_parallel) for curve in curves]
    assert found == [("llama-3-70b", 1), ("llama-3-8b", 1), ("llama-3-8b", 2)]
    for curve, split in zip(curves, (1.0, 1.0, 2.0), strict=True):
        true = {"floor": 0.02 / split, "sequence": 2e-4 / split, "context": 4e-8 / split}
        assert max(off_by(curve, true).values()) < 4.0
        assert curve.mape_out < 0.02
        assert np.isnan(curve.peaks.flops)


def test_rows_of_a_second_file_are_reported_as_its_own(call: Call, tmp_path: Path) -> None:
    write_steps(tmp_path / "a.csv", [("llama-3-8b", "1", *load) for load in LOADS])
    strange = [("", "1", 2, 500), ("llama-3-8b", "1.5", 2, 500), ("llama-3-8b", "", 2, 500)]
    same = [("llama-3-8b", "1", 3, 600)]
    write_steps(tmp_path / "b.csv", strange + same)
    done = call("a.csv", "b.csv")
    assert done.exit_code == 0, done.output
    for promised in (
        "b.csv:2: left out: a whole step needs the column model, which is blank; name its model",
        "b.csv:3: left out: tensor_parallel is 1.5; it must be a whole number up to 4096",
        "b.csv:4: left out: step_decode needs the column tensor_parallel, which is blank",
        f"{len(LOADS) + 1} timings; error",
    ):
        assert promised in " ".join(done.output.split()), promised


# --- exit codes -----------------------------------------------------------------------------------


def test_the_quality_gate(call: Call, tmp_path: Path) -> None:
    write_gemms(tmp_path / "t.csv", size=0.1)
    done = call("t.csv", "--form-only", "--max-mape", "0.01")
    assert done.exit_code == 1
    assert "at most 1.0% was asked for" in done.output
    assert (tmp_path / "curves.json").exists()  # to look at what is wrong
    assert call("t.csv", "--form-only", "--max-mape", "0.5", "--force").exit_code == 0


def test_curves_that_say_nothing_are_not_written(call: Call, tmp_path: Path) -> None:
    write_gemms(tmp_path / "t.csv", size=1.5)
    done = call("t.csv", "--form-only")
    assert done.exit_code == 1
    assert "so the curve says nothing" in done.output
    assert not (tmp_path / "curves.json").exists()
    assert call("t.csv", "--form-only", "--max-mape", "100").exit_code == 0


def test_times_in_ms_beat_every_peak(call: Call, tmp_path: Path) -> None:
    write_gemms(tmp_path / "t.csv", unit_s=1e-3)
    done = call("t.csv", "--form-only", "--max-mape", "100")
    assert done.exit_code == 1
    assert "times the peak of h100-sxm" in done.output
    assert "Is time_us in another unit" in done.output


def test_a_date_is_a_day(call: Call, tmp_path: Path) -> None:
    write_gemms(tmp_path / "t.csv")
    assert call("t.csv", "--date", "31.1.2026").exit_code == 2


def test_too_few_timings_are_exit_code_1_with_advice(call: Call, tmp_path: Path) -> None:
    write_gemms(tmp_path / "t.csv")
    lines = (tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()[:5]
    (tmp_path / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    done = call("t.csv")
    assert done.exit_code == 1
    assert "too few for the form gemm" in done.output
    assert "nothing could be fitted" in done.output


def test_one_bad_key_does_not_cost_the_others(call: Call, tmp_path: Path) -> None:
    few = "gemm,h100-sxm,vllm,1.0,bf16,made up,5,16,512,512\r\n"
    write_gemms(tmp_path / "t.csv", extra=few)
    done = call("t.csv", "--form-only")
    assert done.exit_code == 0
    assert "not fitted: gemm bf16 · h100-sxm · vllm" in done.output
    assert len(load_curves(tmp_path / "curves.json")) == 1


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (("none.csv",), "none.csv: no such file or folder"),
        (("t.csv", "--reader", "timing"), "did you mean timings?"),
        (("t.csv", "--operator", "gem"), "did you mean gemm?"),
        (("t.csv", "--chip", "h100-sx"), "did you mean h100-sxm?"),
        (("t.csv", "-o", "folder/../t.csv", "--force"), "t.csv: is read, and would be overwritten"),
        (("t.csv", "-o", "other.csv"), "other.csv: exists already"),
        (("t.csv", "-o", "folder"), "folder: is a folder"),
        (("t.csv", "-o", "x", "--html", "x"), "name two files"),
        (("folder",), "a folder in which no reader finds its tables"),
        (("other.csv",), "not a known table of timings: its header names a, b"),
        (("empty.csv",), "its header names nothing"),
        (("words.csv",), "words.csv:2:1: m: must be a number, was 'many'"),
    ],
)
def test_bad_input_is_refused_with_advice(
    call: Call, tmp_path: Path, arguments: tuple[str, ...], advice: str
) -> None:
    write_gemms(tmp_path / "t.csv")
    (tmp_path / "folder").mkdir()
    (tmp_path / "other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    (tmp_path / "empty.csv").write_text("", encoding="utf-8")
    words = "operator,chip,dtype,time_us,m,n,k\ngemm,h100-sxm,bf16,5,many,1,1\n"
    (tmp_path / "words.csv").write_text(words, encoding="utf-8")
    before = (tmp_path / "t.csv").read_bytes()
    done = call(*arguments)
    assert isinstance(done.exception, PlannerError), done.output  # exit code 2 under `planner`
    assert advice in str(done.exception)
    assert (tmp_path / "t.csv").read_bytes() == before


def test_curve_files_are_readable_json(call: Call, tmp_path: Path) -> None:
    write_gemms(tmp_path / "t.csv")
    assert call("t.csv", "--form-only").exit_code == 0
    document = json.loads((tmp_path / "curves.json").read_text(encoding="utf-8"))
    (curve,) = document["curves"]
    assert curve["parameters"]["launch"]["unit"] == "s"
    assert curve["valid"]["m"] == [1, 4096]


def test_keys_of_timings_in_memory_have_an_order() -> None:
    timings = Timings.of(
        seconds=[1e-6, 1e-6],
        shape={"bytes": [1.0, 2.0]},
        operator="stream",
        chip="h100-sxm",
        engine=["vllm", "generic"],
        dtype="bf16",
    )
    assert [key.engine for key in timings.keys()] == ["generic", "vllm"]  # noqa: SIM118
