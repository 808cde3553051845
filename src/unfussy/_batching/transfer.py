"""
Chunks on their way to a device and back, while both sides go on working.

This is the only file with pinned memory and events. Only CUDA and XPU get copies that
do not wait; everywhere else they are plain ones. Copies run in the stream in which the
caller computes, also those that the feeder's thread starts. So kernels come after the
inputs that they read, copies after the results, and the caching allocators, which know
that stream, hand no block on too early. What is left to see to is the host: it reads
nothing that was fetched before an event says that it is there, and it writes into
pinned memory only where nobody else can have it, since every block is a fresh one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import torch

from unfussy._recording import WAIT, timed
from unfussy._tree import Tree, tree_map

__all__ = ["Download", "Downloader", "Event", "Link", "Uploader", "link_to"]

T = TypeVar("T")

_WORTH_PINNING: Final = 2**20  # bytes; below, a plain copy is sooner there


class Event(Protocol):
    """What a device passes after the work that was started before it."""

    def synchronize(self) -> object:
        """Wait until the device has passed it."""
        ...


@dataclass(frozen=True, slots=True)
class Link:
    """
    How to exchange memory with one device without waiting for it.

    Attributes:
        holds: Tells whether a tensor is on the device.
        pinned: Makes an empty tensor like the given one in fresh pinned memory.
        send: Starts a copy of a pinned tensor to the device, and returns it.
        fetch: Starts a copy into a pinned tensor (the first) from the device.
        mark: Makes an event behind all that was started.
        stream: Makes the context in which the stream of the caller is the current one.
    """

    holds: Callable[[torch.Tensor], bool]
    pinned: Callable[[torch.Tensor], torch.Tensor]
    send: Callable[[torch.Tensor], torch.Tensor]
    fetch: Callable[[torch.Tensor, torch.Tensor], object]
    mark: Callable[[], Event]
    stream: Callable[[], AbstractContextManager[Any]]


def link_to(device: torch.device, /) -> Link | None:
    """Return the link of this thread's stream to *device*; None where copies wait."""
    if device.type not in {"cuda", "xpu"}:
        return None
    backend: Any = torch.get_device_module(device)
    stream = backend.current_stream(device)
    # A CUDA event spins while it is waited for, on a core that the feeder could use.
    options = {"blocking": True} if device.type == "cuda" else {}

    def mark() -> Event:
        event: Event = backend.Event(**options)
        stream.record_event(event)
        return event

    return Link(
        holds=lambda tensor: tensor.device == stream.device,
        pinned=lambda like: torch.empty_like(like, device="cpu", pin_memory=True),
        send=lambda pinned: pinned.to(stream.device, non_blocking=True),
        fetch=lambda pinned, tensor: pinned.copy_(tensor, non_blocking=True),
        mark=mark,
        stream=lambda: backend.stream(stream),
    )


def _is_plain(tensor: torch.Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor.is_nested


class Uploader:
    """
    Sends chunks to a device; made in the thread that computes.

    Args:
        device: Where to.
        link: How to get there; None looks.
    """

    def __init__(self, device: torch.device, *, link: Link | None = None) -> None:
        self._device = device
        self._link = link or link_to(device)

    def upload(self, tree: Tree, /) -> Tree:
        """
        Return *tree* with its tensors on the device; any thread may ask.

        What was copied may be changed as soon as this returns. The copies are ready for
        the stream in which the uploader was made.
        """
        with nullcontext() if self._link is None else self._link.stream():
            return tree_map(self._send, tree)

    def _send(self, leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        if self._link is None or not _is_worth_pinning(leaf):
            return leaf.to(self._device)
        # Not `pin_memory`, which returns a tensor that is pinned already: its owner
        # may write to it while it is being sent.
        return self._link.send(self._link.pinned(leaf).copy_(leaf))


def _is_worth_pinning(tensor: torch.Tensor) -> bool:
    on_host = tensor.device.type == "cpu" and _is_plain(tensor)
    return on_host and tensor.nbytes > _WORTH_PINNING


# --- and back ----------------------------------------------------------------------


class Download:
    """A result on its way to the host."""

    __slots__ = ("_event", "_failure", "_tree")

    def __init__(
        self, tree: Tree, event: Event | None, failure: Exception | None = None
    ) -> None:
        self._tree, self._event, self._failure = tree, event, failure

    @property
    def is_here(self) -> bool:
        """Whether there is nothing to wait for."""
        return self._event is None

    def wait(self) -> Tree:
        """
        Return the result once it is there.

        Raises:
            Exception: What making it raised, or the device meanwhile.
        """
        if self._failure is not None:
            raise self._failure
        if self._event is not None:
            timed(WAIT, self._event.synchronize)
        return self._tree


class Downloader:
    """
    Brings results to the host; made in the thread that computes.

    Args:
        device: Where from.
        link: How to get there; None looks.
    """

    def __init__(self, device: torch.device, *, link: Link | None = None) -> None:
        self._link = link or link_to(device)

    def start(self, tree: Tree, /) -> Download:
        """Start to bring the tensors of *tree* here; `Download.wait` has them."""
        n_started = 0

        def bring(leaf: Any) -> Any:
            nonlocal n_started
            if not isinstance(leaf, torch.Tensor):
                return leaf
            link = self._link
            if link is None or not link.holds(leaf) or not _is_plain(leaf):
                return leaf.to("cpu")
            n_started += 1
            return _fetch(link, leaf)

        here, event = tree_map(bring, tree), None
        if self._link is not None and n_started:
            event = self._link.mark()
        return Download(here, event)

    def download(self, results: Iterable[T], /) -> Generator[T, None, None]:
        """
        Yield *results* in order, each when the work on the next one has started.

        A result that needs no waiting is yielded at once. An error, of *results* or of
        the device, is raised in the place of the result that it belongs to.
        """
        ahead: deque[Download] = deque()
        try:
            # Mapped, not looped over: a variable would hold on to the last one.
            for _ in map(ahead.append, self._started(results)):
                while ahead and (len(ahead) > 1 or ahead[0].is_here):
                    yield ahead.popleft().wait()
            while ahead:
                yield ahead.popleft().wait()
        finally:
            for abandoned in ahead:
                with suppress(RuntimeError):
                    abandoned.wait()

    def _started(self, results: Iterable[Tree]) -> Iterator[Download]:
        try:
            yield from map(self.start, results)
        except Exception as error:  # noqa: BLE001 - raised when it is its turn
            yield Download(None, None, error)


def _fetch(link: Link, tensor: torch.Tensor) -> torch.Tensor:
    pinned = link.pinned(tensor)
    link.fetch(pinned, tensor)
    return pinned
