"""
Gradients off for the length of a call, by ``no_grad`` or by inference mode.

``no_grad`` is the default because only it leaves nothing behind: tensors that a module
keeps during an inference-mode call cannot be used in training afterwards, and
autocast's cache of cast weights works only outside inference mode.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, TypeAlias

import torch

from unfussy._tree import visit

__all__ = [
    "GradMode",
    "Modes",
    "NoGrad",
    "grad_context",
    "inference_guard",
    "normal",
    "set_grad_enabled",
]

GradMode: TypeAlias = Literal["no_grad", "inference"]

# The private guard is what the public manager enters, at a third of its price.
inference_guard: Callable[[bool], AbstractContextManager[Any]] = getattr(
    torch._C,  # noqa: SLF001
    "_InferenceMode",
    torch.inference_mode,
)
set_grad_enabled: Callable[[bool], object] = getattr(
    torch._C,  # noqa: SLF001
    "_set_grad_enabled",
    torch.set_grad_enabled,
)


@dataclass(frozen=True, slots=True)
class Modes:
    """
    The modes of a call: the plan's entry of ``@inference``.

    Attributes:
        mode: How gradients are switched off.
        eval: Whether the module is put into eval mode.
        result: Whether tensors made in inference mode are handed out as ``"normal"``
            ones or kept as they are.
    """

    mode: GradMode = "no_grad"
    eval: bool = True
    result: Literal["normal", "keep"] = "normal"


class NoGrad:
    """``torch.no_grad`` as a context, at a fifth of its price; not re-entrant."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        """Switch gradients off in this thread."""
        self._before = torch.is_grad_enabled()
        set_grad_enabled(False)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put the grad mode back."""
        set_grad_enabled(self._before)


def grad_context(mode: GradMode) -> AbstractContextManager[Any] | None:
    """Return a fresh context for *mode*, or None where it already holds."""
    if torch.is_inference_mode_enabled():
        return None
    if mode == "inference":
        return inference_guard(True)  # noqa: FBT003
    return NoGrad() if torch.is_grad_enabled() else None


def normal(tree: Any) -> Any:
    """
    Return *tree* with every inference tensor cloned into a normal one.

    A tensor that stands in two places of the tree stays one object.
    """
    if type(tree) is torch.Tensor:
        return tree.clone() if tree.is_inference() else tree
    clones: dict[int, torch.Tensor] = {}

    def clone(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or not leaf.is_inference():
            return leaf
        if id(leaf) not in clones:
            clones[id(leaf)] = leaf.clone()
        return clones[id(leaf)]

    return visit(tree, clone)
