"""Validation of tables with pydantic: the only module that evaluates their annotations."""

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import Annotated, Any, TypeVar, cast, get_origin, get_type_hints

from pydantic import GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema

from isosmoke.manifest import key_meaning
from isosmoke.manifest.table_base import InvalidTableError, Table, list_keys
from isosmoke.manifest.validation import checks, value_types

T = TypeVar("T", bound=Table)


def validate(table: type[T], values: Mapping[str, Any], *, strict: bool | None = None) -> T:
    """Return a table with these values; see `Table.validate`.

    Raises:
        InvalidTableError: A key is unknown or missing, or a value is invalid.
    """
    try:
        valid: T = _find_adapter(table).validate_python(values, strict=strict)
    except ValidationError as error:
        raise InvalidTableError(error.errors()) from error
    return valid


_adapters: dict[type[Table], TypeAdapter[Any]] = {}


def _find_adapter(table: type[Table]) -> TypeAdapter[Any]:
    if table not in _adapters:
        _adapters[table] = TypeAdapter(table)
    return _adapters[table]


def build_schema(table: type[Table], handler: GetCoreSchemaHandler) -> CoreSchema:
    """Return the schema of a table, which accepts a dictionary although its values are strict."""
    _evaluate_types(table)
    schema = handler(table)
    cast("dict[str, Any]", handler.resolve_ref_schema(schema))["strict"] = False
    return schema


def _evaluate_types(table: type[Table]) -> Mapping[str, Any]:
    """Return the type of each key with its metadata, and store it in the key for pydantic."""
    bases = (base for base in reversed(table.__mro__) if issubclass(base, Table))
    modules = (*(import_module(base.__module__) for base in bases), key_meaning, value_types)
    names = {name: value for module in modules for name, value in vars(module).items()}
    names |= {"checks": checks, "key_meaning": key_meaning}
    hints = get_type_hints(table, names, include_extras=True)
    for key in fields(table):
        key.type = hints[key.name]
    return {key: hints[key] for key in list_keys(table)}


def find_metadata(table: type[Table]) -> Mapping[str, tuple[object, ...]]:
    """Return the metadata that stands next to the type of each key, in the order of the keys."""
    return {
        key: hint.__metadata__ if get_origin(hint) is Annotated else ()
        for key, hint in _evaluate_types(table).items()
    }
