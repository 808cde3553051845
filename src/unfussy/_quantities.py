"""Figures in words that are read at a glance: ``1.25 ms``, ``34.1 MB``, ``12,300``."""

from __future__ import annotations

from math import isfinite
from typing import Final

__all__ = ["duration", "number", "percent", "size"]

_DURATIONS: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_SIZES: Final = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))
_DIGITS: Final = 3
_THOUSAND: Final = 1000


def duration(seconds: float) -> str:
    """
    Return a time with three digits.

    >>> duration(0.00125), duration(65.2), duration(0)
    ('1.25 ms', '65.2 s', '0 s')
    """
    return _in_units(seconds, _DURATIONS, "s")


def size(n_bytes: float) -> str:
    """
    Return an amount of memory with three digits; a MB is a million bytes.

    >>> size(34_120_000), size(12)
    ('34.1 MB', '12 B')
    """
    return _in_units(n_bytes, _SIZES, "B")


def number(value: float) -> str:
    """
    Return a number with three digits, or whole and in groups where it is larger.

    >>> number(12_345.6), number(0.01234), number(7)
    ('12,346', '0.0123', '7')
    """
    if not isfinite(value) or value == int(value) or abs(value) >= _THOUSAND:
        return f"{value:,.0f}"
    return f"{value:.{_DIGITS}g}"


def percent(share: float) -> str:
    """
    Return a share of one.

    >>> percent(0.123), percent(0.004)
    ('12 %', '0.4 %')
    """
    value = 100 * share
    return f"{value:.0f} %" if value >= 10 or value == 0 else f"{value:.1f} %"  # noqa: PLR2004


def _in_units(value: float, units: tuple[tuple[float, str], ...], base: str) -> str:
    if not value or not isfinite(value):
        return f"{value:.0f} {base}"
    scale, unit = next((u for u in units if abs(value) >= u[0]), units[-1])
    scaled = value / scale
    if abs(scaled) >= _THOUSAND or unit == "B":
        return f"{scaled:,.0f} {unit}"
    whole = len(str(int(abs(scaled))))
    return f"{scaled:.{max(_DIGITS - whole, 0)}f} {unit}"
