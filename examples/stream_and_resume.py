"""Results of a source without an end, and a file that a broken run goes on with."""

from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import numpy as np
import torch
from torch import nn

from unfussy import auto_device, batched, inference, run_to, stream


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(63, 32)

    @batched(size=64)
    @inference
    @auto_device
    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


def camera() -> Iterator[np.ndarray]:
    for i in count():
        yield np.full(63, i % 10, dtype=np.float32)


encoder = Encoder()
for z in islice(stream(encoder.embed, camera()), 3):
    print("a latent of", tuple(z.shape))


def recording(breaks_at: int | None = None) -> Iterator[np.ndarray]:
    for i, frame in enumerate(islice(camera(), 1000)):
        if i == breaks_at:
            raise OSError("the disk was pulled out")
        yield frame


try:
    run_to("latents.npy", encoder.embed, recording(breaks_at=700))
except OSError as error:
    print("broken:", error)
    print("left behind:", sorted(path.name for path in Path().glob("latents*")))

written = run_to("latents.npy", encoder.embed, recording())
print(written)
assert np.load("latents.npy", mmap_mode="r").shape == (1000, 32)
