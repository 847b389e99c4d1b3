"""The base of the records of a run: dataclasses that pydantic can validate.

A run writes records that it has made itself, without pydantic, whose import takes longer than the
rest of a short run. The annotations of a record therefore stay text until
`isosmoke.results.records.validation` evaluates them, to read a record or to describe its schema.
"""

from collections.abc import Mapping
from dataclasses import Field
from datetime import datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from isosmoke.text import format_json

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema


_PLAIN = frozenset({str, int, bool, type(None)})
"""The classes of most values, which need no conversion."""


class Record:
    """A part of a record; unknown fields from later versions are ignored. Subclasses are frozen.

    All texts must be valid UTF-8: a path or an argument is escaped before it gets into a record.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "ignore", "allow_inf_nan": False}

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: "GetCoreSchemaHandler"
    ) -> "CoreSchema":
        from isosmoke.results.records import validation

        return validation.build_schema(source, handler)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: "CoreSchema", handler: "GetJsonSchemaHandler"
    ) -> "JsonSchemaValue":
        from isosmoke.results.records import validation

        return validation.build_json_schema(cls, schema, handler)

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON has it."""
        return {name: _to_json(getattr(self, name)) for name in self.__dataclass_fields__}


def _to_json(value: Any) -> Any:
    if value.__class__ in _PLAIN or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None  # JSON has no other numbers
    if isinstance(value, Mapping):
        return {key: _to_json(item) for key, item in value.items()}
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value.to_json() if isinstance(value, Record) else list(map(_to_json, value))


class Document(Protocol):
    """Anything that can be printed as JSON: a record, or the document of a command."""

    def to_json(self) -> dict[str, Any]: ...


def render_json(document: Document) -> str:
    """Return a record or a document as JSON text that ends with a line feed."""
    return format_json(document.to_json())
