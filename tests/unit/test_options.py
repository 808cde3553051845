"""Options of single calls: `configure` and `options`."""

import pickle
import threading

import numpy as np
import pytest
import torch
from torch import nn

from unfussy import (
    auto_device,
    autocast_policy,
    batched,
    configure,
    explain,
    inference,
    options,
    returns,
)
from unfussy.errors import InputTypeError, PlanError


class Net(nn.Linear):
    def __init__(self):
        super().__init__(3, 2)
        self.seen = []

    @inference
    @auto_device
    @autocast_policy
    @batched
    def embed(self, x):
        self.seen.append((len(x), torch.is_autocast_enabled("cpu")))
        return self(x)

    @inference
    def outer(self, x):
        assert isinstance(self.embed(x), torch.Tensor)
        return {"z": self.embed(x)}

    def plain(self, x):
        return self(x)

    @inference
    def steps(self, x):
        for row in x:
            yield self.embed(row[None])


@pytest.fixture
def net():
    return Net()


@pytest.fixture
def x():
    return torch.rand(5, 3)


def test_a_configured_method_follows_its_settings(net, x):
    result = configure(net.embed, batch_size=2, precision="bf16", out="numpy")(x)

    assert type(result) is np.ndarray
    assert net.seen == [(2, True), (2, True), (1, True)]


def test_the_method_itself_stays_as_it_is(net, x):
    configure(net.embed, batch_size=2)(x)
    net.seen.clear()

    net.embed(x)

    assert net.seen == [(5, False)]


def test_settings_add_up_and_the_last_one_wins(net, x):
    first = configure(net.embed, batch_size=2, out="numpy")

    result = configure(first, batch_size=4)(x)

    assert type(result) is np.ndarray
    assert [n for n, _ in net.seen] == [4, 1]


def test_a_method_without_decorators_can_be_configured(net, x):
    result = configure(net.plain, mode="no_grad", out="numpy")(x)

    assert type(result) is np.ndarray


def test_a_function_can_be_configured(net, x):
    assert not configure(Net.embed, batch_size=2)(net, x).requires_grad


def test_configured_methods_pickle_and_print(net, x):
    configured = configure(net.embed, out="numpy")

    again = pickle.loads(pickle.dumps(configured))  # noqa: S301

    np.testing.assert_array_equal(again(x), configured(x))
    assert repr(configured).endswith("out='numpy')")
    assert configured.__wrapped__ == net.embed


def test_a_block_reaches_every_decorated_call_inside(net, x):
    with options(out="numpy", batch_size=2):
        assert type(net.embed(x)) is np.ndarray

    assert type(net.embed(x)) is torch.Tensor


def test_blocks_nest_and_the_inner_one_wins(net, x):
    with options(batch_size=2, out="numpy"), options(batch_size=4):
        result = net.embed(x)

    assert type(result) is np.ndarray
    assert [n for n, _ in net.seen] == [4, 1]


def test_settings_of_a_call_win_over_the_block(net, x):
    with options(batch_size=1, out="numpy"):
        result = configure(net.embed, batch_size=4)(x)

    assert type(result) is np.ndarray
    assert [n for n, _ in net.seen] == [4, 1]


def test_options_do_not_reach_what_the_method_calls(net, x):
    with options(out="numpy"):
        result = net.outer(x)

    assert type(result["z"]) is np.ndarray


def test_options_are_those_of_the_call_of_a_generator(net, x):
    with options(out="numpy"):
        steps = net.steps(x)
        first = next(steps)
    rest = list(steps)

    assert {type(step) for step in (first, *rest)} == {np.ndarray}


def test_options_end_with_an_error(net, x):
    with pytest.raises(ZeroDivisionError), options(out="numpy"):
        raise ZeroDivisionError

    assert type(net.embed(x)) is torch.Tensor


def test_options_are_of_one_thread(net, x):
    kinds = []

    with options(out="numpy"):
        thread = threading.Thread(target=lambda: kinds.append(type(net.embed(x))))
        thread.start()
        thread.join()

    assert kinds == [torch.Tensor]


def test_many_different_options_do_not_pile_up(net, x):
    for _ in range(200):
        configure(net.embed, progress=lambda n: None)(x)

    assert len(Net.embed.__unfussy__._variants) <= 64


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 3}, "there is no option 'size'; there are batch_size, budget, "),
        ({"batch_size": 0}, "batch_size is 'auto', 'all' or a whole .* got 0"),
        ({"precision": "fp8"}, "precision is one of .* got 'fp8'"),
        ({"out": "list"}, "out is one of 'tensor', 'numpy', 'mirror', got 'list'"),
        ({"over": [1]}, "over names parameters"),
    ],
    ids=str,
)
def test_unknown_options_are_refused_at_once(net, settings, message):
    with pytest.raises(PlanError, match=message):
        configure(net.embed, **settings)
    with pytest.raises(PlanError, match=message), options(**settings):
        pass


def test_only_what_can_be_called_can_be_configured():
    with pytest.raises(PlanError, match=r"configure\(\) takes a method, got 3"):
        configure(3)


# --- explain -----------------------------------------------------------------------


class Explained(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(3, 2)
        self.drop = nn.Dropout()

    @inference(mode="inference")
    @auto_device(skip="names", copy=True)
    @autocast_policy("bf16")
    @batched(size=2, over="x")
    @returns("mirror", device="cpu")
    def embed(self, x, names=None, table=None, *more):
        raise AssertionError("explain() must not run it")

    @inference(eval=False)
    def bare(self, x):
        return x

    @autocast_policy("fp32", outputs="keep")
    @batched
    def off(self, x):
        return x

    @autocast_policy("inherit")
    @batched(size=2)
    @returns(device="input")
    def inherit(self, x):
        return x


def test_explain_says_what_would_be_done_without_doing_it():
    names = np.array(["a", "b", "c"])

    said = explain(
        Explained().embed, {"pose": np.zeros((5, 3))}, names, [names], torch.ones(2)
    )

    assert str(said) == (
        "Explained.embed() on cpu, float32\n"
        "  x['pose']: array (5, 3) float64 -> tensor (5, 3) float32 on cpu "
        "(convert, cast, copy)\n"
        "  names: array (3,) <U1 -> array (3,) <U1 (as it is)\n"
        "  table[0]: array (3,) <U1 -> array (3,) <U1 (as it is)\n"
        "  more[0]: tensor (2,) float32 -> tensor (2,) float32 on cpu (copy)\n"
        "  modes: eval mode for 3 of 3 modules, then back, gradients off "
        "(inference mode)\n"
        "  precision: autocast to bfloat16 (bf16), results back in float32\n"
        "  batch: 5 items of x in 3 chunks of at most 2\n"
        "  result: in the input's form, on the CPU"
    )


def test_explain_refuses_what_the_call_would_refuse():
    with pytest.raises(InputTypeError, match=r"embed\(\): argument table: array of"):
        explain(Explained().embed, torch.ones(1, 3), table=np.array(["a"]))


def test_explain_tells_of_moves():
    said = explain(Explained().to("meta").embed, torch.zeros(1, 3))

    assert said.inputs[0].done == ("move", "copy")


def test_explain_follows_configured_methods_and_blocks(net, x):
    said = explain(configure(net.embed, batch_size=2), x)
    with options(out="numpy"):
        around = explain(net.embed, x)

    assert said.batch == "5 items of x in 3 chunks of at most 2"
    assert around.result == "arrays"
    assert around.batch == "5 items of x at once"
    assert around.precision == "as the caller set it (auto changes nothing on cpu)"


def test_explain_knows_entries_that_are_not_there(x):
    module = Explained()

    said = explain(module.bare, x)

    assert said.modes == "training flags as they are, gradients off (no_grad)"
    assert (said.precision, said.batch) == ("as the caller set it", "not cut")
    assert said.inputs[0].done == ()
    assert explain(module.off, 3).batch == "no input can be cut"
    assert explain(module.off, 3).precision == "autocast off"
    assert explain(module.inherit, x).precision == "as the caller set it"
    assert explain(module.inherit, x).result == "tensors, at the input"


def test_explain_of_a_module_without_tensors_and_of_one_in_eval_mode(x):
    class Empty(nn.Module):
        @inference
        @auto_device
        def embed(self, x):
            return x

    said = explain(Empty().eval().embed, torch.tensor(1.0))

    assert str(said).startswith("test_options.Empty.embed()") or "Empty.embed()" in str(
        said
    )
    assert said.place == "wherever its inputs are"
    assert said.modes == "eval mode already, gradients off (no_grad)"


def test_only_decorated_methods_can_be_explained(net, x):
    with pytest.raises(PlanError, match=r"explain\(\) takes a decorated method"):
        explain(net.plain, x)


def test_free_functions_can_be_explained(net, x):
    assert explain(Net.embed, net, x).method == "Net.embed()"
