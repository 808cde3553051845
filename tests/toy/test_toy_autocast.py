"""Autocast works on the toy device as it does on CUDA."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

LOW = {
    "linear": lambda x: functional.linear(x, x),
    "matmul": lambda x: x @ x.mT,
    "conv": lambda x: functional.conv1d(x[None], x[:, :, None]),
    "attention": lambda x: functional.scaled_dot_product_attention(x, x, x),
}
FULL = {
    "softmax": lambda x: x.softmax(-1),
    "layer_norm": lambda x: functional.layer_norm(x, (4,)),
    "exp": torch.exp,
    "sum": lambda x: x.sum(0),
    "power": lambda x: x**2,
}


def square(toy, dtype=torch.float32):
    return torch.linspace(0, 1, 16).reshape(4, 4).to(toy.device, dtype)


@pytest.mark.parametrize("name", LOW)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_products_run_in_low_precision(toy, name, dtype):
    x = square(toy)

    with torch.autocast("toy", dtype=dtype):
        result = LOW[name](x)

    assert result.dtype is dtype
    same = LOW[name](toy.peek(x).to(dtype))
    torch.testing.assert_close(toy.peek(result), same, rtol=0, atol=0)


@pytest.mark.parametrize("name", FULL)
def test_sums_run_in_full_precision(toy, name):
    x = square(toy, torch.bfloat16)

    with torch.autocast("toy", dtype=torch.bfloat16):
        result = FULL[name](x)

    assert result.dtype is torch.float32


def test_the_raw_flags_do_the_same(toy):
    layer = toy.place(nn.Linear(4, 2))
    torch.set_autocast_enabled("toy", True)  # noqa: FBT003
    torch.set_autocast_dtype("toy", torch.bfloat16)

    try:
        result = layer(square(toy))
    finally:
        torch.set_autocast_enabled("toy", False)  # noqa: FBT003

    assert torch.amp.is_autocast_available("toy")
    assert result.dtype is torch.bfloat16
    assert layer(square(toy)).dtype is torch.float32


def test_every_cast_of_a_weight_is_in_the_log(toy):
    layer = toy.place(nn.Linear(4, 2))
    x = square(toy, torch.bfloat16)
    toy.copies.clear()

    with torch.autocast("toy", dtype=torch.bfloat16), torch.no_grad():
        layer(x)

    assert [(c.direction, c.shape) for c in toy.copies] == [
        ("within", (2, 4)),
        ("within", (2,)),
    ]


def test_double_precision_is_left_alone(toy):
    x = square(toy, torch.float64)

    with torch.autocast("toy", dtype=torch.bfloat16):
        assert (x @ x).dtype is torch.float64


def test_autocast_of_the_cpu_means_nothing_here(toy):
    x = square(toy)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (x @ x).dtype is torch.float32


def test_gradients_pass_through_the_casts(toy):
    layer = toy.place(nn.Linear(4, 2))

    with torch.autocast("toy", dtype=torch.bfloat16):
        layer(square(toy)).sum().backward()

    assert layer.weight.grad.dtype is torch.float32
    assert layer.weight.grad.device == toy.device
