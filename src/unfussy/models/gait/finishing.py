"""
What is done to embeddings behind a model: looked at, and brought to one length.

n embeddings of D entries for each of P parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias
from warnings import warn

import torch
import torch.nn.functional as F  # noqa: N812 - the name all of PyTorch uses
from torch import Tensor

from unfussy._nonfinite import NonFiniteWarning
from unfussy.errors import InputValueError

__all__ = ["Finish", "Normalize", "OnNonFinite"]

Normalize: TypeAlias = bool | Literal["parts", "whole"]
OnNonFinite: TypeAlias = Literal["raise", "warn", "retry", "ignore"]

_NORMALIZE: Final = (False, True, "parts", "whole")
_ON_NONFINITE: Final = ("raise", "warn", "retry", "ignore")


@dataclass(frozen=True, slots=True)
class Finish:
    """
    What is done to embeddings.

    Attributes:
        normalize: ``"parts"``, or True, brings each part to length one: `distance` then
            depends on directions alone. ``"whole"`` brings all parts together to length
            one, which keeps how they compare. False leaves what the official
            evaluations use.
        on_nonfinite: What becomes of infinities and NaN, which no distance can be
            taken of: ``"raise"`` an error of the walk, ``"warn"``, ``"retry"`` once in
            float32 if they came of a lower precision, ``"ignore"``.

    Raises:
        InputValueError: If there is no such way.

    Examples:
        >>> Finish(normalize="parts")(torch.full((1, 4, 2), 3.0))[0, :, 0]
        tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """

    normalize: Normalize = False
    on_nonfinite: OnNonFinite = "raise"

    def __post_init__(self) -> None:
        if self.normalize not in _NORMALIZE:
            raise InputValueError(
                f"normalize is False, 'parts' (or True) or 'whole', got "
                f"{self.normalize!r}"
            )
        if self.on_nonfinite not in _ON_NONFINITE:
            raise InputValueError(
                "on_nonfinite is 'raise', 'warn', 'retry' or 'ignore', got "
                f"{self.on_nonfinite!r}"
            )

    @property
    def policy(self) -> str:
        """What the engine does, as `autocast_policy` has it."""
        return "retry" if self.on_nonfinite == "retry" else "ignore"

    def __call__(self, embeddings: Tensor, /) -> Tensor:
        """
        Return embeddings ``(n, D, P)``, finished.

        Raises:
            InputValueError: If one holds infinities or NaN and that is to be told so.
        """
        if self.on_nonfinite in {"raise", "warn"}:
            self._look(embeddings)
        if not self.normalize:
            return embeddings
        dims = (-2, -1) if self.normalize == "whole" else -2
        return _to_length_one(embeddings, dims)

    def _look(self, embeddings: Tensor) -> None:
        bad = (~torch.isfinite(embeddings)).flatten(1).any(1)
        if not bad.any():
            return
        text = f"{int(bad.sum())} of {len(bad)} embeddings hold infinities or NaN"
        hint = "look at the weights, or use precision='fp32' or on_nonfinite='retry'"
        if self.on_nonfinite == "raise":
            raise InputValueError(f"{text}; {hint}")
        warn(f"{text}; {hint}", NonFiniteWarning, stacklevel=2)


def _to_length_one(embeddings: Tensor, dims: int | tuple[int, int]) -> Tensor:
    if isinstance(dims, int):
        return F.normalize(embeddings, dim=dims)
    lengths = torch.linalg.vector_norm(embeddings, dim=dims, keepdim=True)
    scaled: Tensor = embeddings / lengths.clamp_min(1e-12)
    return scaled
