"""
The three networks of MTCNN, named as in the weights that AdaFace comes with.

B windows or pictures. After Zhang et al., "Joint Face Detection and Alignment using
Multi-task Cascaded Convolutional Networks", 2016. Each returns the logits of "no face"
and "face" and how far the corners of the face are off, in sides of the window.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

__all__ = ["ONet", "PNet", "RNet"]


class PNet(nn.Module):
    """Looks at every window of 12 pixels in a picture, two pixels apart."""

    def __init__(self) -> None:
        super().__init__()
        layers = {**_conv(1, 3, 10), "pool1": nn.MaxPool2d(2, 2, ceil_mode=True)}
        layers |= {**_conv(2, 10, 16), **_conv(3, 16, 32)}
        self.features = nn.Sequential(OrderedDict(layers))
        self.conv4_1 = nn.Conv2d(32, 2, 1)
        self.conv4_2 = nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(B, 3, H, W)`` to logits ``(B, 2, h, w)``, offsets ``(B, 4, h, w)``."""
        x = self.features(x)
        return self.conv4_1(x), self.conv4_2(x)


class RNet(nn.Module):
    """Looks at windows of 24 pixels once more."""

    def __init__(self) -> None:
        super().__init__()
        layers = {**_conv(1, 3, 28), "pool1": nn.MaxPool2d(3, 2, ceil_mode=True)}
        layers |= {**_conv(2, 28, 48), "pool2": nn.MaxPool2d(3, 2, ceil_mode=True)}
        layers |= {**_conv(3, 48, 64, side=2), "flatten": _Flatten()}
        layers |= {"conv4": nn.Linear(576, 128), "prelu4": nn.PReLU(128)}
        self.features = nn.Sequential(OrderedDict(layers))
        self.conv5_1 = nn.Linear(128, 2)
        self.conv5_2 = nn.Linear(128, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map windows ``(B, 3, 24, 24)`` to logits ``(B, 2)``, offsets ``(B, 4)``."""
        x = self.features(x)
        return self.conv5_1(x), self.conv5_2(x)


class ONet(nn.Module):
    """Looks at windows of 48 pixels at last, and finds the landmarks."""

    def __init__(self) -> None:
        super().__init__()
        layers = {**_conv(1, 3, 32), "pool1": nn.MaxPool2d(3, 2, ceil_mode=True)}
        layers |= {**_conv(2, 32, 64), "pool2": nn.MaxPool2d(3, 2, ceil_mode=True)}
        layers |= {**_conv(3, 64, 64), "pool3": nn.MaxPool2d(2, 2, ceil_mode=True)}
        layers |= {**_conv(4, 64, 128, side=2), "flatten": _Flatten()}
        layers |= {"conv5": nn.Linear(1152, 256), "drop5": nn.Dropout(0.25)}
        self.features = nn.Sequential(OrderedDict(layers, prelu5=nn.PReLU(256)))
        self.conv6_1 = nn.Linear(256, 2)
        self.conv6_2 = nn.Linear(256, 4)
        self.conv6_3 = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """
        Map windows ``(B, 3, 48, 48)`` to logits, offsets and landmarks.

        Returns:
            ``(B, 2)``, ``(B, 4)`` and ``(B, 10)``: five times x, five times y, in
            sides of the window from its corner.
        """
        x = self.features(x)
        return self.conv6_1(x), self.conv6_2(x), self.conv6_3(x)


class _Flatten(nn.Module):
    """Channels, columns, rows: the order that the weights were trained in."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(2, 3).flatten(1)


def _conv(
    number: int, inputs: int, outputs: int, *, side: int = 3
) -> dict[str, nn.Module]:
    return {
        f"conv{number}": nn.Conv2d(inputs, outputs, side),
        f"prelu{number}": nn.PReLU(outputs),
    }
