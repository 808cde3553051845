"""Where does the time go, and which way is faster?"""

import numpy as np
from torch import Tensor, nn

from unfussy import auto_device, batched, configure, inference, stream
from unfussy.profiling import compare, profile


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(63, 512), nn.ReLU(), nn.Linear(512, 32))

    @batched(size=256)
    @inference
    @auto_device
    def embed(self, x: Tensor) -> Tensor:
        return self.net(x)


model, poses = Encoder(), np.random.default_rng(0).normal(size=(1000, 63))

with profile("chunks of 256") as large:
    for _ in range(20):
        model.embed(poses)
    for _ in stream(model.embed, iter(poses)):
        pass

with profile("chunks of 8") as small:
    for _ in range(20):
        configure(model.embed, batch_size=8)(poses)

print(large)
print()
print(compare(large, small))

large.generate_report("report.html")  # pictures need the extra `plots`
assert large.calls[0].items == len(poses)
assert sum(large.calls[0].stages.values()) <= large.calls[0].seconds
