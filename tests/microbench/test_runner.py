"""The measurement as a whole, on a fake device: files, interruption, what does not fit."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from planner.catalog import load_catalog
from planner.errors import OutputError
from planner.microbench import environment
from planner.microbench.cases import Case, Limits, Plan, every_case
from planner.microbench.runner import OUT_OF_MEMORY, Outcome, Tally, measure_cases
from planner.microbench.summary import bests
from planner.microbench.table import COLUMNS, LOG_COLUMNS, Table, open_table
from planner.microbench.timing import Discipline, Sample
from tests.microbench.fake import FakeDevice, header

PLAN = Plan(
    operators=("gemm", "stream", "decode_attention"),
    dtypes=("bf16", "int8"),
    matrices=((256, 512), (512, 256)),
    tokens=(1, 16, 256),
    array_bytes=(2**15, 2**20),
)
DISCIPLINE = Discipline(repeats=3)


def true_s(case: Case) -> float:
    return 2e-6 + case.flops / 1e14 + case.moved_bytes / 1e12


def cases_of(plan: Plan = PLAN) -> list[Case]:
    return every_case(plan, Limits(), seed=0)


def run(device: FakeDevice, path: Path, plan: Plan = PLAN) -> tuple[Table, Tally]:
    table = open_table(path, header(device))
    return table, measure_cases(device, cases_of(plan), table, DISCIPLINE)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_timing_is_in_the_csv_with_the_columns_of_the_table(tmp_path: Path) -> None:
    device = FakeDevice(true_s)
    _, tally = run(device, tmp_path / "t.csv")
    found = rows(tmp_path / "t.csv")
    assert tuple(found[0]) == COLUMNS
    assert tally.measured == len(found)
    by_key = {(row["operator"], row["m"], row["n"], row["k"], row["bytes"]): row for row in found}
    for case in cases_of():
        sizes = dict(case.shape)
        key = (case.operator, *(str(sizes.get(name, "")) for name in ("m", "n", "k", "bytes")))
        if case.element != "int8":
            assert float(by_key[key]["time_us"]) == pytest.approx(true_s(case) * 1e6, rel=1e-5)
    assert {row["chip"] for row in found} == {"h100-sxm"}
    assert {row["engine"] for row in found} == {"generic"}
    assert all(kernel.closed for kernel in device.kernels)


def test_equal_timings_give_equal_bytes_whatever_the_order(tmp_path: Path) -> None:
    for name, seed in (("a.csv", 0), ("b.csv", 9)):
        device = FakeDevice(true_s)
        table = open_table(tmp_path / name, header(device))
        measure_cases(device, every_case(PLAN, Limits(), seed=seed), table, DISCIPLINE)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert (tmp_path / "a.log.csv").read_bytes() == (tmp_path / "b.log.csv").read_bytes()


def test_what_fails_is_in_the_log_with_its_reason(tmp_path: Path) -> None:
    device = FakeDevice(true_s, memory=1e6)
    _, tally = run(device, tmp_path / "t.csv")
    log = rows(tmp_path / "t.log.csv")
    assert tuple(log[0]) == LOG_COLUMNS
    assert len(log) == len(cases_of())
    states = [row["status"] for row in log]
    assert states.count("out of memory") == tally.out_of_memory > 0
    assert states.count("unsupported") == tally.unsupported > 0
    assert states.count("measured") == tally.measured > 0
    assert {r["detail"] for r in log if r["status"] == "unsupported"} == {"no int8 here"}
    assert all(row["median_us"] for row in log if row["status"] == "measured")
    assert tally.measured == len(rows(tmp_path / "t.csv"))


def test_an_interrupted_measurement_goes_on_where_it_stopped(tmp_path: Path) -> None:
    device = FakeDevice(true_s)
    device.stop_after = 5
    with pytest.raises(KeyboardInterrupt):
        run(device, tmp_path / "t.csv")
    kept = rows(tmp_path / "t.csv")
    assert 0 < len(kept) <= 5
    assert not list(tmp_path.glob("*.partial"))
    again = FakeDevice(true_s)
    table, tally = run(again, tmp_path / "t.csv")
    assert tally.already == len(kept)
    assert tally.measured + tally.already == len(table.rows)
    once = FakeDevice(true_s)
    run(once, tmp_path / "once.csv")
    assert (tmp_path / "t.csv").read_bytes() == (tmp_path / "once.csv").read_bytes()
    measured_before = {(row["operator"], row["m"], row["bytes"], row["n"]) for row in kept}
    for case in again.prepared:
        sizes = {name: str(value) for name, value in case.shape}
        key = (case.operator, *(sizes.get(name, "") for name in ("m", "bytes", "n")))
        assert case.element == "int8" or key not in measured_before or case.operator.endswith("ion")


def test_a_complete_measurement_is_not_taken_again(tmp_path: Path) -> None:
    plan = Plan(operators=("stream",), array_bytes=(2**15, 2**20))
    run(FakeDevice(true_s), tmp_path / "t.csv", plan)
    before = (tmp_path / "t.csv").read_bytes()
    again = FakeDevice(lambda _: 1.0)
    _, tally = run(again, tmp_path / "t.csv", plan)
    assert again.prepared == []
    assert (tally.measured, tally.already) == (0, 4)
    assert (tmp_path / "t.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "value"), [("chip", "h200-sxm"), ("version", "fake 2.0"), ("flush", False)]
)
def test_timings_of_another_machine_are_not_mixed(tmp_path: Path, name: str, value: object) -> None:
    device = FakeDevice(true_s)
    run(device, tmp_path / "t.csv")
    other = header(device) | {name: value}
    with pytest.raises(OutputError, match=rf"{name} .*choose another --output, or --force"):
        open_table(tmp_path / "t.csv", other)
    assert open_table(tmp_path / "t.csv", other, force=True).rows == {}


@pytest.mark.parametrize(
    ("csv_text", "json_text", "message"),
    [
        ("a,b\n1,2\n", None, "does not say that planner"),
        ("a,b\n1,2\n", "{}", "does not say that planner"),
        ("a,b\n1,2\n", "not json", "does not say that planner"),
        ("a,b\n1,2\n", "[]", "does not say that planner"),
        ("a,b\n1,2\n", "ours", "t.csv:2: has not the columns"),
        (",".join(COLUMNS) + "\ngemm\n", "ours", "t.csv:2: has not the columns"),
        ("\xff\x00", "ours", "t.csv"),
    ],
)
def test_a_file_of_someone_else_is_not_overwritten(
    tmp_path: Path, csv_text: str, json_text: str | None, message: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(csv_text.encode("latin-1"))
    ours = header(FakeDevice(true_s))
    if json_text is not None:
        text = json.dumps(ours) if json_text == "ours" else json_text
        path.with_suffix(".json").write_text(text, encoding="utf-8")
    before = path.read_bytes()
    if csv_text.startswith("\xff"):
        with pytest.raises(OutputError, match=r"t\.csv"):
            open_table(path, ours)
    else:
        with pytest.raises(OutputError) as caught:
            open_table(path, ours)
        assert message in str(caught.value)
    assert path.read_bytes() == before


def test_only_csv_is_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"ends in \.csv"):
        open_table(tmp_path / "timings.parquet", {})


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    table = open_table(tmp_path / "file" / "t.csv", header(FakeDevice(true_s)))
    with pytest.raises(OutputError, match="cannot be written"):
        table.save()


def test_collectives_are_handed_on_together(tmp_path: Path) -> None:
    plan = Plan(operators=("all_reduce",), reduced_bytes=(8192, 2**20), devices=(2, 4))
    cases = every_case(plan, Limits(), seed=0)
    table = open_table(tmp_path / "t.csv", header(FakeDevice(true_s)))
    seen: list[list[Case]] = []

    def together(joint: list[Case]) -> list[Outcome]:
        seen.append(joint)
        sample = Sample(1e-5, 0.0, 3, 1)
        first, *rest = joint
        return [
            Outcome(first, OUT_OF_MEMORY, "full"),
            *(Outcome(case, "measured", "fake", sample) for case in rest),
        ]

    device = FakeDevice(true_s)
    tally = measure_cases(device, cases, table, DISCIPLINE, collectives=together)
    assert seen == [cases]
    assert device.prepared == []
    assert (tally.measured, tally.out_of_memory) == (3, 1)


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    device = FakeDevice(true_s)
    steps: list[tuple[float, float]] = []
    table = open_table(tmp_path / "t.csv", header(device))
    measure_cases(
        device, cases_of(), table, DISCIPLINE, progress=lambda done, of: steps.append((done, of))
    )
    assert steps == [(done, len(cases_of())) for done in range(1, len(cases_of()) + 1)]


def test_unsteady_timings_are_counted(tmp_path: Path) -> None:
    _, steady = run(FakeDevice(true_s), tmp_path / "a.csv")
    _, noisy = run(FakeDevice(true_s, noise=0.5), tmp_path / "b.csv")
    assert steady.unsteady == 0
    assert noisy.unsteady > noisy.measured / 2


def test_the_summary_gives_rates_and_their_share_of_the_peak(tmp_path: Path) -> None:
    def at_half_the_peak(case: Case) -> float:
        return max(case.flops / (989e12 / 2), case.moved_bytes / (3.35e12 / 2))

    plan = Plan(
        operators=("gemm", "stream"), matrices=((8192, 8192),), tokens=(8192,), array_bytes=(2**28,)
    )
    table, _ = run(FakeDevice(at_half_the_peak), tmp_path / "t.csv", plan)
    cases = cases_of(plan)
    found = {best.operator: best for best in bests(table, cases, load_catalog().chip("h100-sxm"))}
    assert found["gemm"].rate == "494.5 TFLOP/s"
    assert found["gemm"].of_peak == pytest.approx(0.5, rel=1e-3)
    assert found["stream"].of_peak == pytest.approx(0.5, rel=1e-3)
    assert all(best.of_peak is None for best in bests(table, cases, None))


def test_the_state_of_a_card_is_read_from_its_tools_line() -> None:
    line = (
        "NVIDIA H100 80GB HBM3, 580.95.05, 96.00.99.00.01, P0, Disabled, 1980, 2619, 1980, 2619, "
        "412.51, 700.00, 54, 0x0000000000000000\n"
    )
    found = environment.parsed_nvidia(line)
    assert found["clocks.sm"] == 1980.0
    assert found["power.draw"] == 412.51
    assert found["driver_version"] == "580.95.05"
    unknown = environment.parsed_nvidia(line.replace("412.51", "[N/A]"))
    assert "power.draw" not in unknown
    assert environment.parsed_nvidia("") == {}
    assert environment.parsed_nvidia("No devices were found\n") == {}


def test_nothing_in_the_header_names_the_machine() -> None:
    assert set(environment.machine()) == {"system", "machine", "processor", "cpus", "python"}
