"""Where a module lives, asked anew at every call, and where its inputs therefore go."""

import copy
import threading
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from unfussy import EasyInferenceMixin, auto_device, batched, inference, unfuss
from unfussy._devices import (
    anchor,
    has_own_place,
    inference_device,
    inference_dtype,
    is_ordinary,
    module_of,
    place_at,
    place_of,
)
from unfussy._moving import Move, make_mover
from unfussy.testing import fake_device

META, CPU = torch.device("meta"), torch.device("cpu")


class Net(nn.Module):
    """Its children tell where it is."""

    def __init__(self, *children):
        super().__init__()
        self.children_ = nn.ModuleList(children)

    @auto_device
    def take(self, x, y=None):
        return x

    def goes_to(self):
        return self.take(np.zeros(1, np.float32)).device


def linear(device="cpu", dtype=None):
    return nn.Linear(1, 1, device=device, dtype=dtype)


# --- the first tensor --------------------------------------------------------------


def test_inputs_go_to_the_first_parameter():
    nets = [
        Net(linear("meta")),
        Net(nn.Identity(), nn.Sequential(nn.Identity(), linear("meta")), linear()),
        Net(linear(), linear("meta")),
    ]

    assert [net.goes_to() for net in nets] == [META, META, CPU]


def test_a_parameter_of_its_own_comes_before_those_of_children():
    net = Net(linear())
    net.scale = nn.Parameter(torch.zeros(1, device="meta"))

    assert net.goes_to() == META


def test_empty_slots_are_passed_over():
    net = Net(nn.Linear(1, 1, bias=False, device="meta"))
    net.register_parameter("nothing", None)
    net.register_module("nobody", None)
    net.children_[0].register_parameter("weight", None)
    net.last = linear("meta")

    assert net.goes_to() == META


def test_buffers_tell_where_parameters_do_not():
    net = Net(nn.BatchNorm1d(2, affine=False, device="meta"))

    assert net.goes_to() == META


def test_without_tensors_inputs_stay_where_they_are():
    net, there = Net(nn.Identity()), torch.zeros(1, device="meta")

    assert net.take(there) is there
    assert net.goes_to() == CPU
    assert inference_device(net) == CPU


def test_lazy_modules_tell_before_their_first_call():
    lazy = Net(nn.LazyLinear(2, device="meta"))

    assert lazy.goes_to() == META
    assert inference_dtype(lazy) == torch.float32


def test_a_lazy_module_is_made_by_a_decorated_call():
    class Lazy(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.LazyLinear(2)

        @auto_device
        @inference
        def embed(self, x):
            return self.net(x)

    assert Lazy().embed(np.zeros((3, 5))).shape == (3, 2)


# --- nothing is remembered ---------------------------------------------------------


def test_a_module_that_moves_is_followed():
    net = Net(linear())
    assert net.goes_to() == CPU

    net.to("meta")

    assert net.goes_to() == META


def test_a_child_that_moves_alone_is_followed():
    net = Net(linear())
    assert net.goes_to() == CPU

    net.children_[0].to("meta")

    assert net.goes_to() == META


def test_a_child_that_is_replaced_is_followed():
    net = Net(linear())
    assert net.goes_to() == CPU

    net.children_[0] = linear("meta")

    assert net.goes_to() == META


def test_assigned_weights_are_followed():
    net, elsewhere = Net(linear("meta")), Net(linear(dtype=torch.float64))
    assert net.goes_to() == META

    net.load_state_dict(elsewhere.state_dict(), assign=True)

    assert net.goes_to() == CPU
    assert net.take(np.zeros(1)).dtype == torch.float64


def test_a_reassigned_parameter_is_followed():
    net = linear()
    net.__class__ = type("Named", (nn.Linear,), {"take": Net.take})
    assert net.take(np.zeros(1)).device == CPU

    net.weight = nn.Parameter(torch.zeros(1, 1, device="meta"))

    assert net.take(np.zeros(1)).device == META


def test_a_copy_is_asked_for_itself():
    net = Net(linear())
    assert net.goes_to() == CPU

    copied = copy.deepcopy(net).to("meta")

    assert [net.goes_to(), copied.goes_to()] == [CPU, META]


def replica_of(module, device):
    """Copy *module* as `nn.DataParallel` does."""
    replica = module._replicate_for_data_parallel()
    replica._former_parameters = OrderedDict()
    for name, parameter in module._parameters.items():
        moved = parameter.detach().to(device)
        setattr(replica, name, moved)
        replica._former_parameters[name] = moved
    for name, child in module._modules.items():
        replica._modules[name] = replica_of(child, device)
    return replica


@pytest.mark.parametrize("net", [Net(linear()), Net(nn.Sequential(linear()))], ids="ab")
def test_a_replica_lives_where_its_own_tensors_are(net):
    replica = replica_of(net, "meta")
    assert list(replica.parameters()) == []

    assert replica.goes_to() == META
    assert net.goes_to() == CPU


def test_a_replica_with_parameters_of_its_own_is_asked_too():
    class Scale(Net):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.zeros(1))

    assert replica_of(Scale(), "meta").goes_to() == META


# --- weights elsewhere -------------------------------------------------------------


class Hook:
    """As Accelerate's hooks: where the weights are brought to for a call."""

    def __init__(self, execution_device=None, hooks=None):
        self.execution_device = execution_device
        if hooks is not None:
            self.hooks = hooks


@pytest.mark.parametrize(
    "hook",
    [
        Hook("cpu"),
        Hook(torch.device("cpu")),
        Hook(hooks=(Hook(), Hook("cpu"))),
        Hook(hooks=(Hook(), Hook(hooks=(Hook(), Hook("cpu"))))),
    ],
    ids=["name", "device", "sequence", "sequence of sequences"],
)
@pytest.mark.parametrize("on_child", [False, True])
def test_offloaded_weights_are_asked_by_their_hook(hook, on_child):
    net = Net(linear("meta"))
    assert net.goes_to() == META

    (net.children_[0] if on_child else net)._hf_hook = hook

    assert net.goes_to() == CPU
    assert inference_device(net) == CPU


def test_a_hook_that_knows_no_device_changes_nothing():
    net = Net(linear("meta"))
    net._hf_hook = Hook(hooks=(Hook(),))

    assert net.goes_to() == META
    assert inference_device(net) == META


def test_a_hook_that_is_taken_off_is_forgotten():
    net = Net(linear("meta"))
    net._hf_hook = Hook("cpu")
    assert net.goes_to() == CPU

    del net._hf_hook

    assert net.goes_to() == META


# --- modules that are wrapped ------------------------------------------------------


def test_an_optimized_module_is_asked_like_the_one_inside():
    @auto_device
    def take(module, x):
        return x

    compiled = torch.compile(Net(linear("meta")), backend="eager")

    assert take(compiled, np.zeros(1)).device == META
    assert compiled.goes_to() == META


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_module_can_be_given_to_a_function():
    @auto_device
    def take(module, x):
        return module(x)

    scripted = torch.jit.script(nn.Sequential(linear(dtype=torch.float64)))

    assert take(scripted, np.zeros((1, 1))).dtype == torch.float64


def test_a_proxy_is_asked_like_the_module_inside():
    proxy = unfuss(Net(linear("meta")))

    assert proxy.take(np.zeros(1)).device == META
    assert module_of(proxy) is proxy
    assert place_of(proxy, proxy).device == META


# --- an answer of one's own --------------------------------------------------------


class AsProperty(Net):
    @property
    def inference_device(self):
        return torch.device("meta")


class AsMethod(Net):
    def inference_device(self):
        return "meta"


class AsAttribute(Net):
    inference_device = "meta"


class InMixin(EasyInferenceMixin, Net):
    inference_device = torch.device("meta")


@pytest.mark.parametrize("kind", [AsProperty, AsMethod, AsAttribute, InMixin])
def test_a_class_that_knows_better_is_believed(kind):
    net = kind(linear(dtype=torch.float64))

    taken = net.take(np.zeros(1))

    assert taken.device == META
    assert taken.dtype == torch.float64
    assert has_own_place(net)
    assert not is_ordinary(net)


def test_a_class_may_leave_inputs_where_they_are():
    class Anywhere(Net):
        inference_device = None

    there = torch.zeros(1, device="meta")

    assert Anywhere(linear()).take(there) is there


def test_the_property_of_the_mixin_is_the_default():
    class Easy(EasyInferenceMixin, Net):
        pass

    net = Easy(linear("meta"))

    assert net.inference_device == META
    assert net.inference_dtype == torch.float32
    assert not has_own_place(net)
    assert net.goes_to() == META


def test_classes_have_no_place():
    assert not has_own_place(AsProperty)
    assert not has_own_place(int)
    assert module_of(Net) is None


# --- precision ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "dtype"),
    [
        (linear(), torch.float32),
        (linear(dtype=torch.bfloat16), torch.bfloat16),
        (linear(dtype=torch.complex128), torch.float64),
        (nn.Identity(), torch.float32),
        (Net(nn.Embedding(1, 1)), torch.float32),
        (Net(nn.BatchNorm1d(1, affine=False)), torch.float32),
    ],
    ids=range(6),
)
def test_the_precision_of_a_module_is_that_of_its_first_float(module, dtype):
    assert inference_dtype(module) == dtype


def test_whole_numbers_are_no_precision():
    module = nn.Module()
    module.register_buffer("ids", torch.zeros(2, dtype=torch.int64))
    assert inference_dtype(module) == torch.float32

    module.register_buffer("scale", torch.zeros(2, dtype=torch.float64))

    assert inference_dtype(module) == torch.float64
    assert place_of(module).dtype == torch.float64


# --- places ------------------------------------------------------------------------


@pytest.mark.parametrize("device", [None, CPU, META, torch.device("cuda", 1)], ids=str)
def test_there_is_one_place_for_a_device_and_a_precision(device):
    places = {place_at(device, torch.float32) for _ in range(3)}

    assert len(places) == 1
    assert places.pop() is not place_at(device, torch.float64)


def test_a_place_knows_the_dtypes_of_doubles():
    single, double, none = (
        place_at(CPU, dtype) for dtype in (torch.float16, torch.float64, None)
    )

    assert [single.real(), single.complex()] == [torch.float16, torch.complex64]
    assert [double.real(), double.complex()] == [torch.float64, torch.complex128]
    assert [none.real(), none.complex()] == [torch.float32, torch.complex64]


def test_the_types_that_are_remembered_are_not_without_end(monkeypatch):
    monkeypatch.setattr("unfussy._devices._MOST_TYPES", 2)
    monkeypatch.setattr("unfussy._devices._ORDINARY", ordinary := set())

    for i in range(5):
        assert is_ordinary(type(f"Net{i}", (nn.Module,), {})())

    assert len(ordinary) <= 2


def test_an_anchor_is_found_at_any_depth():
    deep = linear()
    for _ in range(20):
        deep = nn.Sequential(nn.Identity(), deep)

    assert anchor(deep) is next(deep.parameters())
    assert anchor(nn.Sequential()) is None


# --- a device with a label only ----------------------------------------------------


class Moves(TorchDispatchMode):
    """Notes every copy between devices, and whether it was waited for."""

    def __init__(self):
        super().__init__()
        self.seen, self.shapes = [], []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default:
            target = kwargs.get("device")
            ahead = bool(kwargs.get("non_blocking"))
            self.seen.append((args[0].device.type, target and target.type, ahead))
            self.shapes.append(tuple(args[0].shape))
        return func(*args, **kwargs)


def test_every_tensor_and_array_arrives_on_the_device_once():
    net = Net(linear())
    array, tensor = np.zeros(3), torch.zeros(2)

    with fake_device("cuda:1") as fake:
        placed, there = fake.place(net), fake.tensor(torch.ones(2))
        with Moves() as moves:
            taken = placed.take([{"a": array, "b": tensor}, tensor, there, 1])

    assert taken[0]["a"].device == torch.device("cuda:1")
    assert taken[0]["a"].dtype == torch.float32
    assert taken[0]["b"] is taken[1]
    assert taken[2] is there
    assert [move[:2] for move in moves.seen] == 2 * [("cpu", "cuda")]


@pytest.mark.parametrize(
    ("setting", "device", "ahead"),
    [
        ("auto", "cuda", True),
        (True, "cuda", True),
        (False, "cuda", False),
        ("auto", "mps", False),
        (True, "mps", False),
    ],
)
def test_copies_run_beside_the_program_only_where_that_is_safe(setting, device, ahead):
    class Beside(Net):
        @auto_device(non_blocking=setting)
        def take(self, x):
            return x

    net = Beside(linear())
    with fake_device(device) as fake:
        placed = fake.place(net)
        with Moves() as moves:
            placed.take(torch.zeros(2))

    assert moves.seen == [("cpu", device, ahead)]


@pytest.mark.parametrize("setting", ["auto", True])
def test_copies_to_the_host_are_always_waited_for(setting):
    class Beside(Net):
        @auto_device(non_blocking=setting)
        def take(self, x):
            return x

    with fake_device() as fake:
        there = fake.tensor(torch.zeros(2))
        with Moves() as moves:
            taken = Beside(linear()).take(there)

    assert taken.is_cpu
    assert moves.seen == [("cuda", "cpu", False)]


def test_copies_between_accelerators_are_waited_for():
    with fake_device("cuda:0") as fake:
        there = fake.tensor(torch.zeros(2))
        mover = make_mover(Move(), place_at(torch.device("cuda:1"), torch.float32))
        with Moves() as moves:
            moved = mover(there, {})

    assert moved.device == torch.device("cuda:1")
    assert moves.seen == [("cuda", "cuda", False)]


@pytest.mark.parametrize(
    ("float64", "dtype", "expected"),
    [
        ("follow", torch.float32, torch.float32),
        ("follow", torch.float16, torch.float16),
        ("follow", None, torch.float32),
        ("keep", torch.float32, torch.float32),
        ("float32", torch.float16, torch.float32),
    ],
)
def test_doubles_never_reach_a_device_without_them(float64, dtype, expected):
    place = place_at(torch.device("mps:0"), dtype)
    torch.set_default_dtype(torch.float64)
    try:
        with fake_device("mps"):
            mover = make_mover(Move(float64=float64), place)
            moved = mover(np.zeros(2), {}), mover(torch.zeros(2).double(), {})
            complex_ = mover(np.zeros(2, "D"), {})
    finally:
        torch.set_default_dtype(torch.float32)

    assert [x.dtype for x in moved] == [expected, expected]
    assert complex_.dtype == torch.complex64


def test_a_double_is_cast_while_it_moves_and_not_before_or_after():
    net = Net(linear())

    with fake_device() as fake:
        placed = fake.place(net)
        with Moves() as moves:
            taken = placed.take(np.zeros(3))

    assert taken.dtype == torch.float32
    assert len(moves.seen) == 1


def test_variadic_batches_are_moved_chunk_by_chunk():
    class Join(Net):
        @batched(size=2)
        @auto_device
        def join(self, *xs, **more):
            return torch.cat([*xs, *more.values()], 1)

    net = Join(linear())
    a, b = np.zeros((3, 1)), np.zeros((3, 2))

    with fake_device() as fake:
        placed = fake.place(net)
        with Moves() as moves:
            joined = placed.join(a, b, c=a)

    assert joined.shape == (3, 4)
    assert [shape[0] for shape in moves.shapes] == [2, 2, 2, 1, 1, 1]


def test_threads_ask_for_themselves():
    nets = [Net(linear()), Net(linear("meta"))]
    seen = []

    def work(net):
        seen.extend((net, net.goes_to()) for _ in range(50))

    threads = [threading.Thread(target=work, args=[net]) for net in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {device for net, device in seen if net is nets[0]} == {CPU}
    assert {device for net, device in seen if net is nets[1]} == {META}
