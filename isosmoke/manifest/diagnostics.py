"""What is wrong with a manifest, in words: file, line, scenario, key, and what to do about it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

from pydantic_core import ErrorDetails

from isosmoke.errors import ManifestError
from isosmoke.manifest.models import (
    Allowance,
    Document,
    Gate,
    Leaks,
    Limits,
    Requires,
    Scenario,
    Service,
    Settings,
    StrictModel,
    Wait,
)
from isosmoke.manifest.positions import Lines, Loc
from isosmoke.manifest.value_types import shown


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong at `loc`, and what to do about it."""

    loc: Loc
    text: str
    hint: str


@dataclass(frozen=True)
class Source:
    """A text that is TOML, and where in it things stand."""

    path: Path
    text: str
    document: Mapping[str, object]

    @property
    def folder(self) -> Path:
        """The absolute folder that relative paths start from."""
        return self.path.parent.absolute()

    @cached_property
    def lines(self) -> "Lines":
        return Lines(self.text)

    @cached_property
    def entries(self) -> Mapping[int, Mapping[str, object]]:
        """The scenarios that are tables, by their place."""
        scenarios = self.document.get("scenario")
        numbered = enumerate(scenarios if isinstance(scenarios, list) else ())
        return {number: entry for number, entry in numbered if isinstance(entry, dict)}

    def error(self, mistakes: Iterable[Mistake]) -> ManifestError:
        """All mistakes in one error, by line, the first about each key."""
        firsts: dict[Loc, Mistake] = {}
        for one in mistakes:
            firsts.setdefault(one.loc, one)  # the first mistake about a key causes the others
        told = sorted(firsts.values(), key=lambda one: self.lines.line(one.loc) or 0)
        message = "\n".join(self._sentence(one) for one in told)
        return ManifestError(message, "\n".join(dict.fromkeys(one.hint for one in told)))

    def _sentence(self, mistake: Mistake) -> str:
        line = self.lines.line(mistake.loc)
        place = f"{self.path}:{line}" if line else str(self.path)
        keys = _within(mistake.loc)
        subject = (self._table(mistake.loc), f"key {_dotted(keys)!r}" if keys else "")
        return _printable(": ".join(part for part in (place, *subject, mistake.text) if part))

    def _table(self, loc: Loc) -> str:
        match loc:
            case ("scenario", int(number), *_):
                name = self.entries.get(number, {}).get("name")
                return f"scenario {shown(name) if isinstance(name, str) else number + 1}"
            case ("defaults" | "gate" as table, *_):
                return f"[{table}]"
            case _:
                return ""


def _printable(text: str) -> str:
    """`text` on one line, and harmless to a terminal whatever the manifest holds."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def _within(loc: Loc) -> Loc:
    """`loc` as seen from the scenario or the table it lies in."""
    match loc:
        case ("scenario", int(), *keys) | ("defaults" | "gate", *keys):
            return tuple(keys)
        case _:
            return loc


def _dotted(keys: Iterable[str | int]) -> str:
    """`leaks.allow[0].until`."""
    parts = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return "".join(parts).removeprefix(".")


_MODELS: Mapping[str, type[StrictModel]] = {
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
    "model_type": ("a table", 'write a table in braces, such as { KEY = "value" }'),
    "date_type": ("a date", "write a date without quotes, such as 2027-01-31"),
}


def mistake_of(error: ErrorDetails) -> Mistake:
    """What pydantic found, in our words."""
    # pydantic marks a mistake in a key, as opposed to its value, by one more step.
    loc = error["loc"][:-1] if error["loc"][-1] == "[key]" else error["loc"]
    return Mistake(loc, *_told(error, loc))


def _told(error: ErrorDetails, loc: Loc) -> tuple[str, str]:
    """What is wrong, and what to do about it."""
    match error["type"]:
        case "wrong":
            return error["ctx"]["text"], error["ctx"]["hint"]
        case "extra_forbidden":
            return _unknown(loc)
        case "missing":
            return "is missing", f"give it a {loc[-1]}"
        case kind:
            valid, hint = _KINDS.get(kind, ("", "nothing was started: correct it and run again"))
            must = f"must be {valid}" if valid else error["msg"].replace("Input should", "must", 1)
            return f"{must}, not {shown(error['input'])}", hint


def _unknown(loc: Loc) -> tuple[str, str]:
    *parents, key = loc
    if parents == ["defaults"] and key in Scenario.model_fields:
        return (
            "belongs to one scenario, so it cannot be a default",
            "move it to the scenarios it is meant for",
        )
    table = next((key for key in reversed(parents) if isinstance(key, str)), "")
    known = list(_MODELS.get(table, Document).model_fields)
    for meant in get_close_matches(str(key), known, n=1):
        found = _dotted(_within((*parents, meant)))
        return f"unknown key; did you mean {found!r}?", "correct the spelling"
    return "unknown key", f"known here: {', '.join(known)}"
