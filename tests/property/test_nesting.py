"""Law 8: nested decorated calls equal flat ones."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.modules import EVERY_KIND
from tests.property.test_plan import decorators
from unfussy import options

pytestmark = pytest.mark.property


class Both(nn.Module):
    """Calls a child in three ways that must agree."""

    def __init__(self, kind, decorate):
        super().__init__()
        self.child = kind().eval()  # a batch norm that is trained may not be cut
        self.seen = []
        self.inner = decorate(type(self)._inner).__get__(self)
        self.flat = decorate(type(self)._inner).__get__(self)
        self.nested = decorate(type(self)._nested).__get__(self)

    def _inner(self, x):
        return self.child.eval()(x)

    def _nested(self, x):
        inner = self.inner(x)
        self.seen.append(type(inner))
        return inner


def apply_all(decorators):
    def decorate(fn):
        for decorator in decorators:
            fn = decorator(fn)
        return fn

    return decorate


x = torch.linspace(-1, 1, 15).reshape(5, 3)


@given(decorators=decorators(), kind=st.sampled_from(EVERY_KIND))
def test_a_nested_call_equals_a_flat_one(decorators, kind):
    both = Both(kind, apply_all(decorators))

    flat, nested = both.flat(x), both.nested(x)

    assert type(nested) is type(flat)
    torch.testing.assert_close(torch.as_tensor(nested), torch.as_tensor(flat))
    assert getattr(nested, "requires_grad", None) == getattr(
        flat, "requires_grad", None
    )


@given(
    kind=st.sampled_from(EVERY_KIND),
    settings=st.fixed_dictionaries(
        {},
        optional={
            "out": st.sampled_from(["tensor", "numpy"]),
            "batch_size": st.integers(1, 4),
            "precision": st.sampled_from(["fp32", "bf16"]),
            "mode": st.sampled_from(["no_grad", "inference"]),
        },
    ),
)
def test_options_of_a_call_are_not_those_of_the_calls_inside(kind, settings):
    from unfussy import inference  # noqa: PLC0415

    both = Both(kind, inference)

    with options(**settings):
        both.nested(x)

    assert set(both.seen) == {torch.Tensor}
