"""Checked by mypy and basedpyright, never run: decorated methods keep their types."""

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

import torch
from torch import Tensor, nn

from unfussy import (
    TensorLike,
    auto_device,
    autocast_policy,
    batched,
    configure,
    inference,
    options,
    patch,
    returns,
    unfuss,
)


class Encoder(nn.Module):
    @auto_device
    def bare(self, x: Tensor, scale: float = 1.0) -> Tensor:
        return x * scale

    @auto_device(skip="labels", float64="keep")
    @inference(mode="inference", result="keep")
    @autocast_policy(precision="bf16")
    @batched(size=32, over="x")
    @returns("numpy")
    def stacked(self, x: TensorLike, *, labels: list[str]) -> tuple[Tensor, int]:
        return x, len(labels)

    @batched(32)
    @autocast_policy("fp16", outputs="keep")
    def positional(self, x: Tensor) -> dict[str, Tensor]:
        return {"z": x}

    @inference
    def generated(self, x: Tensor) -> Iterator[Tensor]:
        yield x

    @inference
    async def awaited(self, x: Tensor) -> Tensor:
        return x

    @inference
    async def async_generated(self, x: Tensor) -> AsyncIterator[int]:
        yield len(x)

    @classmethod
    @inference
    def of_class(cls, x: Tensor) -> Tensor:
        return x

    @staticmethod
    @auto_device
    def static(x: Tensor) -> Tensor:
        return x

    @property
    @inference
    def size(self) -> int:
        return 3


class Better(Encoder):
    def bare(self, x: Tensor, scale: float = 2.0) -> Tensor:  # a plain override
        return super().bare(x, scale)


@auto_device
def embed(model: Encoder, x: Tensor) -> Tensor:
    return model.bare(x)


encoder, x = Encoder(), torch.zeros(2, 3)

assert_type(encoder.bare(x), Tensor)
assert_type(encoder.stacked([[1.0]], labels=["a"]), tuple[Tensor, int])
assert_type(encoder.positional(x), dict[str, Tensor])
assert_type(encoder.generated(x), Iterator[Tensor])
assert_type(encoder.async_generated(x), AsyncIterator[int])
assert_type(Encoder.of_class(x), Tensor)
assert_type(Encoder.static(x), Tensor)
assert_type(encoder.size, int)
assert_type(Better().bare(x), Tensor)
assert_type(embed(encoder, x), Tensor)
assert_type(configure(encoder.bare, batch_size=8)(x, scale=2.0), Tensor)
assert_type(unfuss(encoder), Encoder)
assert_type(unfuss(encoder, methods="bare").bare(x), Tensor)

encoder.bare(x, scale="wide")  # type: ignore[arg-type]
encoder.stacked(x)  # type: ignore[call-arg]
configure(encoder.bare)(x, size=2)  # type: ignore[call-arg]
unfuss(3)  # type: ignore[type-var]
inference(mode="fast")  # type: ignore[call-overload]


async def awaits() -> None:
    assert_type(await encoder.awaited(x), Tensor)


with options(precision="bf16"), patch(Encoder, "bare", out="numpy"):
    encoder.bare(x)
