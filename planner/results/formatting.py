"""Numbers as a person reads them: three significant digits, a unit, never a false 100%."""

from __future__ import annotations

import math

MISSING = "–"
"""Shown where nothing was there to be measured."""
MINUS = "\u2212"
_PREFIXED_UNITS = frozenset({"FLOP/s", "OP/s", "B/s", "B", "W", "J"})


def _signed(text: str, value: float) -> str:
    return MINUS + text if value < 0 else text


def _significant(value: float, digits: int = 3) -> str:
    """Return a non-negative number with as many decimals as it has room for.

    >>> _significant(0.012345), _significant(3.14159), _significant(42.42), _significant(1234.5)
    ('0.0123', '3.14', '42.4', '1,234')
    """
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(value)))
    rounded = f"{value:.{decimals}f}"
    if decimals and float(rounded) >= 10 ** (digits - decimals):  # 9.999 rounds to 10.00
        decimals -= 1
    return f"{value:,.{decimals}f}"


def duration(seconds: float | None) -> str:
    """Return a span of time in the unit that suits it.

    >>> duration(0.0214), duration(0.4), duration(2.345), duration(95.0), duration(7322.0)
    ('21.4 ms', '400 ms', '2.35 s', '95.0 s', '2.03 h')
    >>> duration(0.0), duration(float("nan"))
    ('0 ms', '–')
    >>> duration(-0.25)
    '−250 ms'
    """
    if seconds is None or math.isnan(seconds):
        return MISSING
    if seconds < 0:
        return _signed(duration(-seconds), seconds)
    if seconds < 0.9995:
        return f"{_significant(seconds * 1e3)} ms"
    if seconds < 999.5:
        return f"{_significant(seconds)} s"
    if seconds < 2 * 3600:
        return f"{_significant(seconds / 60)} min"
    return f"{_significant(seconds / 3600)} h"


def span(seconds: float) -> str:
    """Return a span of time that was stated, not measured: exact, as its author wrote it.

    >>> span(0.08), span(1.5), span(120.0), span(300.0), span(3600.0), span(5400.0)
    ('80 ms', '1.5 s', '120 s', '5 min', '1 h', '1.5 h')
    """
    for least, size, unit in ((3600.0, 3600.0, "h"), (300.0, 60.0, "min")):
        if seconds >= least and (4 * seconds / size).is_integer():
            return f"{seconds / size:g} {unit}"
    if seconds >= 1:
        return f"{seconds:g} s"
    return f"{seconds * 1e3:g} ms"


def money(usd: float | None) -> str:
    """Return an amount in US dollars.

    >>> money(0.3812), money(12.4), money(1234.5), money(28_400_000), money(-3.5)
    ('$0.381', '$12.40', '$1,234', '$28.4M', '−$3.50')
    >>> money(0.0), money(float("nan"))
    ('$0.00', '–')
    """
    if usd is None or not math.isfinite(usd):
        return MISSING
    size = abs(usd)
    if size >= 999_950:
        scale, suffix = (1e9, "B") if size >= 999_950_000 else (1e6, "M")
        text = f"${_significant(size / scale)}{suffix}"
    elif size >= 999.995:
        text = f"${size:,.0f}"
    elif size >= 0.995 or size == 0:
        text = f"${size:.2f}"
    else:
        text = f"${_significant(size)}"
    return _signed(text, usd)


def percent(rate: float | None, decimals: int = 1) -> str:
    """Return a rate in percent; only a whole one is shown as 100%, only a true zero as 0%.

    >>> percent(0.6543), percent(0.99987), percent(1.0), percent(0.00002), percent(-0.125)
    ('65.4%', '99.98%', '100%', '<0.1%', '−12.5%')
    """
    if rate is None or not math.isfinite(rate):
        return MISSING
    size = abs(rate) * 100
    if size in (0.0, 100.0):
        return _signed(f"{size:.0f}%", rate)
    if 0.99 < rate < 1:  # here every further nine counts, and rounding up would hide it
        for places in range(decimals, 6):
            floored = math.floor(size * 10**places + 1e-9) / 10**places
            if floored < 100 and 100 - floored < 1.999 * (100 - size):
                return f"{floored:.{places}f}%"
        return ">99.999%"
    smallest = 10.0**-decimals
    if size < smallest / 2:
        return f"<{smallest:.{decimals}f}%"
    return _signed(f"{size:.{decimals}f}%", rate)


def share(rate: float | None) -> str:
    """Return a utilisation in whole percent: here the last nine says nothing.

    >>> share(0.884), share(0.99998), share(0.0004), share(float("nan"))
    ('88%', '100%', '<1%', '–')
    """
    if rate is None or not math.isfinite(rate):
        return MISSING
    return "<1%" if 0 < rate < 0.005 else f"{rate:.0%}"


def count(value: float | None) -> str:
    """Return a count: in full up to six digits, then with a suffix.

    >>> count(18432), count(2_310_000), count(1.21e9), count(3.5)
    ('18,432', '2.31M', '1.21B', '3.50')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    size = abs(value)
    for scale, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if size >= scale * 0.9995:
            return _signed(f"{_significant(size / scale)}{suffix}", value)
    text = f"{size:,.0f}" if float(size).is_integer() else _significant(size)
    return _signed(text, value)


def quantity(value: float | str, unit: str) -> str:
    """Return a figure with its unit; large SI units get a prefix.

    >>> quantity(9.89e14, "FLOP/s"), quantity(3.35e12, "B/s"), quantity(0.8, "1")
    ('989 TFLOP/s', '3.35 TB/s', '0.8')
    >>> quantity(2.35, "USD/device-hour"), quantity("roofline", "")
    ('2.35 USD/device-hour', 'roofline')
    """
    if isinstance(value, str):
        return f"{value} {unit}".strip()
    if unit in _PREFIXED_UNITS:
        for scale, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
            if abs(value) >= scale and not (prefix == "P" and abs(value) < 1e16):
                return f"{value / scale:,.6g} {prefix}{unit}"
    return f"{value:,.6g} {'' if unit == '1' else unit}".strip()


def level(unit: str, value: float | None) -> str:
    """Return an amount in a unit: accelerators, rate, s, or money.

    >>> level("accelerators", 1234.0), level("rate", 0.5), level("s", 0.25), level("usd/h", 9.5)
    ('1,234', '50.0%', '250 ms', '$9.50')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if unit == "accelerators":
        return f"{value:,.0f}"
    if unit == "rate":
        return percent(value)
    return duration(value) if unit == "s" else money(value)


def percentile(value: float) -> str:
    """Return the name of a percentile.

    >>> percentile(99.0), percentile(99.9)
    ('p99', 'p99.9')
    """
    return f"p{value:g}"
