"""Which files a script reads: those it sources, and those of the manifest's folder it names.

Nothing is executed, so this errs towards too many: a file that is only mentioned counts as read.
"""

import re
import shlex
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

_SOURCE = re.compile(
    r"(?:^|[;&|({!]|\b(?:then|do|else)\b)[ \t]*(?:source|\.)[ \t]+(\S.*)", re.MULTILINE
)
_UNKNOWN = "\0"
_EXPANSION = re.compile(r"\$\([^()]*\)|`[^`]*`|\$\{[^{}]*\}|\$\w+|\$[@*#?!$-]")
_PATH = re.compile(r"[\w.+@-]+(?:/[\w.+@-]+)*")
_LIVE = frozenset({".git", ".wg", ".workgraph", ".isosmoke"})
"""Folders that change by themselves: what a script finds there is no part of it."""


def sources(scripts: Iterable[Path], folder: Path, *, apart: Collection[Path]) -> tuple[Path, ...]:
    """The files that `scripts` in the manifest's folder read, resolved, without `apart`.

    A sourced file is followed wherever it lies; a named one counts within `folder`, and is
    followed where it is a script itself.
    """
    done = {one.resolve() for one in apart}
    waiting = [one.resolve() for one in scripts]
    found: set[Path] = set()
    while waiting:
        texts = {script: _text(script) for script in waiting}
        named = _named(texts, folder.resolve()) - done
        sourced = {one for script in texts for one in _sourced(script, texts[script], folder)}
        fresh = (named | sourced) - done - found
        found |= fresh
        waiting = [one for one in fresh if one in sourced or _is_script(one)]
    return tuple(sorted(found))


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _sourced(script: Path, text: str, folder: Path) -> Iterator[Path]:
    for statement in _SOURCE.findall(text):
        target = _target(statement)
        for base in (script.parent, folder.resolve()):
            if target and _is_file(base / target):
                yield (base / target).resolve()


def _target(statement: str) -> str:
    """What is sourced, from the last part on that only the shell can know: `$HERE/lib.sh`."""
    while (shorter := _EXPANSION.sub(_UNKNOWN, statement)) != statement:
        statement = shorter
    try:
        word = shlex.split(statement)[0]
    except ValueError:
        word = re.split(r"[\s;&|]", statement)[0].strip("\"'")
    _, unknown, known = word.rstrip(";&|)}").rpartition(_UNKNOWN)
    return known.lstrip("/") if unknown else known


def _named(texts: dict[Path, str], folder: Path) -> set[Path]:
    """Every file of `folder` that a text names, from its script's place or from `folder`."""
    files: set[Path] = set()
    for base in {script.parent for script in texts}:
        # Scripts of one folder share most of their words, and each costs a look at the disk.
        words = {w for script in texts if script.parent == base for w in _words(texts[script])}
        for place in (base, folder):
            files |= {(place / word).resolve() for word in words if _is_file(place / word)}
    return {one for one in files if one.is_relative_to(folder) and not _is_live(one, folder)}


def _words(text: str) -> set[str]:
    """Whatever may be a path, and each end of it: of `$HERE/a/b.sh` also `a/b.sh` and `b.sh`."""
    whole = {one.rstrip(".") for one in _PATH.findall(text)}
    parts = (one.split("/") for one in whole)
    return {"/".join(part[at:]) for part in parts for at in range(len(part))}


def _is_live(path: Path, folder: Path) -> bool:
    return not _LIVE.isdisjoint(path.relative_to(folder).parts)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _is_script(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return path.suffix in (".sh", ".bash") or file.read(2) == b"#!"
    except OSError:
        return False
