"""Calls of Gradio that leave the event loop of the caller alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["call_apart"]

T = TypeVar("T")


def call_apart(call: Callable[[], T], /) -> T:
    """
    Return what *call* returns, in a thread where an event loop runs.

    Where none runs, Gradio puts a new one into the place of what is there, and never
    closes it.
    """

    async def run() -> T:
        return call()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(run())).result()
