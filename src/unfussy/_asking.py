"""Asking drivers and kernels, which may refuse: what is not known is None."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

__all__ = ["REFUSALS", "known"]

T = TypeVar("T")

REFUSALS: Final = (AssertionError, AttributeError, OSError, RuntimeError, ValueError)
"""What drivers raise that are missing, broken or too old, and builds without them."""


def known(ask: Callable[..., T], /, *args: Any) -> T | None:
    """
    Return ``ask(*args)``, or None if it is refused.

    >>> known(int, "7"), known(int, "seven")
    (7, None)
    """
    try:
        return ask(*args)
    except REFUSALS:
        return None
