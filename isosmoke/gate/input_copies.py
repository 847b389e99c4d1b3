"""Copies of the files that a verdict is bound to, so that what was hashed is what runs.

The sandboxes of a run show the copies in place of the files. A file that is replaced during the
run, and put back before it ends, is therefore neither run nor sourced.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import field
from pathlib import Path

from isosmoke.dataclass import dataclass
from isosmoke.errors import IsosmokeError
from isosmoke.host import files, state
from isosmoke.host.files import trees

MAX_SIZE = 16 * 1024 * 1024
"""The size in bytes above which a file that is only named is hashed but not copied."""


@dataclass(frozen=True, slots=True)
class InputCopies:
    """A tree with copies at the paths of the originals, and the hash of each copy."""

    root: Path
    digests: Mapping[Path, str] = field(default_factory=dict)

    def compute_digest(self, path: Path) -> str:
        """Return the hash of a file's copy; without a copy, that of the file.

        Raises:
            IsosmokeError: if it cannot be read.
        """
        return self.digests.get(Path(os.path.realpath(path))) or compute_digest(path)

    def find_copy(self, path: Path) -> Path:
        """Return the path of a file's copy."""
        return self.root / Path(os.path.realpath(path)).relative_to("/")


@contextmanager
def copy_inputs(paths: Iterable[Path]) -> Iterator[InputCopies]:
    """Copy files, and the symbolic links on the way to each; remove the copies at the end.

    Raises:
        IsosmokeError: if a file cannot be read or copied.
    """
    with state.scratch() as root:
        digests = {}
        for path in dict.fromkeys(paths):
            try:
                *links, file = _resolve_steps(path)
                if file not in digests:
                    digests[file] = _copy_file(file, root)
                for link in links:
                    _copy_link(link, root)
            except OSError as error:
                raise _create_unreadable_error(path, error) from error
        _copy_directory_properties(root)
        yield InputCopies(root, digests)


def compute_digest(path: Path) -> str:
    """Return the SHA-256 hash of a file's content.

    Raises:
        IsosmokeError: if it cannot be read.
    """
    try:
        return files.sha256(path)
    except OSError as error:
        raise _create_unreadable_error(path, error) from error


def _create_unreadable_error(path: Path, error: OSError) -> IsosmokeError:
    reason = error.strerror or str(error)
    return IsosmokeError(f"cannot read {path}: {reason}", hint=f"ls -l {path}")


def _resolve_steps(path: Path) -> Iterator[Path]:
    """Yield each symbolic link on the way to a file, and then the file, all without links before.

    Raises:
        OSError: if there are too many links.
    """
    pending, current, links = list(path.absolute().parts[1:]), Path("/"), 0
    while pending:
        part = pending.pop(0)
        current = current.parent if part == ".." else current / part
        if not current.is_symlink():
            continue
        links += 1
        if links > files.MAX_LINKS:
            raise OSError(f"it has more than {files.MAX_LINKS} symbolic links")
        yield current
        target = current.readlink()
        pending[:0] = target.parts[1:] if target.is_absolute() else target.parts
        current = Path("/") if target.is_absolute() else current.parent
    yield current


def _copy_file(file: Path, root: Path) -> str:
    """Copy a file into the tree, and return the hash of the copy."""
    content = files.read(file)
    copy = _prepare_parents(file, root)
    copy.write_bytes(content)
    trees.copy_properties(file, copy)
    return hashlib.sha256(content).hexdigest()


def _copy_link(link: Path, root: Path) -> None:
    copy = _prepare_parents(link, root)
    if not copy.is_symlink():
        copy.symlink_to(link.readlink())
        trees.copy_properties(link, copy)


def _prepare_parents(path: Path, root: Path) -> Path:
    """Return the path of a copy, whose parent directories are copies as well."""
    copy = root / path.relative_to("/")
    copy.parent.mkdir(parents=True, exist_ok=True)
    return copy


def _copy_directory_properties(root: Path) -> None:
    """Give each directory of the tree its properties, the inner ones first.

    A directory may be read-only, and a new file would change its times.
    """
    for directory, _, _ in os.walk(root, topdown=False):
        copy = Path(directory)
        if copy != root:
            with suppress(OSError):  # the original may just have been removed
                trees.copy_properties(Path("/", copy.relative_to(root)), copy)
