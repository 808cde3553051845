"""
Data gathered from all processes of a job, and who those processes are.

Every function works without a process group too, as the only process there is.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from unfussy._parcels import Packed, Parcel, Room, current_device, pack, unpack
from unfussy.errors import DeviceError, InputTypeError, InputValueError

__all__ = [
    "all_gather",
    "get_local_rank",
    "get_rank",
    "get_world_size",
    "is_dist_avail_and_initialized",
]


def is_dist_avail_and_initialized() -> bool:
    """Tell whether this process belongs to a process group."""
    return dist.is_available() and dist.is_initialized()


def get_world_size(group: dist.ProcessGroup | None = None) -> int:
    """Return how many processes there are; one without a process group."""
    return dist.get_world_size(group) if is_dist_avail_and_initialized() else 1


def get_rank(group: dist.ProcessGroup | None = None) -> int:
    """Return which of all processes this is; zero without a process group."""
    return dist.get_rank(group) if is_dist_avail_and_initialized() else 0


def get_local_rank() -> int:
    """
    Return which of the processes on this machine this is; zero without a group.

    Raises:
        DeviceError: If there is a process group, and whoever started it has not set
            ``LOCAL_RANK``, as ``torchrun`` does.
    """
    if not is_dist_avail_and_initialized():
        return 0
    try:
        return int(os.environ["LOCAL_RANK"])
    except KeyError as error:
        raise DeviceError(
            "get_local_rank() reads the environment variable LOCAL_RANK, which is not "
            "set: start the job with torchrun, or set it in each process"
        ) from error


def all_gather(data: Any, /, *, group: dist.ProcessGroup | None = None) -> list[Any]:
    """
    Return what every process passes, in the order of their ranks.

    Every process of the group must call it, with whatever can be pickled: ranks may
    pass different types, and tensors of different shapes. Works on any backend;
    large tensors and arrays, at any depth, are broadcast as they are and not pickled.
    Processes trust each other, since unpickling can run code.

    Tensors arrive without gradients and without their history: those of the CPU on
    the CPU, those of an accelerator on the one that the receiving process uses. The
    entry of the process itself is the very object that it passed.

    Args:
        data: What this process has.
        group: The processes that take part; all by default.

    Raises:
        InputTypeError: In every process, if in one of them *data* cannot be pickled.
        InputValueError: If this process does not belong to *group*.

    Examples:
        >>> all_gather({"loss": 0.5})  # without a process group
        [{'loss': 0.5}]
    """
    rank, n_ranks = get_rank(group), get_world_size(group)
    if rank < 0:
        raise InputValueError(f"rank {get_rank()} is not in the group that gathers")
    if n_ranks == 1:
        return [data]
    mine = _packed(data)
    parcels: list[Any] = [None] * n_ranks
    own = mine.parcel if isinstance(mine, Packed) else mine
    dist.all_gather_object(parcels, own, group=group)
    _check(parcels)
    assert isinstance(mine, Packed)  # noqa: S101 - else the check has raised
    gathered = []
    for source, parcel in enumerate(parcels):
        sent = mine.large if source == rank else None
        large = _broadcast(parcel, sent, source, group)
        gathered.append(data if source == rank else unpack(parcel, large))
    return gathered


def _packed(data: Any) -> Packed | str:
    try:
        return pack(data)
    # Raised in all processes at once: the others would wait for this one for ever.
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {error}"


def _check(parcels: Sequence[Parcel | str]) -> None:
    for rank, parcel in enumerate(parcels):
        if isinstance(parcel, str):
            raise InputTypeError(
                f"all_gather() takes what can be pickled; on rank {rank}: {parcel}"
            )


def _broadcast(
    parcel: Parcel,
    sent: Sequence[Tensor] | None,
    source: int,
    group: dist.ProcessGroup | None,
) -> list[Tensor]:
    """Send the large parts of *parcel* from *source* to all, and return them."""
    large = []
    for i, room in enumerate(parcel.rooms):
        device = current_device(_carrier(room, group))
        if sent is None:
            flat = torch.empty(room.size, dtype=torch.uint8, device=device)
        else:
            flat = sent[i].to(device)
        dist.broadcast(flat, _global_rank(source, group), group=group)
        large.append(flat)
    return large


def _carrier(room: Room, group: dist.ProcessGroup | None) -> str:
    """Return the kind of device on which *group* moves what is in *room*."""
    config = dist.get_backend_config(group)  # such as "cpu:gloo,cuda:nccl"
    kinds = [entry.partition(":")[0] for entry in config.split(",")]
    return room.kind if room.kind in kinds else kinds[0]


def _global_rank(rank: int, group: dist.ProcessGroup | None) -> int:
    return rank if group is None else dist.get_global_rank(group, rank)
