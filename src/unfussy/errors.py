"""
The errors that unfussy raises, each also the built-in error it refines.

Code that catches `TypeError`, `ValueError` or `torch.OutOfMemoryError` keeps
working; code that wants to catch whatever comes from unfussy catches
`UnfussyError`.
"""

from __future__ import annotations

import torch

__all__ = [
    "AllItemsFailedError",
    "AmbiguousBatchError",
    "CheckpointError",
    "DeviceError",
    "DoesNotFitError",
    "InputTypeError",
    "InputValueError",
    "MemoryThresholdError",
    "MissingExtraError",
    "NoDataError",
    "PlanError",
    "TreeError",
    "UnfussyError",
    "UnknownNameError",
]


class UnfussyError(Exception):
    """Base of every error that unfussy raises on its own account."""


class PlanError(UnfussyError, TypeError):
    """A decorator or an option is used in a way that cannot be planned."""


class InputTypeError(UnfussyError, TypeError):
    """An input or a result is of a kind that cannot be converted."""


class InputValueError(UnfussyError, ValueError):
    """An input has the right type and an unusable value or shape."""


class TreeError(UnfussyError, ValueError):
    """A container cannot be walked: it holds itself, or cannot be rebuilt."""


class AmbiguousBatchError(UnfussyError, ValueError):
    """It cannot be told which arguments or results carry the batch."""


class AllItemsFailedError(UnfussyError, RuntimeError):
    """Every item of a call with ``on_error="skip"`` raised; the first is the cause."""


class DeviceError(UnfussyError, RuntimeError):
    """A device was asked for that this machine or build does not have."""


class DoesNotFitError(UnfussyError, torch.OutOfMemoryError):
    """One single item needs more memory than the device has."""


class MemoryThresholdError(UnfussyError, MemoryError):
    """A block of code used more of a device's memory than it was meant to."""


class UnknownNameError(UnfussyError, KeyError):
    """A record was asked for a name that it does not have."""

    __str__ = Exception.__str__  # a KeyError shows its text in quotes


class MissingExtraError(UnfussyError, ModuleNotFoundError):
    """A package is needed that an extra of unfussy installs."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is needed here: pip install 'unfussy[{extra}]'", name=package
        )


class CheckpointError(UnfussyError, ValueError):
    """A file holds no weights, or not the weights of this model."""


class NoDataError(InputTypeError, NotImplementedError):
    """A tensor on the meta device has a shape and no values."""
