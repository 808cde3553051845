"""The walking figure of the examples is what its script draws, and can walk."""

import runpy
from pathlib import Path

import numpy as np

DATA = Path(__file__).parents[2] / "examples" / "data"


def test_the_file_is_what_the_script_draws():
    script = runpy.run_path(str(DATA / "make_poses.py"))

    poses = np.load(DATA / "poses.npy")

    assert poses.shape == (120, 21, 3)
    assert poses.dtype == np.float64
    np.testing.assert_allclose(script["walk"](), poses, atol=1e-12)


def test_knees_bend_backwards_and_legs_take_turns():
    joints = runpy.run_path(str(DATA / "make_poses.py"))["JOINTS"]
    left_knee, right_knee, left_hip, right_hip = (
        np.load(DATA / "poses.npy")[:, joints.index(name), 0]
        for name in ("left_knee", "right_knee", "left_hip", "right_hip")
    )

    assert min(left_knee.min(), right_knee.min()) > 0
    assert max(left_knee.max(), right_knee.max()) < np.radians(70)
    assert np.corrcoef(left_hip, right_hip)[0, 1] < -0.99
