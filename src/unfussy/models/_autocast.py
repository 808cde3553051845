"""Where inputs of another precision than the weights are right: under autocast."""

from __future__ import annotations

import torch

__all__ = ["is_autocast"]


def is_autocast(kind: str, /) -> bool:
    """Tell whether autocast is on for devices of this *kind*, such as ``"cuda"``."""
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
