"""`planner catalog` as a user types it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from planner.catalog import load_catalog
from planner.cli.catalog import app
from planner.errors import CatalogError


@pytest.fixture(autouse=True)
def _wide_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None:
        raise result.exception
    return result.output


def line_of(output: str, name: str) -> list[str]:
    return next(line.split() for line in output.splitlines() if line.split()[:1] == [name])


def test_list_names_everything() -> None:
    words = set(run("list").split())
    catalog = load_catalog()
    for entries in (catalog.models, catalog.chips, catalog.nodes, catalog.machine_prices):
        assert set(entries) <= words
    assert set(catalog.api_prices) <= words


def test_list_models_and_chips() -> None:
    assert line_of(run("list", "models"), "deepseek-v3") == [
        "deepseek-v3", "671.03", "B", "37.55", "B", "61", "163,840", "68.6", "KiB", "fp8",
    ]  # fmt: skip
    assert line_of(run("list", "chips"), "b300-sxm") == [
        "b300-sxm", "2250", "2250", "4500", "153.5", "13500", "268.6", "GiB", "7.75", "TB/s",
        "1100", "W",
    ]  # fmt: skip
    assert "–" in line_of(run("list", "chips"), "tpu-v5e")


def test_list_nodes_and_prices() -> None:
    assert line_of(run("list", "nodes"), "gb200-nvl72")[-5:] == ["gb200", "72", "rack", "120", "kW"]
    assert line_of(run("list", "prices"), "h100-sxm-committed-1y")[1:6] == [
        "h100-sxm", "committed_1y", "2.35", "USD/h", "2026-03",
    ]  # fmt: skip
    assert "10 USD/Mtok" in " ".join(line_of(run("list", "api"), "gpt-4o"))


def test_list_of_an_unknown_kind() -> None:
    result = CliRunner().invoke(app, ["list", "gpus"])
    assert result.exit_code == 2
    assert "chips" in result.output


def test_list_as_json() -> None:
    assert json.loads(run("list", "nodes", "--json")) == list(load_catalog().nodes)
    assert set(json.loads(run("list", "--json"))) == {
        "models", "chips", "nodes", "prices", "api", "grids",
    }  # fmt: skip


def test_grids_are_listed_and_shown() -> None:
    assert "50 g/kWh" in " ".join(line_of(run("list", "grids"), "france"))
    assert "site.region" in run("show", "us-texas")


def test_show_gives_every_figure_its_provenance() -> None:
    output = run("show", "h100-sxm")
    for name in ("peak_flops.bf16", "memory_bytes", "scale_up_bandwidth", "tdp_w", "capex_usd"):
        row = line_of(output, name)
        assert row[0] == name
    assert line_of(output, "capex_usd")[1:5] == ["33750", "USD", "analyst", "2023"]
    assert "hgx-h100" in output
    assert "h100-sxm-committed-3y" in output
    assert "all-in cluster about 50k" in output


def test_show_a_model_with_its_layers() -> None:
    output = run("show", "gemma-3-27b")
    assert line_of(output, "52")[1:] == ["sliding", "32", "(16)", "128", "1024", "dense", "21504"]
    assert "27.01 B parameters" in output
    assert "embeddings tied" in output
    assert "vision tower" in output
    assert "8 of 256 + 1 shared" in run("show", "deepseek-v3")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("gb200-nvl72", "72 × gb200, sold by the rack"),
        ("h100-sxm-spot", "h100-sxm, spot, GPU clouds; reference price"),
        ("h100-sxm-on-demand-low", "example, chosen by name only"),
        ("deepseek-v4-pro", "note: price of the peak hours; half outside of them"),
    ],
)
def test_show_other_kinds(name: str, text: str) -> None:
    assert text in run("show", name)


def test_show_as_json() -> None:
    data = json.loads(run("show", "b300-sxm", "--json"))
    assert data["kind"] == "chip"
    assert data["peak_flops"]["int8"]["value"] == 153.5e12
    assert data["peak_flops"]["int8"]["tier"] == "official"
    assert json.loads(run("show", "gpt-oss-20b", "--json"))["layers"][0]["count"] == 12


def test_every_entry_can_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = load_catalog()
    monkeypatch.setattr("planner.catalog.load_catalog", lambda: catalog)  # read once
    for name in [*catalog.models, *catalog.chips, *catalog.nodes]:
        assert run("show", name).startswith(name)


def test_show_an_unknown_name() -> None:
    with pytest.raises(CatalogError, match="did you mean h100-sxm"):
        run("show", "h100-sx")


def test_output_folds_to_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert max(len(line) for line in run("show", "h100-sxm").splitlines()) <= 60
