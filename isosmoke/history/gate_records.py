"""Storage of receipts and bypasses, next to the runs; each record is written atomically."""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from isosmoke.dataclass import dataclass
from isosmoke.errors import IsosmokeError, RecordError
from isosmoke.host import files, git, state
from isosmoke.host.git import Checkout

_Saved = TypeVar("_Saved")

_RECEIPTS = "receipts"
_PROOFS = "proofs"
_BYPASSES = "bypasses.jsonl"
_END = ".ended"
"""The suffix of the file with the time at which the call of wg for a receipt ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BypassRecord:
    """A bypass of the gate; `agent` is None for a human, and `at` is in UTC (RFC 3339).

    `graph` is wg's graph directory, or the place for one; None in records of former versions.
    """

    task: str
    agent: str | None
    user: str
    folder: str
    at: str
    repository: Checkout | None
    graph: str | None = None


def list_homes(directory: Path, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the directories that can hold the records of a project, most preferred first.

    The project is the one that contains `directory`. The last home is in the user's state
    directory, for a project that is not writable.

    Raises:
        UsageError: if a project has a symbolic link in place of its records.
    """
    tops = git.find_tops(directory, environment)
    within = (state.get_records_directory(top, _RECEIPTS, _BYPASSES) for top in tops)
    return (*within, state.get_fallback_directory(tops[0]))


def save_receipt(directories: Sequence[Path], name: str, text: str) -> Path:
    """Write a receipt to the first writable home, and return its path."""
    return _save_named(directories, _RECEIPTS, name, text)


def save_proof(directories: Sequence[Path], name: str, text: str) -> Path:
    """Write a proof of the scenario `name` to the first writable home, and return its path."""
    return _save_named(directories, _PROOFS, name, text)


def _save_named(directories: Sequence[Path], kind: str, name: str, text: str) -> Path:
    # Several work trees can share a home, so the name includes a hash of the content.
    file = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"
    return save_in_first(
        directories, lambda home: files.write(create_directory(home, kind) / file, text)
    )


def save_end(receipt: Path, at: str) -> None:
    """Write when the wg that got the verdict of a receipt ended, in UTC (RFC 3339).

    Raises:
        OSError: if it cannot be written.
        UsageError: if there is a symbolic link in its place.
    """
    files.refuse_links(receipt.parent)
    files.write(receipt.with_suffix(_END), f"{at}\n")


def load_end(receipt: Path) -> str:
    """Return when the wg that got the verdict of a receipt ended; empty if that is unknown."""
    try:
        return files.read(receipt.with_suffix(_END), follow=False).decode(errors="replace").strip()
    except OSError:
        return ""


def save_bypass(directories: Sequence[Path], record: BypassRecord) -> Path:
    """Append a bypass to the list in the first writable home, and return the list's path."""
    line = json.dumps(asdict(record)) + "\n"
    return save_in_first(
        directories, lambda home: _append(create_directory(home) / _BYPASSES, line)
    )


def list_receipts(directories: Sequence[Path]) -> tuple[Path, ...]:
    """Return the paths of all receipts.

    Raises:
        RecordError: if they cannot be listed.
        UsageError: if one is a symbolic link, which any other user may have planted.
    """
    return _list_records(directories, _RECEIPTS)


def list_proofs(directories: Sequence[Path]) -> tuple[Path, ...]:
    """Return the paths of all proofs; raise an error as `list_receipts` does."""
    return _list_records(directories, _PROOFS)


def _list_records(directories: Sequence[Path], kind: str) -> tuple[Path, ...]:
    for home in directories:
        files.refuse_links(home, home / kind)
    paths = tuple(path for home in directories for path in _list_files(home / kind))
    files.refuse_links(*paths)
    return paths


def _list_files(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if path.suffix == ".json")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RecordError(
            f"cannot list the {directory.name} in {directory}: {error.strerror}",
            hint=f"ls -ld {directory.parent} {directory}",
        ) from error


def list_bypasses(directories: Sequence[Path]) -> tuple[BypassRecord | str, ...]:
    """Return all recorded bypasses, with `FILE:LINE` or `FILE` in place of each unreadable part."""
    return tuple(bypass for home in directories for bypass in _read_bypasses(home / _BYPASSES))


def _read_bypasses(file: Path) -> Iterator[BypassRecord | str]:
    from pydantic import TypeAdapter, ValidationError

    record = TypeAdapter(BypassRecord)
    files.refuse_links(file.parent, file)
    try:
        content = files.read(file, follow=False)
    except FileNotFoundError:
        return
    except OSError:
        yield str(file)
        return
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            yield record.validate_json(line)
        except ValidationError:
            yield f"{file}:{number}"


def save_in_first(directories: Sequence[Path], save: Callable[[Path], _Saved]) -> _Saved:
    """Return the result of `save` in the first home where it succeeds.

    Raises:
        IsosmokeError: if it fails in every home.
    """
    reasons = []
    for home in directories:
        try:
            return save(home)
        except OSError as error:
            reasons.append(f"{home}: {error.strerror}")
    hint = "make one of these directories writable"
    raise IsosmokeError("\n".join(["no record can be saved", *reasons]), hint)


def create_directory(home: Path, name: str = "") -> Path:
    """Create a home that Git ignores, and a directory `name` in it; return the directory's path.

    Raises:
        UsageError: if either is a symbolic link.
    """
    home.parent.mkdir(parents=True, exist_ok=True)
    with files.open_directory(home.parent, home.name) as opened:
        files.write_new(".gitignore", "*\n", opened)
    with files.open_directory(home.parent, home.name, *filter(None, [name])):
        return home / name


def _append(path: Path, line: str) -> Path:
    """Append a line with one write(2), so that concurrent lines never mix (open(2), O_APPEND)."""
    with files.open_file(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as file:
        if os.write(file, line.encode()) != len(line.encode()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return path
