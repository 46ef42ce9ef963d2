"""What `planner doctor` looks at. Each check says what it found, and what to do about it."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from planner.errors import PlannerError

OLDEST_PYTHON = (3, 11)
LEAST_MEMORY_BYTES = 2e9
"""Below, long runs with their report may not fit: one of a hundred million requests took 0.4 GB."""
LEAST_DISK_BYTES = 1e9
REPORT_COLUMNS = 100
"""Width of the tables of `planner run`."""

SCENARIO = """\
schema: planner/v1
name: doctor
seed: 1
workload:
  duration: 2 min
  window: 10 s
  classes:
    - name: chat
      pool: chat
      open: {rate: 2 /s, burstiness: {kind: gamma, cv: 1.5}}
      input: {uniform: [100, 1500]}
      output: {uniform: [20, 100]}
      objectives: [{metric: ttft, percentile: 99, limit: 1 s}]
      plan: api
pools:
  - name: chat
    model: llama-3.1-70b
    node: hgx-h100
    nodes: 1
    tensor_parallel: 8
    weight_dtype: fp8
prices:
  plans: [{name: api, kind: api, input: 1 USD/Mtok, output: 8 USD/Mtok}]
"""
"""Some 240 requests on one node."""
HEADLINE: Final = {
    "accelerators_at_peak": 8,
    "p99_ttft_s": 0.142213734,
    "goodput_rps": 1.96666667,
    "cost_per_million_output_tokens_usd": 84.6092677,
    "gross_margin_rate": -3.02088773,
}
"""What comes out of it, to nine digits; it changes only with rules, curves or prices."""
AGREEMENT_RATE = 1e-6
"""Machines round differently in the last digits; a wrong simulation is much further off."""


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    verdict: Literal["ok", "warn", "fail"]
    found: str
    remedy: str = ""


def findings(*, simulate: bool) -> Iterator[Finding]:
    """Yield what every check found.

    Args:
        simulate: run the small simulation, which may have to compile first.
    """
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("Python", python),
        ("packages", packages),
        ("data files", data_files),
        ("cache folder", cache_folder),
        ("compiler", compiler),
        ("kernel", lambda: kernel(simulated=simulate)),
        ("simulation", lambda: simulation() if simulate else _skipped()),
        ("processors", processors),
        ("memory", memory),
        ("results", results_folder),
        ("browser", browser),
        ("terminal", terminal),
    ]
    for name, check in checks:
        try:
            yield check()
        except (ImportError, OSError, PlannerError) as error:
            yield Finding(name, "fail", f"{type(error).__name__}: {error}", _REINSTALL)


_REINSTALL = "install planner anew: pip install --force-reinstall ."


def python() -> Finding:
    """Is the interpreter new enough?"""
    found = f"{sys.version.split()[0]} in {sys.prefix}"
    if sys.version_info < OLDEST_PYTHON:
        return Finding("Python", "fail", found, "use Python 3.11 or newer for the environment")
    return Finding("Python", "ok", found)


def packages() -> Finding:
    """Is everything there that the package declares, and new enough?"""
    from importlib.metadata import PackageNotFoundError, requires, version

    try:
        declared = requires("planner") or []
    except PackageNotFoundError:
        remedy = "pip install . in the checkout, so that versions can be checked"
        return Finding("packages", "warn", "planner runs from a folder, not installed", remedy)
    known, faults, wanted = [], [], []
    for line in declared:
        match = re.match(r"([\w.-]+)\s*(?:>=\s*([\d.]+))?", line)
        if "extra ==" in line or match is None:
            continue
        name, least = match.groups()
        try:
            found = version(name)
        except PackageNotFoundError:
            found = ""
        if not found or _numbers(found) < _numbers(least or "0"):
            faults.append(f"{name} {found or 'missing'}, needs {least or 'any'}")
            wanted.append(f"'{line.partition(';')[0].strip()}'")
        known.append(f"{name} {found}")
    if faults:
        return Finding("packages", "fail", "; ".join(faults), f"pip install {' '.join(wanted)}")
    main = [each for each in known if each.startswith(("numba ", "numpy ", "pandas "))]
    return Finding(
        "packages", "ok", f"planner {version('planner')}; all {len(known)} found: {', '.join(main)}"
    )


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with.

    >>> _numbers("2.10.1rc1") > _numbers("2.9")
    True
    """
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def data_files() -> Finding:
    """Can every data file that ships be read?"""
    from planner.catalog import load_catalog
    from planner.curves.device import curves_for
    from planner.curves.engines import shipped_engines
    from planner.curves.library import shipped_chips
    from planner.measurements.shipped import published
    from planner.trace.library import (
        length_preset_names,
        load_length_preset,
        load_shape,
        shape_names,
    )

    catalog = load_catalog()
    shipped_engines()
    chips = shipped_chips()
    for chip in chips:
        curves_for(catalog.chip(chip))
    for preset in length_preset_names():
        load_length_preset(preset)
    for shape in shape_names():
        load_shape(shape)
    published()
    found = (
        f"{len(catalog.models)} models, {len(catalog.chips)} chips, "
        f"{len(catalog.machine_prices) + len(catalog.api_prices)} prices, curves of {len(chips)} "
        f"chips, {len(length_preset_names())} length presets"
    )
    return Finding("data files", "ok", found)


def cache_folder() -> Finding:
    """Can compiled kernels be kept?"""
    from planner.kernel.jit import CACHE_FOLDER

    if _is_writable(CACHE_FOLDER):
        return Finding("cache folder", "ok", str(CACHE_FOLDER))
    return Finding(
        "cache folder",
        "warn",
        f"{CACHE_FOLDER} cannot be written, so every run compiles for a minute",
        "set PLANNER_CACHE_DIR to a folder that you can write",
    )


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def compiler() -> Finding:
    """Is the simulator compiled at all, and without checks that slow it down?"""
    from importlib.metadata import version

    from planner.kernel.jit import NUMBA, is_jit

    if not is_jit():
        return Finding(
            "compiler",
            "warn",
            "off (NUMBA_DISABLE_JIT): the simulator runs as plain Python, a thousand times slower",
            "unset NUMBA_DISABLE_JIT",
        )
    if NUMBA.config.BOUNDSCHECK:
        return Finding(
            "compiler", "warn", "checks every index (NUMBA_BOUNDSCHECK): runs take twice as long",
            "unset NUMBA_BOUNDSCHECK",
        )  # fmt: skip
    return Finding("compiler", "ok", f"numba {version('numba')}, one thread per simulation")


def kernel(*, simulated: bool) -> Finding:
    """Is the compiled simulator there already? If not, the simulation that follows compiles it."""
    from planner.cli.progress import announce_compilation
    from planner.kernel.jit import is_compiled, is_jit

    if not is_jit():
        return Finding("kernel", "ok", "plain Python, nothing to compile")
    if is_compiled():
        return Finding("kernel", "ok", "compiled by an earlier run")
    if simulated:
        announce_compilation()
        return Finding("kernel", "ok", "not compiled before; compiled now")
    return Finding(
        "kernel", "warn", "not compiled yet: the first run takes a minute longer",
        "planner doctor, without --quick, compiles it",
    )  # fmt: skip


def simulation() -> Finding:
    """Does a small simulation give the stored answer?"""
    from planner.simulation import load_scenario, run

    with tempfile.TemporaryDirectory(prefix="planner-doctor-") as folder:
        path = Path(folder) / "doctor.yaml"
        path.write_text(SCENARIO, encoding="utf-8")
        headline = run(load_scenario(path)).headline
    off = {
        name: headline[name]
        for name, stored in HEADLINE.items()
        if abs(headline[name] - stored) > AGREEMENT_RATE * abs(stored)
    }
    if not off:
        p99, cost = headline["p99_ttft_s"], headline["cost_per_million_output_tokens_usd"]
        found = f"as stored: p99 TTFT {p99 * 1e3:.1f} ms, {cost:.2f} USD per Mtok output"
        return Finding("simulation", "ok", found)
    told = ", ".join(f"{name} {value!r}, stored {HEADLINE[name]!r}" for name, value in off.items())
    return Finding(
        "simulation",
        "fail",
        f"differs from the stored answer: {told}",
        "were sources, curves or prices changed? Else delete the cache folder and try again",
    )


def _skipped() -> Finding:
    return Finding("simulation", "ok", "left out (--quick)")


def processors() -> Finding:
    """How many processes may searches use?"""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = f"{usable} usable; a simulation takes one, searches take all (--jobs)"
    return Finding("processors", "ok", found)


def memory() -> Finding:
    """Is there room for a run?"""
    free = _free_bytes()
    if free is None:
        return Finding("memory", "ok", "free memory is not known on this system")
    found = f"{free / 1e9:.1f} GB free"
    if free < LEAST_MEMORY_BYTES:
        return Finding("memory", "warn", found, "close other programs, or use --jobs 1 in searches")
    return Finding("memory", "ok", found)


def _free_bytes() -> float | None:
    """Return the memory that can still be had, where the system says."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():
        return None
    match = re.search(r"^MemAvailable:\s+(\d+) kB$", meminfo.read_text(), re.MULTILINE)
    return float(match[1]) * 1024 if match else None


def results_folder() -> Finding:
    """Can results be written where the user stands?"""
    here = Path.cwd()
    if not os.access(here, os.W_OK):
        remedy = "go to another folder, or name one with --output"
        return Finding("results", "warn", f"{here} cannot be written", remedy)
    free = shutil.disk_usage(here).free
    found = f"{here} can be written, {free / 1e9:.0f} GB free"
    if free < LEAST_DISK_BYTES:
        return Finding("results", "warn", found, "make room: --requests writes a row per request")
    return Finding("results", "ok", found)


def browser() -> Finding:
    """Can a report be opened here?"""
    import webbrowser

    try:
        webbrowser.get()
    except webbrowser.Error:
        remedy = "copy report.html to where one is: it is one file and needs no network"
        return Finding("browser", "warn", "none found, to open reports with", remedy)
    return Finding("browser", "ok", "found, to open reports with")


def terminal() -> Finding:
    """Will tables fit, and be in colour?"""
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    if not encoding.startswith("utf"):
        return Finding(
            "terminal", "warn", f"writes {encoding}, so tables use ASCII signs",
            "set PYTHONIOENCODING=utf-8, or a UTF-8 locale",
        )  # fmt: skip
    if not sys.stdout.isatty():
        return Finding("terminal", "ok", "none: output is piped as plain text, 100 columns wide")
    columns = shutil.get_terminal_size().columns
    colour = "no colour (NO_COLOR)" if os.environ.get("NO_COLOR") else "colour"
    found = f"{columns} columns, UTF-8, {colour}"
    if columns < REPORT_COLUMNS:
        return Finding("terminal", "warn", found, f"widen it to {REPORT_COLUMNS} columns")
    return Finding("terminal", "ok", found)
