"""Parsing of TOML text into scenarios, with diagnostics by file, line, scenario and key.

This module does not access the disk; `isosmoke.manifest.loader` does.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import tomli

from isosmoke.errors import ManifestError
from isosmoke.manifest.models import Manifest, Settings
from isosmoke.manifest.table_base import InvalidTableError
from isosmoke.manifest.validation.diagnostics import Mistake, Source, describe_mistake
from isosmoke.manifest.validation.document import ManifestDocument
from isosmoke.manifest.validation.positions import Loc

REFUSED_VARIABLES = frozenset(
    {
        *("BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS"),  # bash(1)
        *("LD_PRELOAD", "LD_AUDIT"),  # ld.so(8)
        *("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP"),  # python(1)
        "PATH",
    }
)
"""Variables by which a manifest could replace a script's code, or the programs that it calls."""

_CONFLICT = re.compile(r"^<{7} ", re.MULTILINE)

_VARIABLE_KEYS = ("env", "pass_env", "plain_env")

RECORD_FILES = frozenset({"run.json", "receipt.json", "receipt.dsse"})
"""The files of a run's record, in which each scenario has a directory of its own name."""


def parse(text: str, path: Path) -> Manifest:
    """Parse a manifest.

    `path` is the origin of the text. Messages name it, and scripts are relative to its directory.

    A scenario's own value overrides the one in `[defaults]`. Two tables are merged key by key, one
    level deep; any other value is replaced. Therefore `leaks = "fail"` also drops every default
    allowance.

    Raises:
        ManifestError: The manifest has mistakes; the message has one on each line.
    """
    return build_manifest(parse_source(text, path))


def parse_past(text: str, path: Path) -> Manifest:
    """Parse an earlier edition of a manifest, which may have what is refused now.

    Those are variables that run other code, and names of files of a record.

    Raises:
        ManifestError: It has other mistakes.
    """
    return _build(parse_source(text, path), ())


def parse_source(text: str, path: Path) -> Source:
    """Parse `text`, which was read from `path`, as TOML.

    Raises:
        ManifestError: The text is not TOML; the message has the line and column if known.
    """
    return Source(path, text, _parse_toml(text, path))


def build_manifest(source: Source, further: Iterable[Mistake] = ()) -> Manifest:
    """Validate a document and return its manifest.

    Raises:
        ManifestError: The document has mistakes, or `further` is not empty; the message has one
            mistake on each line.
    """
    refused = (*_find_refused_variables(source), *_find_refused_names(source))
    return _build(source, (*refused, *further))


def _build(source: Source, further: Iterable[Mistake]) -> Manifest:
    document, mistakes = _validate(source)
    mistakes = [
        *_find_missing_scenarios(source),
        *mistakes,
        *_find_duplicate_names(source),
        *further,
    ]
    if document is None or mistakes:
        raise source.build_error(mistakes)
    return Manifest(
        path=source.path,
        scenarios=tuple(scenario.place(source.directory) for scenario in document.scenario),
        gate=document.gate,
        check=document.check,
        record=document.record,
    )


def _parse_toml(text: str, path: Path) -> Mapping[str, object]:
    if marker := _CONFLICT.search(text):
        line = text.count("\n", 0, marker.start()) + 1
        raise ManifestError(
            f"{path}:{line}: has conflict markers of git",
            "keep the entries of both branches: remove the lines that begin with <<<<<<<, |||||||, "
            "======= and >>>>>>>, and begin each entry with [[scenario]]",
        )
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        location = f"{path}:{error.lineno}:{error.colno}"
        hint = "correct the syntax; isosmoke reads TOML 1.0, as wg does"
        raise ManifestError(f"{location}: {error.msg[:1].lower()}{error.msg[1:]}", hint) from error
    except (ValueError, RecursionError) as error:
        # For an integer with thousands of digits or deep nesting, tomli reports no position.
        raise ManifestError(f"{path}: {error}", "shorten or simplify the value") from error


def _validate(source: Source) -> tuple[ManifestDocument | None, list[Mistake]]:
    try:
        return ManifestDocument.validate(_with_defaults(source)), []
    except InvalidTableError as error:
        return None, [describe_mistake(detail) for detail in error.details]


def _with_defaults(source: Source) -> Mapping[str, object]:
    """Return the document with its defaults merged into each scenario.

    Invalid defaults are not merged, so that their mistakes are reported once, at their own line,
    and not again for each scenario.
    """
    defaults, scenarios = source.document.get("defaults"), source.document.get("scenario")
    if not (isinstance(defaults, dict) and isinstance(scenarios, list) and _are_valid(defaults)):
        return source.document
    return {**source.document, "scenario": [_merge(defaults, entry) for entry in scenarios]}


def _are_valid(defaults: Mapping[str, object]) -> bool:
    try:
        Settings.validate(defaults)
    except InvalidTableError:
        return False
    return True


def _merge(defaults: Mapping[str, object], entry: object) -> object:
    if not isinstance(entry, dict):
        return entry
    tables = {
        key: {**default, **entry[key]}
        for key, default in defaults.items()
        if isinstance(default, dict) and isinstance(entry.get(key), dict)
    }
    return {**defaults, **entry, **tables}


def _find_missing_scenarios(source: Source) -> Iterator[Mistake]:
    example = '[[scenario]], name = "..." and script = "..."'
    scenarios = source.document.get("scenario")
    if not scenarios:
        yield Mistake(("scenario",), "lists no scenarios", f"add one: {example}")
    elif isinstance(scenarios, dict):
        yield Mistake(("scenario",), "must be a list of tables", f"use double brackets: {example}")


def _find_duplicate_names(source: Source) -> Iterator[Mistake]:
    first: dict[str, Loc] = {}
    for number, entry in source.entries.items():
        name, loc = entry.get("name"), ("scenario", number, "name")
        if isinstance(name, str) and first.setdefault(name, loc) != loc:
            line = source.line_index.find_line(first[name])
            yield Mistake(
                loc,
                f"is already the name of the scenario on line {line}",
                "rename one of the two scenarios; each name identifies one regression",
            )


def _find_refused_variables(source: Source) -> Iterator[Mistake]:
    """Yield a mistake for each variable that would run other code in place of the script's."""
    defaults = source.document.get("defaults")
    tables: list[tuple[Loc, object]] = [(("defaults",), defaults)]
    tables += [(("scenario", number), entry) for number, entry in source.entries.items()]
    for loc, table in tables:
        for key in _VARIABLE_KEYS:
            names = table.get(key) if isinstance(table, dict) else None
            for name in names if isinstance(names, dict | list) else ():
                if isinstance(name, str) and name in REFUSED_VARIABLES:
                    yield Mistake(
                        (*loc, key),
                        f"cannot set {name}, which decides what code runs in place of the script's",
                        "set it in the script, where a reviewer sees it",
                    )


def _find_refused_names(source: Source) -> Iterator[Mistake]:
    """Yield a mistake for each scenario that would have the place of a file in a record.

    An alias of such a name is valid, because the scenario has to be renamed.
    """
    for number, entry in source.entries.items():
        name = entry.get("name")
        if isinstance(name, str) and name in RECORD_FILES:
            other = name.replace(".", "_")
            yield Mistake(
                ("scenario", number, "name"),
                "is the name of a file in the record of each run",
                f"name the scenario {other!r}, and add aliases = ['{name}']",
            )
