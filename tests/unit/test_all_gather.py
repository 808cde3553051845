"""Gathering from all processes: real ones, that talk by gloo, and none at all."""

import os
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.testing import assert_close

from tests.ranks import ranks
from unfussy.distributed import (
    all_gather,
    get_local_rank,
    get_rank,
    get_world_size,
    is_dist_avail_and_initialized,
)
from unfussy.errors import DeviceError, InputTypeError, InputValueError

RANKS = 3


class Pair(NamedTuple):
    first: int
    second: tuple


@pytest.fixture(scope="module")
def on_ranks(tmp_path_factory):
    with ranks(RANKS, tmp_path_factory.mktemp("ranks")) as call:
        yield call


# --- without a group ---------------------------------------------------------------


def test_without_a_group_there_is_one_process():
    assert not is_dist_avail_and_initialized()
    assert (get_world_size(), get_rank(), get_local_rank()) == (1, 0, 0)


def test_without_a_group_the_only_object_is_the_one_that_was_passed():
    data = object()

    assert all_gather(data) == [data]


# --- with one ----------------------------------------------------------------------


def who_am_i(rank):
    return is_dist_avail_and_initialized(), get_world_size(), get_rank()


def test_processes_know_who_they_are(on_ranks):
    assert on_ranks(who_am_i) == [(True, RANKS, rank) for rank in range(RANKS)]


def local_rank_with(rank, setting):
    os.environ.pop("LOCAL_RANK", None)
    if setting is not None:
        os.environ["LOCAL_RANK"] = setting
    try:
        return get_local_rank()
    except DeviceError as error:
        return str(error)


def test_the_local_rank_is_what_the_starter_of_the_job_says(on_ranks):
    assert on_ranks(local_rank_with, "1") == [1] * RANKS


def test_a_local_rank_that_nobody_set_is_an_error_that_names_torchrun(on_ranks):
    assert all("torchrun" in said for said in on_ranks(local_rank_with, None))


def gather_objects(rank):
    return all_gather([None, {"a": "x"}, Pair(1, (2,))][rank])


def test_ranks_may_pass_anything_and_get_it_in_the_order_of_ranks(on_ranks):
    assert on_ranks(gather_objects) == [[None, {"a": "x"}, Pair(1, (2,))]] * RANKS


def rows_of(rank):
    return torch.arange(rank * 20_000.0).reshape(-1, 2)


def gather_rows(rank):
    return all_gather({"rows": rows_of(rank), "ids": np.arange(rank * 30_000)})


def test_tensors_and_arrays_of_uneven_sizes_arrive_as_they_were(on_ranks):
    for gathered in on_ranks(gather_rows):
        for rank, found in enumerate(gathered):
            assert_close(found["rows"], rows_of(rank), rtol=0, atol=0)
            np.testing.assert_array_equal(found["ids"], np.arange(rank * 30_000))


def unusual_tensors():
    numbers = torch.arange(40_000.0)
    return {
        "half": numbers.bfloat16(),
        "bool": numbers > 3,
        "complex": torch.complex(numbers, numbers).conj(),
        "transposed": numbers.reshape(200, 200).T,
        "scalar": torch.tensor(3),
        "empty": torch.empty(0, 512),
        "leaf": torch.ones(2, requires_grad=True),
        "result": torch.ones(40_000, requires_grad=True) * 2,
        "parameter": torch.nn.Parameter(numbers.clone()),
        "sparse": torch.eye(3).to_sparse(),
    }


def gather_unusual(rank):
    sent = unusual_tensors()
    received = all_gather(sent)[1 - min(rank, 1)]
    assert not received["result"].requires_grad
    return {name: comparable(x) for name, x in received.items()}


def comparable(tensor):
    return tensor.detach().resolve_conj().to_dense()


def test_tensors_of_every_type_and_layout_arrive(on_ranks):
    for received in on_ranks(gather_unusual):
        for name, tensor in unusual_tensors().items():
            assert_close(received[name], comparable(tensor), rtol=0, atol=0)


def gather_one_tensor_twice(rank):
    tensor = torch.zeros(30_000)
    found = all_gather([tensor, (tensor,)])[(rank + 1) % RANKS]
    return found[0] is found[1][0]


def test_a_tensor_in_two_places_stays_one(on_ranks):
    assert all(on_ranks(gather_one_tensor_twice))


def gather_what_is_then_written_to(rank):
    found = all_gather((np.full(9, rank), torch.full((30_000,), rank)))
    for array, tensor in found:
        np.add(array, 1, out=array)
        tensor.add_(1)
    return [(array[0].item(), tensor[0].item()) for array, tensor in found]


def test_what_arrives_can_be_written_to(on_ranks):
    expected = [(rank + 1, rank + 1) for rank in range(RANKS)]

    assert on_ranks(gather_what_is_then_written_to) == [expected] * RANKS


def own_entry_is_own_object(rank):
    data = torch.ones(2, requires_grad=True)
    return all_gather(data)[rank] is data


def test_the_own_entry_is_the_object_that_was_passed(on_ranks):
    assert all(on_ranks(own_entry_is_own_object))


def gather_what_one_cannot_pickle(rank):
    try:
        all_gather((lambda: 0) if rank == 1 else rank)
    except InputTypeError as error:
        return str(error), all_gather(rank)
    return None


def test_what_one_rank_cannot_pickle_is_an_error_on_all_that_leaves_them_usable(
    on_ranks,
):
    for message, after in on_ranks(gather_what_one_cannot_pickle):
        assert "all_gather() takes what can be pickled; on rank 1: " in message
        assert after == [0, 1, 2]


def gather_in_a_group(rank):
    group = dist.new_group([0, 2])
    try:
        return all_gather(torch.full((30_000,), rank), group=group)
    except InputValueError as error:
        return str(error)


def test_a_group_gathers_among_its_members_and_no_others(on_ranks):
    first, outside, last = on_ranks(gather_in_a_group)

    assert "rank 1 is not in the group" in outside
    assert [x[0].item() for x in first] == [x[0].item() for x in last] == [0, 2]
