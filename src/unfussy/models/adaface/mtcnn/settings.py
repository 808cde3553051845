"""What faces the cascade looks for, and how sure it has to be."""

from __future__ import annotations

from dataclasses import dataclass

from unfussy.errors import InputValueError

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    The settings of the cascade; the defaults are AdaFace's.

    Attributes:
        min_face_size: The smallest face to look for, pixels.
        factor: How much smaller each picture of the pyramid is than the one before.
        thresholds: How probable a face has to be for each of the three networks.
        overlaps: How much faces may overlap after each of them.
        official: Whether to repeat two slips of the official code, for equal results:
            probabilities of the first network over the width of the picture instead of
            over the two classes, and landmarks off where a face touches the border.
    """

    min_face_size: float = 20.0
    factor: float = 0.85
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.9)
    overlaps: tuple[float, float, float] = (0.7, 0.7, 0.7)
    official: bool = False

    def __post_init__(self) -> None:
        if not self.min_face_size > 0:
            raise InputValueError(
                f"min_face_size is in pixels, above 0; got {self.min_face_size}"
            )
        if not 0 < self.factor < 1:
            raise InputValueError(f"factor is between 0 and 1, got {self.factor}")
        for name in ("thresholds", "overlaps"):
            if len(getattr(self, name)) != 3:  # noqa: PLR2004 - networks
                raise InputValueError(
                    f"{name} are three, one for each network; got {getattr(self, name)}"
                )
