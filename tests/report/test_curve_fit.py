"""The report of a fit: one file, sound HTML, the same bytes each time, every number in it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from planner.curves.curve import Curve, CurveKey
from planner.curves.forms.base import Form, Peaks
from planner.curves.forms.registry import form_for
from planner.curves.grid import Grid
from planner.curves.timings import Timings
from planner.report.curve_fit import render_fit_html
from planner.report.fit_figures import POINTS_AT_MOST
from planner.report.fit_record import (
    FitRecord,
    FittedCurve,
    FlaggedRow,
    InputFile,
    bounds_text,
    key_text,
    parameter_text,
    range_text,
    short_key,
    standard_errors,
)
from planner.report.page import plotly_script
from tests.report.test_html import Page

PEAKS = Peaks(flops=989e12, bandwidth=3.35e12, link=450e9)
HOSTILE = "</script><script>alert(1)</script>\u2028<b>&\"'"


def curve_of(form: Form, key: CurveKey, rows: int, **changes: object) -> Curve:
    size = len(form.parameters)
    fields: dict[str, object] = {
        "key": key,
        "form": form,
        "values": form.starts(),
        "covariance": np.diag((0.1 * form.starts()) ** 2).reshape(size, size),
        "peaks": PEAKS,
        "valid": {"m": (1.0, 4096.0), "n": (4096.0, 4096.0), "k": (1024.0, 8192.0)},
        "correction": None,
        "points": rows,
        "mape_in": 0.021,
        "mape_out": 0.034,
        "source": "synthetic",
        "version": "1.2",
        "date": "2026-01-01",
        "licence": "CC0",
    }
    return Curve(**(fields | changes))  # type: ignore[arg-type]


def fitted(rows: int = 12, **changes: object) -> FittedCurve:
    key = CurveKey("gemm", "h100-sxm", "vllm", "bf16")
    form = form_for(key)
    m = np.geomspace(1, 4096, rows)
    shape = {"m": m, "n": np.full(rows, 4096.0), "k": np.full(rows, 1024.0)}
    seconds = form.seconds(form.starts(), shape, PEAKS) * np.where(np.arange(rows) % 2, 1.02, 0.98)
    labels = {"operator": "gemm", "chip": "h100-sxm", "engine": "vllm", "dtype": "bf16"}
    return FittedCurve(
        curve_of(form, key, rows, **changes), Timings.of(seconds=seconds, shape=shape, **labels)
    )


def record(*fits: FittedCurve, **changes: object) -> FitRecord:
    fields: dict[str, object] = {
        "fits": fits or (fitted(),),
        "flagged": (
            FlaggedRow("t.csv:3", "left out", "the time is 0 µs; it must be positive"),
            FlaggedRow("t.csv:9", "kept", "repeats differ by 40%"),
        ),
        "failed": (),
        "inputs": (InputFile("t.csv", "timings", 14, "ab" * 32),),
    }
    return FitRecord(**(fields | changes))  # type: ignore[arg-type]


def text_of(shown: FitRecord) -> str:
    return render_fit_html(shown).replace(plotly_script(), "")


def scripts_of(text: str) -> tuple[dict[str, dict[str, object]], dict[str, dict[str, object]]]:
    page = Page(text)
    return json.loads(page.scripts["figures"]), json.loads(page.scripts["tables"])


def test_the_same_record_gives_the_same_bytes() -> None:
    assert render_fit_html(record()) == render_fit_html(record())


def test_one_file_without_network() -> None:
    whole = render_fit_html(record())
    assert whole.count(plotly_script()) == 1
    text = text_of(record())
    page = Page(text)
    assert "http://" not in text
    assert "https://" not in text
    assert not page.values("src")
    assert "default-src 'none'" in text


def test_every_reference_has_its_target_and_no_id_is_there_twice() -> None:
    text = text_of(record(fitted(), fitted()))
    page = Page(text)
    ids = page.values("id")
    assert len(set(ids)) == len(ids)
    assert {link.removeprefix("#") for link in page.values("href")} <= set(ids)
    figures, tables = scripts_of(text)
    assert {f"chart-{key}" for key in figures} <= set(ids)
    named = page.values("data-table") + page.values("data-copy")
    assert set(named) <= set(tables)


def test_the_figures_hold_measured_and_fitted_times() -> None:
    figures, tables = scripts_of(text_of(record()))
    assert list(figures) == ["fit-1", "residual-1"]
    dots = figures["fit-1"]["data"][-1]  # type: ignore[index]
    assert len(dots["x"]) == 12
    ratio = np.array(dots["y"]) / np.array(dots["x"])
    assert ratio == pytest.approx(np.where(np.arange(12) % 2, 1 / 1.02, 1 / 0.98), rel=1e-4)
    residuals = figures["residual-1"]["data"][-1]  # type: ignore[index]
    assert residuals["y"] == pytest.approx(ratio - 1, abs=1e-4)
    assert residuals["x"][0] == 1
    columns = [column[0] for column in tables["timings"]["columns"]]  # type: ignore[attr-defined]
    assert columns == ["curve", "m", "n", "k", "measured_us", "fitted_us", "error"]
    assert len(tables["timings"]["rows"]) == 12  # type: ignore[arg-type]


def test_parameters_stand_with_error_bounds_and_meaning() -> None:
    text = text_of(record())
    form = form_for(CurveKey("gemm", "h100-sxm", "vllm", "bf16"))
    for parameter in form.parameters:
        assert parameter.meaning in text
    assert "4 ± 0.4 µs" in text
    assert "0.7 ± 0.07" in text
    assert "within 500 ns and 300 µs" in text
    for fact in ("2.1%", "3.4%", "synthetic", "CC0", "2026-01-01", "9.89e+14 FLOP/s"):
        assert fact in text


def test_flagged_rows_and_failures_are_shown() -> None:
    text = text_of(record(failed=(("step_decode bf16 · h100-sxm · vllm", "no form describes it"),)))
    assert "t.csv:3" in text
    assert "1 of 2 flagged rows were left out" in text
    assert "no form describes it" in text
    assert 'class="status bad"' in text


def test_remarks_of_a_fit_are_never_silent() -> None:
    warned = fitted(warnings=("compute is at its upper bound 1.2",))
    text = text_of(record(warned))
    assert (
        text.count("compute is at its upper bound 1.2") == 3
    )  # on top, at the parameter, in the table
    assert "✓ Sound" not in text
    assert "✓ Sound" in text_of(record())


def test_the_grid_is_drawn_beside_the_form() -> None:
    grid = Grid(("m",), (np.array([1.0, 4096.0]),), np.array([500, 500]))
    figures, _ = scripts_of(text_of(record(fitted(correction=grid))))
    alone, curve = figures["residual-1"]["data"][-2:]  # type: ignore[index]
    assert np.array(curve["y"]) + 1 == pytest.approx((np.array(alone["y"]) + 1) / 2, rel=1e-4)


def test_many_timings_are_thinned_and_it_says_so() -> None:
    text = text_of(record(fitted(5000)))
    figures, _ = scripts_of(text)
    assert len(figures["fit-1"]["data"][-1]["x"]) == POINTS_AT_MOST  # type: ignore[index]
    assert "1,200 of 5,000 timings, drawn at random" in text


def test_nothing_fitted_is_a_page_as_well() -> None:
    text = text_of(record(fits=(), flagged=(), failed=(("gemm", "too few"),)))
    Page(text)
    assert "No curve was fitted" in text
    assert "No row of the input was rejected or odd." in text


def test_texts_from_outside_are_escaped() -> None:
    hostile = replace(
        record(
            fitted(source=HOSTILE, version=HOSTILE, licence=HOSTILE, warnings=(HOSTILE,)),
            failed=((HOSTILE, HOSTILE),),
            flagged=(FlaggedRow(HOSTILE, "kept", HOSTILE),),
            inputs=(InputFile(HOSTILE, HOSTILE, 1, HOSTILE),),
        )
    )
    text = text_of(hostile)
    page = Page(text)
    assert set(page.scripts) == {"figures", "tables", ""}
    assert "<script>alert" not in text
    assert '<b>&"' not in text


def test_unknown_errors_are_shown_as_such() -> None:
    count = len(fitted().curve.values)
    unknown = fitted(covariance=np.full((count, count), np.nan), mape_out=math.nan)
    text = text_of(record(unknown))
    assert "4 ± ? µs" in text
    assert np.isnan(standard_errors(unknown.curve)).all()
    assert "NaN" not in text.replace("isNaN", "")


@pytest.mark.parametrize(
    ("value", "error", "unit", "text"),
    [
        (3e-10, 4e-11, "s", "300 ± 40 ps"),
        (0.0, 1e-9, "s", "0 ± 1e-09 s"),
        (5e7, 2e6, "B", "50 ± 2 MB"),
        (4000.0, 120.0, "columns", "4,000 ± 1.2e+02 columns"),
        (0.5, math.inf, "", "0.5 ± ?"),
    ],
)
def test_parameters_are_in_the_unit_that_suits_them(
    value: float, error: float, unit: str, text: str
) -> None:
    assert parameter_text(value, error, unit) == text


def test_keys_ranges_and_bounds_in_words() -> None:
    key = CurveKey("decode_attention", "h200-sxm", "sglang", "bf16", "fp8")
    assert key_text(key) == "decode_attention bf16, KV fp8 · h200-sxm · sglang"
    steps = CurveKey("step_decode", "h200-sxm", "vllm", "bf16", "", "llama-2-70b", 4)
    assert key_text(steps) == "step_decode bf16 · llama-2-70b TP 4 · h200-sxm · vllm"
    assert short_key(steps) == "step_decode bf16 llama-2-70b TP 4"
    assert range_text(fitted().curve) == ["m 1 to 4,096", "n 4,096", "k 1,024 to 8,192"]
    launch = fitted().curve.form.parameters[0]
    assert bounds_text(launch) == "within 500 ns and 300 µs"
