"""What a generator is given, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from unfussy import DeviceLike, TensorLike, get_best_device
from unfussy._arrays import from_array
from unfussy.errors import CheckpointError, DeviceError, InputValueError
from unfussy.models.multimodal.model import MultimodalModel
from unfussy.models.multimodal.seeds import checked_seed

__all__ = [
    "checked_device",
    "checked_latents",
    "checked_output_size",
    "checked_sizes",
    "paired_seeds",
]

_OFFICIAL: Final = {"latent_dim": 1024, "vocab_size": 1266}


def checked_sizes(
    model: MultimodalModel,
    source: str,
    latent_dim: int | None,
    vocab_size: int | None,
    *,
    is_ready: bool,
) -> None:
    """
    Refuse sizes that contradict those of *model*.

    Of a model that was made by the caller, the official sizes are not taken for said.
    """
    given = {"latent_dim": latent_dim, "vocab_size": vocab_size}
    for name, size in given.items():
        found = getattr(model, name)
        if size in (None, found) or (is_ready and size == _OFFICIAL[name]):
            continue
        raise CheckpointError(
            f"{source} has {name}={found}, but the generator was to have "
            f"{name}={size}: write {name}={found}, or None for what the weights have"
        )


def checked_device(
    device: DeviceLike | None, model: MultimodalModel | None, /
) -> torch.device:
    """Return where to run: the *device*, where *model* is, or the best there is."""
    if device is None:
        return get_best_device() if model is None else model.inference_device
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise DeviceError(
            f"there is no device {str(device)!r} here ({reason}); "
            "write device='cpu', or None for the best there is"
        ) from error
    return place


def checked_output_size(
    size: int | tuple[int, int] | None, /
) -> tuple[int, int] | None:
    """Return *size*, one side or width and height, as height and width."""
    if size is None:
        return None
    width, height = (size, size) if isinstance(size, int) else size
    if width < 1 or height < 1:
        raise InputValueError(f"output_size is a side, or (width, height), got {size}")
    return int(height), int(width)


def checked_latents(z: TensorLike, size: int, /) -> Tensor:
    """Return latents as float32 rows ``(N, L)``."""
    tensor = z if isinstance(z, Tensor) else from_array(np.asarray(z))
    rows = tensor[None] if tensor.ndim == 1 else tensor
    if rows.ndim != 2 or rows.shape[1] != size:  # noqa: PLR2004
        raise InputValueError(
            f"latents are shaped (N, {size}) or ({size},), got {tuple(tensor.shape)}"
        )
    return rows.detach().float()


def paired_seeds(seeds: Iterable[Any] | None, count: int, /) -> list[int]:
    """Return one checked seed for each of *count* latents."""
    numbers = [42] * count if seeds is None else [checked_seed(s) for s in seeds]
    if len(numbers) != count:
        raise InputValueError(f"{count} latents need {count} seeds, got {len(numbers)}")
    return numbers
