"""TOML text → scenarios, with every mistake named by file, line, scenario and key."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import tomli
from pydantic import ValidationError

from isosmoke.errors import ManifestError
from isosmoke.manifest.diagnostics import Mistake, Source, mistake_of
from isosmoke.manifest.models import Document, Manifest, Settings
from isosmoke.manifest.positions import Loc


def parse(text: str, path: Path) -> Manifest:
    """The manifest that `text` is; nothing is read from disk.

    `path` is where the text came from: mistakes name it, and scripts lie relative to its folder.

    A scenario's own value wins over `[defaults]`. Where both are tables they merge key by key, one
    level deep; anything else replaces, so `leaks = "fail"` also drops every default allowance.

    Raises:
        ManifestError: with all mistakes found, one on each line.
    """
    return _judged(Source(path, text, _decoded(text, path)))


def load(path: Path) -> Manifest:
    """The manifest in the file `path`, whose scripts are all there.

    A mirror of one, which `isosmoke bridge` writes for wg, stands for the manifest that it mirrors.

    Raises:
        ManifestError: with all mistakes found, one on each line, or why it cannot be read.
    """
    source = _source(path)
    bridge = source.document.get("bridge")
    if isinstance(bridge, dict) and isinstance(bridge.get("source"), str):
        source = _source(Path(bridge["source"]))
    return _judged(source, _missing_scripts(source))


def _source(path: Path) -> "Source":
    text = _text(path)
    return Source(path, text, _decoded(text, path))


def _text(path: Path) -> str:
    try:
        # wg's reader takes a byte order mark, so a manifest may begin with one.
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ManifestError(f"{path}: {reason}", "name a manifest that can be read") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ManifestError(f"{path}:{line}: is not UTF-8 text", "save it as UTF-8") from error


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


def _judged(source: Source, further: Iterable[Mistake] = ()) -> Manifest:
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


def _validated(source: Source) -> tuple[Document | None, list[Mistake]]:
    folder = source.path.parent.absolute()
    try:
        return Document.model_validate(_with_defaults(source), context=folder), []
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


def _missing_scripts(source: Source) -> Iterator[Mistake]:
    folder = source.path.parent.absolute()
    for number, entry in source.entries.items():
        script = entry.get("script")
        if isinstance(script, str) and (reason := _unrunnable(folder / script)):
            yield Mistake(
                ("scenario", number, "script"),
                f"{reason}: {folder / script}",
                f"a script lies relative to the folder of its manifest, {folder}",
            )


def _unrunnable(script: Path) -> str:
    """Why `script` is not there to be run; empty if it is."""
    try:
        if script.is_file():
            return ""
        return "is not a file" if script.exists() else "no such file"
    except OSError as error:
        return (error.strerror or str(error)).lower()
