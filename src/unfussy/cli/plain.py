"""Results as JSON knows them: lists, dictionaries, numbers and strings."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

import numpy as np
import torch

from unfussy._arrays import to_array
from unfussy._batching import Failed, Outcome
from unfussy.errors import InputValueError

__all__ = ["as_plain"]


def as_plain(value: Any) -> Any:
    """
    Return *value* as lists, dictionaries, numbers and strings.

    Records that have a ``to_dict`` say themselves what they are as a dictionary. An
    item that failed is one with its ``error``; a number that JSON does not know is
    None.

    Raises:
        InputValueError: If it holds anything else.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, (np.ndarray, np.generic)):
        return as_plain(value.tolist())
    if isinstance(value, torch.Tensor):
        return as_plain(to_array(value))
    return _container_as_plain(value)


def _container_as_plain(value: Any) -> Any:
    if isinstance(value, Failed):
        return {"error": f"{type(value.error).__name__}: {value.error}"}
    if callable(told := getattr(value, "to_dict", None)):
        return as_plain(told())
    if isinstance(value, Mapping):
        return {str(key): as_plain(child) for key, child in value.items()}
    if isinstance(value, (list, tuple, Outcome)):
        return [as_plain(child) for child in value]
    raise InputValueError(f"a .json file has no room for a {type(value).__name__}")
