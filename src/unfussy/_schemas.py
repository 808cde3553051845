"""Forms of data as JSON Schema has them: how they are written, and kept to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from unfussy.errors import InputValueError

__all__ = [
    "ESTIMATE",
    "NUMBER",
    "TEXT",
    "TEXTS",
    "WHOLE",
    "Schema",
    "check_schema",
    "or_null",
    "record",
]

Schema: TypeAlias = dict[str, Any]


def record(**properties: Schema) -> Schema:
    """Return the form of an object with these properties, and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def or_null(schema: Schema) -> Schema:
    """Return the form of what is missing, or follows *schema*."""
    return {"anyOf": [schema, {"type": "null"}]}


TEXT: Final[Schema] = {"type": "string"}
TEXTS: Final[Schema] = {"type": "array", "items": TEXT}
NUMBER: Final[Schema] = {"type": "number"}
WHOLE: Final[Schema] = {"type": "integer"}
ESTIMATE: Final = or_null(record(value=NUMBER, low=NUMBER, high=NUMBER))

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

    Of JSON Schema it knows what the schemas of unfussy use.

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
