"""Sizes of a network, read off the shapes of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from unfussy.errors import CheckpointError

__all__ = ["Shapes"]


@dataclass(frozen=True, slots=True)
class Shapes:
    """
    The shapes of some weights.

    Attributes:
        state: The weights, under official keys.
        source: What errors call them.
    """

    state: Mapping[str, Tensor]
    source: str

    def of(self, key: str, dims: int) -> tuple[int, ...]:
        """
        Return the shape of one tensor.

        Raises:
            CheckpointError: If it is missing, or has not that many *dims*.
        """
        if key not in self.state:
            raise CheckpointError(f"{self.source} lacks {key}; is it cut short?")
        shape = tuple(self.state[key].shape)
        if len(shape) != dims:
            raise CheckpointError(
                f"{self.source}: {key} has {dims} dimensions in any such network, "
                f"got {shape}"
            )
        return shape

    def count(self, prefix: str) -> int:
        """Return how many blocks there are under *prefix*, by their numbers."""
        cut = len(prefix)
        tails = (key[cut:] for key in self.state if key.startswith(prefix))
        numbers = (tail.partition(".")[0] for tail in tails)
        return 1 + max((int(n) for n in numbers if n.isdecimal()), default=0)

    def heads(self, branch: str = "") -> dict[str, int | None]:
        """
        Return the sizes of what makes embeddings, as settings.

        Raises:
            CheckpointError: If it is missing.
        """
        strips, _, size = self.of(f"FCs{branch}.fc_bin", 3)
        neck = f"BNNecks{branch}.fc_bin"
        classes = self.of(neck, 3)[2] if neck in self.state else None
        return {"strips": strips, "embedding_dim": size, "class_num": classes}
