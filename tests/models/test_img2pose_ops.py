"""Operators of Img2Pose against the numbers of the compiled ones."""

import sys
from itertools import product
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tests.models.img2poses import picture, reference
from unfussy.errors import InputValueError
from unfussy.models.img2pose.anchors import make_anchors
from unfussy.models.img2pose.compiled import fastest
from unfussy.models.img2pose.heads import level_of
from unfussy.models.img2pose.nms import nms, sorted_nms
from unfussy.models.img2pose.proposals import decode_boxes
from unfussy.models.img2pose.roi_align import own_roi_align, roi_align
from unfussy.models.img2pose.steady import SteadyConv2d, with_rows
from unfussy.models.img2pose.transform import (
    canvas_of,
    on_canvas,
    prepare,
    resized_size,
)


def numbers(name):
    return torch.from_numpy(reference("ops")[name])


# --- suppression ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "threshold"),
    [*product(["small", "large"], [0.4, 0.5]), ("ties", 0.5), ("degenerate", 0.5)],
)
def test_the_official_boxes_are_kept(case, threshold):
    name = f"nms_{case}_keep_{threshold}"

    kept = nms(numbers(f"nms_{case}_boxes"), numbers(f"nms_{case}_scores"), threshold)

    assert kept.tolist() == numbers(name).tolist()


def test_an_overlap_equal_to_the_threshold_stays():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5]])

    assert nms(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist() == [0, 1]


def test_a_threshold_is_not_rounded_up():
    boxes = torch.tensor([[0.0, 0, 3.5, 1], [1.5, 0, 5, 1]])  # 0.4, as float32 has it

    assert nms(boxes, torch.tensor([0.9, 0.8]), 0.4).tolist() == [0]
    assert nms(boxes, torch.tensor([0.9, 0.8]), 0.40000001).tolist() == [0, 1]


def test_of_equal_boxes_and_scores_the_first_is_kept():
    boxes = torch.tensor([[0.0, 0, 4, 4]]).expand(600, 4)

    assert nms(boxes, torch.ones(600), 0.5).tolist() == [0]


def test_thousands_of_kept_boxes_suppress():
    corner = torch.arange(3000.0)
    apart = torch.stack((corner, corner, corner + 1, corner + 1), 1)

    kept = nms(apart.repeat(2, 1), torch.arange(6000, 0, -1.0), 0.5)

    assert kept.tolist() == list(range(3000))


def test_of_no_boxes_none_is_kept():
    assert nms(torch.zeros(0, 4), torch.zeros(0), 0.5).tolist() == []


# --- pooling -------------------------------------------------------------------------


def test_regions_are_pooled_as_officially_also_across_edges():
    regions = numbers("align_regions")

    pooled = roi_align(
        numbers("align_features"), regions[:, 1:], regions[:, 0].long(), 1 / 8
    )

    assert_close(pooled, numbers("align_pooled"), rtol=0, atol=2e-6)


def test_no_regions_give_none():
    nobody = torch.zeros(0, dtype=torch.long)

    pooled = roi_align(torch.ones(1, 5, 8, 8), torch.zeros(0, 4), nobody, 0.25)

    assert pooled.shape == (0, 5, 7, 7)


def test_boxes_go_to_the_official_maps():
    assert level_of(numbers("level_boxes")).tolist() == numbers("levels").tolist()


# --- torchvision ---------------------------------------------------------------------


@pytest.fixture
def torchvision(monkeypatch):
    """Give a module to be taken for torchvision's operators."""
    fastest.cache_clear()
    module = ModuleType("torchvision.ops")
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.ops", module)
    yield module
    fastest.cache_clear()


def their_nms(boxes, scores, threshold):
    order = scores.argsort(descending=True)
    return order[sorted_nms(boxes[order], threshold, None)]


def their_align(features, regions, size, scale, samples):
    assert (size, samples) == (7, 2)
    return own_roi_align(features, regions[:, 1:], regions[:, 0].long(), scale)


def test_compiled_operators_are_used_where_they_agree(torchvision):
    calls = []
    torchvision.nms = lambda *args: calls.append("nms") or their_nms(*args)
    torchvision.roi_align = lambda *args: calls.append("align") or their_align(*args)

    boxes, scores = numbers("nms_ties_boxes"), numbers("nms_ties_scores")
    kept = nms(boxes, scores, 0.5, limit=9)
    test_regions_are_pooled_as_officially_also_across_edges()

    assert kept.tolist() == numbers("nms_ties_keep_0.5").tolist()[:9]
    assert calls == ["nms", "nms", "align", "align"]


@pytest.mark.parametrize(
    "wrong", [lambda *_: torch.arange(1), lambda *_: 1 / 0], ids=["other", "fails"]
)
def test_compiled_operators_that_do_not_agree_are_left_alone(torchvision, wrong):
    torchvision.nms = torchvision.roi_align = wrong

    test_the_official_boxes_are_kept("small", 0.5)
    test_regions_are_pooled_as_officially_also_across_edges()


def test_without_compiled_operators_there_are_ours(torchvision):
    assert fastest("nms", "cpu", sorted_nms, lambda: (torch.ones(1, 4), 0.5, None)) is (
        sorted_nms
    )


# --- anchors and boxes ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("canvas", "every", "name"),
    [((96, 160), 1, "96x160"), ((320, 448), 17, "320x448_every_17th")],
)
def test_anchors_are_the_official_ones(canvas, every, name):
    sides = [tuple(-(-side // step) for side in canvas) for step in (4, 8, 16, 32, 64)]

    anchors = torch.cat(make_anchors(canvas, sides))

    assert_close(anchors[::every], numbers(f"anchors_{name}").float(), rtol=0, atol=0)


def test_the_coarsest_anchors_are_as_far_apart_as_whole_pixels_allow():
    *_, coarsest = make_anchors((672, 640), [(1, 1)] * 4 + [(11, 10)])

    centres = (coarsest[1::3, :2] + coarsest[1::3, 2:]) / 2
    assert centres[1].tolist() == [64, 0]
    assert centres[10].tolist() == [0, 61]


def test_boxes_are_moved_as_officially():
    boxes = decode_boxes(numbers("decode_deltas"), numbers("decode_boxes"))

    assert_close(boxes, numbers("decode_out"))


# --- pictures ------------------------------------------------------------------------


def test_pictures_get_the_official_size_and_canvas():
    for height, width, *sides in numbers("sizes").tolist():
        size = resized_size(height, width)

        assert [*size, *canvas_of(*size)] == sides


def test_sides_are_rounded_down_as_floats_tell():
    assert resized_size(581, 581) == (639, 639)


def test_an_endless_panorama_keeps_a_row():
    assert resized_size(1, 5000) == (1, 1400)


def test_a_picture_without_pixels_is_refused():
    with pytest.raises(InputValueError, match="0 x 9 pixels"):
        resized_size(0, 9)


def test_pictures_are_prepared_as_officially():
    pixels = torch.from_numpy(picture(61, 83, 1)).movedim(-1, 0)

    canvas = on_canvas([prepare(pixels, (96, 130))], (96, 160))[0]

    assert_close(canvas[:, ::5, ::5], numbers("prepared_every_5th"), rtol=0, atol=2e-6)
    assert_close(prepare(pixels / 255, (96, 130)), canvas[..., :130], rtol=0, atol=0)


def test_pictures_keep_double_precision():
    assert prepare(torch.zeros(3, 4, 4).double(), (8, 8)).dtype == torch.float64


@pytest.mark.parametrize("shape", [(4, 9, 9), (9, 9), (1, 3, 9, 9)])
def test_what_is_no_picture_is_refused(shape):
    with pytest.raises(InputValueError, match=r"takes a picture \(3, H, W\)"):
        prepare(torch.zeros(shape), (32, 32))


def test_what_no_canvas_can_be_is_refused():
    small, large = torch.zeros(3, 20, 20), torch.zeros(3, 20, 70)

    with pytest.raises(InputValueError, match=r"picture 1, \(3, 20, 70\), is larger"):
        on_canvas([small, large], (32, 64))
    with pytest.raises(InputValueError, match="multiples of 32"):
        on_canvas([small], (32, 60))
    with pytest.raises(InputValueError, match="at least one picture"):
        on_canvas([], (32, 64))


# --- layers --------------------------------------------------------------------------


def test_a_small_picture_alone_is_convolved_like_one_of_two(monkeypatch):
    lengths = []
    plain = nn.Conv2d.forward
    monkeypatch.setattr(
        nn.Conv2d, "forward", lambda self, x: lengths.append(len(x)) or plain(self, x)
    )
    layer, x = SteadyConv2d(3, 4, 3, padding=1), torch.randn(2, 3, 9, 9)

    alone, both = layer(x[:1]), layer(x)
    layer(torch.zeros(1, 3, 99, 99))

    assert lengths == [2, 2, 1]
    assert_close(alone, both[:1], rtol=0, atol=1e-6)


def test_few_rows_become_more():
    assert np.array_equal(with_rows(torch.ones(2, 3)).sum(1), [3, 3] + [0] * 30)
    assert with_rows(torch.ones(40, 3)).shape == (40, 3)
