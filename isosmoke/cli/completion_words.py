"""Completions for arguments of the command line: scenarios, owners and runs.

A manifest is read as plain TOML: an invalid manifest has names too, and completion prints no error.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]

_Candidates = Iterable[tuple[str, str]]
"""Candidates with the descriptions that a shell may show."""


def find_completer(command: str, param: str) -> Completer | None:
    """Return the completer of a parameter; None if any text is allowed."""
    source = _SOURCES.get(f"{command} {param}") or _SOURCES.get(param)
    return source and partial(_complete, source)


def _complete(
    source: Callable[[click.Context], _Candidates],
    ctx: click.Context,
    _: click.Parameter,
    incomplete: str,
) -> list[CompletionItem[str]]:
    """Return the matching candidates; after `--`, another program's arguments, complete files."""
    if "--" in os.environ.get("COMP_WORDS", "").split():
        return [CompletionItem(incomplete, type="file")]
    return [
        CompletionItem(value, help=description or None)
        for value, description in source(ctx)
        if value.startswith(incomplete)
    ]


def _list_scenarios(ctx: click.Context) -> _Candidates:
    """Yield the scenarios not yet on the command line, with their assertions."""
    for entry in _read_entries(ctx):
        name = str(entry.get("name", ""))
        text = entry.get("assertion") or str(entry.get("description", "")).split(". ")[0]
        if name not in (ctx.params.get("names") or ()):
            yield name, " ".join(str(text).split())


def _list_owners(ctx: click.Context) -> _Candidates:
    entries = _read_entries(ctx)
    tasks = {str(task).strip() for entry in entries for task in _as_list(entry.get("owners"))}
    return ((task, "") for task in sorted(tasks))


def _list_runs(_: click.Context) -> _Candidates:
    """Return the ids of past runs, newest first; none if they cannot be listed."""
    from isosmoke.errors import IsosmokeError
    from isosmoke.history import layout

    try:
        directories = layout.list_run_directories(Path.cwd())
    except (IsosmokeError, OSError):
        return ()
    return ((directory.name, "") for directory in directories)


def _list_runs_and_scenarios(ctx: click.Context) -> _Candidates:
    return (*_list_runs(ctx), *_list_scenarios(ctx))


_SOURCES: Mapping[str, Callable[[click.Context], _Candidates]] = {
    "names": _list_scenarios,
    "owners": _list_owners,
    "task": _list_owners,
    "rerun": _list_runs,
    "report run": _list_runs,
    "show target": _list_runs_and_scenarios,
    "logs target": _list_scenarios,
    "history name": _list_scenarios,
    "repro name": _list_scenarios,
    "stress name": _list_scenarios,
    "prove name": _list_scenarios,
    "bisect name": _list_scenarios,
    "done arguments": _list_owners,
}
"""Sources of candidates by parameter name, optionally preceded by the name of the command."""


def _read_entries(ctx: click.Context) -> list[Mapping[str, Any]]:
    """Return the scenarios of the manifest that the command would read; none if unreadable."""
    from isosmoke.errors import IsosmokeError

    try:
        document = _load(_find_manifest(ctx.params.get("manifest_path")))
        bridge = document.get("bridge")
        mirrored = bridge.get("source") if isinstance(bridge, dict) else None
        document = _load(Path(mirrored)) if isinstance(mirrored, str) else document
    except (IsosmokeError, OSError, ValueError, RecursionError):
        return []
    return [entry for entry in _as_list(document.get("scenario")) if isinstance(entry, dict)]


def _as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _find_manifest(option: str | None) -> Path:
    if option:
        return Path(option).expanduser()
    from isosmoke.manifest.discovery import locate_manifest

    return locate_manifest(Path.cwd(), os.environ)


def _load(path: Path) -> Mapping[str, Any]:
    import tomli

    from isosmoke.host import files

    return tomli.loads(files.read(path).decode("utf-8-sig"))
