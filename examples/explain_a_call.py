"""Nothing is magic: ask what a call would do."""

import numpy as np
from torch import Tensor, nn

from unfussy import (
    auto_device,
    autocast_policy,
    batched,
    configure,
    explain,
    get_device_info,
    inference,
)


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(63, 32)

    @batched(size=256)
    @autocast_policy
    @inference
    @auto_device
    def embed(self, x: dict[str, Tensor]) -> Tensor:
        return self.net(x["pose"])


poses = {"pose": np.zeros((1000, 63)), "subject": "anna"}
print(explain(Encoder().embed, poses))
print(explain(configure(Encoder().eval().embed, precision="bf16", out="numpy"), poses))
print(get_device_info())
