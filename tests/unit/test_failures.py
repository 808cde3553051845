"""Items that fail: who is blamed, what is reported, and what is let go."""

import weakref
from itertools import count

import numpy as np
import pytest
import torch
from torch import nn

from unfussy import (
    Failed,
    ItemsFailedWarning,
    Outcome,
    Pad,
    batched,
    configure,
    inference,
)
from unfussy.errors import (
    AllItemsFailedError,
    AmbiguousBatchError,
    DoesNotFitError,
    PlanError,
)
from unfussy.testing import simulate_oom

NET = nn.Linear(1, 1).eval()
X = torch.tensor([4.0, -1.0, 9.0, -2.0, 1.0])[:, None].repeat(1, 3)


@batched(size=4)
def roots(module, x):
    if (x < 0).any():
        raise ValueError(f"{len(x)} items, some below 0")
    return {"root": x.sqrt()[:, 0], "items": [*x]}


def test_good_items_are_computed_and_bad_ones_reported():
    outcome = configure(roots, on_error="return")(NET, X)

    assert outcome.result["root"].tolist() == [2, 3, 1]
    assert outcome.indices == (0, 2, 4)
    assert [failed.index for failed in outcome.failures] == [1, 3]
    assert str(outcome.failures[0]) == "item 1: ValueError: 1 items, some below 0"
    assert len(outcome) == 5


def test_an_outcome_gives_each_item_its_result_or_failure():
    outcome = configure(roots, on_error="return")(NET, X)

    kinds = [type(each) for each in outcome]

    assert kinds == [dict, Failed, dict, Failed, dict]


def test_skipped_items_are_missing_and_named():
    with pytest.warns(
        ItemsFailedWarning,
        match=r"roots\(\): 2 of 5 items were skipped:\nitem 1: ValueError: 1 items",
    ):
        result = configure(roots, on_error="skip")(NET, X)

    assert result["root"].tolist() == [2, 3, 1]
    assert len(result["items"]) == 3


def test_a_long_list_of_failures_is_cut_short():
    with pytest.warns(ItemsFailedWarning, match="and 4 more$"):
        configure(roots, on_error="skip")(NET, torch.tensor([[1.0]] + 9 * [[-1.0]]))


def test_all_items_may_fail():
    x = -X.abs()

    outcome = configure(roots, on_error="return")(NET, x)
    with pytest.raises(
        AllItemsFailedError, match=r"all 5 items failed; the first is item 0: ValueErr"
    ) as caught:
        configure(roots, on_error="skip")(NET, x)

    assert isinstance(caught.value.__cause__, ValueError)
    assert outcome.result is None
    assert [failed.index for failed in outcome] == [0, 1, 2, 3, 4]


def test_no_item_may_fail_by_default():
    with pytest.raises(ValueError, match="4 items, some below 0") as caught:
        roots(NET, X)

    assert caught.value.__notes__ == ["roots(): in a chunk of 4 of 5 items, 0 to 3"]


def test_only_chunks_that_fail_are_run_again():
    seen = []

    @batched(size=2, on_error="return")
    def run(module, x):
        seen.append(x[:, 0].tolist())
        return roots.__wrapped__(module, x)

    run(NET, X)

    assert seen == [[4, -1], [4], [-1], [9, -2], [9], [-2], [1]]


def test_an_outcome_of_one_item_is_its_result_or_failure():
    one = batched(item=1, on_error="return")(roots.__wrapped__)

    assert one(NET, X[0])["root"].tolist() == 2
    assert one(NET, X[1]).index == 0
    assert isinstance(one(NET, X[:2]), Outcome)


def test_an_outcome_of_no_items_is_empty():
    outcome = configure(roots, on_error="return")(NET, X[:0])

    assert (len(outcome), [*outcome], outcome.indices) == (0, [], ())
    assert outcome.result["root"].shape == (0,)


def test_items_that_cannot_be_put_together_fail_alone():
    @batched(pad=Pad(), on_error="return")
    def total(module, x):
        return torch.as_tensor(x).sum(1)

    outcome = total(NET, [np.ones(2), "text", np.ones(3)])

    assert outcome.indices == (0, 2)
    assert outcome.result.tolist() == [2, 3]


def test_settings_go_together():
    with pytest.warns(ItemsFailedWarning):
        items = configure(roots, on_error="skip", join="items", keep="cpu")(NET, X)

    assert [item["root"].tolist() for item in items] == [2, 3, 1]


# --- what is never taken for a failure of an item ------------------------------------


def test_an_interruption_is_no_failure():
    seen = []

    @batched(size=2, on_error="return")
    def run(module, x):
        seen.append(len(x))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(NET, X)
    assert seen == [2]


def test_results_that_cannot_be_joined_are_no_failure():
    @batched(size=2, on_error="skip")
    def run(module, x):
        return x.sum()

    with pytest.raises(AmbiguousBatchError, match="reduce outside"):
        run(NET, X)


def test_items_are_not_run_again_in_training():
    class Net(nn.Linear):
        @batched(on_error="skip")
        def run(self, x):
            return x

        @inference
        @batched(on_error="skip")
        def infer(self, x):
            return x

    with pytest.raises(
        PlanError, match="may not forgive; add @inference or call .eval"
    ):
        Net(1, 1).run(X)
    assert torch.equal(Net(1, 1).infer(X), X)
    assert torch.equal(Net(1, 1).eval().run(X), X)


# --- memory --------------------------------------------------------------------------


def test_only_an_item_that_does_not_fit_fails():
    items = [torch.ones(n) for n in (2, 30, 3, 40)]

    @batched(on_error="return", pad=Pad())
    @simulate_oom(max_bytes=4 * 20)
    def total(module, x):
        return x.sum(1)

    outcome = total(NET, items)

    assert outcome.result.tolist() == [2, 3]
    assert [failed.index for failed in outcome.failures] == [1, 3]
    assert {type(failed.error) for failed in outcome.failures} == {DoesNotFitError}
    assert r"(x: (30,)) does not fit" in str(outcome.failures[0])


def test_a_mere_suspicion_fails_with_its_own_error():
    @batched(on_error="return")
    @simulate_oom(when=lambda attempt: attempt.n_bytes > 4, kind="onednn_primitive")
    def run(module, x):
        return x

    outcome = run(NET, [torch.ones(1), torch.ones(2)])

    assert outcome.indices == (0,)
    assert str(outcome.failures[0].error) == "could not create a primitive"


class Held:
    """Something that can be watched."""


def test_nothing_of_a_failed_attempt_is_alive_at_the_next_or_afterwards():
    refs, alive = [], []

    @batched(size=2, on_error="return")
    def run(module, x):
        alive.append(sum(ref() is not None for ref in refs))
        held = Held()
        refs.append(weakref.ref(held))
        try:
            roots.__wrapped__(module, x)
        except ValueError as error:
            raise RuntimeError("failed") from error
        return x

    outcome = run(NET, X)

    assert len(outcome.failures) == 2
    assert set(alive) == {0}
    assert not any(ref() is not None for ref in refs)


def test_a_report_does_not_keep_what_the_call_was_given():
    def call():
        given = np.ones((5, 1))
        held = Held()
        given[1] = -1
        kept = configure(roots, on_error="return")(NET, torch.from_numpy(given))
        return kept.failures, weakref.ref(held)

    failures, held = call()

    assert held() is None
    assert failures[0].error.__traceback__ is None


def test_a_report_says_where_an_item_failed():
    outcome = configure(roots, on_error="return")(NET, X)

    [note] = outcome.failures[0].error.__notes__
    assert note.startswith("raised in roots (")
    assert "test_failures.py:" in note


def test_an_error_that_the_caller_is_handling_keeps_its_traceback():
    def handle():
        try:
            return {}["of the caller"]
        except LookupError as error:
            return configure(roots, on_error="return")(NET, X), error.__traceback__

    outcome, trace = handle()

    assert isinstance(outcome.failures[0].error.__context__, LookupError)
    assert trace is not None


@pytest.mark.parametrize("size", [1, 2, 5, "auto", "all"], ids=map(str, count()))
def test_progress_counts_every_item_once(size):
    ticks = []

    configure(roots, batch_size=size, on_error="return", progress=ticks.append)(NET, X)

    assert sum(ticks) == 5
