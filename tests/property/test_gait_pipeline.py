"""Laws of gait pipelines: chunks change nothing, and videos are walks."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.models.gaits import relative, tiny
from unfussy.models.gait.batch_config import BatchConfig
from unfussy.models.gait.pipeline import create_optimized_pipeline

pytestmark = pytest.mark.property

CLOSE = 5e-6


def masks(seed, length, size=(20, 24)):
    """Return raw masks, some of them empty."""
    draw = np.random.default_rng([seed, length])
    frames = draw.random((length, *size)) < 0.7
    frames &= draw.random((length, 1, 1)) > 0.2
    frames[0] |= ~frames[0]
    return frames


lengths = st.lists(st.integers(1, 5), max_size=5)
configs = st.one_of(
    st.builds(
        BatchConfig,
        max_batch_size=st.none() | st.integers(1, 4),
        sequence_length_tolerance=st.integers(0, 3),
        memory_threshold_gb=st.none() | st.sampled_from([1e-9, 1e-3, 2.0]),
    ),
    st.builds(
        BatchConfig,
        max_batch_size=st.none() | st.integers(1, 4),
        enable_dynamic_batching=st.just(value=False),
    ),
)


@given(lengths=lengths, config=configs, bad=st.sets(st.integers(0, 4)))
def test_walks_get_what_they_get_alone_and_bad_ones_are_named(lengths, config, bad):
    walks = [
        "nowhere" if i in bad else masks(i, length) for i, length in enumerate(lengths)
    ]
    pipeline = create_optimized_pipeline(tiny("base"), batch_config=config)

    found = pipeline.infer_batch(walks, on_error="return")

    good = [i for i in range(len(walks)) if i not in bad]
    assert list(found.indices) == good
    assert [x.index for x in found.failures] == [
        i for i in sorted(bad) if i < len(walks)
    ]
    for i, embedding in zip(good, found.result):
        alone = create_optimized_pipeline(tiny("base")).infer_single(walks[i])
        assert relative(embedding[None], alone[None]) < CLOSE


@given(length=st.integers(1, 19), seed=st.integers(0, 9))
def test_a_video_is_the_walk_of_its_frames(length, seed):
    walk = masks(seed, length)
    pipeline = create_optimized_pipeline(tiny("p3d"))

    found = pipeline.infer_video(iter(walk))

    assert relative(found[None], pipeline.infer_single(walk)[None]) < CLOSE
    assert torch.isfinite(found).all()
