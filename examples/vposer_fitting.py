"""An encoded pose is an ordinary tensor: fitting starts from it at once."""

from pathlib import Path

import numpy as np
import torch

from unfussy.models.vposer import VPoser

walk = np.load(Path(__file__).parent / "data" / "poses.npy")
vposer = VPoser.from_config()
vposer.requires_grad_(requires_grad=False)  # only the latents are fitted
target = torch.from_numpy(walk[:8]).float()

z, (mean, std) = vposer.easy_encode(target, return_stats=True)
start = z.clone()
optimizer = torch.optim.Adam([z.requires_grad_()], lr=0.1)

losses = []
for _ in range(60):
    optimizer.zero_grad()
    error = (vposer.decode(z)["pose_body"] - target).square().mean()
    prior = z.square().mean()  # latents of likely poses are near the origin
    loss = error + 1e-4 * prior
    loss.backward()
    optimizer.step()
    losses.append(error.item())

print(f"mean squared error: {losses[0]:.3f} -> {losses[-1]:.3f} rad^2")
print("the mean stays where it was:", torch.equal(mean, start))
