"""Tensors of every kind that has a form in NumPy, for laws of conversion."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st

from unfussy import tree_map
from unfussy._arrays import from_array
from unfussy.testing.strategies import arrays, trees

__all__ = ["bits", "low_tensors", "native", "settled", "shared", "tensors"]


def native(dtype):
    """Return what *dtype* is once it went through a tensor."""
    narrow = {"g": "d", "G": "D"}.get(dtype.char, dtype)
    return np.dtype(narrow).newbyteorder("=")


def bits(array):
    """Return shape, dtype and bytes: what no two different arrays share."""
    plain = np.asarray(array).astype(native(array.dtype))
    return plain.shape, plain.dtype, plain.tobytes()


def settled(array):
    """Return *array* as NumPy's default precision would be seen by a float32 module."""
    single = {"d": "f", "g": "f", "D": "F", "G": "F"}
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(array).astype(
            single.get(array.dtype.char, native(array.dtype))
        )


def _conjugate(tensor):
    return tensor.conj() if tensor.is_complex() else tensor


def _negated(tensor):
    return tensor.conj().imag if tensor.is_complex() else tensor


_VIEWS = [
    lambda tensor: tensor,
    lambda tensor: tensor.mT if tensor.ndim > 1 else tensor,
    lambda tensor: tensor[::2] if tensor.ndim else tensor,
    lambda tensor: tensor.expand(2, *tensor.shape),
    _conjugate,
    _negated,
    torch.Tensor.detach,
]


@st.composite
def tensors(draw):
    """Generate tensors of every dtype that NumPy knows, in every kind of view."""
    tensor = from_array(draw(arrays()))
    return draw(st.sampled_from(_VIEWS))(tensor)


_LOW = [
    *(torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.float8_e4m3fnuz, torch.float8_e5m2fnuz),
]


@st.composite
def low_tensors(draw):
    """Generate tensors of the precisions that NumPy does not know, some sparse."""
    values = draw(st.lists(st.floats(-4, 4, width=16), max_size=4))
    tensor = torch.tensor(values).to(draw(st.sampled_from(_LOW)))
    is_sparse = tensor.dtype is torch.bfloat16 and draw(st.booleans())
    return tensor.to_sparse() if is_sparse else tensor


def shared(leaves):
    """Generate trees in which the same leaves stand in several places."""
    pools = st.lists(leaves, min_size=3, max_size=3)
    places = trees(st.integers(0, 2))
    return st.builds(
        lambda pool, tree: tree_map(
            lambda i: pool[i] if isinstance(i, int) else i, tree
        ),
        pools,
        places,
    )
