"""The keys of the user's configuration file, and the order in which a value is looked for.

An option on the command line comes first, then an environment variable, the user's file, and the
default. Nothing here can change a verdict: the keys select what a run shows, where it runs and how
much at once.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, NamedTuple, get_args

from isosmoke.dataclass import dataclass
from isosmoke.engines import AUTO, ENGINES
from isosmoke.reports.progress.status_level import STATUS_LEVELS
from isosmoke.text import suggest_match

Color = Literal["auto", "always", "never"]

TomlTable = Mapping[str, object]

_MOST_DIGITS = 18
"""The length of the longest number that a variable may have; Python refuses to read long ones."""

Origin = Literal["default", "file", "environment", "manifest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationKey:
    """A key: its table, the values that it takes, its default, and the variable that sets it.

    Without `choices`, the value is an integer from 1. A default of None leaves it to isosmoke.
    """

    table: str
    name: str
    meaning: str
    variable: str = ""
    choices: tuple[str, ...] = ()
    default: str | int | None = None

    @property
    def full_name(self) -> str:
        """The name with its table, such as `run.jobs`."""
        return f"{self.table}.{self.name}"

    @property
    def expected(self) -> str:
        """The values that the key takes."""
        return f"one of {', '.join(self.choices)}" if self.choices else "an integer from 1"

    def accepts(self, value: object) -> bool:
        """Return whether the key takes a value as TOML has it."""
        if self.choices:
            return value in self.choices
        return isinstance(value, int) and not isinstance(value, bool) and value >= 1

    def parse(self, text: str) -> str | int | None:
        """Return the value in the text of a variable; None if the key does not take it."""
        is_number = text.isdecimal() and len(text) <= _MOST_DIGITS
        value = text if self.choices or not is_number else int(text)
        return value if self.accepts(value) else None


KEYS = (
    ConfigurationKey(
        table="run",
        name="jobs",
        meaning="the number of scenarios that run at once",
        variable="ISOSMOKE_JOBS",
    ),
    ConfigurationKey(
        table="run",
        name="engine",
        meaning="the engine of `run` and of the commands that examine a scenario",
        variable="ISOSMOKE_ENGINE",
        choices=(AUTO, *ENGINES),
        default=AUTO,
    ),
    ConfigurationKey(
        table="run",
        name="evidence",
        meaning="the attempts whose files and screens are recorded",
        variable="ISOSMOKE_EVIDENCE",
        choices=("failed", "always", "never"),
        default="failed",
    ),
    ConfigurationKey(
        table="display",
        name="status_level",
        meaning="the lines that a run prints",
        variable="ISOSMOKE_STATUS_LEVEL",
        choices=STATUS_LEVELS,
        default="all",
    ),
    ConfigurationKey(
        table="display",
        name="color",
        meaning="colour on stdout and stderr; NO_COLOR and FORCE_COLOR come first",
        variable="ISOSMOKE_COLOR",
        choices=get_args(Color),
        default="auto",
    ),
)
"""The keys, in the order of `isosmoke config show`."""


class Given(NamedTuple):
    """A value that was given for a key; `source` names the variable, or the file and line."""

    value: str | int
    source: str


class Chosen(NamedTuple):
    """The value of a key, with its origin."""

    key: ConfigurationKey
    value: str | int | None
    origin: Origin
    source: str


class KeyMistake(NamedTuple):
    """A mistake at a path of keys, with the remedy."""

    path: tuple[str, ...]
    text: str
    hint: str


def read_document(document: TomlTable) -> tuple[dict[str, str | int], list[KeyMistake]]:
    """Return the values of a document by the full names of their keys, and its mistakes."""
    values: dict[str, str | int] = {}
    mistakes = list(_find_unknown(document))
    for key in KEYS:
        table = document.get(key.table, {})
        if not isinstance(table, Mapping) or key.name not in table:
            continue
        value = table[key.name]
        if isinstance(value, str | int) and key.accepts(value):
            values[key.full_name] = value
        else:
            text = f"must be {key.expected}, not {value!r}"
            close = suggest_match(str(value), key.choices) if key.choices else ""
            mistakes.append(KeyMistake((key.table, key.name), text + close, "correct the value"))
    return values, mistakes


def _find_unknown(document: TomlTable) -> Iterator[KeyMistake]:
    """Yield a mistake for each table and key that does not exist."""
    tables = {key.table for key in KEYS}
    for name, table in document.items():
        if name not in tables:
            yield _describe_unknown((name,), tables, "table")
        elif not isinstance(table, Mapping):
            yield KeyMistake((name,), "must be a table", f"begin the table with [{name}]")
        else:
            known = {key.name for key in KEYS if key.table == name}
            for inner in table.keys() - known:
                yield _describe_unknown((name, inner), known, "key")


def _describe_unknown(path: tuple[str, ...], known: Iterable[str], noun: str) -> KeyMistake:
    names = sorted(known)
    moved = next((key for key in KEYS if key.name == path[-1]), None)
    if moved is not None:
        return KeyMistake(
            path, f"belongs into the table [{moved.table}]", f"write it below [{moved.table}]"
        )
    text = f"is an unknown {noun}{suggest_match(path[-1], names)}"
    return KeyMistake(path, text, f"use {', '.join(names)}; see isosmoke config show")


def choose(
    from_file: Mapping[str, Given],
    environment: Mapping[str, str],
    refuse: Callable[[str, str], object],
) -> Iterator[Chosen]:
    """Yield the value of each key: that of its variable, else that of the file, else the default.

    `refuse` receives the message and the hint for a variable with an invalid value, and raises.
    """
    for key in KEYS:
        text = environment.get(key.variable, "")
        if text:
            value = key.parse(text)
            if value is None:
                refuse(
                    f"{key.variable} must be {key.expected}, not {text!r}"
                    f"{suggest_match(text, key.choices)}",
                    f"unset {key.variable}",
                )
            yield Chosen(key, value, "environment", key.variable)
        elif key.full_name in from_file:
            given = from_file[key.full_name]
            yield Chosen(key, given.value, "file", given.source)
        else:
            yield Chosen(key, key.default, "default", "")
