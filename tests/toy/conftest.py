"""Tests on the toy device: it stays registered, so they have a process of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from unfussy.testing._toy import ToyDevice, toy_device


def pytest_runtest_setup() -> None:
    if os.environ.get("UNFUSSY_TOY_DEVICE") != "1":
        pytest.skip(
            "the toy device alters its whole process: run these tests by themselves, "
            "UNFUSSY_TOY_DEVICE=1 pytest tests/toy"
        )


@pytest.fixture
def toy() -> Iterator[ToyDevice]:
    with toy_device() as device:
        yield device
