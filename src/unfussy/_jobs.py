"""
Which computation a file of results belongs to, told in a line of parts.

The method, the weights, the source and the other arguments count. Of large sources a
sample is looked at; what cannot be looked at without being used up, is not.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FunctionType, MethodType
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from unfussy._batching.joining import is_array
from unfussy._sources import length_of
from unfussy._targets import Target
from unfussy._tree import tree_paths

__all__ = ["describe_job"]

_ALL: Final = 2**24  # bytes of a source that are all looked at
_SAMPLE: Final = 256  # items to look at in a larger one
_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")


def describe_job(
    target: Target, source: Iterable[Any], shared: Mapping[str, Any]
) -> str:
    """
    Return a line that tells this computation from others.

    It reads ``"key: value; key: value"``, so that two lines can be compared by part. A
    source that has an attribute ``fingerprint`` is known by that, and the object whose
    method it is too.
    """
    arguments = {**target.given, **shared}
    parts = {
        "method": target.name + _code(target.function) + _holder(target),
        "weights": _weights(target),
        "source": _source(source),
        "settings": _settings(target),
        "arguments": ", ".join(
            f"{name}={_of_tree(value)}" for name, value in sorted(arguments.items())
        ),
    }
    clean = {key: value.replace(";", ",") for key, value in parts.items()}
    return "; ".join(f"{key}: {value or 'none'}" for key, value in clean.items())


# --- the method --------------------------------------------------------------------


def _settings(target: Target) -> str:
    plan = target.plan
    precision = "none" if plan.precision is None else plan.precision.precision
    evaluates = plan.modes is not None and plan.modes.eval
    made = {
        "pad": plan.batch and plan.batch.pad,
        "pack": plan.batch and plan.batch.pack,
    }
    ragged = "".join(f", {name} {how}" for name, how in made.items() if how)
    return f"precision {precision}, {'eval mode' if evaluates else 'any mode'}{ragged}"


def _code(function: Any) -> str:
    """Return a checksum of what a function without a name does."""
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType) or code.co_name != "<lambda>":
        return ""
    plain = [x for x in code.co_consts if isinstance(x, (str, int, float, complex))]
    return f" {_crc_of([repr((code.co_code, code.co_names, plain)).encode()])}"


def _holder(target: Target) -> str:
    """Return what the object says that a method belongs to, if it says anything."""
    found = (getattr(value, "fingerprint", None) for value in target.arguments[:1])
    return "".join(f" {text}" for text in found if isinstance(text, str))


def _weights(target: Target) -> str:
    found = {id(module): module for module in _modules(target)}
    return ", ".join(
        f"{type(module).__name__} {_crc_of(_state(module))}"
        for module in found.values()
    )


def _modules(target: Target) -> Iterator[nn.Module]:
    """Yield the modules that are called, and those that a function can see."""
    if target.module is not None:
        yield target.module
    function = target.function
    if not isinstance(function, FunctionType):
        return
    cells = function.__closure__ or ()
    seen = [cell.cell_contents for cell in cells]
    names = function.__code__.co_names
    seen += [function.__globals__[x] for x in names if x in function.__globals__]
    for value in (*target.arguments, *seen):
        owner = value.__self__ if isinstance(value, MethodType) else value
        if isinstance(owner, nn.Module):
            yield owner


def _state(module: nn.Module) -> Iterator[Any]:
    for key, value in module.state_dict().items():
        yield key.encode()
        if isinstance(value, torch.Tensor):
            yield from _bytes(value)


# --- the source, and arguments -----------------------------------------------------


def _source(source: Any) -> str:
    n = length_of(source)
    count = "" if n is None else f"{n} items, "
    known = getattr(source, "fingerprint", None)
    if isinstance(known, str):
        return f"{count}{known}"
    if is_array(source):
        return _of_array(source)
    if not isinstance(source, (list, tuple)) or n is None:
        return f"{count}{type(source).__name__}"
    few = source[:: _step(n, n * _size(source[0]))] if n else source
    return f"{count}{type(source).__name__} {_crc_of(_parts(few))}"


def _size(item: Any) -> int:
    leaves = (leaf for _, leaf in tree_paths(item))
    return sum(getattr(leaf, "nbytes", 64) for leaf in leaves)


def _step(n: int, size: int) -> int:
    return 1 if size <= _ALL else max(1, n // _SAMPLE)


def _of_tree(value: Any) -> str:
    if is_array(value):
        return _of_array(value)
    if isinstance(value, (bool, int, float, str, type(None))):
        return repr(value) if len(repr(value)) <= 40 else _crc_of(_parts(value))  # noqa: PLR2004
    return f"{type(value).__name__} {_crc_of(_parts(value))}"


def _of_array(array: Any) -> str:
    rows = array
    if array.ndim and _has_bytes(array):
        rows = array[:: _step(len(array), array.nbytes)]
    shape, dtype = tuple(array.shape), str(array.dtype).removeprefix("torch.")
    return f"{shape} {dtype} {_crc_of(_bytes(rows))}"


def _parts(tree: Any) -> Iterator[Any]:
    for path, leaf in tree_paths(tree):
        yield path.encode()
        if is_array(leaf):
            yield from _bytes(leaf)
        elif isinstance(leaf, nn.Module):
            yield from _state(leaf)
        else:
            yield _ADDRESS.sub("", repr(leaf)).encode()


def _bytes(array: Any) -> Iterator[Any]:
    yield repr((tuple(array.shape), array.dtype)).encode()
    if not _has_bytes(array):
        return
    if isinstance(array, torch.Tensor):
        flat = array.detach().cpu().contiguous().flatten()
        array = flat.view(torch.uint8).numpy()
    if array.dtype.hasobject:
        yield repr(array.tolist()).encode()
    else:
        yield np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _has_bytes(array: Any) -> bool:
    if not isinstance(array, torch.Tensor):
        return True
    unusual = array.is_meta or array.is_nested or array.is_quantized
    return not unusual and array.layout is torch.strided


def _crc_of(parts: Iterable[Any]) -> str:
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    return f"{crc:08x}"
