"""The base of the tables in a manifest: dataclasses that pydantic can validate.

A manifest that was validated before is used without pydantic, whose import takes longer than most
commands. The annotations of a table therefore stay text until `isosmoke.manifest.validation`
evaluates them.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from datetime import date
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema


class InvalidTableError(ValueError):
    """The values of a table break its rules; `details` are those of pydantic, at least one."""

    def __init__(self, details: Sequence[Mapping[str, Any]]) -> None:
        super().__init__("; ".join(str(detail["msg"]) for detail in details))
        self.details = details


class Table:
    """A table that rejects unknown keys and does not convert values; its subclasses are frozen."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    __pydantic_config__: ClassVar[dict[str, Any]] = {"strict": True, "extra": "forbid"}

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: "GetCoreSchemaHandler"
    ) -> "CoreSchema":
        from isosmoke.manifest.validation import validator

        return validator.build_schema(source, handler)

    @classmethod
    def validate(cls, values: Mapping[str, Any], *, strict: bool | None = None) -> Self:
        """Return the table with these values, as a parser of TOML returns them.

        If `strict` is false, dates may be texts, as in JSON.

        Raises:
            InvalidTableError: A key is unknown or missing, or a value is invalid.
        """
        from isosmoke.manifest.validation import validator

        return validator.validate(cls, values, strict=strict)

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield each key with its value, in their order."""
        return ((key, getattr(self, key)) for key in list_keys(type(self)))

    def to_json(
        self,
        *,
        include: Collection[str] | None = None,
        exclude_defaults: bool = False,
        exclude_none: bool = False,
    ) -> dict[str, Any]:
        """Return the table as JSON has it; `include` selects keys, but not those of inner tables.

        None includes all keys.
        """
        return {
            key: _to_json(value, exclude_defaults=exclude_defaults, exclude_none=exclude_none)
            for key, value in self.items()
            if (include is None or key in include)
            and not (exclude_none and value is None)
            and not (exclude_defaults and value == get_default(type(self), key))
        }


def _to_json(value: Any, **options: bool) -> Any:
    match value:
        case Table():
            return value.to_json(
                exclude_defaults=options["exclude_defaults"], exclude_none=options["exclude_none"]
            )
        case tuple():
            return [_to_json(item, **options) for item in value]
        case Mapping():
            return dict(value)
        case date():
            return value.isoformat()
        case _:
            return value


def list_keys(table: type[Table]) -> tuple[str, ...]:
    """Return the keys of a table, in their order."""
    return tuple(key.name for key in fields(table) if key.init)


def get_default(table: type[Table], key: str) -> Any:
    """Return the default value of a key; `dataclasses.MISSING` if it has none."""
    declared = table.__dataclass_fields__[key]
    factory = declared.default_factory
    return declared.default if factory is MISSING else factory()
