"""Profiles of some sessions as a report: for programs, for sheets, for people."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from io import StringIO
from os import PathLike
from pathlib import Path
from typing import Any, Final, Self

from unfussy._recording import STAGES
from unfussy.errors import InputValueError
from unfussy.profiling.page import page_of
from unfussy.profiling.records import CallRecord, Profile
from unfussy.profiling.schema import FORMAT, check_report
from unfussy.profiling.tables import profile_table

__all__ = ["Report"]

_LEFT_OUT: Final = {"stages", "pieces", "spans"}


@dataclass(frozen=True, slots=True)
class Report:
    """
    What was recorded of some sessions; prints as tables.

    Attributes:
        profiles: What was recorded of each.
    """

    profiles: tuple[Profile, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as what JSON knows."""
        sessions = [profile.to_dict() for profile in self.profiles]
        return {"format": FORMAT, "sessions": sessions}

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, /) -> Self:
        """
        Return the report that `to_json` wrote.

        Raises:
            InputValueError: If *text* is no such report.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise InputValueError(f"this is no report: no JSON: {error}") from None
        check_report(data)
        return cls(tuple(map(Profile.from_dict, data["sessions"])))

    def to_csv(self) -> str:
        """Return a row for each call, times in seconds."""
        plain = [f.name for f in fields(CallRecord) if f.name not in _LEFT_OUT]
        file = StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["session", *plain, *(f"{stage}_seconds" for stage in STAGES)])
        for profile in self.profiles:
            for call in profile.calls:
                cells = [getattr(call, name) for name in plain]
                writer.writerow([profile.name, *cells, *call.stages.values()])
        return file.getvalue()

    def to_html(self) -> str:
        """Return the report as a page; pictures need the extra ``plots``."""
        return page_of(self.profiles).html()

    def save(self, path: str | PathLike[str], /) -> None:
        """
        Write the report to a file, in the form that its suffix names.

        Args:
            path: A file that ends in ``.json``, ``.csv`` or ``.html``.

        Raises:
            InputValueError: If it ends in something else.
        """
        path = Path(path)
        if (write := _FORMS.get(path.suffix.lower())) is None:
            raise InputValueError(
                f"a report is saved as .json, .csv or .html, got {path.name!r}"
            )
        path.write_text(write(self), encoding="utf-8")

    @classmethod
    def load(cls, path: str | PathLike[str], /) -> Self:
        """
        Return the report in a ``.json`` file.

        Raises:
            InputValueError: If there is none in it.
        """
        return cls.from_json(Path(path).read_text(encoding="utf-8"))

    def __str__(self) -> str:
        return "\n\n\n".join(map(profile_table, self.profiles))


_FORMS: Final[Mapping[str, Callable[[Report], str]]] = {
    ".json": Report.to_json,
    ".csv": Report.to_csv,
    ".html": Report.to_html,
    ".htm": Report.to_html,
}
