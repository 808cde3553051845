"""
Draw a walking figure and save it as ``poses.npy``: (120, 21, 3), axis-angle, radians.

Joints are those of SMPL-X without the pelvis; x points to the figure's left, y up and
z forward. Angles follow the course of a textbook's gait cycle: no one was recorded.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
FRAMES, CYCLES = 120, 4
JOINTS = (  # noqa: SIM905 - as a list it is half a page
    "left_hip right_hip spine1 left_knee right_knee spine2 left_ankle right_ankle "
    "spine3 left_foot right_foot neck left_collar right_collar head left_shoulder "
    "right_shoulder left_elbow right_elbow left_wrist right_wrist"
).split()


def bump(cycle: Numbers, middle: float, width: float) -> Numbers:
    """Return a smooth rise to 1 once in a cycle, both in parts of a cycle."""
    return np.exp((np.cos(2 * np.pi * (cycle - middle)) - 1) / (6.28 * width) ** 2)


def turned(x: Numbers, z: Numbers) -> Numbers:
    """Return the axis-angle of a turn by *z* about z and then by *x* about x."""
    (sin_x, cos_x), (sin_z, cos_z) = ((np.sin(a / 2), np.cos(a / 2)) for a in (x, z))
    vector = np.stack((sin_x * cos_z, -sin_x * sin_z, cos_x * sin_z), axis=-1)
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    return vector * 2 * np.arctan2(length, (cos_x * cos_z)[:, None]) / length


def walk() -> Numbers:
    """Return the poses."""
    time = np.arange(FRAMES) * CYCLES / FRAMES
    poses = {joint: np.zeros((FRAMES, 3)) for joint in JOINTS}
    for side, sign, shift in (("left", 1, 0.0), ("right", -1, 0.5)):
        cycle = time + shift  # begins where this heel strikes
        swing = np.cos(2 * np.pi * cycle)
        knee = 4 + 14 * bump(cycle, 0.14, 0.07) + 56 * bump(cycle, 0.72, 0.08)
        ankle = 16 * bump(cycle, 0.63, 0.05) - 9 * bump(cycle, 0.43, 0.1)
        poses[f"{side}_hip"][:, 0] = -np.radians(8 + 22 * swing)
        poses[f"{side}_knee"][:, 0] = np.radians(knee)
        poses[f"{side}_ankle"][:, 0] = np.radians(ankle)
        poses[f"{side}_foot"][:, 0] = -np.radians(20 * bump(cycle, 0.58, 0.05))
        down = np.full(FRAMES, np.radians(-74 * sign))
        poses[f"{side}_shoulder"] = turned(np.radians(18 * swing), down)
        poses[f"{side}_elbow"][:, 1] = -sign * np.radians(22 - 12 * swing)
    twists = {"spine1": 2, "spine2": 3, "spine3": 2, "neck": -3.5, "head": -3.5}
    for joint, twist in twists.items():
        poses[joint][:, 1] = np.radians(twist * np.cos(2 * np.pi * time))
    poses["spine1"][:, 0] = np.radians(4)
    return np.stack([poses[joint] for joint in JOINTS], axis=1)


if __name__ == "__main__":
    np.save(Path(__file__).with_name("poses.npy"), walk())
