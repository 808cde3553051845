"""
Decorated methods under DDP, FSDP2 and `nn.DataParallel`.

A function marked `on_each_rank` runs in each of two processes that talk by gloo, and
returns what it saw there; the test below it looks at that. One pair of processes runs
them all, in the order of this file.
"""

import copy
import os
import time
import traceback
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.multiprocessing import spawn
from torch.nn.parallel import DistributedDataParallel
from torch.testing import assert_close

from tests.modules import FEATURES, Normed, Plain, embedding
from unfussy import auto_device, autocast_policy, inference
from unfussy.testing import fake_device

RANKS = range(2)
SECONDS = 120  # for all checks together
SECONDS_OF_SILENCE = 30  # until a rank gives up on the other one

assert_same = partial(assert_close, rtol=0, atol=0)


class Net(Normed):
    """Called for inference, trained by its loss."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(FEATURES))

    @autocast_policy("bf16")
    @inference
    @auto_device
    def forward(self, x):
        return self.logits(x)

    @inference
    @auto_device
    def embed(self, x):
        return self.drop(self.net(x)) * self.scale

    def logits(self, x):
        return super().forward(x) * self.scale

    def loss(self, x):
        return self.logits(x).square().mean()


class InOneForward(Net):
    """Trained by the call too, as DDP wants it."""

    def forward(self, x, *, trains=False):
        return self.loss(x) if trains else super().forward(x)


class Trained(Net):
    """Trained by a decorated call."""

    @autocast_policy("fp32")
    @auto_device
    def forward(self, x):
        return self.loss(x)


class InInferenceMode(Net):
    @inference(mode="inference")
    def forward(self, x):
        return super().forward(x)


def numbers(rank):
    return np.random.default_rng(rank).normal(size=(4, FEATURES))


def tensor(rank):
    return torch.from_numpy(numbers(rank)).float()


def forward_by_hand(net, x):
    net = copy.deepcopy(net).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        return net.logits(x)


def embed_by_hand(net, x):
    with torch.no_grad():
        return net.net(x) * net.scale


def descend(net, loss):
    loss.backward()
    torch.optim.SGD(net.parameters(), lr=1.0).step()


def descend_by_hand(net, rank):
    """Return *net* after a step with the mean of both ranks' gradients."""
    net = copy.deepcopy(net)
    torch.manual_seed(rank)
    net.loss(tensor(rank)).backward()
    for parameter in net.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= len(RANKS)
    torch.optim.SGD(net.parameters(), lr=1.0).step()
    return net


def weights(net):
    found = {name: p.detach() for name, p in net.named_parameters()}
    return {name: getattr(p, "full_tensor", p.clone)() for name, p in found.items()}


# --- processes ---------------------------------------------------------------------

CHECKS = []


def on_each_rank(check):
    """Run *check* with the rank in each process, from the same random state."""
    CHECKS.append(check)
    return check


def run_checks(rank, folder):
    """Be one of the processes."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        store=dist.FileStore(str(folder / "store"), len(RANKS)),
        rank=rank,
        world_size=len(RANKS),
        timeout=timedelta(seconds=SECONDS_OF_SILENCE),
    )
    for check in CHECKS:
        torch.manual_seed(0)
        torch.save(attempt(check, rank), answer_of(folder, check, rank))
    dist.barrier()
    # Without the farewell, in which a thread of PyTorch may abort a process.
    os._exit(0)


def attempt(check, rank):
    try:
        return check(rank), ""
    except Exception:  # noqa: BLE001 - whatever it is, the test shows it
        return None, traceback.format_exc()


def answer_of(folder, check, rank):
    return folder / f"{check.__name__}.{rank}.pt"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return where the processes have left what they saw."""
    path = tmp_path_factory.mktemp("ranks")
    context = spawn(run_checks, (path,), nprocs=len(RANKS), join=False)
    end = time.monotonic() + SECONDS
    try:
        while time.monotonic() < end and not context.join(end - time.monotonic()):
            pass
    finally:
        for process in context.processes:
            process.kill()
            process.join()
    return path


@pytest.fixture
def seen(folder):
    """Return the function that tells what a check saw on both ranks."""

    def seen(check):
        answers = [load(answer_of(folder, check, rank)) for rank in RANKS]
        errors = [f"rank {i}: {error}" for i, (_, error) in enumerate(answers) if error]
        if errors:
            pytest.fail("\n".join(errors), pytrace=False)
        return [saw for saw, _ in answers]

    return seen


def load(answer):
    if not answer.exists():
        return None, f"not done after {SECONDS} s"
    return torch.load(answer)


# --- DDP ---------------------------------------------------------------------------


@on_each_rank
def calls_under_ddp(rank):
    net = Net()
    net.norm.eval()  # so that flags differ
    ddp = DistributedDataParallel(net)
    flags = [module.training for module in ddp.modules()]
    x = numbers(rank)
    return {
        "forward": [ddp(x), net(x), forward_by_hand(net, tensor(rank))],
        "embed": [ddp.module.embed(x), embed_by_hand(net, tensor(rank))],
        "flags": [flags, [module.training for module in ddp.modules()]],
        "grad": torch.is_grad_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
    }


def test_ddp_gives_what_the_bare_module_gives(seen):
    for saw in seen(calls_under_ddp):
        through_ddp, bare, by_hand = saw["forward"]

        assert_same(through_ddp, bare)
        assert_same(through_ddp, by_hand)


def test_other_methods_of_a_module_in_ddp_are_called_as_ever(seen):
    for saw in seen(calls_under_ddp):
        embedded, by_hand = saw["embed"]

        assert_same(embedded, by_hand)


def test_calls_through_ddp_leave_no_trace(seen):
    for saw in seen(calls_under_ddp):
        before, after = saw["flags"]

        assert before == after
        assert {True, False} == set(before)
        assert saw["grad"]
        assert not saw["autocast"]


def trained_after_calls(rank, **settings):
    net = InOneForward()
    ddp = DistributedDataParallel(net, **settings)
    by_hand = descend_by_hand(net, rank)
    for _ in range(2):
        ddp(numbers(rank))
    torch.manual_seed(rank)
    loss = ddp(tensor(rank), trains=True)
    net.embed(numbers(rank))
    descend(net, loss)
    return [weights(net), weights(by_hand)]


@on_each_rank
def steps_under_ddp(rank):
    return trained_after_calls(rank)


@on_each_rank
def steps_under_ddp_that_looks_for_unused_parameters(rank):
    return trained_after_calls(rank, find_unused_parameters=True)


@pytest.mark.parametrize(
    "check", [steps_under_ddp, steps_under_ddp_that_looks_for_unused_parameters]
)
def test_ddp_joins_gradients_after_and_around_calls_for_inference(seen, check):
    for trained, by_hand in seen(check):
        assert_close(trained, by_hand)


@on_each_rank
def steps_through_a_decorated_forward(rank):
    net = Trained()
    ddp = DistributedDataParallel(net)
    by_hand = descend_by_hand(net, rank)
    torch.manual_seed(rank)
    descend(net, ddp(numbers(rank)))
    return [weights(net), weights(by_hand)]


def test_ddp_trains_through_a_forward_that_moves_and_keeps_gradients(seen):
    for trained, by_hand in seen(steps_through_a_decorated_forward):
        assert_close(trained, by_hand)


# --- FSDP2 -------------------------------------------------------------------------


def sharded(net, *, by_layer=True):
    """Spread the weights of *net* over the ranks, and let its loss gather them."""
    mesh = init_device_mesh("cpu", (len(RANKS),))
    if by_layer:
        fully_shard(net.net, mesh=mesh)
    fully_shard(net, mesh=mesh)
    register_fsdp_forward_method(net, "loss")
    return net


def train(net, rank):
    torch.manual_seed(rank)
    descend(net, net.loss(tensor(rank)))


def message_of(call, *args):
    try:
        call(*args)
    except RuntimeError as error:
        return str(error)
    return ""


@on_each_rank
def calls_and_steps_under_fsdp(rank):
    net = Net()
    by_hand = descend_by_hand(net, rank)
    forward = forward_by_hand(net, tensor(rank))
    sharded(net)
    called = net(numbers(rank))
    flags = [module.training for module in net.modules()]
    train(net, rank)
    return {
        "forward": [called, forward],
        "weights": [weights(net), weights(by_hand)],
        "forward after": [net(numbers(rank)), by_hand(numbers(rank))],
        "flags": flags,
    }


def test_a_sharded_module_gives_what_the_whole_one_gives(seen):
    for saw in seen(calls_and_steps_under_fsdp):
        called, by_hand = saw["forward"]

        assert_same(called, by_hand)
        assert all(saw["flags"])


def test_a_sharded_module_is_trained_after_calls_for_inference(seen):
    for saw in seen(calls_and_steps_under_fsdp):
        assert_close(*saw["weights"])
        assert_close(*saw["forward after"], rtol=0.02, atol=0.02)  # bfloat16


@on_each_rank
def methods_under_fsdp(rank):
    x, net = tensor(rank), Net()
    embedded = embed_by_hand(net, x)
    by_hand = descend_by_hand(net, rank)
    sharded(net)
    register_fsdp_forward_method(net, "embed")
    saw = {"embed": [net.embed(numbers(rank)), embedded]}
    train(net, rank)
    saw["weights"] = [weights(net), weights(by_hand)]
    saw["refused"] = [
        message_of(sharded(Net()).embed, x),
        message_of(Net.embed.__wrapped__, sharded(Net()), x),
    ]
    return saw


def test_a_registered_method_gathers_the_weights(seen):
    for saw in seen(methods_under_fsdp):
        assert_same(*saw["embed"])
        assert_close(*saw["weights"])


def test_a_method_that_is_not_registered_fails_as_it_does_undecorated(seen):
    for saw in seen(methods_under_fsdp):
        decorated, undecorated = saw["refused"]

        assert decorated == undecorated
        assert "mixed torch.Tensor and DTensor" in decorated


@on_each_rank
def layers_first_gathered_in_inference_mode(rank):
    x, net, undecorated = tensor(rank), sharded(InInferenceMode()), sharded(Net())
    net(x)
    with torch.inference_mode():
        undecorated.loss(x)
    return [message_of(train, net, rank), message_of(train, undecorated, rank)]


def test_layers_first_gathered_in_inference_mode_cannot_be_trained(seen):
    for ours, torchs_own in seen(layers_first_gathered_in_inference_mode):
        assert "inference tensor" in ours
        assert ours == torchs_own


@on_each_rank
def layers_gathered_for_training_before(rank):
    net = InInferenceMode()
    by_hand = descend_by_hand(net, rank)
    sharded(net).loss(tensor(rank))
    net(tensor(rank))
    train(net, rank)
    return [weights(net), weights(by_hand)]


@on_each_rank
def a_module_sharded_in_one_piece(rank):
    net = InInferenceMode()
    by_hand = descend_by_hand(net, rank)
    sharded(net, by_layer=False)(tensor(rank))
    train(net, rank)
    return [weights(net), weights(by_hand)]


@pytest.mark.parametrize(
    "check", [layers_gathered_for_training_before, a_module_sharded_in_one_piece]
)
def test_weights_first_gathered_outside_inference_mode_can_be_trained(seen, check):
    for trained, by_hand in seen(check):
        assert_close(trained, by_hand)


# --- nn.DataParallel ---------------------------------------------------------------


def replica_of(module):
    """Copy *module* as `nn.DataParallel` does, but for a move to another device."""
    replica = module._replicate_for_data_parallel()
    tensors = {name: p.detach() for name, p in module._parameters.items()}
    replica.__dict__.update(tensors)
    replica._former_parameters = OrderedDict(tensors)
    for name, child in module.named_children():
        replica._modules[name] = replica_of(child)
    return replica


@pytest.mark.skipif(
    torch.accelerator.is_available(), reason="would move the module to its devices"
)
def test_data_parallel_without_devices_calls_the_module():
    net = Net()

    called = nn.DataParallel(net)(numbers(0))

    assert_same(called, forward_by_hand(net, tensor(0)))
    assert all(module.training for module in net.modules())


def test_replicas_called_at_once_share_the_work():
    net = Net()
    replicas = [replica_of(net) for _ in RANKS]
    assert list(replicas[0].parameters()) == []

    with ThreadPoolExecutor(len(RANKS)) as pool:
        called = list(pool.map(lambda net, rank: net(numbers(rank)), replicas, RANKS))

    assert_same(called, [forward_by_hand(net, tensor(rank)) for rank in RANKS])
    assert all(m.training for root in (net, *replicas) for m in root.modules())


def test_a_replica_takes_its_inputs_to_its_own_device():
    net = embedding(Plain, inference, auto_device)()  # no buffers, which replicas keep

    with fake_device("cuda:1") as fake:
        embedded = replica_of(fake.place(net)).embed(numbers(0))

    assert embedded.device == torch.device("cuda:1")
    assert net.embed(numbers(0)).device == torch.device("cpu")
