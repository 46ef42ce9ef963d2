"""Fit the shipped curves of chips that were profiled layer by layer, from the original tables.

Run `python -m planner.curves.data.fit_profiles --data FOLDER` after `fit_shipped`, where FOLDER
holds `layer_profiles` and `tpu_v6e`. It adds its curves to the files beside this script; a curve of
the same chip, engine and formats is replaced, because these profiles are of whole layers that read
weights and keys from memory, as a step of a model does.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from planner.catalog import Catalog, load_catalog
from planner.curves.curve import Curve, CurveKey
from planner.curves.data.fit_shipped import Outcome, error_table
from planner.curves.fit import fit_curve
from planner.curves.forms.attention import DecodeAttention
from planner.curves.forms.base import Form
from planner.curves.forms.registry import form_for
from planner.curves.grid import GridSpec
from planner.curves.peaks import peaks_of
from planner.curves.readers.columns import Profile
from planner.curves.readers.layer_profiles import read_layer_profiles
from planner.curves.readers.tpu import CHIP, read_tpu
from planner.curves.store import describe, load_curves, save_curves
from planner.curves.timing_checks import check_timings
from planner.curves.timings import CurveError, Timings

SHIPPED: Final = ("rtx-4090", "rtx-pro-6000", CHIP)
"""H100 was profiled as well, but has more timings in the tables of `fit_shipped`."""
_LEFT_OUT: Final = frozenset(
    {(CHIP, "stream"), ("rtx-pro-6000", "gemm"), ("rtx-pro-6000", "stream")}
)
"""Elementwise layers of the TPU stay on the chip: their times say nothing of its memory. Products
and streams of the RTX PRO 6000 are `fit_shipped`'s, which has far more shapes of them."""
_HEADS: Final = ("query_heads", "kv_heads", "head_dim")
_NO_CACHE_BYTES: Final = 1e6
"""These timings are not of repeated kernels, so nothing was found cached."""


@dataclass(frozen=True)
class _Plan:
    groups: tuple[str, ...]
    correction: GridSpec | tuple[GridSpec, ...]


_PLANS: Final = {
    "decode_attention": _Plan(
        _HEADS, GridSpec(("sequences", "context_tokens", "kv_heads"), (12, 14, 3))
    ),
    "prefill_attention": _Plan(
        _HEADS, GridSpec(("new_tokens", "context_tokens", "query_heads"), (14, 12, 3))
    ),
    "gemm": _Plan(("n", "k"), (GridSpec(("m", "n"), (40, 6)), GridSpec(("m", "k"), (16, 3)))),
    "stream": _Plan(("bytes",), GridSpec(("bytes",), (20,))),
}


def form_of(key: CurveKey) -> Form:
    """Return the form of a key."""
    if key.operator == "decode_attention":
        return DecodeAttention(key.dtype, key.kv_dtype, _NO_CACHE_BYTES)
    return form_for(key)


def fits(profile: Profile, catalog: Catalog) -> Iterator[Outcome]:
    """Yield a curve, or what was wrong, for every key of `SHIPPED` in a profile."""
    for key in profile.timings.keys():  # noqa: SIM118 - not a mapping
        if key.chip not in SHIPPED or key.operator not in _PLANS:
            continue
        if (key.chip, key.operator) in _LEFT_OUT:
            continue
        try:
            yield Outcome(describe(key), _fit(key, profile, catalog))
        except (CurveError, ValueError) as error:
            yield Outcome(describe(key), None, str(error))


def _fit(key: CurveKey, profile: Profile, catalog: Catalog) -> Curve:
    plan = _PLANS[key.operator]
    rows = check_timings(profile.timings.only(key)).timings
    return fit_curve(
        form_of(key),
        key,
        rows,
        peaks_of(catalog.chip(key.chip), key.dtype),
        groups=plan.groups if _varied(rows, plan.groups) else None,
        correction=plan.correction,
        source=profile.source,
        version=", ".join(sorted(set(rows.labels["version"].tolist()))),
        date=profile.date,
        licence=profile.licence,
    )


def _varied(rows: Timings, groups: tuple[str, ...]) -> bool:
    """Tell whether there are enough groups to leave whole ones out; else single shapes are."""
    distinct = set(zip(*(rows.shape[name].tolist() for name in groups), strict=True))
    return len(distinct) > 2


def add_curves(path: Path, curves: Sequence[Curve]) -> None:
    """Write curves to a file, on top of those that it has."""
    kept = {curve.key: curve for curve in (load_curves(path) if path.is_file() else ())}
    kept.update({curve.key: curve for curve in curves})
    save_curves(path, list(kept.values()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; return 1 if any key got no curve."""
    parser = argparse.ArgumentParser(description="Fit curves from layer profiles.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the profiles")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args(arguments)
    console, catalog = Console(), load_catalog()
    profiles = (
        read_layer_profiles(options.data / "layer_profiles", catalog),
        read_tpu(options.data / "tpu_v6e", catalog),
    )
    outcomes = [outcome for profile in profiles for outcome in fits(profile, catalog)]
    made = [outcome.curve for outcome in outcomes if outcome.curve is not None]
    for chip, operator in sorted({(curve.key.chip, curve.key.operator) for curve in made}):
        curves = [c for c in made if (c.key.chip, c.key.operator) == (chip, operator)]
        add_curves(options.out / chip / f"{operator}.json", curves)
    for note in dict.fromkeys(note for profile in profiles for note in profile.notes):
        console.print(f"note: {note}", highlight=False, soft_wrap=True)
    console.print(error_table(outcomes))
    return int(len(made) < len(outcomes))


if __name__ == "__main__":
    raise SystemExit(main())
