"""Convolutions with their channels last in memory, which is how kernels like them."""

from __future__ import annotations

from typing import ClassVar, Final

from torch import nn

from unfussy._optimizing.candidate import Candidate, Trial, Undo
from unfussy._optimizing.candidates.compiling import is_compiled
from unfussy._optimizing.candidates.prepared import (
    Prepared,
    is_plain,
    prepared,
    put_forwards,
)

__all__ = ["ChannelsLast"]

_LAYERS: Final = frozenset(
    {nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d}
)


class ChannelsLast(Candidate):
    """
    Weights of convolutions laid out with their channels last.

    They are copies beside the layers. The first of these layers gives its result in
    that layout whatever it is given, and whoever comes behind it keeps to it.
    """

    name: ClassVar[str] = "channels_last"
    summary: ClassVar[str] = "lay convolutions out with their channels last"

    def obstacle(self, trial: Trial, /) -> str | None:
        """Return why it cannot be tried."""
        if is_compiled(trial):
            return "the method is compiled, which lays weights out itself"
        return None if _layers(trial) else "it has no convolution of two or three axes"

    def apply(self, trial: Trial, /) -> Undo:
        """Lay out the weights."""
        return put_forwards(
            [
                (layer, Prepared(layer, norm=prepared(layer).norm, channels_last=True))
                for layer in _layers(trial)
            ]
        )


def _layers(trial: Trial) -> list[nn.Module]:
    found = [m for m in trial.module.modules() if type(m) in _LAYERS and is_plain(m)]
    return [layer for layer in found if not prepared(layer).channels_last]
