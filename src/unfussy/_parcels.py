"""
Any object as a pickle, with the memory of its large tensors and arrays beside it.

Who sends the object sends the parcel first, which says how many bytes follow. Large
parts are not copied on the way, and reach their places at any depth of the object.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from torch import Tensor

from unfussy._arrays import from_array

__all__ = ["Packed", "Parcel", "Room", "current_device", "pack", "unpack"]

# Below this many bytes, travelling apart costs more than travelling with the pickle.
_LARGE: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Room:
    """Room for bytes that follow: how many, and the kind of device they were on."""

    size: int
    kind: str


Part: TypeAlias = bytes | Room


@dataclass(frozen=True, slots=True)
class Form:
    """What a tensor was: its type of numbers, its shape and its kind of device."""

    dtype: torch.dtype
    shape: torch.Size
    kind: str


@dataclass(frozen=True, slots=True)
class Parcel:
    """
    An object without its large parts; small itself, and pickled when it is sent.

    Attributes:
        pickled: The object without the memory of arrays and tensors.
        parts: That memory, first of the arrays, then of the tensors.
        forms: What the tensors were.
    """

    pickled: bytes
    parts: tuple[Part, ...]
    forms: tuple[Form, ...]

    @property
    def rooms(self) -> list[Room]:
        """The parts that follow."""
        return [part for part in self.parts if isinstance(part, Room)]


@dataclass(frozen=True, slots=True)
class Packed:
    """A parcel, and for each of its rooms the bytes to send after it."""

    parcel: Parcel
    large: tuple[Tensor, ...]


def pack(data: Any, /) -> Packed:
    """
    Return *data* as a parcel and what follows it.

    Tensors lose their gradients and their history.

    Raises:
        Exception: Whatever pickling raises.
    """
    file, raw = io.BytesIO(), list[pickle.PickleBuffer]()
    pickler = _Pickler(file, raw)
    pickler.dump(data)
    tensors = pickler.tensors
    flat = [*map(_bytes_of_array, raw), *map(_bytes_of, tensors)]
    parts = tuple(map(_part_of, flat))
    forms = tuple(Form(x.dtype, x.shape, x.device.type) for x in tensors)
    large = (x for x, part in zip(flat, parts) if isinstance(part, Room))
    return Packed(Parcel(file.getvalue(), parts, forms), tuple(large))


def unpack(parcel: Parcel, large: Sequence[Tensor], /) -> Any:
    """Return the object that *parcel* and the bytes that followed it make up."""
    rest = iter(large)
    flat = [
        next(rest) if isinstance(part, Room) else _from_bytes(part)
        for part in parcel.parts
    ]
    n_arrays = len(flat) - len(parcel.forms)
    buffers = [x.cpu().numpy() for x in flat[:n_arrays]]
    unpickler = _Unpickler(io.BytesIO(parcel.pickled), buffers=buffers)
    unpickler.tensors = list(map(_formed, flat[n_arrays:], parcel.forms))
    return unpickler.load()


def current_device(kind: str, /) -> torch.device:
    """Return the device of a *kind* that this process uses."""
    if kind == "cpu":
        return torch.device(kind)
    return torch.device(kind, torch.get_device_module(kind).current_device())


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, raw: list[pickle.PickleBuffer]) -> None:
        super().__init__(file, protocol=5, buffer_callback=raw.append)
        self.tensors: list[Tensor] = []
        self._places: dict[int, int] = {}

    def persistent_id(self, obj: Any) -> int | None:
        """Return the place of a tensor among all of them; None for what is none."""
        if type(obj) is not Tensor or not _is_plain(obj):
            return None
        place = self._places.setdefault(id(obj), len(self.tensors))
        if place == len(self.tensors):
            self.tensors.append(obj)
        return place


class _Unpickler(pickle.Unpickler):
    tensors: list[Tensor]

    def persistent_load(self, pid: int) -> Tensor:
        """Return the tensor at a place."""
        return self.tensors[pid]


def _is_plain(tensor: Tensor) -> bool:
    is_dense = tensor.layout is torch.strided and not tensor.is_nested
    return is_dense and not tensor.is_meta and not tensor.is_quantized


def _bytes_of_array(buffer: pickle.PickleBuffer) -> Tensor:
    return from_array(np.frombuffer(buffer.raw(), np.uint8))


def _bytes_of(tensor: Tensor) -> Tensor:
    if not tensor.numel():  # its strides may be any
        return torch.empty(0, dtype=torch.uint8)
    plain = tensor.detach().resolve_conj().resolve_neg()
    flat: Tensor = plain.contiguous().reshape(-1).view(torch.uint8)
    return flat


def _part_of(flat: Tensor) -> Part:
    if len(flat) >= _LARGE:
        return Room(len(flat), flat.device.type)
    return bytes(flat.cpu().numpy())


def _from_bytes(part: bytes) -> Tensor:
    if not part:
        return torch.empty(0, dtype=torch.uint8)
    return torch.frombuffer(bytearray(part), dtype=torch.uint8)


def _formed(flat: Tensor, form: Form) -> Tensor:
    numbers: Tensor = flat.to(current_device(form.kind)).view(form.dtype)
    return numbers.reshape(form.shape)
