"""One profiler for the whole process, on from the moment it is asked for."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from os import PathLike
from threading import Lock

from unfussy.errors import InputValueError
from unfussy.profiling.report import Report
from unfussy.profiling.session import Session

__all__ = ["Profiler", "get_profiler"]


class Profiler:
    """
    Records every planned call until it is closed, and named sessions beside.

    Args:
        enable_memory_tracking: As in `profile`.
        enable_device_tracking: As in `profile`.

    Attributes:
        enable_memory_tracking: As given.
        enable_device_tracking: As given.
        overall: The session that began with the profiler.
        sessions: The named ones, in the order in which they began.
    """

    def __init__(
        self,
        *,
        enable_memory_tracking: bool = True,
        enable_device_tracking: bool = False,
    ) -> None:
        self.enable_memory_tracking = enable_memory_tracking
        self.enable_device_tracking = enable_device_tracking
        self.overall = self._session("all calls")
        self.sessions: dict[str, Session] = {}
        self.overall.start()

    def _session(self, name: str) -> Session:
        return Session(
            name,
            memory=self.enable_memory_tracking,
            device=self.enable_device_tracking,
        )

    @contextmanager
    def session(self, name: str, /) -> Generator[Session, None, None]:
        """
        Record the calls inside the block under a name as well.

        Raises:
            InputValueError: If there is a session of that name already.
        """
        if name in self.sessions:
            raise InputValueError(
                f"there is a session {name!r} already; give this one another name"
            )
        session = self.sessions[name] = self._session(name)
        session.start()
        try:
            yield session
        finally:
            session.stop()

    @property
    def is_on(self) -> bool:
        """Whether it records."""
        return self.overall.is_on

    def generate_report(self, save_path: str | PathLike[str] | None = None) -> Report:
        """
        Return a report of all calls, and of each named session.

        Args:
            save_path: A file that ends in ``.json``, ``.csv`` or ``.html``.

        Raises:
            InputValueError: If it ends in something else.
        """
        sessions = (self.overall, *self.sessions.values())
        report = Report(tuple(session.profile for session in sessions))
        if save_path is not None:
            report.save(save_path)
        return report

    def close(self) -> None:
        """Record no more; reports still can be had."""
        self.overall.stop()

    def __str__(self) -> str:
        return str(self.generate_report())


class _Only:
    def __init__(self) -> None:
        self.lock = Lock()
        self.profiler: Profiler | None = None


_ONLY = _Only()


def get_profiler(
    *,
    enable_memory_tracking: bool | None = None,
    enable_device_tracking: bool | None = None,
) -> Profiler:
    """
    Return the profiler of this process; one that records, from the first call on.

    Args:
        enable_memory_tracking: As in `profile`, True unless it is said.
        enable_device_tracking: As in `profile`, False unless it is said.

    Raises:
        InputValueError: If it is on with other settings.

    Examples:
        >>> profiler = get_profiler()
        >>> profiler is get_profiler()
        True
        >>> profiler.close()
    """
    with _ONLY.lock:
        known = _ONLY.profiler
        if known is None or not known.is_on:
            known = _ONLY.profiler = Profiler(
                enable_memory_tracking=enable_memory_tracking is not False,
                enable_device_tracking=enable_device_tracking is True,
            )
    asked = (enable_memory_tracking, enable_device_tracking)
    has = (known.enable_memory_tracking, known.enable_device_tracking)
    if any(want not in {None, got} for want, got in zip(asked, has)):
        raise InputValueError(
            "the profiler of this process is on with enable_memory_tracking="
            f"{has[0]} and enable_device_tracking={has[1]}; close() it first"
        )
    return known
