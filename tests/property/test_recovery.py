"""Laws of recovery: whatever fails, and whenever, results and their order stay."""

import weakref
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from unfussy import Pack, Pad, batched
from unfussy.errors import DoesNotFitError
from unfussy.testing import OOM_ERRORS, OOM_SUSPECTS, simulate_oom
from unfussy.testing._arena import Arena

pytestmark = pytest.mark.property

NET = nn.Identity().eval()
KINDS = sorted({**OOM_ERRORS, **OOM_SUSPECTS})
kinds = st.sampled_from(KINDS)
sizes = st.integers(1, 7) | st.sampled_from(["auto", "all"])
lengths = st.lists(st.integers(1, 6), min_size=1, max_size=9)
forms = st.sampled_from(["equal", "pad", "pack", "list"])


def items_of(lengths):
    """Return items of these lengths, whose sums are whole and different."""
    return [torch.full((n,), 60.0 * i + 60) / n for i, n in enumerate(lengths)]


def sums(x):
    """Return the sum of each item, however they were put together."""
    return x.sum(1) if isinstance(x, torch.Tensor) else torch.stack([*map(sum_, x)])


def sum_(x):
    return x.sum()


def make(form, size, refuse=lambda fn: fn, **settings):
    """Return a method that gives sums of items, put together in some form."""

    @refuse
    def compute(x):
        return sums(x)

    if form == "pack":

        def run(module, x, ends=None):
            parts = [x[a:b] for a, b in pairwise(ends)]
            return compute(torch.nn.utils.rnn.pad_sequence(parts, batch_first=True))

        pack = Pack(offsets="ends", results="fixed")
        return batched(size=size, pack=pack, **settings)(run)

    def run(module, x: torch.Tensor):
        return compute(x)

    def run_list(module, x):
        return compute(torch.nn.utils.rnn.pad_sequence(x, batch_first=True))

    return batched(size=size, ragged=form, **settings)(
        run_list if form == "list" else run
    )


@given(
    lengths=lengths,
    form=forms,
    size=sizes,
    kind=kinds,
    fails=st.sets(st.integers(0, 9)),
)
def test_refusals_at_any_attempt_change_neither_results_nor_order(
    lengths, form, size, kind, fails
):
    items = items_of(lengths)
    oom = simulate_oom(
        when=lambda attempt: attempt.index in fails and attempt.n_items > 1, kind=kind
    )

    result = make(form, size, oom)(NET, items)

    assert result.tolist() == [float(x.sum()) for x in items]
    done = {a.index: a for a in oom.attempts if a not in oom.refused}
    assert sum(attempt.n_items for attempt in done.values()) == len(items)
    assert all(attempt.n_held == 0 for attempt in oom.attempts)


@given(lengths=lengths, form=forms, size=sizes, kind=kinds, most=st.integers(1, 4))
def test_refusals_come_to_an_end(lengths, form, size, kind, most):
    # Of one length, so that a limit of items is one of cost.
    items = [torch.full((3,), float(i)) for i in range(len(lengths))]
    oom = simulate_oom(max_items=most, kind=kind)
    run = make(form, size, oom)

    # More than what fits is tried now and then, each time closer, after some chunks
    # that ran; a call may be one or two of them.
    for _ in range(20):
        run(NET, items)
    n_refused = len(oom.refused)
    result = run(NET, items)

    assert result.tolist() == [float(x.sum()) for x in items]
    assert len(oom.refused) == n_refused


@given(
    lengths=lengths,
    form=forms,
    size=sizes,
    room=st.integers(0, 60),
    scratch=st.integers(0, 2),
)
def test_only_an_item_that_does_not_fit_alone_is_an_error(
    lengths, form, size, room, scratch
):
    items = items_of(lengths)
    arena = Arena(4 * room, scratch=scratch)
    run = make(form, size, arena)
    waiting = len(items) - 1  # results, while the last item runs
    sure = max(lengths) * (1 + scratch) + 1 + waiting

    try:
        result = run(NET, items)
    except DoesNotFitError:
        assert room < sure
    else:
        assert result.tolist() == [float(x.sum()) for x in items]


@given(
    lengths=lengths,
    form=forms,
    size=sizes,
    bad=st.sets(st.integers(0, 8)),
    most=st.integers(1, 9),
    kind=kinds,
)
def test_every_good_item_is_computed_and_every_bad_one_named(
    lengths, form, size, bad, most, kind
):
    items = items_of(lengths)
    bad = {i for i in bad if i < len(items)}
    for i in bad:
        items[i] = -items[i]
    alive = []

    def picky(fn):
        def check(x):
            assert not any(ref() is not None for ref in alive)
            if (x < 0).any():
                scratch = x * 2
                alive.append(weakref.ref(scratch))
                raise ValueError(f"{int((x.sum(1) < 0).sum())} below 0")
            return fn(x)

        return simulate_oom(max_items=most, kind=kind)(check)

    outcome = make(form, size, picky, on_error="return")(NET, items)

    good = [i for i in range(len(items)) if i not in bad]
    assert outcome.indices == tuple(good)
    assert [failed.index for failed in outcome.failures] == sorted(bad)
    assert {str(failed.error) for failed in outcome.failures} <= {"1 below 0"}
    if good:
        assert outcome.result.tolist() == [float(items[i].sum()) for i in good]
    assert not any(ref() is not None for ref in alive)


@given(
    n=st.integers(1, 9),
    size=st.integers(1, 9),
    fails=st.sets(st.integers(0, 9)),
    kind=kinds,
    padded=st.booleans(),
)
def test_a_failed_attempt_gives_its_draws_back(n, size, fails, kind, padded):
    oom = simulate_oom(
        when=lambda attempt: attempt.index in fails and attempt.n_items > 1, kind=kind
    )

    @batched(size=size, pad=Pad() if padded else None)
    def draw(module, x, generator, numpy_generator):
        drawn = torch.rand(len(x), generator=generator)
        more = torch.from_numpy(numpy_generator.random(len(x)))
        return oom(lambda drawn, more: (drawn, more))(drawn, more), x

    x = [torch.zeros(1 + i % 3) for i in range(n)] if padded else torch.zeros(n)
    torch_generator = torch.Generator().manual_seed(7)
    (drawn, more), _ = draw(NET, x, torch_generator, np.random.default_rng(7))

    generator = torch.Generator().manual_seed(7)
    assert torch.equal(drawn, torch.rand(n, generator=generator))
    assert more.tolist() == np.random.default_rng(7).random(n).tolist()
    assert torch.equal(torch_generator.get_state(), generator.get_state())
