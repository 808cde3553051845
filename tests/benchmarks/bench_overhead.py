"""
What a planned call costs beside the same method under a bare ``with`` block.

The method is a ``Linear(63, 32)`` in a module with one child, its input ``(2, 63)``
and in place; whatever differs from that is in the name of the row. "All four" are
``inference(mode="inference", result="keep")``, ``auto_device``, ``autocast_policy``
and ``batched``, "three" the first three. Every row computes the same numbers, which is
checked before anything is measured.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from tests.benchmarks.by_hand import (
    accelerate_ways,
    eval_and_back,
    helper,
    lightning_ways,
    stacked,
)
from tests.benchmarks.harness import Case, Missing, main
from unfussy import (
    EasyInferenceMixin,
    auto_device,
    autocast_policy,
    batched,
    inference,
    options,
    returns,
    unfuss,
)

BARE = "with torch.inference_mode(): model.embed(x)"
BARE_CALL = "with torch.inference_mode(): model(x)"
BARE_NESTED = "with torch.inference_mode(): model.outer(x), which calls model.embed(x)"
BARE_NUMPY = "with torch.inference_mode(): model.embed(torch.from_numpy(x)).numpy()"
BARE_BF16 = "with torch.inference_mode(), torch.autocast(...): model.embed(x).float()"
BARE_BF16_NO_GRAD = "with torch.no_grad(), torch.autocast(...): model.embed(x).float()"
NO_LEASE = "inference(eval=False), 300 modules, a method that does nothing"

LEAN = inference(mode="inference", result="keep")
FOUR = (LEAN, auto_device, autocast_policy, batched)

X = torch.randn(2, 63, generator=torch.Generator().manual_seed(0))


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(63, 32)

    def forward(self, x):
        return self.net(x)


WEIGHTS = Plain().requires_grad_(requires_grad=False).state_dict()
EXPECTED = nn.functional.linear(X, WEIGHTS["net.weight"], WEIGHTS["net.bias"])


def made(kind: type[nn.Module]) -> Any:
    model = kind().eval()
    model.load_state_dict(WEIGHTS)
    return model


def model_with(*decorators: Callable[[Any], Any], base: type = Plain) -> Any:
    """Return a model whose ``embed`` has *decorators*."""

    def embed(self, x):
        return self.net(x)

    for decorator in decorators:
        embed = decorator(embed)
    return made(type("Model", (base,), {"embed": embed}))


def calls(name: str, model: Any, target: float | None = None, x: Any = X) -> Case:
    return Case(name, lambda: model.embed(x), BARE, target)


# --- the rows ----------------------------------------------------------------------


def modes() -> Iterator[Case]:
    model = model_with()

    def bare():
        with torch.inference_mode():
            return model.embed(X)

    def no_grad():
        with torch.no_grad():
            return model.embed(X)

    yield Case(BARE, bare)
    yield Case("with torch.no_grad(): model.embed(x)", no_grad, BARE)
    yield calls('inference(mode="inference", result="keep")', model_with(LEAN), 1.00)
    yield calls("  and auto_device", model_with(*FOUR[:2]), 1.08)
    yield calls("  and autocast_policy", model_with(*FOUR[:3]), 1.10)
    yield calls("  and batched: all four", model_with(*FOUR), 1.15)
    defaults = (inference, *FOUR[1:])
    yield calls("all four, defaults", model_with(*defaults), 1.15)
    normal = (inference(mode="inference"), *FOUR[1:])
    yield calls('all four, mode="inference"', model_with(*normal), 1.30)


def inputs() -> Iterator[Case]:
    model, unbatched = model_with(*FOUR), model_with(*FOUR[:3])
    four = dict.fromkeys(("pose", "shape", "face", "hands"), X)
    array = X.numpy()

    def pose(self, x):
        return self.net(x["pose"])

    for decorator in FOUR[:3]:
        pose = decorator(pose)
    reader = made(type("Reader", (Plain,), {"embed": pose}))
    batched_reader = made(type("Reader", (Plain,), {"embed": batched(pose)}))

    yield Case("all four: keyword argument", lambda: model.embed(x=X), BARE, 1.30)
    yield calls("three, not batched: dict of 4", reader, 1.30, four)
    yield calls("all four: dict of 4", batched_reader, 1.30, four)
    yield calls("three, not batched: NumPy float32", unbatched, 1.30, array)
    yield calls("all four: NumPy float32", model, 1.30, array)
    yield calls("all four: NumPy float64", model, 1.60, array.astype("float64"))


def outputs() -> Iterator[Case]:
    model, arrays = model_with(), model_with(*FOUR, returns("numpy"))
    x = X.numpy()

    def by_hand():
        with torch.inference_mode():
            return model.embed(torch.from_numpy(x)).numpy()

    yield calls("all four and returns: NumPy out", arrays)
    yield Case(BARE_NUMPY, by_hand)
    through = "all four and returns: NumPy in and out"
    yield Case(through, lambda: arrays.embed(x), BARE_NUMPY)


def low_precision() -> Iterator[Case]:
    model, bf16 = model_with(), autocast_policy(precision="bf16")
    three = model_with(LEAN, auto_device, bf16)
    four = model_with(inference, auto_device, bf16, batched)

    def by_hand():
        with torch.inference_mode():
            with torch.autocast("cpu", torch.bfloat16):
                result = model.embed(X)
            return result.float()

    def by_hand_no_grad():
        with torch.no_grad():
            with torch.autocast("cpu", torch.bfloat16):
                result = model.embed(X)
            return result.float()

    yield Case(BARE_BF16, by_hand)
    yield Case("three, bf16", lambda: three.embed(X), BARE_BF16, 1.02)
    yield Case(
        "helper function, bf16", lambda: helper(model, X, precision="bf16"), BARE_BF16
    )
    yield Case(BARE_BF16_NO_GRAD, by_hand_no_grad)
    full = "all four, defaults, bf16"
    yield Case(full, lambda: four.embed(X), BARE_BF16_NO_GRAD, 1.02)


class Four(Plain):
    """Four modules, of which ``embed`` calls one."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.act = nn.Dropout(), nn.ReLU()


def training() -> Iterator[Case]:
    model = model_with(*FOUR, base=Four).train()
    plain = model_with(base=Four).train()
    yield calls("all four: 4 modules, to eval mode and back", model, 1.70)
    yield Case(
        "by hand: 4 modules, eval() and train()", lambda: eval_and_back(plain, X), BARE
    )


def nesting() -> Iterator[Case]:
    def outer(self, x):
        return self.embed(x)

    plain, planned = model_with(), model_with(*FOUR)
    type(plain).outer = outer
    for decorator in FOUR:
        outer = decorator(outer)
    type(planned).outer = outer

    def bare():
        with torch.inference_mode():
            return plain.outer(X)

    yield Case(BARE_NESTED, bare)
    yield Case("all four, on both", lambda: planned.outer(X), BARE_NESTED, 1.20)


class Easy(EasyInferenceMixin, Plain, easy=("embed",)):
    def embed(self, x):
        return self.net(x)


def forms() -> Iterator[Case]:
    model, simple = model_with(*FOUR), made(Easy)
    plain, proxy = model_with(), unfuss(model_with())
    block = partial(options, precision="fp32")

    def bare():
        with torch.inference_mode():
            return plain(X)

    def with_options():
        with options(precision="fp32"):
            return model.embed(X)

    yield Case("all four: inside options()", lambda: model.embed(X), BARE, within=block)
    yield Case("all four: options() entered for the call", with_options, BARE)
    yield Case("easy_embed(x), defaults", lambda: simple.easy_embed(X), BARE, 1.15)
    yield Case(
        'easy_embed(x, precision="fp32")',
        lambda: simple.easy_embed(X, precision="fp32"),
        BARE,
    )
    yield Case("unfuss(model).embed(x)", lambda: proxy.embed(X), BARE)
    yield Case(BARE_CALL, bare)
    yield Case("unfuss(model)(x)", lambda: proxy(X), BARE_CALL)


def lease() -> Iterator[Case]:
    def deep_model(*, to_eval: bool) -> Any:
        @inference(mode="inference", result="keep", eval=to_eval)
        def embed(self, x):
            return EXPECTED

        kind = type("Deep", (Plain,), {"embed": embed})
        model = made(kind)
        model.rest = nn.ModuleList([nn.ReLU() for _ in range(297)]).eval()
        return model

    without, checked = deep_model(to_eval=False), deep_model(to_eval=True)
    yield Case(NO_LEASE, lambda: without.embed(X))
    yield Case(
        "inference(), the same", lambda: checked.embed(X), NO_LEASE, 100, differs=True
    )


def others() -> Iterator[Case | Missing]:
    model, chain = model_with(), partial(model_with, base=Plain)
    naive = chain(partial(stacked, restores=False))
    restoring = chain(partial(stacked, restores=True))
    yield Case("helper function", lambda: helper(model, X), BARE)
    yield calls("four naive decorators, no eval mode", naive)
    yield calls("four naive decorators, eval mode and back", restoring)
    for way in (*accelerate_ways(model, X), *lightning_ways(model, X)):
        if isinstance(way, Missing):
            yield way
        else:
            name, run = way
            yield Case(name, run, BARE_BF16 if "bf16" in name else BARE)


PARTS = (
    modes,
    inputs,
    outputs,
    low_precision,
    training,
    nesting,
    forms,
    lease,
    others,
)


def check(case: Case | Missing) -> Case | Missing:
    """Refuse a case that computes something else than the others."""
    if isinstance(case, Case):
        with case.within():
            result = torch.as_tensor(case.run())
        torch.testing.assert_close(result, EXPECTED, rtol=0.02, atol=0.02)
        if result.requires_grad or result.dtype is not torch.float32:
            raise AssertionError(f"{case.name} gives {result}")
        is_rounded = torch.equal(result, result.bfloat16().float())
        if is_rounded is not ("bf16" in case.name or ".autocast" in case.name):
            raise AssertionError(f"{case.name} has another precision than it says")
    return case


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of peers
    logging.disable(logging.INFO)
    cases = [check(case) for part in PARTS for case in part()]
    main("what a planned call costs", cases)
