"""TOML text → scenarios, with every mistake named by file, line, scenario and key.

Nothing here reads the disk: `isosmoke.manifest.loader` does.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import tomli
from pydantic import ValidationError

from isosmoke.errors import ManifestError
from isosmoke.manifest.diagnostics import Mistake, Source, mistake_of
from isosmoke.manifest.models import Document, Manifest, Settings
from isosmoke.manifest.positions import Loc


def parse(text: str, path: Path) -> Manifest:
    """Return the manifest that `text` is.

    `path` is where the text came from: mistakes name it, and scripts lie relative to its folder.

    A scenario's own value wins over `[defaults]`. Where both are tables they merge key by key, one
    level deep; anything else replaces, so `leaks = "fail"` also drops every default allowance.

    Raises:
        ManifestError: with all mistakes found, one on each line.
    """
    return manifest_of(source_of(text, path))


def source_of(text: str, path: Path) -> Source:
    """Return `text`, which came from `path`, as the TOML document that it is.

    Raises:
        ManifestError: if it is not TOML, with the place.
    """
    return Source(path, text, _decoded(text, path))


def manifest_of(source: Source, further: Iterable[Mistake] = ()) -> Manifest:
    """Return the manifest of a document.

    Raises:
        ManifestError: with all mistakes found, and `further` ones, one on each line.
    """
    document, mistakes = _validated(source)
    mistakes = [*_unlisted(source), *mistakes, *_twice_named(source), *further]
    if document is None or mistakes:
        raise source.error(mistakes)
    return Manifest(
        path=source.path,
        scenarios=document.scenario,
        gate=document.gate,
        record=document.record,
    )


def _decoded(text: str, path: Path) -> Mapping[str, object]:
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        place = f"{path}:{error.lineno}:{error.colno}"
        hint = "correct the syntax: isosmoke reads TOML 1.0, as wg does"
        raise ManifestError(f"{place}: {error.msg[:1].lower()}{error.msg[1:]}", hint) from error
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, or hundreds of brackets: tomli does not say where.
        raise ManifestError(f"{path}: {error}", "write it simpler") from error


def _validated(source: Source) -> tuple[Document | None, list[Mistake]]:
    try:
        return Document.model_validate(_with_defaults(source), context=source.folder), []
    except ValidationError as error:
        return None, [mistake_of(one) for one in error.errors()]


def _with_defaults(source: Source) -> Mapping[str, object]:
    """The document with its defaults in each scenario, unless they are wrong themselves.

    Mistakes in the defaults are told once, where they stand, and not again for each scenario.
    """
    defaults, scenarios = source.document.get("defaults"), source.document.get("scenario")
    if not (isinstance(defaults, dict) and isinstance(scenarios, list) and _are_right(defaults)):
        return source.document
    return {**source.document, "scenario": [_merged(defaults, own) for own in scenarios]}


def _are_right(defaults: Mapping[str, object]) -> bool:
    try:
        Settings.model_validate(defaults)
    except ValidationError:
        return False
    return True


def _merged(defaults: Mapping[str, object], own: object) -> object:
    if not isinstance(own, dict):
        return own
    tables = {
        key: {**default, **own[key]}
        for key, default in defaults.items()
        if isinstance(default, dict) and isinstance(own.get(key), dict)
    }
    return {**defaults, **own, **tables}


def _unlisted(source: Source) -> Iterator[Mistake]:
    example = '[[scenario]], name = "..." and script = "..."'
    scenarios = source.document.get("scenario")
    if not scenarios:
        yield Mistake(("scenario",), "names no scenario", f"add one: {example}")
    elif isinstance(scenarios, dict):
        yield Mistake(("scenario",), "must be a list of tables", f"double its brackets: {example}")


def _twice_named(source: Source) -> Iterator[Mistake]:
    first: dict[str, Loc] = {}
    for number, entry in source.entries.items():
        name, loc = entry.get("name"), ("scenario", number, "name")
        if isinstance(name, str) and first.setdefault(name, loc) != loc:
            line = source.lines.line(first[name])
            yield Mistake(
                loc,
                f"the scenario on line {line} has this name already",
                "rename one of them: a name stands for one regression",
            )
