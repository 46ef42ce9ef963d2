"""Which form describes an operator, and which class a form's name in a curve file stands for.

Modules are imported when one of their forms is asked for, so that a plan that needs matrix products
does not pay for the rest. A form class takes two keywords: `dtype`, the format of weights and
arithmetic, and `kv_dtype`, that of the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Final

from planner.curves.curve import CurveKey
from planner.curves.forms.base import Form
from planner.curves.peaks import format_of
from planner.curves.timings import CurveError
from planner.errors import did_you_mean, shown

_FORMS: Final[Mapping[str, tuple[str, str]]] = {
    "gemm": ("gemm", "Gemm"),
    "gemm_quantised": ("gemm", "QuantisedGemm"),
    "gemm_unpacked": ("gemm", "UnpackedGemm"),
    "stream": ("stream", "Stream"),
    "all_reduce": ("collective", "AllReduce"),
    "all_gather": ("collective", "AllGather"),
    "reduce_scatter": ("collective", "ReduceScatter"),
    "all_to_all": ("collective", "AllToAll"),
    "send": ("collective", "Send"),
    "prefill_attention": ("attention", "PrefillAttention"),
    "decode_attention": ("attention", "DecodeAttention"),
    "mla_prefill_attention": ("mla", "MlaPrefillAttention"),
    "mla_decode_attention": ("mla", "MlaDecodeAttention"),
    "linear_prefill": ("linear_attention", "LinearPrefill"),
    "linear_decode": ("linear_attention", "LinearDecode"),
    "experts": ("experts", "Experts"),
    "step_prefill": ("step", "StepPrefill"),
    "step_decode": ("step", "StepDecode"),
}
"""Module under `planner.curves.forms` and class, by name of the form."""


def form_names() -> tuple[str, ...]:
    """Return the names that curve files may use."""
    return tuple(_FORMS)


def form_named(name: str, key: CurveKey) -> Form:
    """Return the form called `name`, for the formats of `key`.

    Raises:
        CurveError: no form has this name, or it knows no such format.
    """
    if name not in _FORMS:
        advice = did_you_mean(name, _FORMS, list_up_to=20)
        raise CurveError(f"unknown form {shown(name)}" + (f"; {advice}" if advice else ""))
    module, class_name = _FORMS[name]
    try:
        for dtype in filter(None, (key.dtype, key.kv_dtype)):
            format_of(dtype)
        made = getattr(import_module(f"planner.curves.forms.{module}"), class_name)(
            dtype=key.dtype, kv_dtype=key.kv_dtype
        )
    except ValueError as error:
        raise CurveError(f"form {name}: {error}") from error
    assert isinstance(made, Form)
    return made


def form_for(key: CurveKey) -> Form:
    """Return the form that describes the operator of `key` in its formats.

    Raises:
        CurveError: no form describes it.
    """
    if key.operator == "gemm":
        from planner.curves.forms.gemm import gemm_form

        return form_named(gemm_form(key.dtype).name, key)
    if key.operator not in _FORMS:
        advice = did_you_mean(key.operator, _FORMS, list_up_to=20)
        raise CurveError(
            f"no form describes the operator {shown(key.operator)}"
            + (f"; {advice}" if advice else "")
        )
    return form_named(key.operator, key)
