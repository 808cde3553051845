"""The fast form of a gait model: its numbers, when it is used, and when it is new."""

import copy
import gc
import pickle
import threading
import weakref

import pytest
import torch

from tests.models.fast_gaits import (
    NAMES,
    apart,
    form,
    frames,
    gait,
    new_gait,
    official,
)
from unfussy.errors import CheckpointError, InputValueError
from unfussy.models.gait import GaitBase
from unfussy.models.gait.fast import fast_form, find_form
from unfussy.models.gait.fast.winograd import Winograd

LENGTHS = (5, 1, 2, 9, 1)
WIDE = (4, 130, 128, 129)  # from 128 channels on, other convolutions are used

every_model = pytest.mark.parametrize("name", NAMES)


def walks(model):
    return [frames(model, length, seed) for seed, length in enumerate(LENGTHS)]


@every_model
@pytest.mark.parametrize("channels", [(4, 6, 8, 8), WIDE])
def test_unequal_sequences_give_what_each_gives_alone(name, channels):
    model = gait(name, (1, 1, 2, 1), channels)
    xs = walks(model)

    found = form(model).embed(torch.cat(xs), LENGTHS)

    assert apart(found, torch.cat([official(model, x) for x in xs])) < 2e-6


@every_model
def test_half_precision_costs_at_most_a_hundredth(name):
    model = gait(name, (1, 1, 1, 1), (16, 32, 32, 32))
    xs = walks(model)

    found = form(model, "bf16").embed(torch.cat(xs), LENGTHS)

    assert found.dtype == torch.float32
    assert apart(found, torch.cat([official(model, x) for x in xs])) < 1e-2


@every_model
def test_double_precision_stays_double(name):
    model = copy.deepcopy(gait(name, (1, 1, 1, 1), WIDE)).double()
    x = frames(model, 3).double()

    found = form(model).embed(x, [3])

    assert apart(found, official(model, x)) < 1e-13


def test_wide_layers_are_convolved_as_products():
    layers = form(gait("2d", (1, 1, 1, 1), WIDE)).layers

    assert isinstance(layers[2].second, Winograd)
    assert not isinstance(layers[1].second, Winograd)


@every_model
def test_a_state_dict_will_do_for_a_model(name):
    model = gait(name)
    x = frames(model, 4)

    found = fast_form(model.state_dict()).embed(x, [4])

    assert torch.equal(found, form(model).embed(x, [4]))


def test_strides_are_those_of_the_model():
    model = GaitBase.from_config(
        (1, 1, 1, 1), (4, 4, 4, 4), (1, 2, 1, 1), strips=2, class_num=None
    )
    x = frames(model, 3)

    found = form(model).embed(x, [3])

    assert apart(found, official(model, x)) < 2e-6


def test_strips_may_be_of_several_sizes():
    settings = {"strips": 7, "class_num": None}
    model = GaitBase.from_config((1, 1, 1, 1), (4, 4, 4, 4), **settings)
    x = frames(model, 3)

    found = form(model).embed(x, [3])

    assert apart(found, official(model, x)) < 2e-6


def test_larger_frames_are_taken():
    model = gait("x")
    x = frames(model, 2, height=32, width=24)

    assert apart(form(model).embed(x, [2]), official(model, x)) < 2e-6


def test_no_sequences_give_no_embeddings():
    assert form(gait("p3d")).embed(torch.zeros(0, 1, 16, 12), []).shape == (0, 6, 2)


# --- when it is made ---------------------------------------------------------------


def changed_by_copy(model):
    model.load_state_dict({k: x * 1.5 for k, x in model.state_dict().items()})


def changed_in_place(model):
    with torch.no_grad():
        model.layer4[0].sbn.bias.add_(1)


def changed_behind_its_version(model):
    model.layer4[0].conv2.forward_block[0].weight.data.mul_(1.5)


def changed_by_replacement(model):
    norm = model.layer4[0].sbn
    norm.running_var = norm.running_var * 2


@pytest.mark.parametrize(
    "change",
    [
        changed_by_copy,
        changed_in_place,
        changed_behind_its_version,
        changed_by_replacement,
        torch.nn.Module.double,
    ],
)
def test_new_weights_make_a_new_form(change):
    model = copy.deepcopy(gait("p3d"))
    x = frames(model, 4)
    before = form(model)

    change(model)

    assert form(model) is not before
    x = x.to(model.inference_dtype)
    assert apart(form(model).embed(x, [4]), official(model, x)) < 2e-6


def test_a_form_is_kept_as_long_as_weights_stay():
    model = copy.deepcopy(gait("base"))

    first = form(model)

    assert form(model) is first
    assert form(model, "bf16") is form(model, "bf16") is not first


def test_models_whose_weights_are_no_numbers_are_kept_too():
    model = copy.deepcopy(gait("base"))
    with torch.no_grad():
        model.Backbone.forward_block.bn1.bias[0] = torch.nan

    assert form(model) is form(model)


def test_weights_made_in_inference_mode_are_watched():
    with torch.inference_mode():
        model = new_gait("base").eval()
        before = form(model)
        model.Backbone.forward_block.bn1.bias.add_(1)

        assert form(model) is not before


def test_nothing_is_kept_in_the_model():
    model = copy.deepcopy(gait("base"))
    pristine, keys = pickle.dumps(model), set(vars(model))

    form(model)

    assert pickle.dumps(model) == pristine
    assert set(vars(model)) == keys
    assert form(copy.deepcopy(model)) is not form(model)


def test_a_form_goes_with_its_model():
    model = copy.deepcopy(gait("base"))
    seen = weakref.ref(form(model))

    del model
    gc.collect()

    assert seen() is None


def test_threads_share_one_form():
    model = copy.deepcopy(gait("base"))
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(form(model))) for _ in range(8)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert len(set(map(id, found))) == 1


def test_a_form_made_in_inference_mode_serves_outside():
    model = copy.deepcopy(gait("p3d"))
    x = frames(model, 12)
    with torch.inference_mode():
        stream = form(model).stream(chunk=4)
        stream.push(x[:7])

    stream.push(x[7:])

    assert apart(stream.finish(), official(model, x)) < 2e-6


# --- where it is used --------------------------------------------------------------


@torch.no_grad()
def test_inference_on_a_cpu_is_done_by_the_fast_form():
    model = gait("base")

    assert find_form(model, frames(model, 1)) is form(model)
    with torch.autocast("cpu", torch.bfloat16):
        assert find_form(model, frames(model, 1)) is form(model, "bf16")


def test_autocast_does_not_reach_into_a_form():
    model = gait("p3d", (1, 1, 1, 1), WIDE)
    x = frames(model, 3)

    with torch.autocast("cpu", torch.bfloat16):
        found = form(model).embed(x, [3])

    assert torch.equal(found, form(model).embed(x, [3]))


def wants_gradients(model):
    return torch.enable_grad()


def trains_a_part(model):
    model.Backbone.forward_block.bn1.train()
    return torch.no_grad()


def is_watched(model):
    model.Backbone.forward_block.layer2.register_forward_hook(lambda *_: None)
    return torch.no_grad()


def is_parametrized(model):
    weight_norm = torch.nn.utils.parametrizations.weight_norm
    weight_norm(model.Backbone.forward_block.conv1.conv)
    return torch.no_grad()


def is_of_another_class(model):
    model.__class__ = type("Own", (type(model),), {})
    return torch.no_grad()


def has_a_forward_of_its_own(model):
    part = model.Backbone.forward_block.layer2
    part.forward = part.forward
    return torch.no_grad()


def is_in_half_precision(model):
    model.half()
    return torch.no_grad()


def is_elsewhere(model):
    model.to("meta")
    return torch.no_grad()


def has_another_autocast(model):
    return torch.autocast("cpu", torch.float16)


@pytest.mark.parametrize(
    "arrange",
    [
        wants_gradients,
        trains_a_part,
        is_watched,
        is_parametrized,
        is_of_another_class,
        has_a_forward_of_its_own,
        is_in_half_precision,
        is_elsewhere,
        has_another_autocast,
    ],
)
def test_there_is_none_where_it_would_not_be_right(arrange):
    model = copy.deepcopy(gait("base"))
    x = frames(model, 1)

    with torch.no_grad(), arrange(model):
        assert find_form(model, x) is None


def test_no_graph_is_kept():
    model = gait("base")

    found = form(model).embed(frames(model, 2).requires_grad_(), [2])

    assert not found.requires_grad
    assert not found.is_inference()


# --- refusals ----------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [[3], [5], [4, 0], [5, -1], []])
def test_lengths_have_to_fit(lengths):
    model = gait("base")

    with pytest.raises(InputValueError, match="at least 1 and to add up to the 4"):
        form(model).embed(frames(model, 4), lengths)


def test_frames_have_to_have_the_channels_of_the_network():
    with pytest.raises(InputValueError, match=r"\(F, 2, H, W\), got \(3, 1, 16, 12\)"):
        form(gait("x")).embed(torch.zeros(3, 1, 16, 12), [3])


def test_frames_have_to_be_as_high_as_strips_need():
    with pytest.raises(InputValueError, match="have to be 8 pixels high, or a multipl"):
        form(gait("base")).embed(torch.zeros(3, 1, 12, 12), [3])


def test_other_weights_are_refused():
    with pytest.raises(CheckpointError, match="it begins with 'weight'"):
        fast_form(torch.nn.Linear(2, 2))


def test_weights_that_are_cut_short_are_refused():
    state = gait("p3d").state_dict()
    for key in [key for key in state if key.startswith("layer3")]:
        del state[key]

    with pytest.raises(CheckpointError, match="weights have no layer3"):
        fast_form(state)
    with pytest.raises(CheckpointError, match="have no layer0.forward_block.1.weight"):
        fast_form({k: x for k, x in state.items() if ".1.weight" not in k})


def test_other_precisions_are_refused():
    with pytest.raises(InputValueError, match="'fp32' or 'bf16', got 'fp16'"):
        fast_form(gait("base"), "fp16")
