"""
Eval mode for the length of a call, and every submodule's own flag back afterwards.

Overlapping callers, in threads or in generators, of the same module or of a module and
its child, all run in eval mode; whoever leaves a submodule last restores the flag that
the first one found there. A module that overrides `train` is switched by that method,
since it may do more than set flags.

The flags belong to the module, not to the thread: a thread that *trains* the module
while another one holds a lease sees eval mode too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import repeat
from threading import RLock, get_ident
from types import TracebackType
from typing import Final

from torch import nn

__all__ = ["LEASES", "EvalLease", "has_own_train", "needs_lease"]


class _Leases:
    """
    All leases that are held now.

    Attributes:
        held: The leases, those that wait for others to leave included.
        calm: None while there are any; else an object for this moment of calm alone.
    """

    __slots__ = ("calm", "held")

    def __init__(self) -> None:
        self.held: list[EvalLease] = []
        self.calm: object | None = object()


LEASES: Final = _Leases()
_OFF: Final = repeat(False)  # noqa: FBT003
_LOCK: Final = RLock()  # an overridden `train` may call decorated methods


def needs_lease(module: nn.Module) -> bool:
    """
    Tell whether a call of *module* must take a lease.

    Only its own flag decides: a module in eval mode with a child in training mode,
    as Monte-Carlo dropout wants it, is left alone. A call inside another one of the
    same thread is covered by that one's lease.
    """
    calm = LEASES.calm  # read first, since the flag may be a lease's doing
    if module.training:
        return True
    if calm is not None and LEASES.calm is calm:
        return False
    with _LOCK:
        holders = [x for x in LEASES.held if id(module) in x.flags]
        thread = get_ident()
        covered = any(x.thread == thread and not x.left for x in holders)
        return module.training or (bool(holders) and not covered)


class EvalLease:
    """
    A context in which *module* and all its submodules are in eval mode.

    Attributes:
        flags: What to restore, by the identity of the submodule.
        left: Whether the call is over, and the lease waits for others to leave.
        thread: Whose call it is.
    """

    __slots__ = ("_modules", "_own", "_root", "flags", "left", "thread")

    flags: dict[int, bool]
    _modules: list[nn.Module]
    thread: int
    _own: list[nn.Module]  # those with a `train` of their own

    def __init__(self, module: nn.Module) -> None:
        self._root, self.left = module, False

    def __enter__(self) -> None:
        """Be known to others before the first flag changes."""
        with _LOCK:
            self._look()
            self.thread = get_ident()
            LEASES.calm = None
            LEASES.held.append(self)
            try:
                for module in self._own:
                    _train(module, flag=False)
                _set_flags(self._modules, _OFF)
            except BaseException:
                self._leave()
                raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Restore what nobody else holds."""
        with _LOCK:
            self._leave()

    def _look(self) -> None:
        """Find the submodules of which this lease has to know the flags."""
        modules, own = _submodules(self._root)
        found = _flags_found()
        if not found.get(id(self._root), self._root.training):
            # In eval mode by itself: prolong what others hold, and no more.
            modules, own = [m for m in modules if id(m) in found], []
        elif not own:  # which may set the flag of any child
            modules = [m for m in modules if m.training or id(m) in found]
        self._modules, self._own = modules, own
        self.flags = {id(m): m.training for m in modules}
        if found:
            self.flags.update((key, found[key]) for key in self.flags.keys() & found)

    def _leave(self) -> None:
        self.left, held = True, LEASES.held
        try:
            if len(held) == 1:
                self.close()
            else:
                _run_all(x.close for x in held.copy() if x.left)
        finally:
            if not held:
                LEASES.calm = object()

    def close(self) -> None:
        """Restore what no other lease holds, or wait for those that are in the way."""
        free, flags, own, held = self._modules, self.flags, self._own, LEASES.held
        if len(held) > 1:
            others = [x for x in held if x is not self]
            free = [m for m in free if not any(id(m) in x.flags for x in others)]
            flags = {id(m): flags[id(m)] for m in free}
            own = [m for m in own if id(m) in flags]
            # A `train` reaches what others still use: the last one to leave calls it.
            if own and not all(x.left or _are_apart(x, self) for x in others):
                return
        held.remove(self)
        try:
            if own:
                _run_all(partial(_train, m, flag=flags[id(m)]) for m in own)
        finally:
            if own:
                _set_flags(self._modules, _OFF)  # reached, but not free
            _set_flags(free, flags.values())


def _are_apart(one: EvalLease, other: EvalLease) -> bool:
    return one.flags.keys().isdisjoint(other.flags)


def _flags_found() -> dict[int, bool]:
    found: dict[int, bool] = {}
    for lease in LEASES.held:
        found.update(lease.flags)
    return found


def _submodules(root: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """Return *root* and all below it, parents first, and those with own `train`."""
    modules, seen, plain = [root], {id(root)}, nn.Module.train
    own = []
    for module in modules:
        if type(module).train is not plain or "train" in module.__dict__:
            own.append(module)
        for child in module._modules.values():  # noqa: SLF001
            if id(child) not in seen and child is not None:
                seen.add(id(child))
                modules.append(child)
    return modules, own


def has_own_train(module: nn.Module) -> bool:
    """Tell whether switching *module* may take more than setting its flag."""
    return type(module).train is not nn.Module.train or "train" in module.__dict__


def _train(module: nn.Module, *, flag: bool) -> None:
    if module.training != flag:  # else the parent's own code has reached it already
        module.train(flag)


def _run_all(actions: Iterator[Callable[[], object]]) -> None:
    """Run every action, also those behind one that raises."""
    for action in actions:
        try:
            action()
        except BaseException:
            _run_all(actions)
            raise


def _set_flags(modules: Iterable[nn.Module], flags: Iterable[bool]) -> None:
    for module, flag in zip(modules, flags):
        attributes = module.__dict__
        if "training" in attributes:
            attributes["training"] = flag  # nn.Module.__setattr__ costs ten times it
        else:
            module.training = flag
