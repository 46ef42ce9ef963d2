"""The timing table: selection, the CSV file, and what is rejected or flagged in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.curves.curve import CurveKey
from planner.curves.forms.gemm import Gemm
from planner.curves.readers.timings_csv import read_timings_csv, write_timings_csv
from planner.curves.timing_checks import Checked, check_timings
from planner.curves.timings import OPERATORS, CurveError, Timings, shape_of
from tests.conftest import WriteFile

SIZES = np.array([16.0, 32.0, 64.0, 128.0, 256.0, 512.0])


def products(seconds: object = None, *, m: object = SIZES, **labels: object) -> Timings:
    """Return products of m × 1024 × 1024 that take 5 µs and 10 ns per row."""
    rows = np.asarray(m, dtype=np.float64)
    return Timings.of(
        operator=labels.pop("operator", "gemm"),
        chip="h100-sxm",
        engine="vllm",
        dtype=labels.pop("dtype", "bf16"),
        seconds=5e-6 + 1e-8 * rows if seconds is None else seconds,
        shape={"m": rows, "n": 1024.0, "k": 1024.0},
        lines=np.arange(2, len(rows) + 2),
        file="t.csv",
        **labels,
    )


def messages(checked: Checked) -> list[str]:
    return [str(finding) for finding in checked.findings]


def test_rows_are_selected_by_label() -> None:
    both = Timings.joined([products(), products(dtype="fp8")])
    assert len(both.select(dtype="fp8")) == 6
    assert len(both.select(dtype="fp8", engine="sglang")) == 0
    assert both.keys() == (
        CurveKey("gemm", "h100-sxm", "vllm", "bf16"),
        CurveKey("gemm", "h100-sxm", "vllm", "fp8"),
    )
    assert len(both.only(both.keys()[0])) == 6


def test_an_unknown_label_or_column_is_named() -> None:
    with pytest.raises(CurveError, match=r"no label 'dtpye'; did you mean dtype\?"):
        products().select(dtpye="fp8")
    with pytest.raises(CurveError, match="no shape column 'tokn'"):
        Timings.of(seconds=1.0, shape={"tokn": 1.0})


def test_joined_tables_keep_the_columns_of_both() -> None:
    streams = Timings.of(operator="stream", seconds=[1e-6], shape={"bytes": [4096.0]})
    both = Timings.joined([products(), streams])
    assert np.isnan(both.shape["bytes"][:6]).all()
    assert both.shape["bytes"][6] == 4096.0


def test_each_row_keeps_the_file_it_was_read_from() -> None:
    one = replace(products(), files=("a.csv",))
    other = replace(products(dtype="fp8"), files=("b.csv",))
    both = Timings.joined([one, other, one])
    assert both.files == ("a.csv", "b.csv")
    assert [both.file_of(row) for row in (0, 5, 6, 11, 12)] == [
        *("a.csv", "a.csv", "b.csv", "b.csv", "a.csv")
    ]
    assert both.file == "a.csv, b.csv"
    assert both.select(dtype="fp8").file == "b.csv"  # not the file that was read first
    assert Timings.joined([both, both]).files == both.files
    assert Timings.joined([]).file == "timings"
    assert both.places(np.array([0, 1])) == "lines 2, 3"
    assert both.places(both.lines == 2) == "a.csv:2, b.csv:2, a.csv:2"


def test_a_table_of_many_files_names_a_few() -> None:
    parts = [replace(products(), files=(f"{name}.csv",)) for name in "abcde"]
    assert Timings.joined(parts).file == "a.csv, b.csv, c.csv and 2 more"


def test_findings_name_the_file_of_their_row() -> None:
    seconds = products().seconds.copy()
    seconds[1] = 0.0
    bad = replace(products(seconds, dtype="fp8"), files=("b.csv",))
    both = Timings.joined([replace(products(), files=("a.csv",)), bad])
    (finding,) = check_timings(both).findings
    assert str(finding).startswith("b.csv:3: rejected: the time is 0 µs")
    slow = replace(products(2.0 * products().seconds), files=("b.csv",))
    repeats = check_timings(Timings.joined([products(), slow])).findings
    assert [finding.file for finding in repeats] == [*["t.csv"] * 6, "t.csv, b.csv"]
    assert "differ by 67% (t.csv:2, b.csv:2); their median is used" in repeats[0].message


STEPS = {"operator": "step_decode", "chip": "h100-sxm", "engine": "vllm", "dtype": "bf16"}


def steps(model: object, devices: object, **labels: object) -> Timings:
    size = max(np.size(model), np.size(devices))
    shape = {"tensor_parallel": devices, "sequences": np.arange(1.0, size + 1.0)}
    shape |= {"new_tokens": 1.0, "context_tokens": 100.0}
    return Timings.of(
        **{**STEPS, "model": model, **labels},
        seconds=0.01 + 1e-4 * np.arange(size),
        shape=shape,
        lines=np.arange(2, size + 2),
    )


def test_whole_steps_of_models_and_splits_are_kept_apart() -> None:
    both = steps(["a", "b", "a", "a"], [8.0, 8.0, 2.0, 8.0])
    names = [STEPS[name] for name in ("operator", "chip", "engine", "dtype")]
    assert both.keys() == (
        CurveKey(*names, "", "a", 2),
        CurveKey(*names, "", "a", 8),
        CurveKey(*names, "", "b", 8),
    )
    assert [both.only(key).lines.tolist() for key in both.keys()] == [[4], [2, 5], [3]]  # noqa: SIM118
    kernels = steps(["a", "b"], 4.0, operator="experts")
    assert [(key.model, key.tensor_parallel) for key in kernels.keys()] == [("", 0)]  # noqa: SIM118
    assert len(kernels.only(kernels.keys()[0])) == 2


@pytest.mark.parametrize(
    ("model", "devices", "said"),
    [
        ("", 8.0, "a whole step needs the column model, which is blank; name its model"),
        ("a", 1.5, "tensor_parallel is 1.5; it must be a whole number up to 4096"),
        ("a", 1e300, "tensor_parallel is 1e+300; it must be a whole number up to 4096"),
        ("a", 0.0, "tensor_parallel is 0; it must be positive"),
        ("a", -np.inf, "tensor_parallel is -inf; it must be positive"),
        ("a", np.nan, "step_decode needs the column tensor_parallel, which is blank"),
    ],
)
def test_a_step_without_model_or_split_is_rejected(model: str, devices: float, said: str) -> None:
    checked = check_timings(steps(["a", model, "a"], [8.0, devices, 8.0]))
    assert messages(checked) == [f"timings:3: rejected: {said}"]
    assert len(checked.timings) == 2


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "a", "b"]), st.floats(), st.sampled_from(sorted(OPERATORS))),
        min_size=1,
        max_size=10,
    )
)
def test_every_row_belongs_to_one_key(rows: list[tuple[str, float, str]]) -> None:
    table = steps(
        [row[0] for row in rows], [row[1] for row in rows], operator=[row[2] for row in rows]
    )
    lines = [table.only(key).lines.tolist() for key in table.keys()]  # noqa: SIM118
    assert sorted(sum(lines, [])) == table.lines.tolist()  # noqa: RUF017


def test_a_form_without_its_column_is_refused() -> None:
    streams = Timings.of(operator="stream", seconds=[1e-6], shape={"bytes": [4096.0]})
    with pytest.raises(CurveError, match="the form gemm needs the column m"):
        shape_of(streams, Gemm())


def test_a_clean_table_passes_unchanged() -> None:
    checked = check_timings(products(), form=None)
    assert not checked.findings
    assert np.array_equal(checked.timings.seconds, products().seconds)


@pytest.mark.parametrize(
    ("time", "said"),
    [(0.0, "the time is 0 µs"), (-1e-6, "-1 µs"), (np.nan, "is nan"), (np.inf, "is inf")],
)
def test_a_time_that_is_no_time_is_rejected(time: float, said: str) -> None:
    seconds = products().seconds.copy()
    seconds[2] = time
    checked = check_timings(products(seconds))
    assert len(checked.timings) == 5
    assert [finding.line for finding in checked.rejected] == [4]
    assert said in messages(checked)[0]


def test_a_blank_or_negative_shape_is_rejected() -> None:
    m = SIZES.copy()
    m[0], m[1], m[2] = np.nan, 0.0, -4.0
    checked = check_timings(products(np.full(6, 1e-5), m=m))
    assert messages(checked) == [
        "t.csv:2: rejected: gemm needs the column m, which is blank",
        "t.csv:3: rejected: m is 0; it must be positive",
        "t.csv:4: rejected: m is -4; it must be positive",
    ]


def test_unknown_names_are_rejected_with_the_nearest() -> None:
    checked = check_timings(products(dtype="fp8_blok"))
    assert not len(checked.timings)
    assert "unknown dtype 'fp8_blok'; did you mean fp8_block?" in messages(checked)[0]
    assert "did you mean gemm?" in messages(check_timings(products(operator="gem")))[0]


def test_repeats_become_their_median_and_wide_ones_are_flagged() -> None:
    m = np.array([16.0, 16.0, 16.0, 32.0, 32.0, 64.0])
    seconds = np.array([1.0, 1.1, 2.0, 3.0, 3.03, 4.0]) * 1e-5
    checked = check_timings(products(seconds, m=m))
    assert checked.timings.seconds == pytest.approx([1.1e-5, 3.015e-5, 4e-5])
    assert not checked.rejected
    flags = [finding for finding in checked.flagged if finding.line]
    assert [finding.line for finding in flags] == [2]
    assert "3 timings of one shape differ by 91% (lines 2, 3, 4)" in flags[0].message


def test_a_group_in_milliseconds_is_rejected() -> None:
    rng = np.random.default_rng(1)
    m = np.exp2(np.arange(4, 12).repeat(6)) + np.tile(np.arange(6), 8)
    seconds = (5e-6 + 1e-8 * m) * np.exp(rng.normal(0, 0.05, len(m)))
    seconds[10:14] /= 1000.0
    checked = check_timings(products(seconds, m=m))
    assert [finding.line for finding in checked.rejected] == [12, 13, 14, 15]
    assert "times shorter than those of the nearest shapes; is it in ms?" in messages(checked)[0]
    assert len(checked.timings) == len(m) - 4


def test_times_that_fall_as_work_doubles_are_flagged_and_kept() -> None:
    seconds = np.array([10.0, 10.0, 8.6, 8.4, 20.0, 30.0]) * 1e-6
    checked = check_timings(products(seconds))
    assert len(checked.timings) == 6
    assert [(finding.line, finding.rejected) for finding in checked.findings] == [(5, False)]
    assert "m 128 takes 8.4 µs, less than the 10 µs of m 16" in messages(checked)[0]


def test_too_few_rows_for_a_form_are_reported() -> None:
    checked = check_timings(products(), form=Gemm())
    assert "6 usable timings are too few for the form gemm" in messages(checked)[-1]


def test_a_written_table_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_timings_csv(path, products(version="0.24"))
    back = read_timings_csv(path)
    assert np.allclose(back.seconds, products().seconds, rtol=1e-5)
    assert np.array_equal(back.shape["m"], SIZES)
    assert back.keys() == products().keys()
    assert back.lines.tolist() == [2, 3, 4, 5, 6, 7]
    assert path.read_text().startswith("operator,chip,engine,version,dtype,kv_dtype,source,time_us")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("operator,chip,dtype,time_us\n", "a header but no timings"),
        ("operator,chip,dtype\n", r"t.csv:1:1: the header lacks time_us"),
        ("operator,chip,dtype,time_ms\n", r"'time_ms': unknown column; did you mean time_us\?"),
        ("operator,chip,dtype,time_us,m,m\n", "m: the column is there twice"),
        ("operator,chip,dtype,time_us\ngemm,x\n", "t.csv:2:1: 2 cells, but the header has 4"),
        (
            "operator,chip,dtype,time_us\na,b,c,fast\na,b,c,1_0\n",
            r"(?s)t.csv:2:1: time_us: must be a number, was 'fast'.*t.csv:3:1",
        ),
        ("operator,chip,dtype,time_us\n" + "a,b,c,x\n" * 30, r"… and 10 more"),
        ('operator,chip,dtype,time_us\n"a,b\n', "not a CSV file"),
    ],
)
def test_a_file_that_is_no_table_says_where(text: str, said: str, write_file: WriteFile) -> None:
    with pytest.raises(CurveError, match=said):
        read_timings_csv(write_file("t.csv", text))


def test_a_file_that_is_absent_or_binary_says_so(tmp_path: Path) -> None:
    with pytest.raises(CurveError, match="cannot be read"):
        read_timings_csv(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"operator\xff\xfe\n")
    with pytest.raises(CurveError, match="byte 8 is not UTF-8"):
        read_timings_csv(tmp_path / "b.csv")


@given(
    st.lists(
        st.tuples(
            st.floats(allow_nan=True, allow_infinity=True, width=32),
            st.floats(allow_nan=True, allow_infinity=True, width=32),
            st.sampled_from(["gemm", "", "gemm ", "stream"]),
            st.sampled_from(["bf16", "bf61", ""]),
        ),
        max_size=12,
    )
)
def test_any_table_is_either_used_or_explained(
    rows: list[tuple[float, float, str, str]],
) -> None:
    table = Timings.of(
        operator=np.array([row[2] for row in rows], dtype=np.str_),
        dtype=np.array([row[3] for row in rows], dtype=np.str_),
        chip="c",
        seconds=np.array([row[0] for row in rows]),
        shape={
            name: np.array([row[1] for row in rows], dtype=np.float64)
            for name in ("m", "n", "k", "bytes")
        },
        lines=np.arange(2, len(rows) + 2),
    )
    checked = check_timings(table)
    lost = {finding.line for finding in checked.rejected}
    merged = len(table) - len(lost) - len(checked.timings)
    assert merged >= 0
    assert np.all(np.isfinite(checked.timings.seconds) & (checked.timings.seconds > 0))
    assert set(checked.timings.lines.tolist()).isdisjoint(lost)
