"""
Checked by mypy and basedpyright, never run: easy methods are seen by checkers.

No operator of the type system adds keywords to a signature that is captured, and no
checker runs ``__init_subclass__``. What works in both is a declaration: a method under
`easy` with ``**options: Unpack[EasyOptions]`` (PEP 692), or, for a generated one, the
same line under ``TYPE_CHECKING``.
"""

from typing import TYPE_CHECKING, assert_type

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from typing_extensions import Unpack

from unfussy import EasyInferenceMixin, EasyOptions, TensorLike, easy


class Encoder(EasyInferenceMixin, nn.Module, easy=("decode",)):
    def encode(self, x: Tensor) -> Normal:
        return Normal(x, 1.0)

    def decode(self, z: Tensor) -> dict[str, Tensor]:
        return {"x": z}

    @easy(mode="inference")
    def easy_encode(self, x: TensorLike, **options: Unpack[EasyOptions]) -> Tensor:
        return self.encode(x).mean

    if TYPE_CHECKING:

        def easy_decode(
            self, z: TensorLike, **options: Unpack[EasyOptions]
        ) -> dict[str, Tensor]: ...


class Better(Encoder):
    def easy_encode(self, x: TensorLike, **options: Unpack[EasyOptions]) -> Tensor:
        return super().easy_encode(x, **options) + 1


@easy
def easy_embed(model: Encoder, x: TensorLike, **options: Unpack[EasyOptions]) -> Tensor:
    return model.encode(x).mean


encoder = Encoder()

assert_type(encoder.easy_encode([[1.0]], precision="bf16", batch_size=8), Tensor)
assert_type(encoder.easy_decode(torch.zeros(1)), dict[str, Tensor])
assert_type(Better().easy_encode([1.0], return_numpy=True), Tensor)
assert_type(easy_embed(encoder, [1.0], progress=True), Tensor)
assert_type(encoder.inference_device, torch.device)
assert_type(encoder.inference_dtype, torch.dtype)
assert_type(encoder.warmup([1.0]), Encoder)

encoder.easy_encode([1.0], precision="fp8")  # type: ignore[arg-type]
encoder.easy_encode([1.0], batchsize=8)  # type: ignore[call-arg]
