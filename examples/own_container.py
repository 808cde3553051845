"""A container of one's own is taught once, and every decorator reaches into it."""

import numpy as np
from torch import Tensor, nn

from unfussy import auto_device, register, tree_paths


class Sample:
    def __init__(self, pose: object, name: str) -> None:
        self.pose, self.name = pose, name


register(
    Sample,
    children=lambda sample: {"pose": sample.pose},
    rebuild=lambda sample, new: Sample(new["pose"], sample.name),
)


class Encoder(nn.Linear):
    @auto_device
    def embed(self, samples: list[Sample]) -> dict[str, Tensor]:
        return {sample.name: self(sample.pose) for sample in samples}


samples = [Sample(np.zeros(3), "anna"), Sample(np.ones(3), "ben")]
print([path for path, _ in tree_paths(samples)])
print({name: tuple(z.shape) for name, z in Encoder(3, 2).embed(samples).items()})
