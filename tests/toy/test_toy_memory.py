"""The toy device counts every byte and refuses what does not fit."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from unfussy.testing._toy import toy_device


def test_memory_is_counted_and_given_back(toy):
    x = torch.zeros(10, device=toy.device)
    y = x + 1
    assert toy.live_bytes == 80

    del x
    assert toy.live_bytes == 40

    del y
    assert toy.live_bytes == 0
    assert toy.peak_bytes == 80


def test_views_share_their_memory(toy):
    x = torch.zeros(10, device=toy.device)
    view = x.reshape(2, 5)[1:].mT
    assert toy.live_bytes == 40

    del x
    assert toy.live_bytes == 40

    del view
    assert toy.live_bytes == 0


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_layers_give_back_what_they_held(toy, mode):
    module = toy.place(nn.Sequential(nn.Linear(100, 200), nn.ReLU(), nn.Linear(200, 5)))
    weights = sum(p.numel() * 4 for p in module.parameters())
    assert toy.live_bytes == weights

    with mode():
        result = module(torch.randn(10, 100).to(toy.device))

    inputs, hidden = 10 * 100 * 4, 10 * 200 * 4
    assert toy.live_bytes == weights + 10 * 5 * 4
    assert toy.peak_bytes == weights + inputs + 2 * hidden
    del result, module
    assert toy.live_bytes == 0


def test_the_graph_of_autograd_holds_memory(toy):
    module = toy.place(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    weights = toy.live_bytes

    result = module(torch.randn(3, 4).to(toy.device))

    assert toy.live_bytes == weights + 2 * 48
    result.sum().backward()
    del result
    assert toy.live_bytes == 2 * weights
    module.zero_grad()
    assert toy.live_bytes == weights


def test_growing_tensors_are_counted(toy):
    x = torch.empty(0, device=toy.device)

    torch.add(torch.ones(10, device=toy.device), 1, out=x)

    assert toy.live_bytes == 40
    assert x.shape == (10,)


def test_too_much_raises_and_leaves_nothing():
    with toy_device(memory_limit=100) as toy:
        x = torch.zeros(20, device=toy.device)

        text = (
            r"TOY out of memory\. Tried to allocate 24 bytes\. Device toy:0 has a "
            r"total capacity of 100 bytes of which 20 bytes are free\."
        )
        for refused in (
            lambda: torch.zeros(6).to(toy.device),
            lambda: torch.zeros(6, device=toy.device),
            lambda: x[:6] + 1,
        ):
            with pytest.raises(torch.OutOfMemoryError, match=text):
                refused()
            assert toy.live_bytes == 80

        assert (x[:5] + 1).tolist() == [1.0] * 5


def test_growing_too_much_raises():
    with toy_device(memory_limit=100) as toy:
        x = torch.ones(20, device=toy.device)

        with pytest.raises(torch.OutOfMemoryError, match="80 bytes"):
            torch.add(x, 1, out=torch.empty(0, device=toy.device))


def test_the_limit_can_be_set_later(toy):
    module = toy.place(nn.Linear(100, 100))
    toy.memory_limit = toy.live_bytes + 1000

    with torch.no_grad():
        module(torch.zeros(1, 100).to(toy.device))
        with pytest.raises(torch.OutOfMemoryError):
            module(torch.zeros(2, 100).to(toy.device))
        toy.memory_limit = None
        module(torch.zeros(2, 100).to(toy.device))


def double(x):
    there = x.to("toy:0")
    return (there * 2).cpu()


def retry_after(x):
    try:
        return double(x)
    except torch.OutOfMemoryError:
        pass
    return torch.cat([double(part) for part in x.chunk(4)])


def retry_inside(x):
    try:
        return double(x)
    except torch.OutOfMemoryError:
        return torch.cat([double(part) for part in x.chunk(4)])


def test_a_retry_after_the_except_block_has_all_memory_back():
    with toy_device(memory_limit=100):
        result = retry_after(torch.arange(20.0))

    assert result.tolist() == [2.0 * i for i in range(20)]


def test_a_retry_inside_the_except_block_lacks_the_memory_of_the_failure():
    with (
        toy_device(memory_limit=100),
        pytest.raises(torch.OutOfMemoryError, match="which 0 bytes are free"),
    ):
        retry_inside(torch.arange(20.0))


def test_threads_are_counted_together(toy):
    kept = []

    def work():
        for _ in range(20):
            torch.zeros(10, device=toy.device)
            kept.append(torch.zeros(10).to(toy.device))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert toy.live_bytes == 4 * 20 * 40
    assert len(toy.copies) == 80
    kept.clear()
    assert toy.live_bytes == 0
