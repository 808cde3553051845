"""The form of a report and of a saved choice as JSON, and whether a value has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from unfussy.errors import InputValueError

__all__ = ["CHOICE_SCHEMA", "SCHEMA", "check_schema"]

Schema = dict[str, Any]


def _record(**properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


_TEXT: Final[Schema] = {"type": "string"}
_NUMBER: Final[Schema] = {"type": "number"}
_WHOLE: Final[Schema] = {"type": "integer"}
_ESTIMATE: Final = _or_null(_record(value=_NUMBER, low=_NUMBER, high=_NUMBER))
_PARAMETERS: Final[Schema] = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
}
_FINGERPRINT: Final = _record(
    model=_TEXT,
    method=_TEXT,
    parameters=_TEXT,
    device_model=_TEXT,
    torch=_TEXT,
    unfussy=_TEXT,
)
_VERDICTS: Final = ["kept", "rejected", "failed", "skipped", "not reached"]

SCHEMA: Final[Schema] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "A report of unfussy.optimize",
    **_record(
        version={"const": 1},
        target=_TEXT,
        device=_TEXT,
        fingerprint=_FINGERPRINT,
        threads=_WHOLE,
        level={"enum": ["conservative", "balanced", "aggressive"]},
        tolerance=_NUMBER,
        budget=_NUMBER,
        seconds=_NUMBER,
        plain=_ESTIMATE,
        best=_ESTIMATE,
        speedup=_ESTIMATE,
        deviation=_or_null(_NUMBER),
        candidates={
            "type": "array",
            "items": _record(
                name=_TEXT,
                parameters=_PARAMETERS,
                verdict={"enum": _VERDICTS},
                ratio=_ESTIMATE,
                deviation=_or_null(_NUMBER),
                reason=_TEXT,
                memory=_or_null(_WHOLE),
            ),
        },
        notes={"type": "array", "items": _TEXT},
    ),
}
"""The form of `OptimizationReport.to_json`, as JSON Schema."""

CHOICE_SCHEMA: Final[Schema] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "A choice of unfussy.optimize",
    **_record(
        version={"const": 1},
        fingerprint=_FINGERPRINT,
        candidates={
            "type": "array",
            "items": _record(name=_TEXT, parameters=_PARAMETERS),
        },
    ),
}
"""The form of a saved choice, as JSON Schema."""

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}


def check_schema(value: Any, schema: Schema, path: str) -> None:
    """
    Check that *value* is of the form that *schema* describes.

    Of JSON Schema it knows what the schemas of this file use.

    Raises:
        InputValueError: If it is not; the message says where.
    """
    if (found := _fault(value, schema, path)) is not None:
        raise InputValueError(found)


def _fault(value: Any, schema: Schema, path: str) -> str | None:
    if "anyOf" in schema:
        faults = [_fault(value, each, path) for each in schema["anyOf"]]
        return None if None in faults else faults[0]
    if "const" in schema and value != schema["const"]:
        return f"{path} is {schema['const']!r}, got {value!r}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{path} is one of {schema['enum']}, got {value!r}"
    if not _is_of_type(value, schema.get("type")):
        return f"{path} is of type {schema['type']}, got {value!r}"
    return _fault_inside(value, schema, path)


def _is_of_type(value: Any, types: str | list[str] | None) -> bool:
    if types is None:
        return True
    names = [types] if isinstance(types, str) else types
    if isinstance(value, bool):
        return "boolean" in names
    return any(isinstance(value, _TYPES[name]) for name in names)


def _fault_inside(value: Any, schema: Schema, path: str) -> str | None:
    faults: list[str | None] = []
    if isinstance(value, list) and "items" in schema:
        items = enumerate(value)
        faults = [_fault(x, schema["items"], f"{path}[{i}]") for i, x in items]
    elif isinstance(value, dict):
        known, others = schema.get("properties", {}), schema["additionalProperties"]
        missing = [key for key in schema.get("required", ()) if key not in value]
        faults = [f"{path} lacks {key!r}" for key in missing]
        for key, each in value.items():
            inner = known.get(key, others)
            unknown = inner is False
            where = f"{path}[{key!r}]"
            faults.append(
                f"{where} is unknown" if unknown else _fault(each, inner, where)
            )
    return next(filter(None, faults), None)
