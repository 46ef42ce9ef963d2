"""A malformed catalogue names file, line and entry; a good one loads with either YAML parser."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from planner.catalog import load_catalog
from planner.errors import CatalogError

FILES = {
    "sources.yaml": "sheet: {citation: data sheet, date: 2026-01, tier: official}\n",
    "models.yaml": """\
tiny:
  title: Tiny
  source: sheet
  hidden_size: 64
  vocabulary_size: 100
  context_tokens: 1000
  weight_dtype: bf16
  total_parameters: 1e5
  active_parameters: 1e5
  layers:
    - count: 2
      attention: {kind: full, query_heads: 4, kv_heads: 2, head_dim: 16}
      ffn: {kind: moe, intermediate_size: 128, experts: 4, active_experts: 2}
""",
    "chips.yaml": """\
chip:
  title: Chip
  vendor: Vendor
  source: sheet
  peak: {bf16: 1 TFLOPS}
  memory: 1 GiB
  memory_bandwidth: 1 TB/s
  scale_up_domain: 8
""",
    "nodes.yaml": """\
node: {title: Node, chip: chip, devices: 8, power: {value: 1 kW, source: sheet}}
""",
    "prices.yaml": """\
price:
  title: Price
  chip: chip
  terms: spot
  provider: Provider
  price: {value: 1 USD/h, source: sheet}
""",
    "grids.yaml": """\
grid: {title: Grid, intensity: {value: 400 g/kWh, source: sheet}}
""",
    "api.yaml": """\
api:
  title: Api
  provider: Provider
  source: sheet
  input: 1 USD/Mtok
  output: {value: 2 USD/Mtok, date: 2026-02-03, tier: claimed, note: why}
""",
}


def write(folder: Path, name: str = "", old: str = "", new: str = "") -> Path:
    for file, text in FILES.items():
        if file == name:
            assert old in text
            (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")
        else:
            (folder / file).write_text(text, encoding="utf-8")
    return folder


def test_a_small_catalogue(tmp_path: Path) -> None:
    catalog = load_catalog(write(tmp_path))
    figure = catalog.api_price("api").output
    assert (figure.value, figure.unit, figure.shown) == (2.0, "USD/Mtok", "2 USD/Mtok")
    assert (figure.source, figure.date, figure.tier, figure.note) == (
        "data sheet", "2026-02-03", "claimed", "why",
    )  # fmt: skip
    assert catalog.api_price("api").date == "2026-02-03"
    assert catalog.api_price("api").cached_input is None
    assert catalog.model("tiny").shape_source.tier == "official"
    assert not catalog.model("tiny").tied_embeddings
    assert catalog.chip("chip").memory_bytes.date == "2026-01"
    assert catalog.chip("chip").tdp_w is None


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "chips.yaml",
            "memory:",
            "memori:",
            r":1: chip: .*missing; is memori a misspelling",
        ),
        ("chips.yaml", "  memory: 1 GiB\n", "", r":1: chip: figure memory is missing"),
        (
            "chips.yaml",
            "vendor: Vendor",
            "vendor: V\n  tdpw: 1 W",
            r":4: chip.tdpw: .*did you mean tdp",
        ),
        ("chips.yaml", "1 GiB", "1", r":6: chip.memory: 1 is a bare number; write for example"),
        ("chips.yaml", "1 GiB", "1 GHz", r":6: chip.memory: '1 GHz' has unknown unit"),
        ("chips.yaml", "1 GiB", "-1 GiB", r":6: chip.memory: must not be negative, found '-1 GiB'"),
        ("chips.yaml", "bf16:", "bf61:", r":5: chip.peak.bf61: unknown field; did you mean bf16"),
        ("chips.yaml", "{bf16: 1 TFLOPS}", "7", r":5: chip.peak: must be a mapping, found 7"),
        ("chips.yaml", "source: sheet", "source: shet", r":4: chip.source: .*did you mean sheet"),
        ("chips.yaml", "  source: sheet\n", "", r":4: chip.peak.bf16: no source; name one here"),
        ("chips.yaml", "vendor: Vendor", "vendor: 7", r":3: chip.vendor: must be a text, found 7"),
        ("chips.yaml", "domain: 8", "domain: 0", r":8: .*domain: must be at least 1, found 0"),
        ("chips.yaml", "domain: 8", "domain: true", r":8: .*must be a whole number, found true"),
        ("chips.yaml", "domain: 8", "domain: 010", r":8: .*must be a whole number, found '010'"),
        ("chips.yaml", "  vendor: V", "  title: V", r":3:3: 'title' is given twice"),
        ("chips.yaml", "chip:", "chip: [", r"chips.yaml:\d+:\d+: "),
        ("chips.yaml", "title: Chip", "title: !!python/none x", r":2:10: could not determine"),
        ("chips.yaml", FILES["chips.yaml"], "- chip\n", r"must be a mapping of names to entries"),
        ("chips.yaml", FILES["chips.yaml"], "chip: 3\n", r":1: chip: must be a mapping of fields"),
        (
            "models.yaml",
            "kind: full",
            "kind: ful",
            r":12: tiny.layers.0.attention.kind: must be one",
        ),
        ("models.yaml", "kv_heads: 2", "kv_heads: 3", r"3 does not divide 4 query heads"),
        ("models.yaml", "active_experts: 2", "active_experts: 5", r"more than the 4 experts there"),
        ("models.yaml", "kind: full", "kind: sliding", r":12: .*field window_tokens is missing"),
        ("models.yaml", "head_dim: 16", "window_tokens: 9", r":12: .*field head_dim is missing"),
        (
            "models.yaml",
            "1e5",
            "much",
            r":8: tiny.total_parameters: must be a number, found 'much'",
        ),
        ("models.yaml", "1e5", "1e999", r":8: tiny.total_parameters: must be a number, found inf"),
        (
            "models.yaml",
            "  layers:",
            "  layer:",
            r":1: tiny: field layers is missing; is layer a",
        ),
        (
            "models.yaml",
            "dtype: bf16",
            "dtype: bf15",
            r":7: tiny.weight_dtype: must be one of fp32",
        ),
        ("nodes.yaml", "chip: chip", "chip: chop", r"nodes.yaml:1: node.chip: unknown chip 'chop'"),
        ("prices.yaml", "terms: spot", "terms: loan", r":4: price.terms: must be one of on_demand"),
        ("prices.yaml", "1 USD/h", "1 EUR/h", r":6: price.price: .* unknown currency EUR"),
        ("api.yaml", "2026-02-03", "yesterday", r":6: api.output: date 'yesterday' is not YYYY"),
        ("api.yaml", "claimed", "rumour", r":6: api.output.tier: must be one of official"),
        ("api.yaml", "api:", "chip:", r"api.yaml:1: chip: the name is taken in chips.yaml"),
        ("sources.yaml", "official", "certain", r"sources.yaml:1: sheet.tier: must be one of"),
        ("sources.yaml", "date: 2026-01", "date: 2026-13", r"sheet: date '2026-13' is not YYYY"),
    ],
)
def test_faults_name_file_line_and_entry(
    tmp_path: Path, file: str, old: str, new: str, message: str
) -> None:
    with pytest.raises(CatalogError) as caught:
        load_catalog(write(tmp_path, file, old, new))
    assert file in str(caught.value)
    assert re.search(message, str(caught.value)), caught.value


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "api.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CatalogError, match=r"api\.yaml: cannot be read"):
        load_catalog(tmp_path)
    (tmp_path / "api.yaml").unlink()
    with pytest.raises(CatalogError, match=r"api\.yaml: cannot be read"):
        load_catalog(tmp_path)


def test_the_slow_parser_reads_the_same() -> None:
    without_c = (
        "import yaml\n"
        "vars(yaml).pop('CSafeLoader', None)\n"
        "from planner.catalog import load_catalog\n"
        "from planner.catalog.reader import _SafeLoader\n"
        "assert _SafeLoader is yaml.SafeLoader\n"
        "print(repr(load_catalog()))"
    )
    read = subprocess.run(
        [sys.executable, "-c", without_c],
        capture_output=True,
        check=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        cwd=Path(__file__).parents[2],
    )
    assert read.stdout.rstrip("\n") == repr(load_catalog())
