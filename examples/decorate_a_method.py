"""A decorated method takes arrays, lists and tensors, and leaves no trace."""

import numpy as np
import torch
from torch import nn

from unfussy import auto_device, autocast_policy, batched, inference


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(63, 32), nn.Dropout(0.1))

    @batched
    @autocast_policy
    @inference
    @auto_device
    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


encoder = Encoder()
poses = np.random.default_rng(0).normal(size=(1000, 63))

z = encoder.embed(poses)
print("from an array in double precision:", tuple(z.shape), z.dtype)
print("from a list:", tuple(encoder.embed(poses[:2].tolist()).shape))
print("the module trains as before:", encoder.training)
assert torch.equal(encoder.embed(torch.tensor(poses).float()), z)
