"""Every family gives optimised what it gives plain, and is undone bit for bit."""

from __future__ import annotations

import warnings

import pytest
import torch

from tests.models.adafaces import faces, tiny_adaface
from tests.models.gaits import new_tiny, walk
from tests.models.multimodals import small_model
from tests.models.vposers import numbers, small_vposer, small_vposer_v1
from unfussy._optimizing.applying import Application
from unfussy._optimizing.candidates import BUILT_IN
from unfussy._optimizing.deviation import deviation_of
from unfussy._optimizing.target import find_target
from unfussy._optimizing.trials import make_trial


def gait(name):
    return new_tiny(name).easy_embed, [walk(name, n) for n in (5, 1, 3)]


def face():
    return tiny_adaface().easy_embed, faces()


def picture():
    draw = torch.Generator().manual_seed(0)
    return small_model().easy_encode, torch.rand(2, 3, 32, 32, generator=draw)


FAMILIES = {
    "vposer encode": lambda: (small_vposer().easy_encode, numbers((20, 63))),
    "vposer decode": lambda: (small_vposer().easy_decode, numbers((20, 8))),
    "vposer v1": lambda: (small_vposer_v1().easy_encode, numbers((20, 63))),
    "adaface": face,
    "multimodal": picture,
    **{
        f"gait {name}": lambda name=name: gait(name)
        for name in ("p3d", "3d", "2d", "base", "skeleton", "x")
    },
}
# A compiler takes too long for each of them; its own tests try it.
KINDS = [kind for kind in BUILT_IN if not kind.name.startswith("compile")]


def state_of(module):
    state = module.state_dict(keep_vars=True)
    tensors = [(k, x.data_ptr(), x.stride(), x.dtype) for k, x in state.items()]
    return tensors, [sorted(vars(part)) for part in module.modules()]


def applied(target, args, kind):
    """Return *kind* applied, or None if it cannot be."""
    with torch.no_grad():
        candidate = kind()
        trial = make_trial(target, target.module, args)
        if candidate.obstacle(trial) is not None:
            return None
    application = Application(target, args, [candidate])
    application.apply()
    return application


def results(method, example):
    """Return what the method gives, twice; nothing where it cannot run any more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return [method(example), method(example)]
        except RuntimeError:  # the tuner reports that, and goes on
            return []


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
def test_what_is_applied_keeps_results_and_is_undone_exactly(family):
    method, example = family()
    owner = method.__self__
    target, args = find_target(method, example)
    plain, before = method(example), state_of(owner)
    tried = []

    for kind in KINDS:
        if (application := applied(target, args, kind)) is None:
            continue
        fast = results(getattr(owner, method.__name__), example)
        application.undo()

        tried += [kind.name] if fast else []
        limit = 5e-2 if kind.low_precision else 1e-5
        for found in fast:
            assert deviation_of(found, plain).value <= limit, kind.name
        assert state_of(owner) == before, kind.name
        assert deviation_of(method(example), plain).value == 0, kind.name
    assert len(tried) > 1
