"""Errors that the user can fix, and the exit codes of isosmoke.

Only `isosmoke.cli` prints these errors. A failing scenario is an outcome, never an exception. An
`OSError` is a problem of the machine, such as a full disk, and ends a command with 125. Any other
exception is a bug.

    IsosmokeError                    125
    ├── UsageError                     2
    ├── ManifestError                  2
    ├── NothingSelectedError           4
    ├── BinaryError                  125
    ├── RecordError                  125
    ├── BundleError                  125
    └── EngineError                  125
        ├── EngineUnavailableError   125
        ├── LeftBehindError          125
        └── ImageError               125
"""

import errno
import shlex
from collections.abc import Iterable, Sequence
from enum import IntEnum
from pathlib import PurePosixPath
from typing import ClassVar


class ExitCode(IntEnum):
    """Exit codes of isosmoke; each has the same meaning in every command."""

    OK = 0
    """No scenario blocks."""

    BLOCKED = 1
    """At least one scenario blocks."""

    USAGE = 2
    """The command line or the manifest is wrong; nothing was started."""

    NOTHING_SELECTED = 4
    """No scenario was selected, which never counts as success."""

    ALL_SKIPPED = 77
    """Every scenario was skipped, so nothing was tested."""

    INFRASTRUCTURE = 125
    """The engine, the binary or isosmoke's environment failed; this says nothing about wg."""

    INTERRUPTED = 130
    """SIGINT ended the run."""

    TERMINATED = 143
    """SIGTERM ended the run."""

    @classmethod
    def for_signal(cls, name: str) -> "ExitCode":
        """Return the exit code after a signal that ends runs, such as `SIGHUP`."""
        return cls.TERMINATED if name == "SIGTERM" else cls.INTERRUPTED


class IsosmokeError(Exception):
    """An error that the user can fix.

    `message` says what is wrong and where; `hint` says how to fix it and may be empty. `exit_code`
    is the exit code of the command. `parts` has each problem with its own hint.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.INFRASTRUCTURE

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.parts: tuple[tuple[str, str], ...] = ((message, hint),)


class UsageError(IsosmokeError):
    """The command line is contradictory or names something that does not exist."""

    exit_code = ExitCode.USAGE


class ManifestError(IsosmokeError):
    """The manifest is missing, unreadable or wrong; `message` has one mistake on each line."""

    exit_code = ExitCode.USAGE

    def __init__(
        self, message: str, hint: str = "", mistakes: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(message, hint)
        self.parts = mistakes or self.parts


class NothingSelectedError(IsosmokeError):
    """No scenario matches the request."""

    exit_code = ExitCode.NOTHING_SELECTED


class BinaryError(IsosmokeError):
    """The program under test is missing, cannot be executed, or does not run in the sandbox."""


class RecordError(IsosmokeError):
    """The record of a past run cannot be read."""


class BundleError(IsosmokeError):
    """A bundle cannot be created, or a file is not a bundle."""


class EngineError(IsosmokeError):
    """The engine could not run a scenario."""


class EngineUnavailableError(EngineError):
    """The engine cannot work on this machine in its current state; `hint` says how to fix that."""


class LeftBehindError(EngineError):
    """The removal of a sandbox could not be confirmed; `hint` is the command that removes the rest.

    This is independent of the scenario's outcome. If the scenario failed with an error too, that
    error is the `__context__`. `removed` names the items that a sweep did remove.
    """

    def __init__(self, message: str, hint: str = "", removed: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint)
        self.removed = removed


def raise_left_behind(errors: Sequence[LeftBehindError], removed: Iterable[str] = ()) -> None:
    """Raise one error that combines `errors`; do nothing if there are none.

    Its `removed` consists of `removed` and the removed items of each error.
    """
    if errors:
        message = "; ".join(error.message for error in errors)
        hint = "; ".join(error.hint for error in errors if error.hint)
        also_removed = (name for error in errors for name in error.removed)
        raise LeftBehindError(message, hint, (*removed, *also_removed))


class ImageError(EngineError):
    """A clean environment is missing or invalid."""


def explain_other_system(system: str) -> str:
    """Return why isosmoke cannot run on a system (by `sys.platform`); empty for Linux."""
    if system == "linux":
        return ""
    return (
        "isosmoke runs only on Linux, because its sandboxes are namespaces of the Linux kernel; "
        f"this is {system}: use a Linux virtual machine, or WSL 2 on Windows"
    )


_FULL = "free some space, or raise the quota: df -h {parent}"
_HOLDER = "use a directory that can be written (ISOSMOKE_STATE sets isosmoke's): ls -ld {path}"
_FILE = "look at what is there: ls -ld {path}"
_LIMITS = "end other programs, or raise the limits of this shell: ulimit -a"

_REMEDIES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _HOLDER,
    errno.EACCES: _HOLDER,
    errno.EPERM: _HOLDER,
    errno.ENAMETOOLONG: "use a shorter path or name",
    errno.EFBIG: "use a smaller file, or raise the limit of file sizes: ulimit -f",
    errno.EMFILE: "raise the limit of open files: ulimit -n",
    errno.ENFILE: "close other programs: the machine has too many open files",
    errno.EAGAIN: _LIMITS,
    errno.ENOMEM: _LIMITS,
    errno.EIO: "check the disk and its file system: dmesg",
    errno.ESTALE: "mount the file system of {path} again",
    errno.ENOTCONN: "mount the file system of {path} again",
}
"""Remedies for errors of the machine, by their numbers."""


def suggest_remedy(error: OSError, path: object = None) -> str:
    """Return the hint for an error of the machine; `path` replaces the one in the error."""
    remedy = _REMEDIES.get(error.errno or 0, _FILE)
    named = path or error.filename or "."
    where = named.decode(errors="surrogateescape") if isinstance(named, bytes) else str(named)
    parent = PurePosixPath(where).parent  # df fails for a file that could not be created
    return remedy.format(path=shlex.quote(where), parent=shlex.quote(str(parent)))


def describe_os_error(error: OSError) -> str:
    """Return what is wrong and where, in one line."""
    reason = error.strerror or str(error)
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return f"{' -> '.join(names)}: {reason}" if names else f"the machine reported: {reason}"


def convert_os_error(error: OSError) -> IsosmokeError:
    """Return an error that says what is wrong, where, and what to do next."""
    return IsosmokeError(describe_os_error(error), suggest_remedy(error))
