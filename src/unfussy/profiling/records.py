"""
What was recorded of one session: every call, and memory over time.

All of it is values, which a report writes to a file and reads back the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Self

from unfussy._recording import STAGES, Frame, Kind
from unfussy.profiling.summary import MethodSummary, summarised

__all__ = ["CallRecord", "MemorySample", "Profile", "record_of"]

_NS = 1e-9


@dataclass(frozen=True, slots=True)
class CallRecord:
    """
    One call; times are in seconds, from the beginning of the session.

    Attributes:
        id: A number of its own.
        method: What was called.
        kind: ``"call"``; ``"stream"`` of a source, which makes calls; or ``"ahead"``,
            what a thread made ready for a stream.
        outer: The number of the recorded call that it was part of, or None.
        depth: How many recorded calls it was inside of.
        thread: The name of the thread that began it.
        device: Where it ran, if that was seen.
        start: When it began.
        seconds: How long it was at work. What a generator waits for between its steps
            is not in it.
        inner_seconds: How long recorded calls inside of it took.
        stages: How long each stage took: ``convert`` inputs (reading, cutting and
            putting together included), ``move`` them, ``wait`` for the device or for
            the source, ``run`` the author's method, ``join`` results, and bring the
            ``output`` into its form. They exclude each other; what is left of
            *seconds* is planning and the like.
        items: How many items it was given.
        bytes_in: How many bytes of tensors and arrays.
        chunks: In how many chunks the result was made; of a stream, how many windows.
        pieces: The first of these: how many items, and how long they took.
        padding_waste: The share of padding in what was computed; None without any.
        retries: How often memory ran out.
        failures: How many items raised, where items may.
        error: The type of the error that was raised, or None.
        device_seconds: How long the device was busy with the method; None if that was
            not measured.
        spans: The first stages: which, from when, until when.
    """

    id: int
    method: str
    kind: Kind
    outer: int | None
    depth: int
    thread: str
    device: str | None
    start: float
    seconds: float
    inner_seconds: float
    stages: Mapping[str, float]
    items: int
    bytes_in: int
    chunks: int
    pieces: tuple[tuple[int, float], ...]
    padding_waste: float | None
    retries: int
    failures: int
    error: str | None
    device_seconds: float | None
    spans: tuple[tuple[str, float, float], ...]

    @property
    def own_seconds(self) -> float:
        """How long it took without the recorded calls inside of it."""
        return self.seconds - self.inner_seconds

    @property
    def other_seconds(self) -> float:
        """What no stage accounts for."""
        return self.seconds - sum(self.stages.values())

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the record that `dataclasses.asdict` was given."""
        pieces = tuple((n, seconds) for n, seconds in data["pieces"])
        spans = tuple((stage, start, stop) for stage, start, stop in data["spans"])
        return cls(**{**data, "pieces": pieces, "spans": spans})


def record_of(frame: Frame, began: int) -> CallRecord:
    """Return what *frame* noted, in a session that began at some nanosecond."""

    def since(ns: int) -> float:
        return (ns - began) * _NS

    return CallRecord(
        id=frame.id,
        method=frame.name,
        kind=frame.kind,
        outer=frame.outer,
        depth=frame.depth,
        thread=frame.thread,
        device=None if frame.device is None else str(frame.device),
        start=since(frame.started),
        seconds=frame.took * _NS,
        inner_seconds=frame.inner * _NS,
        stages={name: ns * _NS for name, ns in zip(STAGES, frame.stages)},
        items=frame.items,
        bytes_in=frame.nbytes,
        chunks=frame.chunks,
        pieces=tuple((n, ns * _NS) for n, ns in frame.pieces),
        padding_waste=1 - frame.useful / frame.cost if frame.cost else None,
        retries=frame.retries,
        failures=frame.failures,
        error=frame.error,
        device_seconds=frame.on_device * _NS if frame.on_device else None,
        spans=tuple((STAGES[s], since(a), since(b)) for s, a, b in frame.spans),
    )


@dataclass(frozen=True, slots=True)
class MemorySample:
    """
    Memory at one moment, in bytes; None where it cannot be known.

    Attributes:
        seconds: When, from the beginning of the session.
        resident: What the process has of the host's memory.
        device: What tensors have of the accelerator's.
    """

    seconds: float
    resident: int | None
    device: int | None


@dataclass(frozen=True)
class Profile:
    """
    What was recorded of one session; prints as a table.

    Attributes:
        name: The session's name.
        seconds: How long it lasted.
        n_calls: How many calls were recorded in all.
        calls: The latest of them, in the order in which they ended.
        memory: Memory over time, if that was asked for.
        peak_resident: The most of the host's memory that was seen, in bytes.
        peak_device: The most of the accelerator's.
        environment: What it ran with.
    """

    name: str
    seconds: float
    n_calls: int
    calls: tuple[CallRecord, ...]
    memory: tuple[MemorySample, ...] = ()
    peak_resident: int | None = None
    peak_device: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def methods(self) -> tuple[MethodSummary, ...]:
        """What its calls come to by method, the most time of its own first."""
        return summarised(self.calls)

    @property
    def items(self) -> int:
        """How many items the outermost calls were given."""
        return sum(call.items for call in self.calls if _is_outermost(call))

    def to_dict(self) -> dict[str, Any]:
        """Return it as what JSON knows."""
        return {**asdict(self), "methods": [asdict(each) for each in self.methods]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return what `to_dict` was called on."""
        fields = {k: v for k, v in data.items() if k != "methods"}
        fields["calls"] = tuple(map(CallRecord.from_dict, data["calls"]))
        fields["memory"] = tuple(MemorySample(**each) for each in data["memory"])
        return cls(**fields)


def _is_outermost(call: CallRecord) -> bool:
    return call.depth == 0 and call.kind != "ahead"
