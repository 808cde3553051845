"""Candidates whose effect is known, and modules that they work on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from torch import nn

from tests.modules import FEATURES
from unfussy import tree_map
from unfussy._optimizing import Candidate, search, timing, tuning, workshop

__all__ = [
    "SWITCH",
    "Awake",
    "Broken",
    "Different",
    "Fixed",
    "Halfway",
    "Halting",
    "Ignored",
    "Known",
    "Relayout",
    "Sleepy",
    "Slow",
    "Switch",
    "Waiting",
    "state_of",
    "ticking",
]

SWITCH = {"on": False}


class Clock:
    """Time that passes only where something here sleeps, so that no test is unsure."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


CLOCK = Clock()


@pytest.fixture(autouse=True)
def ticking(monkeypatch):
    """Have the tuner go by the clock of this file, and time every call alone."""
    for part in (workshop, search, tuning):
        monkeypatch.setattr(part, "perf_counter", CLOCK)
    monkeypatch.setattr(timing, "_BLOCK", 0.0)


class Slow(nn.Module):
    """A layer that takes its time."""

    def __init__(self, pause=0.002, batch=None):
        super().__init__()
        self.net = nn.Linear(FEATURES, FEATURES)
        self.pause = pause

    def forward(self, x):
        CLOCK.sleep(self.pause + 1e-4)
        return self.net(x)


class Known(Candidate):
    name, summary = "known", "does what a test knows"

    def obstacle(self, trial, /):
        return None


class Awake(Known):
    """Does away with all pauses, which changes no result."""

    name, summary = "awake", "does not sleep"

    def apply(self, trial, /):
        parts = [x for x in trial.module.modules() if hasattr(x, "pause")]
        before = [part.pause for part in parts]
        for part in parts:
            part.pause = 0.0

        def undo():
            for part, pause in zip(parts, before):
                part.pause = pause

        return undo


class Sleepy(Known):
    name, summary = "sleepy", "sleeps longer"

    def apply(self, trial, /):
        def wrapper(function):
            def call(*args, **kwargs):
                CLOCK.sleep(0.005)
                return function(*args, **kwargs)

            return call

        trial.wrappers.append(wrapper)
        return lambda: trial.wrappers.remove(wrapper)


class Different(Known):
    """Is fast, and wrong by a little."""

    name, summary = "different", "adds one to a hundred thousand"
    by: ClassVar[float] = 1e-3

    def apply(self, trial, /):
        undo, by = Awake().apply(trial), self.by

        def wrapper(function):
            return lambda *args: tree_map(more, function(*args))

        def more(x):
            return x * (1 + by) if x.is_floating_point() else x

        trial.wrappers.append(wrapper)
        return lambda: (trial.wrappers.remove(wrapper), undo())


class Fixed(Known):
    """Remembers the result of the first call, which is right for that one alone."""

    name, summary = "fixed", "remembers a result"

    def apply(self, trial, /):
        def wrapper(function):
            known: list[Any] = []

            def call(*args):
                known[:] = known or [function(*args)]
                return known[0]

            return call

        trial.wrappers.append(wrapper)
        return lambda: trial.wrappers.remove(wrapper)


class Relayout(Known):
    """Replaces every matrix by one that is transposed in memory."""

    name, summary = "relayout", "lays weights out otherwise"

    def apply(self, trial, /):
        undos = []
        for part in list(trial.module.modules()):
            for name, x in list(part._parameters.items()):
                if x is not None and x.ndim == 2:
                    undos.append((part, name, x))
                    new = x.detach().t().contiguous().t()
                    part._parameters[name] = nn.Parameter(new, x.requires_grad)

        def undo():
            for part, name, x in undos:
                part._parameters[name] = x

        return undo


class Switch(Known):
    """Changes a setting of the process, in which `Waiting` has no need to wait."""

    name, summary, process_wide = "switch", "turns a switch", True

    def apply(self, trial, /):
        before, SWITCH["on"] = SWITCH["on"], True
        return lambda: SWITCH.update(on=before)


class Waiting(nn.Module):
    """Waits while the switch is off."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(FEATURES, FEATURES)

    def forward(self, x):
        CLOCK.sleep(1e-4 if SWITCH["on"] else 2e-3)
        return self.net(x)


class Broken(Known):
    name, summary = "broken", "raises"

    def apply(self, trial, /):
        raise RuntimeError("no kernel for this\nand more lines")


class Halfway(Known):
    """Changes what it can reach, and raises before it says how that is undone."""

    name, summary = "halfway", "raises in the middle"

    def apply(self, trial, /):
        Awake().apply(trial)
        Relayout().apply(trial)
        for part in trial.module.modules():
            part.__dict__["forward"] = None
            part.extra = 1
        raise RuntimeError("in the middle")


class Ignored(Known):
    name, summary = "ignored", "cannot be tried"

    def obstacle(self, trial, /):
        return "it has no such layer"

    def apply(self, trial, /):
        raise AssertionError


@dataclass(frozen=True)
class Halting(Known):
    """Is interrupted by the user, at once or at the call with this number."""

    name: ClassVar[str] = "halting"
    summary: ClassVar[str] = "is interrupted"
    process_wide: ClassVar[bool] = True
    at: int = 0

    def apply(self, trial, /):
        undo, left = Switch().apply(trial), [self.at]

        def wrapper(function):
            def call(*args):
                left[0] -= 1
                if left[0] < 0:
                    raise KeyboardInterrupt
                return function(*args)

            return call

        trial.wrappers.append(wrapper)
        return lambda: (trial.wrappers.remove(wrapper), undo())


def state_of(module):
    """Describe all that *module* is: tensors to the bit, attributes and their order."""
    found = []
    for name, part in module.named_modules(remove_duplicate=False):
        tensors = {**part._parameters, **part._buffers}
        found.append((name, id(part), type(part), list(vars(part)), part.training))
        found.append({k: v for k, v in vars(part).items() if _is_plain(v)})
        found.append([(key, *_bits(x)) for key, x in tensors.items()])
    return found, list(module.state_dict()), SWITCH["on"]


def _is_plain(value):
    return isinstance(value, (int, float, str, bool, list, type(None)))


def _bits(x):
    if x is None:
        return (None,)
    values = x.detach().flatten().tolist()
    return id(x), x.data_ptr(), x.stride(), x.dtype, x.requires_grad, values, x.grad
