"""Large inputs are cut, and what runs out of memory is cut again."""

import torch
from torch import nn

from unfussy import batched, configure, inference
from unfussy.testing import simulate_oom


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(63, 32)

    @batched
    @inference
    def embed(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"z": self.net(x), "norm": x.norm(dim=-1)}


encoder = Encoder()
x = torch.rand(100, 63)
whole = encoder.embed(x)

with simulate_oom(encoder.net, max_items=30) as oom:
    recovered = encoder.embed(x)
print("chunks that were tried:", oom.sizes)
torch.testing.assert_close(recovered, whole)

counts: list[int] = []
configure(encoder.embed, batch_size=32, progress=counts.append)(x)
print("chunks of at most 32:", counts)
