"""The base of the JSON documents of commands, which pydantic validates."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from isosmoke.text import escape_bytes


def _escape_bytes(value: object) -> object:
    """Escape bytes of a path or argument that are not valid text."""
    if isinstance(value, str | Path):
        return escape_bytes(str(value))
    return value


Text = Annotated[str, BeforeValidator(_escape_bytes)]


class RecordModel(BaseModel):
    """A part of a document; unknown fields from later versions are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    def to_json(self) -> dict[str, Any]:
        """Return the document as JSON has it."""
        return self.model_dump(mode="json")
