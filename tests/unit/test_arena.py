"""The arena counts what is alive, and refuses what has no room beside it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from unfussy import batched
from unfussy.errors import InputValueError
from unfussy.testing import OOM_ERRORS
from unfussy.testing._arena import Arena

X = torch.ones(10)  # 40 bytes


def test_inputs_count_while_the_call_runs():
    arena = Arena(100)

    seen = arena(lambda x: arena.live)(X)

    assert seen == 40
    assert arena.live == 0


def test_results_count_until_they_are_freed():
    arena = Arena(100)

    result = arena(lambda x: {"twice": [2 * x]})(X)
    assert arena.live == 40
    part = result["twice"][0][:2]
    del result
    assert arena.live == 40  # a view keeps all of it
    del part
    assert arena.live == 0


def test_a_result_counts_with_all_the_memory_behind_it():
    arena = Arena(100)

    part = arena(lambda x: (2 * x)[:2])(X)

    assert arena.live == 40
    assert len(part) == 2


def test_a_view_counts_as_a_copy_of_its_own_elements():
    arena = Arena(100)

    assert arena(lambda x: arena.live)(torch.ones(1000)[:3]) == 12


def test_results_that_are_inputs_do_not_count():
    arena = Arena(100)

    result = arena(lambda x: x[:2])(X)

    assert arena.live == 0
    assert len(result) == 2


def test_inputs_that_calls_returned_count_once():
    arena = Arena(100)
    double = arena(lambda x: 2 * x)
    y = double(X)

    z = double(y)

    assert (arena.live, arena.peak) == (80, 80)
    del y, z


def test_scratch_memory_counts_while_the_call_runs():
    arena = Arena(120, scratch=2)

    assert arena(lambda x: arena.live)(X) == 120
    with pytest.raises(torch.OutOfMemoryError):
        arena(lambda x: 2 * x)(X)


def test_a_result_without_room_is_refused():
    arena = Arena(79)

    with pytest.raises(torch.OutOfMemoryError):
        arena(lambda x: 2 * x)(X)

    assert arena.n_refused == 1
    assert arena.live == 0


def test_a_failed_attempt_counts_while_its_error_is_alive():
    arena = Arena(100)
    double = arena(lambda x: 2 * x)

    try:
        double(torch.ones(20, 2))
    except torch.OutOfMemoryError as error:
        assert arena.live == 160
        with pytest.raises(torch.OutOfMemoryError):
            double(X)
        kept = error
    kept.__traceback__ = None
    double(X)

    assert arena.n_refused == 2


def test_calls_are_recorded():
    arena = Arena(40)
    ask = arena(lambda *inputs: None)

    ask(torch.ones(3), torch.ones(5, 1))
    ask(np.ones(7), torch.tensor(1.0))

    assert arena.sizes == [5, 0]
    assert arena.peak == 32


def test_a_module_can_be_limited_for_a_while():
    net = nn.Linear(10, 10)
    arena = Arena(100)

    with arena.limit(net) as limited:
        assert limited is arena
        net(X)
        with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
            net(X.repeat(2, 1))
    net(X.repeat(2, 1))

    assert "forward" not in vars(net)
    assert arena.sizes == [10, 2]


def test_a_replaced_forward_is_put_back():
    net = nn.Linear(10, 10)
    net.forward = own = lambda x: x

    with Arena(100).limit(net), pytest.raises(torch.OutOfMemoryError):
        net(torch.ones(30))

    assert vars(net)["forward"] is own


@pytest.mark.parametrize("kind", OOM_ERRORS)
def test_errors_are_those_of_real_backends(kind):
    expected = OOM_ERRORS[kind].make()

    with pytest.raises(type(expected)) as caught:
        Arena(3, kind=kind)(lambda x: x)(X)

    assert str(caught.value) == str(expected)


def test_an_unknown_error_is_refused():
    with pytest.raises(InputValueError, match="knows no error 'cude'; one of cuda, "):
        Arena(1, kind="cude")


def test_threads_share_the_room():
    arena = Arena(1 << 20)
    double = arena(lambda x: 2 * x)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: double(X), range(100)))

    assert arena.live == 40 * 100
    del results
    assert arena.live == 0


def test_chunks_fit_where_nothing_of_a_failed_attempt_is_kept():
    net = nn.Linear(10, 10)
    x = torch.rand(40, 10)  # a row takes 40 bytes, and as many for its result
    embed = batched(lambda module, x: module(x))
    arena = Arena(40 * 40 + 5 * 40)

    with torch.no_grad(), arena.limit(net):
        result = embed(net, x)

    torch.testing.assert_close(result, net(x))
    assert arena.n_refused > 0
