"""Pipelines: chunks in the words of `BatchConfig`, finished embeddings, profiles."""

import json

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tests.models.gaits import new_tiny, relative, tiny, walk
from unfussy import configure, explain
from unfussy.errors import InputTypeError, InputValueError, PlanError
from unfussy.models.gait.batch_config import BatchConfig
from unfussy.models.gait.distances import distance
from unfussy.models.gait.finishing import Finish
from unfussy.models.gait.pipeline import create_optimized_pipeline
from unfussy.models.gait.recognizer import GaitRecognizer
from unfussy.models.gait.recognizing import embed_walks
from unfussy.models.gait.walks import walk_cost

CLOSE = 5e-6


def walks(*lengths):
    return [walk("base", length, seed=i) for i, length in enumerate(lengths)]


def chunks(pipeline, given):
    """Return how many walks each chunk would have."""
    settings = pipeline.batch_config.settings_for(pipeline.model)
    call = configure(embed_walks, **settings)
    return sorted(explain(call, pipeline, given).chunks.sizes)


# --- chunks --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        BatchConfig(),
        BatchConfig(max_batch_size=2),
        BatchConfig(max_batch_size=3, sequence_length_tolerance=4),
        BatchConfig(memory_threshold_gb=1e-6),
        BatchConfig(max_batch_size=2, enable_dynamic_batching=False),
    ],
)
def test_no_setting_changes_an_embedding(config):
    given = walks(5, 1, 9, 2, 5)

    found = create_optimized_pipeline(tiny("base"), batch_config=config).infer_batch(
        given
    )

    assert relative(found, tiny("base").easy_embed(given)) < CLOSE


def test_a_chunk_has_at_most_so_many_walks():
    config = BatchConfig(max_batch_size=2)

    pipeline = create_optimized_pipeline(tiny("base"), batch_config=config)

    assert max(chunks(pipeline, walks(3, 3, 3, 3, 3))) == 2


def test_a_chunk_has_at_most_so_much_memory():
    one = 8 * tiny("base").channels[0] * 64 * 44 * 4 / 2**30  # of a frame, in GiB
    config = BatchConfig(max_batch_size=9, memory_threshold_gb=4 * one)

    pipeline = create_optimized_pipeline(tiny("base"), batch_config=config)

    assert chunks(pipeline, walks(2, 2, 2, 2)) == [2, 2]
    assert chunks(pipeline, walks(9, 9)) == [1, 1]  # longer ones run alone


def test_lengths_within_the_tolerance_count_as_equal():
    cost = BatchConfig(sequence_length_tolerance=4).settings_for(tiny("base"))["cost"]

    found = [cost(walk("base", n)) for n in (1, 5, 6, 10, 11)]

    assert found == [5, 5, 10, 10, 15]


def test_without_dynamic_batching_walks_are_taken_as_they_come():
    config = BatchConfig(max_batch_size=2, enable_dynamic_batching=False)

    pipeline = create_optimized_pipeline(tiny("base"), batch_config=config)

    assert chunks(pipeline, walks(1, 30, 2, 29)) == [2, 2]
    assert config.settings_for(tiny("base"))["cost"](walk("base", 30)) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_batch_size": 0}, "max_batch_size is 1 or more, or None, got 0"),
        ({"max_batch_size": 2.5}, "max_batch_size is a whole number from 1, got 2.5"),
        ({"sequence_length_tolerance": -1}, "a whole number from 0, got -1"),
        ({"memory_threshold_gb": 0.0}, "memory_threshold_gb is above 0, or None"),
        (
            {"enable_dynamic_batching": False, "memory_threshold_gb": 2.0},
            "memory_threshold_gb goes by the lengths of walks",
        ),
        (
            {"enable_dynamic_batching": False, "sequence_length_tolerance": 5},
            "sequence_length_tolerance goes by the lengths of walks",
        ),
    ],
)
def test_settings_without_a_meaning_are_refused(settings, message):
    with pytest.raises(InputValueError, match=message):
        BatchConfig(**settings)


def test_costs_are_seen_without_reading_walks(tmp_path):
    np.save(tmp_path / "walk.npy", walk("base", 7))
    (tmp_path / "damaged.npy").write_bytes(b"nothing")
    (tmp_path / "walk").mkdir()
    for i in range(3):
        (tmp_path / "walk" / f"{i}.png").touch()

    assert walk_cost(tmp_path / "walk.npy") == 7
    assert walk_cost(str(tmp_path / "walk")) == 3
    assert walk_cost({"silhouettes": tmp_path / "walk.npy", "parsing": []}) == 7
    assert walk_cost([*walk("base", 5)]) == walk_cost(walk("base", 5)) == 5
    unknown = ("damaged.npy", "video.mp4", "nowhere.npy")
    assert {walk_cost(tmp_path / name) for name in unknown} == {64}
    assert walk_cost(None) == 1


# --- what is done to embeddings ------------------------------------------------------


def test_each_part_may_be_brought_to_length_one():
    given = walks(3, 5)

    found = create_optimized_pipeline(tiny("base"), normalize=True).infer_batch(given)

    plain = tiny("base").easy_embed(given)
    assert_close(found.norm(dim=1), torch.ones(2, 4))
    assert_close(distance(found, found, "cosine"), distance(plain, plain, "cosine"))


def test_all_parts_together_may_be_brought_to_length_one():
    pipeline = create_optimized_pipeline(tiny("base"), normalize="whole")

    found = pipeline.infer_single(walk("base", 3))

    plain = tiny("base").easy_embed(walk("base", 3))
    assert_close(found, plain / plain.norm())


def test_nothing_is_divided_by_zero():
    zero = torch.zeros(1, 3, 2)

    assert torch.equal(Finish("whole")(zero), zero)
    assert torch.equal(Finish("parts")(zero), zero)


@pytest.fixture
def broken():
    """Return a model that gives infinities for a bright walk."""
    model = new_tiny("base")

    def embed_frames(frames, runs):
        found = type(model).embed_frames(model, frames, runs)
        bright = torch.stack([x.min() for x in frames.split([r.length for r in runs])])
        return torch.where(bright[:, None, None] == 1, torch.inf, found)

    model.embed_frames = embed_frames
    return model


BRIGHT = np.full((2, 64, 64), 255, np.uint8)


def test_infinities_are_an_error_of_their_walk_alone(broken):
    given = [*walks(3, 5), BRIGHT]

    found = create_optimized_pipeline(broken).infer_batch(given, on_error="return")

    assert found.indices == (0, 1)
    assert found.failures[0].index == 2
    assert "hold infinities or NaN" in str(found.failures[0])
    with pytest.raises(InputValueError, match="1 of 1 embeddings hold infinities"):
        create_optimized_pipeline(broken).infer_single(BRIGHT)


def test_infinities_may_be_told_or_passed_on(broken):
    told = create_optimized_pipeline(broken, on_nonfinite="warn")
    passed = create_optimized_pipeline(broken, on_nonfinite="ignore")

    with pytest.warns(RuntimeWarning, match="1 of 1 embeddings hold infinities or NaN"):
        found = told.infer_single(BRIGHT)

    assert torch.equal(passed.infer_single(BRIGHT), found)
    assert found.isinf().all()


def test_what_low_precision_breaks_may_be_computed_again():
    model = new_tiny("base")
    model.embed_frames = lambda frames, runs: torch.full(
        (len(runs), 5, 4), torch.inf if _is_low() else 1.0
    )

    pipeline = create_optimized_pipeline(model, on_nonfinite="retry", precision="bf16")

    assert torch.equal(pipeline.infer_single(walk("base", 2)), torch.ones(5, 4))


def _is_low():
    return torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"normalize": "all"}, "normalize is False, 'parts' .or True. or 'whole', got"),
        ({"on_nonfinite": "zero"}, "on_nonfinite is 'raise', 'warn', 'retry' or 'igno"),
        ({"model_type": "XGait"}, "model_type is 'XGait', but the model is a GaitBase"),
        ({"size": 3}, "size is the side in pixels, an even number, got 3"),
    ],
)
def test_a_wrong_setting_is_told_at_once(settings, message):
    with pytest.raises(InputValueError, match=message):
        create_optimized_pipeline(tiny("base"), **settings)


def test_other_things_than_models_are_refused():
    with pytest.raises(InputTypeError, match="got Linear"):
        create_optimized_pipeline(torch.nn.Linear(1, 1))
    mine = GaitRecognizer("GaitBase", model=tiny("base"))
    with pytest.raises(InputTypeError, match=r"got GaitRecognizer; pass its \.model"):
        create_optimized_pipeline(mine)
    with pytest.raises(PlanError, match="precision"):
        create_optimized_pipeline(tiny("base"), precision="fp12")


def test_official_names_are_understood():
    pipeline = create_optimized_pipeline(tiny("skeleton"), "SkeletonGait++")

    assert pipeline.infer_single(walk("skeleton", 2)).shape == (5, 4)


# --- precision and profiles ----------------------------------------------------------


def test_low_precision_is_near():
    given = walk("base", 9)
    pipeline = create_optimized_pipeline(tiny("base"), precision="bf16")
    wanted = tiny("base").easy_embed([given])

    assert relative(pipeline.infer_single(given)[None], wanted) < 3e-2
    assert relative(pipeline.infer_video(iter(given))[None], wanted) < 3e-2


def test_a_session_records_until_it_is_closed(tmp_path):
    with create_optimized_pipeline(
        tiny("base"), "GaitBase", enable_profiling=True
    ) as pipeline:
        pipeline.infer_batch(walks(3, 2))
        pipeline.infer_single(walk("base", 2))
    pipeline.infer_single(walk("base", 2))

    assert [call.items for call in pipeline.session.calls] == [2, 1]
    pipeline.generate_report(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())


def test_without_profiling_there_is_no_session():
    pipeline = create_optimized_pipeline(tiny("base"))
    pipeline.close()

    assert pipeline.session is None
    with pytest.raises(InputValueError, match="write enable_profiling=True"):
        pipeline.generate_report()


def test_the_easy_method_takes_options():
    pipeline = create_optimized_pipeline(tiny("base"))

    found = pipeline.easy_infer(walks(2, 3), return_numpy=True, batch_size=1)

    assert isinstance(found, np.ndarray)
    assert relative(found, pipeline.infer_batch(walks(2, 3))) < CLOSE
    assert "normalize=False" in pipeline.fingerprint
