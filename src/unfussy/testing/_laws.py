"""
The laws of unfussy as functions, for tests of one's own models.

Each takes a model or a method and raises `AssertionError` where the law does not
hold. Numbers are compared with PyTorch's usual tolerances for their dtype.
"""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, permutations
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.testing import assert_close

from unfussy._compile import planned
from unfussy._options import configure
from unfussy._tree import tree_leaves, tree_map, tree_paths

__all__ = [
    "assert_batched_equals_whole",
    "assert_compiled_equals_eager",
    "assert_copies_agree",
    "assert_modes_restored",
    "assert_no_trace",
    "assert_orders_agree",
    "leaves_no_trace",
]

_Traces = Iterator[tuple[str, Any]]


def assert_no_trace(module: nn.Module, call: Callable[[], Any], *inputs: Any) -> Any:
    """
    Check that *call* leaves *module*, this thread and *inputs* as it found them.

    Compared are the training flag of every submodule, parameters and buffers (which,
    where, with which values and gradients), hooks, whether the module keeps a tensor
    that was made in inference mode, grad mode, autocast, default dtype and device, the
    global random state of Python, NumPy and PyTorch, and every tensor and array in
    *inputs*.

    Args:
        module: The module that *call* uses.
        call: What to call, without arguments; it may raise.
        *inputs: What *call* uses besides, of any nesting.

    Returns:
        What *call* returned.

    Raises:
        AssertionError: If something changed; the message names it.

    Examples:
        >>> from unfussy import inference
        >>> class Net(nn.Linear):
        ...     @inference
        ...     def embed(self, x):
        ...         return self(x)
        >>> net, x = Net(3, 2), torch.zeros(1, 3)
        >>> assert_no_trace(net, lambda: net.embed(x), x).shape
        torch.Size([1, 2])
    """
    with leaves_no_trace(module, *inputs):
        return call()


@contextmanager
def leaves_no_trace(module: nn.Module, *inputs: Any) -> Iterator[None]:
    """
    Check, as `assert_no_trace`, that the block leaves no trace.

    Raises:
        AssertionError: If something changed; the message names it.
    """

    def traces() -> _Traces:
        return chain(_modes(module), _state(module), _randomness(), _values(inputs))

    with _unchanged(traces):
        yield


def assert_modes_restored(module: nn.Module, call: Callable[[], Any]) -> Any:
    """
    Check that *call* puts the modes of *module* and of this thread back.

    A part of `assert_no_trace` that copies nothing, for large models: training flags,
    grad mode, autocast, default dtype and device.

    Args:
        module: The module that *call* uses.
        call: What to call, without arguments; it may raise.

    Returns:
        What *call* returned.

    Raises:
        AssertionError: If a mode changed; the message names it.
    """
    with _unchanged(lambda: _modes(module)):
        return call()


@contextmanager
def _unchanged(traces: Callable[[], _Traces]) -> Iterator[None]:
    before = dict(traces())
    try:
        yield
    finally:
        after = dict(traces())
        names = dict.fromkeys([*before, *after])
        changed = [x for x in names if not _same(before.get(x), after.get(x))]
        if changed:
            raise AssertionError(f"the call changed {', '.join(changed)}")


def _modes(module: nn.Module) -> _Traces:
    for name, part in module.named_modules():
        yield f"{name or 'the module'}.training", part.training
    yield "grad mode", torch.is_grad_enabled()
    yield "inference mode", torch.is_inference_mode_enabled()
    for kind in ("cpu", "cuda"):
        state = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
        yield f"autocast on {kind}", state
    yield "the default dtype", torch.get_default_dtype()
    yield "the default device", torch.get_default_device()


def _state(module: nn.Module) -> _Traces:
    for name, tensor in chain(module.named_parameters(), module.named_buffers()):
        yield name, tensor.detach().clone()
        about = id(tensor), tensor.requires_grad, tensor.is_inference()
        yield f"what {name} is", about
        grad = None if tensor.grad is None else tensor.grad.clone()
        yield f"the gradient of {name}", grad
    for name, part in module.named_modules():
        hooks = len(part._forward_hooks), len(part._forward_pre_hooks)  # noqa: SLF001
        yield f"the hooks of {name or 'the module'}", hooks
        for key, value in vars(part).items():
            kept = [x for x in tree_leaves(value) if isinstance(x, torch.Tensor)]
            # Made in inference mode, they can never be used in training.
            if any(x.is_inference() for x in kept):
                yield f"{name}.{key}, which now holds an inference tensor", True


def _randomness() -> _Traces:
    yield "torch's random state", torch.get_rng_state()
    yield "Python's random state", random.getstate()
    yield "NumPy's random state", str(np.random.get_state(legacy=False))  # noqa: NPY002


def _values(inputs: tuple[Any, ...]) -> _Traces:
    for i, each in enumerate(inputs):
        for path, leaf in tree_paths(each):
            name = f"inputs[{i}]{path}"
            if isinstance(leaf, torch.Tensor):
                yield name, leaf.detach().clone()
            elif isinstance(leaf, np.ndarray):
                yield name, leaf.copy()
            yield f"what {name} is", id(leaf)


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        alike = one.dtype is other.dtype and one.device == other.device
        return bool(alike) and _same_values(one, other)
    if isinstance(one, np.ndarray):
        return bool(one.dtype == other.dtype) and one.tobytes() == other.tobytes()
    return bool(one == other)


def _same_values(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape or one.is_meta:
        return one.shape == other.shape
    return bool(torch.isclose(one, other, rtol=0, atol=0, equal_nan=True).all())


def assert_copies_agree(module: nn.Module, call: Callable[[Any], Any]) -> None:
    """
    Check that copies and pickles of *module* give what it gives itself.

    Args:
        module: The module.
        call: Calls the module that it is given, or a copy.

    Raises:
        AssertionError: If results differ.
    """
    expected = call(module)
    _assert_equal(call(copy.deepcopy(module)), expected, "of a deep copy")
    pickled = pickle.loads(pickle.dumps(module))  # noqa: S301 - our own
    _assert_equal(call(pickled), expected, "of a pickled copy")


def assert_orders_agree(
    fn: Callable[..., Any],
    decorators: Iterable[Callable[[Any], Any]],
    *args: Any,
    **kwargs: Any,
) -> None:
    """
    Check that every order of *decorators* on *fn* gives one plan and one result.

    Args:
        fn: A function that has none of them yet.
        decorators: At most five, or there are too many orders.
        *args: What to call the decorated functions with.
        **kwargs: The same, by name.

    Raises:
        AssertionError: If two orders differ.
    """
    plans, results = [], []
    for order in permutations(decorators):
        decorated = fn
        for decorator in order:
            decorated = decorator(decorated)
        record = planned(decorated)
        plans.append(None if record is None else record.plan)
        results.append(decorated(*args, **kwargs))
    if any(plan != plans[0] for plan in plans):
        raise AssertionError(f"the order of decorators changes the plan: {plans}")
    for result in results:
        _assert_equal(result, results[0], "in another order of decorators")


def assert_batched_equals_whole(
    method: Callable[..., Any],
    *args: Any,
    sizes: Iterable[int] = (1, 2, 3),
    **kwargs: Any,
) -> None:
    """
    Check that *method* gives in chunks what it gives at once.

    Two causes of a difference are told apart: numbers that depend a little on the
    chunk's size are rounding, and pass; items that see each other do not.

    Args:
        method: A bound method or function; it need not be decorated.
        *args: What to call it with.
        sizes: Chunk sizes to try.
        **kwargs: The same, by name.

    Raises:
        AssertionError: If results differ by more than rounding, in form or in order.
    """
    whole = configure(method, batch_size="all")(*args, **kwargs)
    for size in sizes:
        chunked = configure(method, batch_size=size)(*args, **kwargs)
        _assert_equal(chunked, whole, f"in chunks of {size}")


def assert_compiled_equals_eager(
    method: Callable[..., Any], *args: Any, backend: Any = "eager", **kwargs: Any
) -> None:
    """
    Check that *method*, compiled as one graph, gives what it gives without.

    Dtypes and whether results require gradients must agree too, which is where
    wrappers that a compiler does not see show.

    Args:
        method: A bound method or function.
        *args: What to call it with.
        backend: As in `torch.compile`.
        **kwargs: As *args*, by name.

    Raises:
        AssertionError: If results differ.
    """
    eager = method(*args, **kwargs)
    compiled = torch.compile(method, fullgraph=True, backend=backend)(*args, **kwargs)
    _assert_equal(compiled, eager, "compiled")


def _assert_equal(actual: Any, expected: Any, when: str) -> None:
    skeletons = tree_map(_kind, actual), tree_map(_kind, expected)
    if repr(skeletons[0]) != repr(skeletons[1]):
        raise AssertionError(
            f"{when}, the result is {skeletons[0]}, not {skeletons[1]}"
        )
    for one, other in zip(tree_leaves(actual), tree_leaves(expected)):
        if isinstance(one, (torch.Tensor, np.ndarray)):
            assert_close(one, other, equal_nan=True, msg=lambda text: f"{when}: {text}")
        elif one != other:
            raise AssertionError(f"{when}, the result holds {one!r}, not {other!r}")


def _kind(leaf: Any) -> str:
    if isinstance(leaf, torch.Tensor):
        grad = ", requires grad" if leaf.requires_grad else ""
        return f"tensor {tuple(leaf.shape)} {leaf.dtype} on {leaf.device}{grad}"
    if isinstance(leaf, np.ndarray):
        return f"array {leaf.shape} {leaf.dtype}"
    return type(leaf).__name__
