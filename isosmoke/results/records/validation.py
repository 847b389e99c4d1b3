"""Validation of records with pydantic: the only module that evaluates their annotations."""

import inspect
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import Any, TypeVar, get_type_hints

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from isosmoke.manifest.validation.value_types import Name
from isosmoke.results.records.document_base import Text
from isosmoke.results.records.record_base import Record

R = TypeVar("R", bound=Record)

_TYPES: Mapping[str, Any] = {"Name": Name, "Text": Text, "Field": Field}
"""The names in annotations that the modules of records import only for a type checker."""


def parse(record: type[R], content: bytes) -> R:
    """Return the record in a JSON text.

    Raises:
        pydantic.ValidationError: if it is no such record.
    """
    valid: R = _find_adapter(record).validate_json(content)
    return valid


_adapters: dict[type[Record], TypeAdapter[Any]] = {}


def _find_adapter(record: type[Record]) -> TypeAdapter[Any]:
    if record not in _adapters:
        _adapters[record] = TypeAdapter(record)
    return _adapters[record]


def build_schema(record: type[Record], handler: GetCoreSchemaHandler) -> CoreSchema:
    """Return the schema of a record, with the types of its fields evaluated."""
    bases = (base for base in record.__mro__ if issubclass(base, Record))
    known = [vars(import_module(base.__module__)) for base in bases]
    names = {name: value for module in (*known, _TYPES) for name, value in module.items()}
    hints = get_type_hints(record, names, include_extras=True)
    for field in fields(record):
        field.type = hints[field.name]
    return handler(record)


def build_json_schema(
    record: type[Record], schema: CoreSchema, handler: GetJsonSchemaHandler
) -> JsonSchemaValue:
    """Return the JSON schema of a record, which its docstring describes."""
    built = handler(schema)
    handler.resolve_ref_schema(built)["description"] = inspect.cleandoc(record.__doc__ or "")
    return built
