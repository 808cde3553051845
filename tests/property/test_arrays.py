"""Laws of conversion: nothing is lost, nothing is shared unsafely, errors say where."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.array_strategies import bits, native, settled, shared, tensors
from unfussy import (
    auto_device,
    autocast_policy,
    batched,
    inference,
    returns,
    tree_leaves,
    tree_paths,
)
from unfussy._arrays import array_from_numbers, from_array, is_numbers, to_array
from unfussy.errors import UnfussyError
from unfussy.testing import AWKWARD_INPUTS
from unfussy.testing.strategies import arrays, trees

pytestmark = pytest.mark.property


class Net(nn.Linear):
    """Hands back what it is given, on the short path and on the long one."""

    def __init__(self):
        super().__init__(1, 1)
        self.eval()

    @auto_device
    @inference
    def take(self, x):
        return x

    @auto_device(float64="keep")
    def take_doubles(self, x, y=None):
        return x if y is None else y

    @batched
    @autocast_policy
    @inference
    @auto_device
    def take_all(self, x, *rest, flag=None, **others):
        return x

    @returns("numpy")
    @auto_device(float64="keep")
    def there_and_back(self, x):
        return x


NET = Net()


@given(array=arrays())
def test_there_and_back_is_the_identity(array):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ways = [
            to_array(from_array(array)),
            NET.there_and_back(array),
            NET.take_doubles(array).numpy(),
            NET.take_doubles(None, y=[array])[0].numpy(),
        ]

    assert {bits(way) for way in ways} == {bits(array)}
    assert {way.dtype for way in ways} == {native(array.dtype)}


@given(tensor=tensors())
def test_back_and_there_is_the_identity_of_tensors(tensor):
    back = from_array(to_array(tensor))

    assert back.dtype == tensor.dtype
    assert back.shape == tensor.shape
    assert torch.equal(back.nan_to_num(), tensor.nan_to_num().resolve_conj())


@given(array=arrays())
def test_what_the_caller_gave_is_left_alone(array):
    before, flags, strides = bits(array), repr(array.flags), array.strides

    NET.take(array)
    NET.there_and_back({"a": [array]})

    assert (bits(array), repr(array.flags), array.strides) == (before, flags, strides)


@given(array=arrays())
def test_memory_that_must_not_be_written_is_never_shared(array):
    tensor = from_array(array)

    if not array.flags.writeable and array.size:
        assert not np.shares_memory(tensor.numpy(), array)


@given(array=arrays(layouts=["contiguous", "fortran", "stepped"]))
def test_memory_is_shared_wherever_that_is_safe(array):
    tensor = from_array(array)

    if array.dtype.isnative and array.dtype.char not in "gG" and array.size:
        assert np.shares_memory(tensor.numpy(), array)


@given(array=arrays())
def test_doubles_follow_a_single_precision_module_and_others_stay(array):
    taken = NET.take(array)

    assert bits(taken.numpy()) == bits(settled(array))


@given(tensor=tensors())
def test_double_tensors_follow_like_double_arrays(tensor):
    single = {torch.float64: torch.float32, torch.complex128: torch.complex64}
    taken = NET.take(tensor), NET.take([tensor])[0]

    expected = tensor.to(single.get(tensor.dtype, tensor.dtype))
    for each in taken:
        assert each.dtype == expected.dtype
        assert torch.equal(each.nan_to_num(), expected.nan_to_num())
        assert (each is tensor) is (tensor.dtype not in single)


@given(tree=trees(arrays()))
def test_at_any_depth_arrays_become_the_tensors_they_would_be_alone(tree):
    taken = tree_leaves(NET.take_doubles(tree))

    for new, old in zip(taken, tree_leaves(tree), strict=True):
        if isinstance(old, np.ndarray):
            assert bits(new.numpy()) == bits(from_array(old).numpy())
        else:
            assert new is old


@given(tree=shared(arrays() | tensors()))
def test_what_stands_in_several_places_stays_one_object(tree):
    before = [id(leaf) for leaf in tree_leaves(tree)]
    taken = NET.take(tree)
    after = [id(leaf) for leaf in tree_leaves(taken)]

    assert len(set(zip(before, after, strict=True))) == len(set(before))


@given(tree=trees(arrays() | st.just(np.array([None]))))
def test_errors_give_the_path_of_the_first_that_is_refused(tree):
    bad = [path for path, leaf in tree_paths(tree) if getattr(leaf, "dtype", 0) == "O"]

    if not bad:
        NET.take_all(1, tree)
        return
    with pytest.raises(UnfussyError) as caught:
        NET.take_all(1, tree)
    assert str(caught.value).startswith(
        f"Net.take_all(): argument rest[0]{bad[0]}: array of dtype object cannot"
    )


NUMBERS = st.integers(-9, 9) | st.floats(width=32) | st.booleans()


@given(numbers=st.recursive(NUMBERS, lambda rows: st.lists(rows, max_size=3)))
def test_lists_of_numbers_become_what_numpy_makes_of_them_or_are_refused(numbers):
    if not is_numbers(numbers):
        return
    try:
        array = array_from_numbers(numbers)
    except UnfussyError:
        with pytest.raises((ValueError, TypeError)):
            np.asarray(numbers).astype(float)
    else:
        assert bits(array) == bits(np.asarray(numbers))


# --- awkward inputs ----------------------------------------------------------------

TENSORS = {k: v for k, v in AWKWARD_INPUTS.items() if v.becomes == "tensor"}
REFUSED = {k: v for k, v in AWKWARD_INPUTS.items() if v.nested == "refused"}
PLACES = {
    "x": lambda bad: ((bad,), {}),
    "x['a'][1]": lambda bad: (({"a": [1, bad]},), {}),
    "x.real": lambda bad: ((SimpleNamespace(real=bad),), {}),
    "rest[0]": lambda bad: ((1, bad), {}),
    "rest[1][0][0]": lambda bad: ((1, 2, ((bad,),)), {}),
    "flag": lambda bad: ((1,), {"flag": bad}),
    "other['b']": lambda bad: ((1,), {"other": {"b": bad}}),
}


@given(
    bad=st.sampled_from(list(REFUSED)),
    place=st.sampled_from(list(PLACES)),
    train=st.booleans(),
)
def test_what_is_refused_is_named_and_the_module_stays_usable(bad, place, train):
    net = Net().train(train)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    args, kwargs = PLACES[place](REFUSED[bad].make())

    with pytest.raises(UnfussyError) as caught:
        net.take_all(*args, **kwargs)

    assert isinstance(caught.value, TypeError)
    assert str(caught.value).startswith(f"Net.take_all(): argument {place}: ")
    assert net.training is train
    assert torch.is_grad_enabled()
    assert all(torch.equal(net.state_dict()[name], x) for name, x in before.items())
    assert net.take_all(np.zeros((2, 3))).shape == (2, 3)


@pytest.mark.parametrize("name", AWKWARD_INPUTS)
@pytest.mark.parametrize("nested", [False, True])
def test_an_awkward_input_becomes_what_is_said_of_it(name, nested):
    awkward = AWKWARD_INPUTS[name]
    given = awkward.make()
    tree, fate = ([given], awkward.nested) if nested else (given, awkward.becomes)

    if fate == "refused":
        with pytest.raises(TypeError, match=r"^Net\.take\(\): argument x"):
            NET.take(tree)
        return
    taken = NET.take(tree)[0] if nested else NET.take(tree)
    assert (taken is given) is (fate == "same")
    assert (type(taken) is torch.Tensor) is (fate == "tensor")


@pytest.mark.parametrize("name", TENSORS)
def test_awkward_arrays_have_their_values(name):
    given = TENSORS[name].make()

    assert np.array_equal(NET.take_doubles(given).numpy(), given)
