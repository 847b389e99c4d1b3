"""The stand-ins of the binary in an order: directories by digest, and the files that they leave."""

import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import field
from pathlib import Path, PurePosixPath

from isosmoke.dataclass import dataclass
from isosmoke.host import files, state
from isosmoke.host.binary import Binary
from isosmoke.manifest.models import Scenario
from isosmoke.runner.job_builder import RunContext
from isosmoke.sandbox.spec import CopyOnWrite, Mount, ReadOnly

MAX_BYTES = 64 * 1024**2
"""The maximum size of the files that stand-ins leave in a sandbox, in bytes."""

MAX_FILES = 100
"""The maximum number of these files."""

PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
"""The names of these files; a script can leave others next to them."""

ReturnedFiles = Mapping[str, Mapping[str, bytes]]
"""The files that appeared in a sandbox: the path of a directory, a name, and the content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentStandIns:
    """The stand-ins of a scenario, as in an `Order`."""

    directories: Mapping[str, str] = field(default_factory=dict)
    returned: tuple[str, ...] = ()


def send(scenario: Scenario, context: RunContext, add_path: Callable[[Path], str]) -> SentStandIns:
    """Return the stand-ins of a scenario, whose directories were added to a place."""
    mounts = context.list_stand_ins(scenario)
    return SentStandIns(
        directories={
            str(mount.target): add_path(mount.source)
            for mount in mounts
            if isinstance(mount, ReadOnly)
        },
        returned=tuple(str(mount.target) for mount in mounts if isinstance(mount, CopyOnWrite)),
    )


@dataclass(slots=True, kw_only=True)
class ReceivedStandIns:
    """The stand-ins of an order on the machine of the place.

    `directories` maps paths of the sandbox to directories here. `empty` is a directory in which any
    user may create files. `files` are those that appeared; None before the sandbox ended.
    """

    directories: Mapping[str, Path]
    returned: tuple[str, ...]
    empty: Path
    files: ReturnedFiles | None = None
    notes: list[str] = field(default_factory=list)

    def list_mounts(self, scenario: Scenario, binary: Binary) -> tuple[Mount, ...]:
        """Return the mounts of the order."""
        return (
            *(ReadOnly(path, PurePosixPath(at)) for at, path in self.directories.items()),
            *(CopyOnWrite(self.empty, at=PurePosixPath(at), is_cache=True) for at in self.returned),
        )

    def collect(self, scenario: Scenario, changes: Mapping[PurePosixPath, Path]) -> None:
        """Read the files that appeared; with a note, none of them if they are too large or many."""
        found = {
            at: changes[PurePosixPath(at)] for at in self.returned if PurePosixPath(at) in changes
        }
        listed = [entry for directory in found.values() for entry in _list_files(directory)]
        size = sum(entry.stat(follow_symlinks=False).st_size for entry in listed)
        if size > MAX_BYTES or len(listed) > MAX_FILES:
            self.notes.append(
                f"{scenario.name}: its stand-in recorded more than {MAX_BYTES >> 20} MiB or "
                f"{MAX_FILES} files, which a worker does not return: measure it without --place"
            )
            found = {}
        self.files = {at: _read_files(directory) for at, directory in found.items()}


def _list_files(directory: Path) -> Collection[os.DirEntry[str]]:
    """Return the regular files with plain names in a directory that a script wrote to."""
    with os.scandir(directory) as entries:
        return [
            entry
            for entry in entries
            if entry.is_file(follow_symlinks=False) and PLAIN_NAME.fullmatch(entry.name)
        ]


def _read_files(directory: Path) -> Mapping[str, bytes]:
    return {
        entry.name: files.read(Path(entry.path), follow=False) for entry in _list_files(directory)
    }


def deliver(received: ReturnedFiles, scenario: Scenario, context: RunContext) -> None:
    """Hand the files of an answer to the stand-ins of a run, in directories with them."""
    if context.stand_ins is None:
        return
    with state.scratch() as directory:
        changes = {}
        for number, (at, contents) in enumerate(received.items()):
            changes[PurePosixPath(at)] = directory / str(number)
            changes[PurePosixPath(at)].mkdir()
            for name, content in contents.items():
                (changes[PurePosixPath(at)] / name).write_bytes(content)
        context.stand_ins.collect(scenario, changes)
