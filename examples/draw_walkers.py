"""Walkers are drawn, made into what gait models take, and a poor frame is found."""

import numpy as np
from data.draw_walkers import CLOTHES, draw

from unfussy.models.gait.preprocessing import (
    assess_quality,
    drop_poor_frames,
    normalize_sequence,
    to_model_input,
)

for seed, clothes in enumerate(CLOTHES):
    raw = draw(seed, 24, height=240, speed=1 + seed / 4, clothes=clothes)
    walk = normalize_sequence(raw)
    shapes = {name: part.shape for name, part in walk.parts.items()}
    print(f"walker {seed} in {clothes}: {shapes}")

picture = walk.parts["silhouettes"][6, ::4, 12:52:2].astype(bool)
print("\n".join("".join(" #"[pixel] for pixel in row.tolist()) for row in picture))

print(to_model_input(walk.parts, "DeepGaitV2").shape)
print(to_model_input(walk.parts, "SkeletonGaitPP").shape)

poor = 9
raw["silhouettes"][poor, :120] = 0  # something stands before the walker
report = assess_quality(raw["silhouettes"], normalized=True)
print(report)
better = drop_poor_frames(raw, report=report)
assert [frame.index for frame in better.dropped] == [poor]
assert np.array_equal(better.parts["parsing"], np.delete(raw["parsing"], poor, axis=0))
