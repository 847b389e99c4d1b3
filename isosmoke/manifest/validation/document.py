"""The tables of a manifest as a person writes it, before defaults are applied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from isosmoke.dataclass import dataclass
from isosmoke.manifest.models import Gate, Growth, Retention, Scenario, Settings
from isosmoke.manifest.table_base import Table

if TYPE_CHECKING:  # see `isosmoke.manifest.table_base`
    from pydantic import Field


def _require_scenarios(schema: dict[str, Any]) -> None:
    """Add the requirement of `isosmoke.manifest.parser` that there is at least one scenario."""
    schema["required"] = ["scenario"]
    schema["properties"]["scenario"]["minItems"] = 1


@dataclass(frozen=True, kw_only=True)
class ManifestDocument(Table):
    """A manifest as it is written, before its defaults are applied."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        **Table.__pydantic_config__,
        "title": "Document",
        "json_schema_extra": _require_scenarios,
    }

    scenario: Annotated[tuple[Scenario, ...], Field(strict=False)] = ()
    defaults: Settings = Settings()
    gate: Gate = Gate()
    check: Growth = Growth()
    record: Retention = Retention()
