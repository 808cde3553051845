"""Streams to and from an accelerator with real values and a log of copies."""

import numpy as np
import pytest
import torch
from torch import nn

from unfussy import auto_device, batched, inference, returns, run_to, stream

ROWS = np.arange(28.0, dtype=np.float32).reshape(7, 4)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 3)

    @batched(size=2)
    @inference
    @auto_device
    def embed(self, x):
        return self.net(x)

    @returns("numpy")
    @batched(size=2)
    @inference
    @auto_device
    def arrays(self, x):
        return self.net(x)


@pytest.fixture
def expected():
    torch.manual_seed(0)
    return Net().embed(ROWS)


@pytest.fixture
def net(toy, expected):
    torch.manual_seed(0)
    return Net().to(toy.device)


@pytest.mark.parametrize("source", [np.asarray, iter, list])
def test_streams_compute_on_the_device(net, expected, source):
    found = torch.stack(list(stream(net.embed, source(ROWS))))

    assert found.device.type == net.net.weight.device.type
    torch.testing.assert_close(found.cpu(), expected)


def test_arrays_come_back(net, expected):
    found = np.stack(list(stream(net.arrays, iter(ROWS))))

    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5)


def test_results_go_to_a_file(net, expected, tmp_path):
    written = run_to(tmp_path / "z.npy", net.embed, ROWS)

    np.testing.assert_allclose(np.load(written.path), expected.numpy(), rtol=1e-5)
