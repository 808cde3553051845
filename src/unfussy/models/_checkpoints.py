"""
Checkpoints read safely, whatever program wrote them.

No file is trusted: code that a pickle carries is never run. Entries of a checkpoint
that are not tensors (callbacks, optimisers, settings) are dropped on the way.
"""

from __future__ import annotations

import pickle
import tarfile
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final

import torch
from torch import Tensor

from unfussy.errors import CheckpointError, MissingExtraError
from unfussy.models import _unpickler

__all__ = [
    "read_state_dict",
    "strip_prefixes",
    "weights_extra",
    "write_state_dict",
]

_WRAPPERS: Final = ("state_dict", "model_state_dict", "model", "fpn_model")
_RESTRICTED: Final = SimpleNamespace(
    Unpickler=_unpickler.Unpickler, load=_unpickler.load, __name__=_unpickler.__name__
)


def read_state_dict(path: Path, /) -> dict[str, Tensor]:
    """
    Return the tensors of the checkpoint at *path*, by key, on the CPU.

    Reads safetensors and every format of ``torch.save``, old ones included. The
    state dict may stand alone or inside a training checkpoint under the keys
    ``state_dict``, ``model_state_dict``, ``model`` or ``fpn_model``.

    Raises:
        CheckpointError: If the file cannot be read or holds no state dict.
    """
    _refuse_lookalikes(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    payload = _read_pickled(path)
    inside = payload if isinstance(payload, Mapping) else {}
    candidates = [inside[key] for key in _WRAPPERS if key in inside] + [payload]
    for candidate in candidates:
        if tensors := _tensors_of(candidate):
            return tensors
    if any(map(_unpickler.is_stand_in, candidates)):
        raise CheckpointError(
            f"{path} holds a whole pickled object, which only its own code can "
            "rebuild: load it there and save its state_dict()"
        )
    raise CheckpointError(f"{path} holds no state dict: {_describe(payload)}")


def strip_prefixes(
    state: Mapping[str, Tensor], prefixes: Iterable[str], /
) -> dict[str, Tensor]:
    """
    Return *state* with every leading prefix cut off its keys, also repeated ones.

    Raises:
        CheckpointError: If two keys differ in nothing but prefixes.

    Examples:
        >>> strip_prefixes({"module.model.bias": 1}, ["model.", "module."])
        {'bias': 1}
    """
    leading = tuple(prefixes)
    stripped: dict[str, Tensor] = {}
    for key, tensor in state.items():
        name = _without(leading, key)
        if name in stripped:
            raise CheckpointError(f"two tensors are called {name!r} but for a prefix")
        stripped[name] = tensor
    return stripped


def write_state_dict(
    path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str], /
) -> None:
    """Write *state* as a safetensors file; its folder is made if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Copies: safetensors refuses tensors that share memory, as tied weights do.
    tensors = {
        key: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, tensor in state.items()
    }
    weights_extra("_safetensors").write(path, tensors, dict(metadata))


def weights_extra(name: str, /) -> ModuleType:
    """
    Return the module *name* beside this one, which the extra ``weights`` is for.

    Raises:
        MissingExtraError: If the extra is not installed.
    """
    try:
        return import_module(f"unfussy.models.{name}")
    except ImportError as error:
        raise MissingExtraError(str(error.name), "weights") from error


# --- reading -----------------------------------------------------------------------


def _refuse_lookalikes(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(64).lstrip()
    if not head:
        raise CheckpointError(f"{path} is empty")
    if head.startswith(b"<"):
        raise CheckpointError(
            f"{path} is a web page, not weights: the download probably needs a login"
        )
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{path} is a Git LFS pointer: fetch it with git lfs pull"
        )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    extra = weights_extra("_safetensors")
    try:
        tensors: dict[str, Tensor] = extra.read(path)
    except Exception as error:
        raise _unreadable(path, error) from error
    return tensors


def _read_pickled(path: Path) -> Any:
    try:
        if _is_tar(path):
            return _read_restricted(path)
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        # No other error: a TorchScript archive, which is a program, must not get on.
        except pickle.UnpicklingError:
            return _read_restricted(path)
    except Exception as error:
        raise _unreadable(path, error) from error


def _is_tar(path: Path) -> bool:
    """Tell whether `torch.load` reads *path* as the format of its earliest years."""
    with path.open("rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"
    return not is_zip and tarfile.is_tarfile(path)


def _read_restricted(path: Path) -> Any:
    return torch.load(
        path, map_location="cpu", weights_only=False, pickle_module=_RESTRICTED
    )


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    reason = str(error).partition("\n")[0] or type(error).__name__
    return CheckpointError(
        f"{path} cannot be read; it is cut short, or holds no weights ({reason})"
    )


# --- what was read -----------------------------------------------------------------


def _tensors_of(value: Any) -> dict[str, Tensor]:
    if not isinstance(value, Mapping):
        return {}
    return {
        key: tensor.detach()
        for key, tensor in value.items()
        if isinstance(key, str) and isinstance(tensor, Tensor)
    }


def _describe(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"it is a mapping with the keys {', '.join(map(repr, value))}"
    return f"it is of type {type(value).__name__}"


def _without(prefixes: tuple[str, ...], key: str) -> str:
    while (prefix := next(filter(key.startswith, prefixes), "")) != "":
        key = key[len(prefix) :]
    return key
