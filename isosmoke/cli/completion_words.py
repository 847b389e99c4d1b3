"""What may stand for a word of a command line: scenarios, owners, runs.

A manifest is read as TOML only: a wrong one has names too, and nothing is said while one types.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]

_Words = Iterable[tuple[str, str]]
"""Words, and what a shell may say of each."""


def of(command: str, param: str) -> Completer | None:
    """What completes a parameter of a command; None where any word may stand."""
    words = _WORDS.get(f"{command} {param}") or _WORDS.get(param)
    return words and partial(_fitting, words)


def _fitting(
    words: Callable[[click.Context], _Words],
    ctx: click.Context,
    _: click.Parameter,
    incomplete: str,
) -> list[CompletionItem[str]]:
    """Those that begin so; after `--` comes somebody else's command line, so files."""
    if "--" in os.environ.get("COMP_WORDS", "").split():
        return [CompletionItem(incomplete, type="file")]
    found = ((word, told) for word, told in words(ctx) if word.startswith(incomplete))
    return [CompletionItem(word, help=told or None) for word, told in found]


def _scenarios(ctx: click.Context) -> _Words:
    """Those that were not named yet, with what they assert."""
    for entry in _entries(ctx):
        name = str(entry.get("name", ""))
        told = entry.get("assertion") or str(entry.get("description", "")).split(". ")[0]
        if name not in (ctx.params.get("names") or ()):
            yield name, " ".join(str(told).split())


def _owners(ctx: click.Context) -> _Words:
    tasks = {str(task).strip() for entry in _entries(ctx) for task in _list(entry.get("owners"))}
    return ((task, "") for task in sorted(tasks))


def _runs(_: click.Context) -> _Words:
    """Newest first."""
    from isosmoke.history import layout

    return ((one.name, "") for one in layout.list_folders(Path.cwd()))


def _past(ctx: click.Context) -> _Words:
    return (*_runs(ctx), *_scenarios(ctx))


_WORDS: Mapping[str, Callable[[click.Context], _Words]] = {
    "names": _scenarios,
    "owners": _owners,
    "task": _owners,
    "rerun": _runs,
    "report run": _runs,
    "show named": _past,
    "logs named": _scenarios,
    "history name": _scenarios,
    "repro name": _scenarios,
    "done words": _owners,
}
"""By the parameter's name, alone or after its command's."""


def _entries(ctx: click.Context) -> list[Mapping[str, Any]]:
    """The scenarios of the manifest that the command would read; none where it cannot be read."""
    from isosmoke.errors import IsosmokeError

    try:
        document = _document(_manifest(ctx.params.get("manifest_path")))
        bridge = document.get("bridge")
        mirrored = bridge.get("source") if isinstance(bridge, dict) else None
        document = _document(Path(mirrored)) if isinstance(mirrored, str) else document
    except (IsosmokeError, OSError, ValueError):
        return []
    return [one for one in _list(document.get("scenario")) if isinstance(one, dict)]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _manifest(named: str | None) -> Path:
    if named:
        return Path(named).expanduser()
    from isosmoke.manifest.discovery import located

    return located(Path.cwd(), os.environ)


def _document(path: Path) -> Mapping[str, Any]:
    import tomli

    return tomli.loads(path.read_text(encoding="utf-8-sig"))
