"""A model with several plans, and how tests compile it."""

import torch

from tests.modules import Plain
from unfussy import auto_device, autocast_policy, batched, inference

__all__ = ["Model", "X", "compiled"]

X = torch.linspace(-1, 1, 12).reshape(4, 3)


def compiled(fn, backend="eager", *, fullgraph=True):
    return torch.compile(fn, backend=backend, fullgraph=fullgraph)


class Model(Plain):
    @inference
    @auto_device
    @autocast_policy("bf16", outputs="keep")
    def embed(self, x):
        return self.net(x)

    @batched(size=2)
    @autocast_policy("bf16")
    @inference
    @auto_device
    def forward(self, x):
        return self.net(x)

    def around(self, x):
        return self.embed(x) * 2

    @inference(mode="inference")
    @auto_device
    def infer(self, x):
        return self.net(x)
