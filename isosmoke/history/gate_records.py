"""Where receipts and bypasses are kept: beside the runs, each written whole or not at all."""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from isosmoke.errors import IsosmokeError
from isosmoke.host import files, git, state
from isosmoke.host.git import Checkout

_Kept = TypeVar("_Kept")

_RECEIPTS = "receipts"
_BYPASSES = "bypasses.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class BypassRecord:
    """Who went by the gate: `agent` is None for a human; `at` in UTC (RFC 3339)."""

    task: str
    agent: str | None
    user: str
    folder: str
    at: str
    repository: Checkout | None


_RECORD = TypeAdapter(BypassRecord)


def homes(folder: Path, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Where records of the project around `folder` may lie, the best place first.

    The last one, in the user's state folder, serves a project that cannot be written to.
    `UsageError` if a project has a link where its records would be.
    """
    tops = git.find_tops(folder, environment)
    within = (state.in_project(top, _RECEIPTS, _BYPASSES) for top in tops)
    return (*within, state.project(tops[0]))


def keep_receipt(homes: Sequence[Path], name: str, text: str) -> Path:
    """Write a receipt to the first home that takes it, and say where."""
    # Runs of several work trees meet in one home: the content makes the name unique.
    file = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"
    return in_first(homes, lambda home: files.write(made(home, _RECEIPTS) / file, text))


def keep_bypass(homes: Sequence[Path], record: BypassRecord) -> Path:
    """Append a bypass to the list in the first home that takes it, and say where that is."""
    line = json.dumps(asdict(record)) + "\n"
    return in_first(homes, lambda home: _appended(made(home) / _BYPASSES, line))


def receipts(homes: Sequence[Path]) -> tuple[Path, ...]:
    """Every receipt that was kept; `UsageError` for a link, which anybody may have prepared."""
    for home in homes:
        files.refuse_links(home, home / _RECEIPTS)
    found = tuple(one for home in homes for one in sorted((home / _RECEIPTS).glob("*.json")))
    files.refuse_links(*found)
    return found


def bypasses(homes: Sequence[Path]) -> tuple[BypassRecord | str, ...]:
    """Every bypass that was recorded; a line that is none as the place where it stands."""
    return tuple(one for home in homes for one in _read(home / _BYPASSES))


def _read(file: Path) -> Iterator[BypassRecord | str]:
    files.refuse_links(file.parent, file)
    with suppress(FileNotFoundError):
        lines = file.read_bytes().splitlines()
        for number, line in enumerate(lines, start=1):
            try:
                yield _RECORD.validate_json(line)
            except ValidationError:
                yield f"{file}:{number}"


def in_first(homes: Sequence[Path], keep: Callable[[Path], _Kept]) -> _Kept:
    """Return what `keep` creates in the first home where it can; `IsosmokeError` if in none."""
    reasons = []
    for home in homes:
        try:
            return keep(home)
        except OSError as error:
            reasons.append(f"{home}: {error.strerror}")
    raise IsosmokeError("no record can be kept\n" + "\n".join(reasons), hint="make one writable")


def made(home: Path, inside: str = "") -> Path:
    """A folder in a home that git ignores by itself; `UsageError` if either is a link."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with files.open_directory(home.parent, home.name) as opened:
        files.write_new(".gitignore", "*\n", opened)
    with files.open_directory(home.parent, home.name, *filter(None, [inside])):
        return home / inside


def _appended(path: Path, line: str) -> Path:
    """One write(2), so that lines of several processes never mix (open(2), O_APPEND)."""
    with files.open_file(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as file:
        if os.write(file, line.encode()) != len(line.encode()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return path
