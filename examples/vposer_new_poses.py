"""Sampling and interpolating leave the global random state and the model alone."""

import numpy as np
import torch

from unfussy.models.vposer import VPoser

vposer = VPoser.from_config().train()
before = torch.get_rng_state()

poses = vposer.sample_poses(5, seed=123)
again = vposer.sample_poses(5, seed=np.random.RandomState(123))
print(
    "the same seed gives the same poses:",
    torch.equal(*[p["pose_body"] for p in (poses, again)]),
)

a, b = vposer.easy_encode(poses["pose_body"][:2])
between = vposer.interpolate(a, b, 30, "spherical")
frames = vposer.easy_decode(between, output="matrot", return_numpy=True)
print("frames in between:", frames.shape)

print("still in training mode:", vposer.training)
print(
    "nothing drawn from the global generator:",
    torch.equal(torch.get_rng_state(), before),
)
