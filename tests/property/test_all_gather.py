"""The law of gathering: each rank gets each rank's object, in the order of ranks."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ranks import ranks
from unfussy.distributed import all_gather

pytestmark = pytest.mark.property

RANKS = 2


@pytest.fixture(scope="module")
def on_ranks(tmp_path_factory):
    with ranks(RANKS, tmp_path_factory.mktemp("ranks")) as call:
        yield call


def gather(rank, objects):
    return [describe(found) for found in all_gather(objects[rank])]


def describe(tree):
    """Return *tree* as something that compares, types and all."""
    match tree:
        case torch.Tensor():
            return str(tree.dtype), tuple(tree.shape), tree.tolist()
        case np.ndarray():
            return str(tree.dtype), tree.shape, tree.tolist()
        case list() | tuple():
            return type(tree).__name__, [describe(x) for x in tree]
        case dict():
            return {key: describe(x) for key, x in tree.items()}
        case _:
            return tree


# About half of them are large enough to travel apart.
lengths = st.one_of(st.integers(0, 4), st.integers(16_380, 16_388))
dtypes = st.sampled_from(["float32", "int64", "uint8", "bool"])
arrays = st.builds(lambda n, dtype: np.arange(n).astype(dtype), lengths, dtypes)
leaves = st.one_of(st.none(), st.text(max_size=3), arrays, arrays.map(torch.from_numpy))
objects = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    ),
    max_leaves=4,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(objects=st.tuples(*[objects] * RANKS))
def test_every_rank_gets_every_object_in_the_order_of_ranks(on_ranks, objects):
    gathered = on_ranks(gather, objects)

    assert gathered == [[describe(x) for x in objects]] * RANKS
