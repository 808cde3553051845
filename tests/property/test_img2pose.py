"""Laws of the detector: the faces of a picture depend on that picture alone."""

import functools
import json
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.models.detectors import photo, small, witness
from unfussy import options
from unfussy.models.img2pose import Face

pytestmark = pytest.mark.property

# Of six canvases; some share one although they differ in size.
SIZES = [(48, 64), (47, 64), (64, 48), (40, 100), (64, 64), (30, 40), (20, 77)]

sizes = st.sampled_from(SIZES)
seeds = st.integers(0, 3)
scenes = st.lists(st.tuples(sizes, seeds), max_size=4)


@functools.cache
def picture(size, seed):
    return photo(*size, seed=seed)


@functools.cache
def alone(size, seed):
    """Return what a picture gives by itself."""
    return small().detect_faces(picture(size, seed))


def assert_same(faces, others):
    assert [face.box for face in faces] == [face.box for face in others]
    for face, other in zip(faces, others):
        assert face.confidence == pytest.approx(other.confidence, abs=1e-6)
        np.testing.assert_allclose(face.pose, other.pose, rtol=1e-5, atol=1e-5)


def mixed(_):
    """Let pictures share a chunk although their canvases differ."""


@given(scenes=scenes, batch_size=st.integers(1, 6) | st.none(), mixes=st.booleans())
def test_a_batch_is_its_pictures_one_by_one(scenes, batch_size, mixes):
    pictures = [picture(*scene) for scene in scenes]

    with options(group=mixed) if mixes else nullcontext():
        found = small().detect_faces(pictures, batch_size=batch_size)

    assert len(found) == len(scenes)
    for faces, scene in zip(found, scenes):
        assert_same(faces, alone(*scene))


@given(scenes=scenes, order=st.randoms(use_true_random=False))
def test_the_order_of_a_list_is_that_of_its_results(scenes, order):
    places = [*range(len(scenes))]
    order.shuffle(places)

    found = witness().detect_faces([picture(*scenes[i]) for i in places])

    straight = witness().detect_faces([picture(*scene) for scene in scenes])
    for i, faces in zip(places, found):
        assert_same(faces, straight[i])


@given(scenes=scenes)
def test_an_iterator_gives_what_a_list_gives(scenes):
    pictures = [picture(*scene) for scene in scenes]

    found = list(witness().detect_faces(iter(pictures)))

    assert len(found) == len(scenes)
    for faces, others in zip(found, witness().detect_faces(pictures)):
        assert_same(faces, others)


@given(
    scenes=scenes,
    bad=st.sets(st.integers(0, 5)),
    batch_size=st.integers(1, 6) | st.none(),
)
def test_bad_pictures_fail_alone_wherever_they_are(scenes, bad, batch_size):
    pictures = [
        f"lost{i}.jpg" if i in bad else picture(*scene)
        for i, scene in enumerate(scenes)
    ]

    outcome = witness().detect_faces(pictures, on_error="return", batch_size=batch_size)

    assert {failed.index for failed in outcome.failures} == bad & {*range(len(scenes))}
    expected = [
        witness().detect_faces(each) for each in pictures if not isinstance(each, str)
    ]
    assert len(outcome.indices) == len(expected)
    for faces, others in zip(outcome.result or [], expected):
        assert_same(faces, others)


@given(scenes=scenes, batch_size=st.integers(1, 6))
def test_chunks_hold_pictures_of_one_canvas_and_as_many_as_may_be(scenes, batch_size):
    detector = witness()
    pictures = [picture(*scene) for scene in scenes]

    detector.detect_faces(pictures, batch_size=batch_size)

    groups = {}
    for each in pictures:
        groups.setdefault(detector.chunk_group(each), []).append(each)
    calls = [len(sizes) for _, sizes in detector.network.seen]
    assert len(calls) == sum(-(-len(each) // batch_size) for each in groups.values())
    assert sum(calls) == len(pictures)


@given(size=sizes, seed=seeds)
def test_faces_are_in_the_picture_and_come_back_from_json(size, seed):
    height, width = size

    for face in alone(size, seed):
        left, top, right, bottom = face.box
        assert 0 <= left <= right <= width + 1e-3
        assert 0 <= top <= bottom <= height + 1e-3
        assert Face.from_dict(json.loads(json.dumps(face.to_dict()))) == face


def test_the_laws_are_about_faces_that_are_found():
    assert all(len(alone(size, 0)) > 2 for size in SIZES)
