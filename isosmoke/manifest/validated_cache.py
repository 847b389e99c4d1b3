"""Validated manifests as plain data, which are used again without parsing or validation.

The gate does not use them: a program that writes to the state directory could change its verdict.
"""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from isosmoke.host.learned import identities, store
from isosmoke.manifest import models
from isosmoke.manifest.models import Manifest
from isosmoke.manifest.table_base import Table, get_default

_KIND = "manifests"

_CODE = ("manifest/**/*.py", "regular_expressions.py", "sandbox/spec.py")
"""The modules that decide whether a manifest is valid, and what it means."""

_LIBRARIES = ("pydantic", "pydantic_core", "re2", "tomli")

_TABLES: Mapping[str, type[Table]] = {
    name: value
    for name, value in vars(models).items()
    if isinstance(value, type) and issubclass(value, Table)
}


def find(path: Path, content: bytes) -> Manifest | None:
    """Return the manifest at `path` if the same content was valid before; else None."""
    kept = store.load(_KIND, str(path.absolute()), _build_basis(content))
    with suppress(ValueError, LookupError, TypeError, AttributeError, RecursionError):
        directory = path.parent.absolute()
        tables = {key: _decode(value) for key, value in (kept or {})["tables"].items()}
        scenarios = tuple(scenario.place(directory) for scenario in tables["scenarios"])
        return Manifest(**{**tables, "path": path, "scenarios": scenarios})
    return None


def keep(manifest: Manifest, content: bytes) -> None:
    """Keep a manifest that was read from this content."""
    tables = {key: _encode(value) for key, value in manifest.items() if key != "path"}
    path = str(manifest.path.absolute())
    store.save(_KIND, path, _build_basis(content), {"tables": tables})


def _build_basis(content: bytes) -> Mapping[str, Any]:
    return {"content": hashlib.sha256(content).hexdigest(), "code": _identify_code()}


@cache
def _identify_code() -> list[object]:
    return identities.identify_code(_CODE, _LIBRARIES)


def _encode(value: object) -> object:
    """Return a value of a table as JSON has it; a table without the keys that have defaults."""
    match value:
        case Table():
            table = type(value)
            items = ((key, item) for key, item in value.items() if item != get_default(table, key))
            return {"table": table.__name__, "keys": {key: _encode(item) for key, item in items}}
        case tuple():
            return [_encode(item) for item in value]
        case Mapping():
            return {"mapping": dict(value)}
        case date():
            return {"date": value.isoformat()}
        case _:
            return value


def _decode(value: Any) -> Any:
    """Return the value that `_encode` encoded.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: if another program wrote it.
    """
    match value:
        case list():
            return tuple(map(_decode, value))
        case {"table": name, "keys": keys}:
            return _TABLES[name](**{key: _decode(item) for key, item in keys.items()})
        case {"mapping": dict(mapping)}:
            return mapping
        case {"date": text}:
            return date.fromisoformat(text)
        case _:
            return value
