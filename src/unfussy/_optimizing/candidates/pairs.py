"""
Which layers feed a batch norm and nothing else, found out by running the example.

How modules are called is in no attribute of theirs, so it is watched: which norm is
given the very tensor that a layer returned, and whether anybody else is given it too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import ExitStack
from typing import Any, Final, TypeAlias
from weakref import ref

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from unfussy._optimizing.candidate import Trial
from unfussy._optimizing.candidates.prepared import DIMENSIONS, is_plain
from unfussy._tree import tree_leaves

__all__ = ["Pair", "find_pairs", "may_have_pairs"]

Pair: TypeAlias = tuple[nn.Module, nn.Module]
"""A layer, and the batch norm of its results."""

_NORMS: Final[dict[type[nn.Module], set[type[nn.Module]]]] = {
    nn.BatchNorm1d: {nn.Linear, nn.Conv1d, nn.ConvTranspose1d},
    nn.BatchNorm2d: {nn.Conv2d, nn.ConvTranspose2d},
    nn.BatchNorm3d: {nn.Conv3d, nn.ConvTranspose3d},
}


def may_have_pairs(module: nn.Module, /) -> bool:
    """Tell whether *module* has layers and norms that could be pairs."""
    return bool(_layers(module)) and bool(_norms(module))


def find_pairs(trial: Trial, /) -> list[Pair]:
    """
    Run the example of *trial*, and return the layers whose results only a norm uses.

    Raises:
        Exception: What the method raises.
    """
    watch = _Watch()
    with ExitStack() as stack:
        for layer in _layers(trial.module):
            stack.callback(layer.register_forward_hook(watch.made).remove)
        for norm in _norms(trial.module):
            enter = norm.register_forward_pre_hook(watch.enter)
            stack.callback(enter.remove)
            leave = norm.register_forward_hook(watch.leave, always_call=True)
            stack.callback(leave.remove)
        with watch:
            result = trial.run()
        # Whatever is still alive is kept by somebody.
        watch.count_survivors()
        del result
    return watch.pairs()


def _layers(module: nn.Module) -> list[nn.Module]:
    return [m for m in module.modules() if type(m) in DIMENSIONS and is_plain(m)]


def _norms(module: nn.Module) -> list[nn.Module]:
    found = [m for m in module.modules() if type(m) in _NORMS and is_plain(m)]
    return [norm for norm in found if norm._buffers.get("running_var") is not None]  # noqa: SLF001


class _Watch(TorchFunctionMode):
    """Counts what layers make, and who takes it."""

    def __init__(self) -> None:
        super().__init__()
        self._results: dict[int, tuple[ref[Tensor], nn.Module, Any]] = {}
        self._made: Counter[nn.Module] = Counter()
        self._taken: defaultdict[nn.Module, Counter[nn.Module | None]]
        self._taken = defaultdict(Counter)
        self._calls: Counter[nn.Module] = Counter()
        self._inside = 0

    def made(self, layer: nn.Module, args: Any, result: Any) -> None:
        """Take note of a result of *layer*."""
        self._made[layer] += 1
        if isinstance(result, Tensor) and args and isinstance(args[0], Tensor):
            version = _version(args[0])
            given = ref(args[0])
            self._results[id(result)] = ref(result), layer, (given, version)

    def enter(self, norm: nn.Module, args: Any) -> None:
        """Take note of what *norm* is given."""
        self._calls[norm] += 1
        self._inside += 1
        self._take(args[0] if args else None, norm)

    def leave(self, norm: nn.Module, args: Any, result: Any) -> None:  # noqa: ARG002
        """Take note that *norm* is done."""
        self._inside -= 1

    def count_survivors(self) -> None:
        """Take note of results that outlived the call."""
        for made, _, _ in list(self._results.values()):
            self._take(made(), None)

    def pairs(self) -> list[Pair]:
        """Return the pairs."""
        found = [(layer, self._only_norm_of(layer)) for layer in self._made]
        return [(layer, norm) for layer, norm in found if norm is not None]

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Take note of what a function of torch is given, outside of norms."""
        kwargs = kwargs or {}
        if not self._inside:
            for leaf in tree_leaves([list(args), kwargs]):
                self._take(leaf, None)
        return func(*args, **kwargs)

    def _take(self, leaf: Any, taker: nn.Module | None) -> None:
        found = self._results.get(id(leaf))
        if leaf is None or found is None or found[0]() is not leaf:
            return
        _, layer, (given, version) = found
        x = given()
        # Nobody else can have written to what has gone.
        changed = x is not None and _version(x) != version
        self._taken[layer][None if changed else taker] += 1

    def _only_norm_of(self, layer: nn.Module) -> nn.Module | None:
        if len(self._taken[layer]) != 1:
            return None
        ((norm, n),) = self._taken[layer].items()
        if norm is None or not n == self._made[layer] == self._calls[norm]:
            return None
        return norm if type(layer) in _NORMS[type(norm)] and _fit(layer, norm) else None


def _version(x: Tensor) -> int | None:
    return None if x.is_inference() else x._version  # noqa: SLF001


def _fit(layer: Any, norm: Any) -> bool:
    wide = layer.out_features if type(layer) is nn.Linear else layer.out_channels
    return bool(wide == norm.num_features)
