"""
The layers of AdaFace's backbones, under the keys of the official weights.

B batch, C channels, H height, W width. The residual units are those of Deng et al.,
"ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2019, section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from torch import Tensor, nn

from unfussy.errors import InputValueError

__all__ = [
    "ARCHITECTURES",
    "EMBEDDING",
    "SIZES",
    "Architecture",
    "architecture_called",
    "make_body",
    "make_input_layer",
    "make_output_layer",
]

EMBEDDING: Final = 512
SIZES: Final = (112, 224)
"""The sides, in pixels, that a face may have."""

_HALVINGS: Final = 16  # what the four stages together divide the side by
_WIDE: Final = (256, 512, 1024, 2048)


@dataclass(frozen=True, slots=True)
class Architecture:
    """
    How many units of which kind a backbone has.

    Attributes:
        name: What it is called, such as ``"ir_50"``.
        units: How many residual units each of its four stages has.
        widths: How many channels the stages have.
        stem: How many channels go into the first stage.
        bottleneck: Whether units narrow their channels to a quarter inside.
        excites: Whether units weigh their channels (squeeze and excitation).
    """

    name: str
    units: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512)
    stem: int = 64
    bottleneck: bool = False
    excites: bool = False


def _known() -> Iterator[Architecture]:
    basic = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 101: (3, 13, 30, 3)}
    wide = {152: (3, 8, 36, 3), 200: (3, 24, 36, 3)}
    for kind, excites in (("ir", False), ("ir_se", True)):
        for depth, units in basic.items():
            yield Architecture(f"{kind}_{depth}", units, excites=excites)
        for depth, units in wide.items():
            yield Architecture(
                f"{kind}_{depth}", units, _WIDE, bottleneck=True, excites=excites
            )


ARCHITECTURES: Final = {each.name: each for each in _known()}
"""The backbones by their names, ``ir_18`` to ``ir_200`` and ``ir_se_18`` to 200."""


def architecture_called(name: str, /) -> Architecture:
    """
    Return the architecture called *name*.

    Raises:
        InputValueError: If there is none.
    """
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise InputValueError(f"there is no architecture {name!r}; there are {known}")
    return ARCHITECTURES[name]


# --- the three parts ---------------------------------------------------------------


def make_input_layer(architecture: Architecture, /) -> nn.Sequential:
    """Return the layers from faces ``(B, 3, H, W)`` to the first stage."""
    stem = architecture.stem
    return nn.Sequential(
        nn.Conv2d(3, stem, 3, 1, 1, bias=False), nn.BatchNorm2d(stem), nn.PReLU(stem)
    )


def make_body(architecture: Architecture, /) -> nn.Sequential:
    """Return the units of all stages, to ``(B, C, H / 16, W / 16)``."""
    units, n_in = [], architecture.stem
    for n_units, n_out in zip(architecture.units, architecture.widths):
        for i in range(n_units):
            stride = 2 if i == 0 else 1
            units.append(Unit(architecture, n_in, n_out, stride))
            n_in = n_out
    return nn.Sequential(*units)


def make_output_layer(architecture: Architecture, size: int, /) -> nn.Sequential:
    """Return the layers from the last stage to features ``(B, 512)``."""
    width, side = architecture.widths[-1], size // _HALVINGS
    return nn.Sequential(
        nn.BatchNorm2d(width),
        nn.Dropout(0.4),
        nn.Flatten(),
        nn.Linear(width * side * side, EMBEDDING),
        nn.BatchNorm1d(EMBEDDING, affine=False),
    )


class Unit(nn.Module):
    """A residual unit, in which the last convolution strides."""

    def __init__(
        self, architecture: Architecture, n_in: int, n_out: int, stride: int
    ) -> None:
        super().__init__()
        make = _bottleneck_layers if architecture.bottleneck else _basic_layers
        self.res_layer = nn.Sequential(*make(n_in, n_out, stride))
        if architecture.excites:
            self.res_layer.add_module("se_block", Excitation(n_out))
        self.shortcut_layer = (
            None if n_in == n_out else _projection(n_in, n_out, stride)
        )
        self._stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C_in, H, W)`` to ``(B, C_out, H / stride, W / stride)``."""
        residual: Tensor = self.res_layer(x)
        # Without a projection the shortcut is every other pixel.
        shortcut: Tensor = x[..., :: self._stride, :: self._stride]
        if self.shortcut_layer is not None:
            shortcut = self.shortcut_layer(x)
        return residual + shortcut


class Excitation(nn.Module):
    """Channels weighed by what they hold on average, after Hu et al., 2018."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(width, width // 16, 1, bias=False)
        self.fc2 = nn.Conv2d(width // 16, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        weights: Tensor = self.fc2(self.fc1(x.mean((2, 3), keepdim=True)).relu())
        return x * weights.sigmoid()


# --- the layers of a unit ----------------------------------------------------------

_Layers: TypeAlias = tuple[nn.Module, ...]


def _basic_layers(n_in: int, n_out: int, stride: int) -> _Layers:
    return (
        *(nn.BatchNorm2d(n_in), _conv3(n_in, n_out)),
        *(nn.BatchNorm2d(n_out), nn.PReLU(n_out), _conv3(n_out, n_out, stride)),
        nn.BatchNorm2d(n_out),
    )


def _bottleneck_layers(n_in: int, n_out: int, stride: int) -> _Layers:
    inner = n_out // 4
    return (
        *(nn.BatchNorm2d(n_in), nn.Conv2d(n_in, inner, 1, bias=False)),
        *(nn.BatchNorm2d(inner), nn.PReLU(inner), _conv3(inner, inner)),
        *(nn.BatchNorm2d(inner), nn.PReLU(inner)),
        *(nn.Conv2d(inner, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)),
    )


def _conv3(n_in: int, n_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)


def _projection(n_in: int, n_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
    )
