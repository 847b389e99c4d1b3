"""Error messages for manifests: file, line, scenario, key, problem and hint."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from isosmoke.dataclass import dataclass
from isosmoke.errors import ManifestError
from isosmoke.manifest.models import (
    Allowance,
    Gate,
    Leaks,
    Limits,
    Requires,
    Scenario,
    Service,
    Settings,
    Wait,
)
from isosmoke.manifest.table_base import Table, list_keys
from isosmoke.manifest.validation.document import ManifestDocument
from isosmoke.manifest.validation.positions import LineIndex, Loc
from isosmoke.manifest.validation.value_types import format_value


@dataclass(frozen=True)
class Mistake:
    """A problem at `loc` in a manifest, with a hint that says how to fix it."""

    loc: Loc
    text: str
    hint: str


@dataclass(frozen=True)
class Source:
    """A parsed TOML text and the path that it was read from."""

    path: Path
    text: str
    document: Mapping[str, object]

    @property
    def directory(self) -> Path:
        """The absolute directory that relative paths start from."""
        return self.path.parent.absolute()

    @cached_property
    def line_index(self) -> LineIndex:
        """The line number of each key."""
        return LineIndex(self.text)

    @cached_property
    def entries(self) -> Mapping[int, Mapping[str, object]]:
        """The scenarios that are tables, by their index in the list."""
        scenarios = self.document.get("scenario")
        numbered = enumerate(scenarios if isinstance(scenarios, list) else ())
        return {number: entry for number, entry in numbered if isinstance(entry, dict)}

    def build_error(self, mistakes: Iterable[Mistake]) -> ManifestError:
        """Combine mistakes into one error, sorted by line, with the first mistake for each key."""
        firsts: dict[Loc, Mistake] = {}
        for mistake in mistakes:
            # Later mistakes about the same key are consequences of the first.
            firsts.setdefault(mistake.loc, mistake)
        unique = sorted(
            firsts.values(), key=lambda mistake: self.line_index.find_line(mistake.loc) or 0
        )
        parts = [(self._format_mistake(mistake), mistake.hint) for mistake in unique]
        message = "\n".join(text for text, _ in parts)
        hint = "\n".join(dict.fromkeys(hint for _, hint in parts))
        return ManifestError(message, hint, tuple(parts))

    def _format_mistake(self, mistake: Mistake) -> str:
        line = self.line_index.find_line(mistake.loc)
        location = f"{self.path}:{line}" if line else str(self.path)
        keys = _strip_table(mistake.loc)
        subject = (self._name_table(mistake.loc), f"key {_join_keys(keys)!r}" if keys else "")
        return _make_printable(
            ": ".join(part for part in (location, *subject, mistake.text) if part)
        )

    def _name_table(self, loc: Loc) -> str:
        match loc:
            case ("scenario", int(number), *_):
                name = self.entries.get(number, {}).get("name")
                return f"scenario {format_value(name) if isinstance(name, str) else number + 1}"
            case ("defaults" | "gate" as table, *_):
                return f"[{table}]"
            case _:
                return ""


def _make_printable(text: str) -> str:
    """Escape line breaks and control characters so that the text cannot control a terminal."""
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text
    )


def _strip_table(loc: Loc) -> Loc:
    """Return `loc` relative to the scenario or table that contains it."""
    match loc:
        case ("scenario", int(), *keys) | ("defaults" | "gate", *keys):
            return tuple(keys)
        case _:
            return loc


def _join_keys(keys: Iterable[str | int]) -> str:
    """Return keys in dotted notation, such as `leaks.allow[0].until`."""
    parts = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return "".join(parts).removeprefix(".")


_MODELS: Mapping[str, type[Table]] = {
    "scenario": Scenario,
    "defaults": Settings,
    "gate": Gate,
    "requires": Requires,
    "limits": Limits,
    "leaks": Leaks,
    "allow": Allowance,
    "services": Service,
    "wait": Wait,
}

_KINDS = {
    "int_type": ("a whole number", "write a whole number without quotes, such as 30"),
    "float_type": ("a number", "write a number without quotes, such as 2.5"),
    "string_type": ("a string", 'write text in quotes, such as "text"'),
    "tuple_type": ("a list", 'write a list in brackets, such as ["a", "b"]'),
    "dict_type": ("a table", 'write a table in braces, such as { KEY = "value" }'),
    "dataclass_type": ("a table", 'write a table in braces, such as { KEY = "value" }'),
    "date_type": ("a date", "write a date without quotes, such as 2027-01-31"),
}


def describe_mistake(error: Mapping[str, Any]) -> Mistake:
    """Translate a pydantic error into a mistake."""
    # pydantic appends "[key]" to the location if the key itself is invalid, not its value.
    loc = error["loc"][:-1] if error["loc"][-1] == "[key]" else error["loc"]
    return Mistake(loc, *_describe(error, loc))


def _describe(error: Mapping[str, Any], loc: Loc) -> tuple[str, str]:
    """Return the problem and a hint."""
    match error["type"]:
        case "wrong":
            return error["ctx"]["text"], error["ctx"]["hint"]
        case "unexpected_keyword_argument":
            return _describe_unknown_key(loc)
        case "missing":
            return "is missing", f"add the key {loc[-1]!r}"
        case kind:
            valid, hint = _KINDS.get(
                kind, ("", "correct the value and run again; nothing was started")
            )
            must = f"must be {valid}" if valid else error["msg"].replace("Input should", "must", 1)
            return f"{must}, not {format_value(error['input'])}", hint


def _describe_unknown_key(loc: Loc) -> tuple[str, str]:
    *parents, key = loc
    if parents == ["defaults"] and key in list_keys(Scenario):
        return (
            "cannot have a default, since it is set per scenario",
            "move it to the scenarios that need it",
        )
    table = next((key for key in reversed(parents) if isinstance(key, str)), "")
    known = list_keys(_MODELS.get(table, ManifestDocument))
    for candidate in get_close_matches(str(key), known, n=1):
        suggestion = _join_keys(_strip_table((*parents, candidate)))
        return f"unknown key; did you mean {suggestion!r}?", "correct the spelling"
    return "unknown key", f"use one of the known keys: {', '.join(known)}"
