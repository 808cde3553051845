"""The form of a report and of a saved choice as JSON."""

from __future__ import annotations

from typing import Final

from unfussy._schemas import (
    ESTIMATE,
    NUMBER,
    TEXT,
    TEXTS,
    WHOLE,
    Schema,
    or_null,
    record,
)

__all__ = ["CHOICE_SCHEMA", "SCHEMA"]

_PARAMETERS: Final[Schema] = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
}
_FINGERPRINT: Final = record(
    model=TEXT,
    method=TEXT,
    parameters=TEXT,
    device_model=TEXT,
    torch=TEXT,
    unfussy=TEXT,
)
_VERDICTS: Final = ["kept", "rejected", "failed", "skipped", "not reached"]

SCHEMA: Final[Schema] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "A report of unfussy.optimize",
    **record(
        version={"const": 1},
        target=TEXT,
        device=TEXT,
        fingerprint=_FINGERPRINT,
        threads=WHOLE,
        level={"enum": ["conservative", "balanced", "aggressive"]},
        tolerance=NUMBER,
        budget=NUMBER,
        seconds=NUMBER,
        plain=ESTIMATE,
        best=ESTIMATE,
        speedup=ESTIMATE,
        deviation=or_null(NUMBER),
        candidates={
            "type": "array",
            "items": record(
                name=TEXT,
                parameters=_PARAMETERS,
                verdict={"enum": _VERDICTS},
                ratio=ESTIMATE,
                deviation=or_null(NUMBER),
                reason=TEXT,
                memory=or_null(WHOLE),
            ),
        },
        notes=TEXTS,
    ),
}
"""The form of `OptimizationReport.to_json`, as JSON Schema."""

CHOICE_SCHEMA: Final[Schema] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "A choice of unfussy.optimize",
    **record(
        version={"const": 1},
        fingerprint=_FINGERPRINT,
        candidates={
            "type": "array",
            "items": record(name=TEXT, parameters=_PARAMETERS),
        },
    ),
}
"""The form of a saved choice, as JSON Schema."""
