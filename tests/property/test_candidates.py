"""Laws of candidates: exact ones are, they follow the weights, and undo undoes all."""

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.nets import BLOCKS, nets, trial_of
from unfussy._optimizing.candidates.compiling import Compile
from unfussy._optimizing.candidates.layouts import ChannelsLast
from unfussy._optimizing.candidates.norms import FoldNorms
from unfussy._optimizing.candidates.precisions import Autocast, LowPrecisionWeights

pytestmark = pytest.mark.property

EXACT = {"fold": FoldNorms, "last": ChannelsLast}
orders = st.permutations(list(EXACT)).flatmap(
    lambda names: st.integers(1, 2).map(lambda n: names[:n])
)
modes = st.sampled_from([torch.no_grad, torch.inference_mode])


def apply(trial, names):
    """Apply the candidates that find nothing in their way, and return the undos."""
    found = [EXACT[name]() for name in names]
    return [each.apply(trial) for each in found if each.obstacle(trial) is None]


def called(net, x):
    """Call *net* often enough for its weights to be prepared."""
    with torch.no_grad():
        return [net(x) for _ in range(3)]


def through_pickle(net):
    return pickle.loads(pickle.dumps(net))  # noqa: S301 - our own


def undo_all(undos):
    for undo in reversed(undos):
        undo()


def twin_of(module):
    """Return a copy of *module* as it is without candidates."""
    twin = copy.deepcopy(module)
    for part in twin.modules():
        part.__dict__.pop("forward", None)
    return twin


def assert_equal_but_rounding(result, expected):
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=2e-5)


def looks(module):
    """Describe everything of *module* that undoing has to put back."""
    tensors = module.state_dict(keep_vars=True)
    return (
        [(k, id(v), v.data_ptr(), v.stride(), v._version) for k, v in tensors.items()],
        [(name, list(vars(part))) for name, part in module.named_modules()],
        [
            {k: len(v) for k, v in vars(part).items() if isinstance(v, dict)}
            for part in module.modules()
        ],
        [part.training for part in module.modules()],
    )


@given(drawn=nets(), names=orders, mode=modes)
def test_exact_candidates_give_what_plain_gives(drawn, names, mode):
    net, x = drawn
    twin = twin_of(net)
    apply(trial_of(net, x), names)

    with mode():
        for each in (x, x, torch.cat([x, -x])):
            assert_equal_but_rounding(net(each), twin(each))


@given(drawn=nets(), names=orders)
def test_inputs_and_the_module_s_state_are_left_alone(drawn, names):
    net, x = drawn
    before, state = x.clone(), looks(net)[0]
    apply(trial_of(net, x), names)

    results = called(net, x)

    assert {type(result) for result in results} == {torch.Tensor}
    assert torch.equal(x, before)
    assert looks(net)[0] == state


@given(drawn=nets(), names=orders)
def test_undoing_puts_everything_back(drawn, names):
    net, x = drawn
    before = looks(net)
    with torch.no_grad():
        expected = net(x)

    undos = apply(trial_of(net, x), names)
    called(net, x)
    undo_all(undos)

    with torch.no_grad():
        assert torch.equal(net(x), expected)
    assert looks(net) == before


# --- weights that change -----------------------------------------------------------


def trained(net, x):
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net(torch.cat([x, x + 1])).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    net.eval()


def loaded(net, x, *, assign=False):
    state = {k: v.clone() for k, v in net.state_dict().items()}
    for value in state.values():
        if value.is_floating_point():
            value.abs_().add_(0.5)
    net.load_state_dict(state, assign=assign)


def shaken(net, x):
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.5)


def seen(net, x):
    net.train()
    with torch.no_grad():
        net(torch.cat([x, x + 1]))
    net.eval()


def repointed(net, x):
    for parameter in net.parameters():
        parameter.data = parameter.data + 0.5


def renewed(net, x):
    for part in net.modules():
        for name, parameter in part.named_parameters(recurse=False):
            setattr(part, name, nn.Parameter(parameter.detach() + 0.5))


def more_eps(net, x):
    for part in net.modules():
        if hasattr(part, "eps"):
            part.eps += 0.3


def silently_trained(net, x):
    net.train()
    net(torch.cat([x, x + 1]))
    net.eval()
    for parameter in net.parameters():
        parameter.data.add_(0.5)
    net(x)


CHANGES = {
    "trained": trained,
    "loaded": loaded,
    "assigned": lambda net, x: loaded(net, x, assign=True),
    "shaken": shaken,
    "seen": seen,
    "repointed": repointed,
    "renewed": renewed,
    "more eps": more_eps,
    "silently trained": silently_trained,
    "in double": lambda net, x: net.double().float(),
}
FREEZABLE = [change for change in CHANGES if change != "more eps"]  # is guarded
changes = st.lists(st.sampled_from(list(CHANGES)), min_size=1, max_size=2)
SAME_FLOW = tuple(way for way in BLOCKS if not way.startswith("flows"))


@given(drawn=nets(ways=SAME_FLOW), names=orders, changes=changes)
def test_results_follow_the_weights(drawn, names, changes):
    net, x = drawn
    apply(trial_of(net, x), names)
    called(net, x)

    for change in changes:
        CHANGES[change](net, x)
        with torch.no_grad():
            expected = twin_of(net)(x)
            for result in (net(x), net(x)):
                assert_equal_but_rounding(result, expected)


@given(drawn=nets(ways=SAME_FLOW), names=orders)
def test_training_goes_on_as_ever(drawn, names):
    net, x = drawn
    twin = twin_of(net)
    apply(trial_of(net, x), names)

    for each in (net, twin):
        torch.manual_seed(0)
        trained(each, x)

    own, expected = net.state_dict(), twin.state_dict()
    assert all(torch.equal(own[key], expected[key]) for key in expected)


@given(
    drawn=nets(), names=orders, copied=st.sampled_from([copy.deepcopy, through_pickle])
)
def test_copies_are_on_their_own(drawn, names, copied):
    net, x = drawn
    apply(trial_of(net, x), names)
    expected = called(net, x)[1]
    with torch.no_grad():
        other = copied(net)
        shaken(net, x)

        for result in called(other, x):
            assert_equal_but_rounding(result, expected)


# --- lower precision, and compiling ------------------------------------------------


@given(
    drawn=nets(ways=SAME_FLOW), names=orders, kept=st.sampled_from([None, True, False])
)
def test_low_precision_gives_float32_close_to_plain_and_is_undone(drawn, names, kept):
    net, x = drawn
    before = looks(net)
    trial = trial_of(net, x)
    expected = trial.run()
    low = Autocast() if kept is None else LowPrecisionWeights(keep_norms=kept)

    undos = [low.apply(trial), *apply(trial, names)]
    result = (trial.run(), trial.run())[1]
    undo_all(undos)

    assert result.dtype is torch.float32
    assert (result - expected).norm() <= 0.15 * expected.norm() + 0.1
    assert torch.equal(trial.run(), expected)
    assert looks(net) == before
    assert (trial.settings, trial.wrappers) == ({}, [])


@given(
    drawn=nets(ways=SAME_FLOW),
    change=st.sampled_from(FREEZABLE),
    freezing=st.booleans(),
)
def test_a_compiled_method_follows_the_weights(drawn, change, freezing):
    net, x = drawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", constant if freezing else plain)
        trial = trial_of(net, x)
        Compile(freezing=freezing).apply(trial)
        call = trial.wrappers[0](trial.function)

        with torch.no_grad():
            call(net, x)
        CHANGES[change](net, x)
        with torch.no_grad():
            results, expected = [call(net, x), call(net, x)], twin_of(net)(x)

    for result in results:
        assert_equal_but_rounding(result, expected)


def constant(function, **options):
    """Compile as a compiler does that takes weights for constants."""
    frozen = []

    def compiled(module, *args, **kwargs):
        frozen[:] = frozen or [copy.deepcopy(module)]
        return function(frozen[0], *args, **kwargs)

    return compiled


def plain(function, **options):
    return function
