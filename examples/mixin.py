"""The mixin puts an easy method beside each pure one, and changes nothing else."""

import numpy as np
from torch import Tensor, nn

from unfussy import EasyInferenceMixin


class Coder(EasyInferenceMixin, nn.Module, easy=("encode", "decode")):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(63, 8), nn.Linear(8, 63)

    def encode(self, x: Tensor) -> Tensor:
        return self.down(x)

    def decode(self, z: Tensor) -> dict[str, Tensor]:
        return {"pose": self.up(z)}


coder = Coder()
poses = np.random.default_rng(0).normal(size=(500, 63))

z = coder.easy_encode(poses, batch_size=128)
back = coder.easy_decode(z, return_numpy=True)
print("latents:", tuple(z.shape), "and back:", back["pose"].shape, back["pose"].dtype)
print("state dict:", *coder.state_dict())
