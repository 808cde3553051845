"""
NumPy arrays as people have them: of every dtype, order, stride and byte order.

Hypothesis strategies; they shrink towards small, contiguous float32 arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

__all__ = ["LAYOUTS", "array_dtypes", "arrays"]

Array: TypeAlias = np.ndarray[Any, Any]

# Simplest first, as Hypothesis shrinks towards the front.
_CODES: Final = "fdeqilhbQILHB?FDgG"


def array_dtypes() -> st.SearchStrategy[np.dtype[Any]]:
    """
    Return a strategy for every dtype that can become a tensor, in either byte order.

    Examples:
        >>> from hypothesis import find
        >>> find(array_dtypes(), lambda dtype: dtype.kind == "i")
        dtype('int64')
    """
    native = st.sampled_from([np.dtype(code) for code in dict.fromkeys(_CODES)])
    orders = st.sampled_from(["=", "S"])
    return st.builds(lambda dtype, order: dtype.newbyteorder(order), native, orders)


@st.composite
def arrays(
    draw: st.DrawFn,
    *,
    dtypes: st.SearchStrategy[np.dtype[Any]] | None = None,
    shapes: st.SearchStrategy[tuple[int, ...]] | None = None,
    layouts: Sequence[str] | None = None,
) -> Array:
    """
    Return a strategy for arrays whose memory is laid out in any way.

    Args:
        draw: Given by Hypothesis.
        dtypes: Which dtypes; by default all that can become tensors.
        shapes: Which shapes; by default up to three dimensions, none and empty ones
            included.
        layouts: Which keys of `LAYOUTS`; by default all.

    Examples:
        >>> from hypothesis import find
        >>> find(arrays(), lambda array: array.size > 1)
        array([0., 0.], dtype=float32)
    """
    shape = arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
    dtype = draw(array_dtypes() if dtypes is None else dtypes)
    plain = draw(arrays_of.arrays(dtype, shape if shapes is None else shapes))
    layout = draw(st.sampled_from(list(layouts or LAYOUTS)))
    return LAYOUTS[layout](plain)


# --- layouts -----------------------------------------------------------------------


def _read_only(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view


def _reversed(array: Array) -> Array:
    turned = np.array(np.flip(array))
    return turned[(slice(None, None, -1),) * array.ndim] if array.ndim else turned


def _stepped(array: Array) -> Array:
    every: Any = (*(slice(None, None, 2) for _ in array.shape), ...)
    wide = np.zeros([2 * n for n in array.shape], array.dtype)
    wide[every] = array
    stepped: Array = wide[every]
    return stepped


def _broadcast(array: Array) -> Array:
    return np.broadcast_to(array, (2, *array.shape))


def _field(array: Array) -> Array:
    """Return a field of packed records: its strides are no multiple of its size."""
    records = np.zeros(array.shape, [("flag", "i1"), ("value", array.dtype)])
    records["value"] = array
    return records["value"][...]


class _Subclass(np.ndarray[Any, Any]):
    """Stands for the arrays with extras of other packages."""


LAYOUTS: Final[Mapping[str, Callable[[Array], Array]]] = MappingProxyType(
    {
        "contiguous": lambda array: np.array(array, order="C"),
        "fortran": lambda array: np.array(array, order="F"),
        "read-only": _read_only,
        "reversed": _reversed,
        "stepped": _stepped,
        "broadcast": _broadcast,
        "field": _field,
        "subclass": lambda array: array.view(_Subclass),
    }
)
"""
Ways to lay an array out in memory, by name.

Each takes an array and returns one with the same values; ``"broadcast"`` has them
twice, along a new first dimension.
"""
