"""Pillow, an extra, where and when it is needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from unfussy.errors import MissingExtraError

__all__ = ["pillow"]


def pillow(part: str = "Image", /) -> Any:
    """
    Return a module of Pillow, such as ``PIL.Image``.

    Args:
        part: The name of the module.

    Raises:
        MissingExtraError: If Pillow is not installed (extra ``images``).
    """
    try:
        import_module("PIL")
        return import_module(f"PIL.{part}")
    except ImportError as error:
        raise MissingExtraError("Pillow", "images") from error
