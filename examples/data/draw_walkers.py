"""
Draw walkers from the side: masks, label maps and key points, from numbers alone.

A walker has a body and a way of walking; a walk has a speed and clothes besides. T
frames. Angles follow sines: no one was recorded.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
CLOTHES = ("plain", "coat", "dress")


@dataclass(frozen=True)
class Walker:
    """Lengths and widths as parts of the height, angles in radians."""

    head: float
    torso: float
    limb: float
    hip: float  # its height
    swing: float
    bend: float
    lean: float

    @classmethod
    def of(cls, seed: int) -> "Walker":
        """Return the walker of a number."""
        least = (0.055, 0.065, 0.022, 0.46, 0.30, 0.4, -0.04)
        most = (0.085, 0.11, 0.05, 0.56, 0.70, 1.3, 0.14)
        return cls(*np.random.default_rng(seed).uniform(least, most).tolist())


def joints(who: Walker, phases: Numbers) -> dict[str, Numbers]:
    """Return places ``(T, 2)``, x forward and y down, 0 the sole and -1 the crown."""

    def below(start: Numbers, angle: Numbers, length: float) -> Numbers:
        return start + length * np.stack([np.sin(angle), np.cos(angle)], axis=-1)

    rise = 0.012 * np.cos(2 * phases)
    hip = np.stack([0 * phases, rise - who.hip], axis=-1)
    neck = below(hip, np.pi + who.lean + 0 * phases, 0.84 - who.hip)
    found = {"hip": hip, "neck": neck, "head": neck + np.array([0.02, who.head - 0.16])}
    for side, phase in (("left", phases), ("right", phases + np.pi)):
        thigh = who.swing * np.sin(phase)
        shin = thigh - who.bend * np.maximum(np.cos(phase), 0) - 0.05
        knee = below(hip, thigh, who.hip * 0.5)
        ankle = below(knee, shin, who.hip * 0.44)
        elbow = below(neck, -0.8 * thigh, 0.17)
        found |= {f"{side}_knee": knee, f"{side}_ankle": ankle, f"{side}_elbow": elbow}
        found[f"{side}_hand"] = below(elbow, 0.3 - 0.9 * thigh, 0.16)
        found[f"{side}_toe"] = below(ankle, shin + 1.4, 0.09)
    return found


def bones(who: Walker, clothes: str) -> list[tuple[int, str, str, float]]:
    """Return label, ends and half width of each part, the farthest first."""
    limb = who.limb
    arms, legs = [], []
    for side, i in (("right", 1), ("left", 0)):
        legs += [
            (7 + i, "hip", f"{side}_knee", 1.4 * limb),
            (7 + i, f"{side}_knee", f"{side}_ankle", limb),
            (9 + i, f"{side}_ankle", f"{side}_toe", 0.9 * limb),
        ]
        arms += [
            (3 + i, "neck", f"{side}_elbow", 0.9 * limb),
            (3 + i, f"{side}_elbow", f"{side}_hand", 0.7 * limb),
            (5 + i, f"{side}_hand", f"{side}_hand", 0.8 * limb),
        ]
    width = who.torso * (1.2 if clothes == "coat" else 1)
    middle = [(2, "neck", "hip", width), (1, "head", "head", who.head)]
    if clothes != "plain":
        skirt = "left_knee", "right_knee"
        middle += [(11 if clothes == "dress" else 2, "hip", x, width) for x in skirt]
    return arms[:3] + legs + middle + arms[3:]


def draw(
    seed: int,
    n_frames: int,
    *,
    height: int = 64,
    speed: float = 1.0,
    clothes: str = "plain",
    phase: float = 0.0,
) -> dict[str, NDArray]:
    """
    Return ``silhouettes`` and ``parsing`` ``(T, H, H)``, ``keypoints`` ``(T, 17, 3)``.

    *speed* is steps in 12 frames, *phase* where in its cycle the walk begins.
    """
    who = Walker.of(seed)
    places = joints(who, phase + np.pi * speed / 12 * np.arange(n_frames))
    y, x = (np.mgrid[:height, :height] - height / 2) / (0.9 * height)
    y = y - 0.5
    labels = np.zeros((n_frames, height, height), dtype=np.uint8)
    for label, start, end, width in bones(who, clothes):
        for frame, a, b in zip(labels, places[start], places[end]):
            along = b - a
            part = (x - a[0]) * along[0] + (y - a[1]) * along[1]
            part = np.clip(part / max(along @ along, 1e-9), 0, 1)
            gap = np.hypot(x - a[0] - part * along[0], y - a[1] - part * along[1])
            frame[gap < width] = label
    points = (key_points(places) + np.array([0, 0.5])) * 0.9 * height + height / 2
    sure = np.full((n_frames, 17, 1), 0.9)
    mask = (labels > 0).astype(np.uint8) * 255
    keypoints = np.concatenate([points, sure], axis=2)
    return {"silhouettes": mask, "parsing": labels, "keypoints": keypoints}


def key_points(places: dict[str, Numbers]) -> Numbers:
    """Return the 17 points of COCO ``(T, 17, 2)``."""
    head, neck, hip = (places[name] for name in ("head", "neck", "hip"))
    nose, eye, ear = ((0.06, 0), (0.04, -0.02), (0, 0))
    face = [head + np.array(place) for place in (nose, eye, eye, ear, ear)]
    pairs = [neck, neck]
    for name in ("elbow", "hand"):
        pairs += [places[f"left_{name}"], places[f"right_{name}"]]
    pairs += [hip, hip]
    for name in ("knee", "ankle"):
        pairs += [places[f"left_{name}"], places[f"right_{name}"]]
    return np.stack(face + pairs, axis=1)
