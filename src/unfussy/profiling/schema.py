"""The form of a report as JSON: a schema, and whether some data follow it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from unfussy._recording import STAGES
from unfussy._schemas import record
from unfussy.errors import InputValueError

__all__ = ["SCHEMA", "check_report"]

FORMAT: Final = 1

_COUNT: Final = {"type": "integer", "minimum": 0}
_TIME: Final = {"type": "number", "minimum": 0}
_NAME: Final = {"type": "string"}
_MAYBE_NAME: Final = {"type": ["string", "null"]}
_MAYBE_COUNT: Final = {"type": ["integer", "null"], "minimum": 0}
_MAYBE_TIME: Final = {"type": ["number", "null"], "minimum": 0}


def _many(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": dict(items)}


_KIND: Final = {"enum": ["call", "stream", "ahead"]}
_STAGES: Final = record(**dict.fromkeys(STAGES, _TIME))

_CALL: Final = record(
    id=_COUNT,
    method=_NAME,
    kind=_KIND,
    outer=_MAYBE_COUNT,
    depth=_COUNT,
    thread=_NAME,
    device=_MAYBE_NAME,
    start={"type": "number"},
    seconds=_TIME,
    inner_seconds=_TIME,
    stages=_STAGES,
    items=_COUNT,
    bytes_in=_COUNT,
    chunks=_COUNT,
    pieces=_many({"type": "array"}),
    padding_waste={"type": ["number", "null"]},
    retries=_COUNT,
    failures=_COUNT,
    error=_MAYBE_NAME,
    device_seconds=_MAYBE_TIME,
    spans=_many({"type": "array"}),
)

_METHOD: Final = record(
    method=_NAME,
    kind=_KIND,
    count=_COUNT,
    errors=_COUNT,
    seconds=_TIME,
    own_seconds={"type": "number"},
    mean=_TIME,
    p50=_TIME,
    p90=_TIME,
    p99=_TIME,
    items=_COUNT,
    items_per_second=_TIME,
    bytes_in=_COUNT,
    chunks=_COUNT,
    padding_waste={"type": ["number", "null"]},
    retries=_COUNT,
    failures=_COUNT,
    device_seconds=_MAYBE_TIME,
    stages=_STAGES,
)

_SAMPLE: Final = record(seconds=_TIME, resident=_MAYBE_COUNT, device=_MAYBE_COUNT)

_PROFILE: Final = record(
    name=_NAME,
    seconds=_TIME,
    n_calls=_COUNT,
    calls=_many(_CALL),
    memory=_many(_SAMPLE),
    peak_resident=_MAYBE_COUNT,
    peak_device=_MAYBE_COUNT,
    environment={"type": "object"},
    methods=_many(_METHOD),
)

SCHEMA: Final = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "A report of unfussy.profiling",
    **record(format={"enum": [FORMAT]}, sessions=_many(_PROFILE)),
}
"""The form of a report, as JSON Schema has it."""


def check_report(data: Any, /) -> None:
    """
    Make sure that *data* follow `SCHEMA`.

    Raises:
        InputValueError: If they do not, saying where.
    """
    wrong = next(_faults(data, SCHEMA, "report"), None)
    if wrong is not None:
        raise InputValueError(f"this is no report of profiling: {wrong}")


_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "array": (list, tuple),
    "integer": (int,),
    "null": (type(None),),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}


def _faults(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield what is wrong, as far as the words go that `SCHEMA` uses."""
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path} is one of {schema['enum']}, got {value!r}"
        return
    if not _has_type(value, schema):
        yield f"{path} is of type {schema['type']}, got {type(value).__name__}"
        return
    if "minimum" in schema and value is not None and value < schema["minimum"]:
        yield f"{path} is at least {schema['minimum']}, got {value}"
    if isinstance(value, dict):
        yield from _faults_of_keys(value, schema, path)
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _faults(item, schema.get("items", {}), f"{path}[{i}]")


def _has_type(value: Any, schema: Mapping[str, Any]) -> bool:
    if "type" not in schema or isinstance(value, bool):
        return "type" not in schema
    said = schema["type"]
    names = [said] if isinstance(said, str) else said
    return any(isinstance(value, _TYPES[name]) for name in names)


def _faults_of_keys(
    value: dict[str, Any], schema: Mapping[str, Any], path: str
) -> Iterator[str]:
    known = schema.get("properties", {})
    for key in schema.get("required", ()):
        if key not in value:
            yield f"{path} has no {key!r}"
    for key, each in value.items():
        if key in known:
            yield from _faults(each, known[key], f"{path}.{key}")
        elif schema.get("additionalProperties") is False:
            yield f"{path} has {key!r}, which is unknown"
