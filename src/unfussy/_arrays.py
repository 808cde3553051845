"""
NumPy arrays, numbers, lists and pictures to tensors, and tensors to arrays.

Conversion shares memory wherever that is safe and copies once where it is not: a
read-only array handed to PyTorch could be written through. What would lose
something (a mask, structured fields, 16-bit grey levels) is refused.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import numpy as np
import torch

from unfussy.errors import InputTypeError, InputValueError, NoDataError

__all__ = [
    "array_from_numbers",
    "from_array",
    "from_numbers",
    "from_picture",
    "is_label_array",
    "is_numbers",
    "is_picture",
    "to_array",
]

# NumPy's codes of plain numbers. Several stand for one size, and torch knows one each.
_NUMERIC: Final = frozenset("?bBhHiIlLqQefdFD")
_KNOWN: Final = frozenset(
    np.dtype(f"{kind}{size}").char
    for kind, sizes in {"b": "1", "i": "1248", "u": "1248", "f": "248"}.items()
    for size in sizes
) | frozenset("FD")
_LONG: Final = {"g": np.dtype(np.float64), "G": np.dtype(np.complex128)}
# Arrays that carry names or dates: inside a structure they are metadata.
_LABEL_KINDS: Final = frozenset("SUTMm")
_FLOAT8: Final = frozenset(
    value
    for name, value in vars(torch).items()
    if name.startswith("float8") and isinstance(value, torch.dtype)
)
_NUMBERS: Final = (int, float, complex, np.number, np.bool_)
_MOST_DIMENSIONS: Final = 64  # NumPy's limit, and an end to lists that hold themselves


def from_array(array: np.ndarray[Any, Any], /) -> torch.Tensor:
    """
    Return *array* as a CPU tensor of the same shape and values.

    The tensor shares the array's memory where PyTorch can do so safely. Read-only,
    negatively strided, unaligned and byte-swapped arrays are copied once. Long
    doubles become doubles; bfloat16 arrays of ml_dtypes keep their bits.

    Raises:
        InputTypeError: If the array holds no numbers, or is masked.
    """
    if type(array) is np.ndarray:
        flags, dtype = array.flags, array.dtype
        if flags.writeable and flags.aligned:
            try:
                return torch.from_numpy(array)
            except (TypeError, ValueError):  # byte order, strides, or no numbers
                pass
        if dtype.char in _KNOWN and dtype.isnative:
            return torch.from_numpy(array.copy())
    return _from_unusual(array)


def _from_unusual(array: np.ndarray[Any, Any]) -> torch.Tensor:
    if isinstance(array, np.ma.MaskedArray):
        raise InputTypeError(
            "masked array: its mask would be lost; call .filled(value) first"
        )
    base, code = np.asarray(array), array.dtype.char  # subclasses are shed
    if array.dtype.name == "bfloat16":
        return from_array(base.view(np.int16)).view(torch.bfloat16)
    if code in _LONG:
        return torch.from_numpy(base.astype(_LONG[code]))
    if code in _NUMERIC:
        known = np.dtype(f"{array.dtype.kind}{array.dtype.itemsize}")
        native = array.dtype.isnative
        return from_array(base.view(known) if native else base.astype(known))
    raise InputTypeError(
        f"array of dtype {array.dtype} cannot become a tensor; "
        "convert it to numbers first"
    )


def is_label_array(array: np.ndarray[Any, Any], /) -> bool:
    """Tell whether *array* holds strings, bytes or dates rather than numbers."""
    return array.dtype.kind in _LABEL_KINDS


def to_array(tensor: torch.Tensor, /) -> np.ndarray[Any, Any]:
    """
    Return *tensor* as an array of the same shape and values.

    Works for tensors on any device, with gradients, conjugate or negative views and
    sparse layouts. Numbers that NumPy does not know (bfloat16, float8) become
    float32, which holds each of them exactly. CPU memory is shared where possible.

    Raises:
        InputTypeError: If NumPy has no form for the tensor (quantised, nested,
            complex32 and masked ones).
        NoDataError: If the tensor is on the meta device.
    """
    if tensor.is_meta:
        shape = tuple(tensor.shape)
        raise NoDataError(f"a meta tensor {shape} has no data to make an array of")
    if tensor.is_nested:
        raise InputTypeError("NumPy has no form for a nested tensor; call .unbind()")
    if tensor.is_quantized or tensor.dtype is torch.complex32:
        other = ".dequantize()" if tensor.is_quantized else ".to(torch.complex64)"
        raise InputTypeError(
            f"NumPy has no form for a tensor of {tensor.dtype}; call {other}"
        )
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    if tensor.dtype is torch.bfloat16 or tensor.dtype in _FLOAT8:
        tensor = tensor.float()
    try:
        return tensor.numpy(force=True)
    except (TypeError, RuntimeError) as error:
        kind = type(tensor).__name__
        raise InputTypeError(f"NumPy has no form for a {kind}: {error}") from error


# --- numbers -----------------------------------------------------------------------


def is_numbers(value: object, /) -> bool:
    """Tell whether *value* is a list or tuple of numbers, nested to any depth."""
    item: Any = value
    for _ in range(_MOST_DIMENSIONS):
        if type(item) not in (list, tuple):
            break
        if not item:
            return True
        item = item[0]
    return item is not value and isinstance(item, _NUMBERS)


def from_numbers(numbers: Any, /) -> torch.Tensor:
    """Return a (nested) list of numbers as a tensor; see `array_from_numbers`."""
    return from_array(array_from_numbers(numbers))


def array_from_numbers(numbers: Any, /) -> np.ndarray[Any, Any]:
    """
    Return a (nested) list of numbers as an array, floats in double precision.

    Double precision is what the numbers had; it then follows the module like that of
    any array.

    Raises:
        InputTypeError: If the list holds something else than numbers.
        InputValueError: If the rows differ in length.
    """
    try:
        array = np.asarray(numbers)
    except (ValueError, TypeError) as error:
        raise InputValueError(
            "the rows of a list of numbers differ in length; give a list of arrays, "
            "or pad them"
        ) from error
    if array.dtype.kind not in "biufc":
        raise InputTypeError(
            f"a list that NumPy reads as {array.dtype} is no list of numbers"
        )
    return array


# --- pictures ----------------------------------------------------------------------


def is_picture(value: object, /) -> bool:
    """Tell whether *value* is a Pillow picture, without importing Pillow."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(value, pillow.Image)


def from_picture(picture: Any, /) -> torch.Tensor:
    """
    Return a Pillow picture as ``(3, H, W)``, `torch.uint8`, red first.

    Palettes, grey levels and colour spaces are converted by Pillow; transparency is
    dropped.

    Raises:
        InputValueError: If the picture has more than 8 bits a channel, or Pillow
            cannot read or convert it.
    """
    if picture.mode.startswith(("I", "F")):
        raise InputValueError(
            f"a picture of mode {picture.mode!r} would lose levels as 8 bits; "
            "give numpy.asarray(picture), scaled as the model wants it"
        )
    try:
        if picture.mode == "P":  # a transparent palette has to take this step
            picture = picture.convert("RGBA")
        pixels = np.array(picture.convert("RGB"))  # (H, W, 3)
    except (OSError, ValueError) as error:
        raise InputValueError(f"Pillow cannot read the picture: {error}") from error
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
