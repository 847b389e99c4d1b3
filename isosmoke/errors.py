"""What the user can fix before or beside a run, and every exit code of isosmoke.

Only `isosmoke.cli` turns these into text. A failing scenario is an outcome, never an exception. An
`OSError` is the machine's (a full disk) and ends a command with 125; anything else is a bug.

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

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """How isosmoke itself ends; each number has one meaning in every command."""

    OK = 0
    """Nothing blocks."""

    BLOCKED = 1
    """At least one scenario blocks."""

    USAGE = 2
    """The command line or the manifest is wrong; nothing was started."""

    NOTHING_SELECTED = 4
    """No scenario was chosen, which is never a success."""

    ALL_SKIPPED = 77
    """Every scenario was skipped, so nothing was shown to work."""

    INFRASTRUCTURE = 125
    """The engine, the binary or isosmoke's own surroundings broke; this says nothing about wg."""

    INTERRUPTED = 130
    """SIGINT ended the run."""

    TERMINATED = 143
    """SIGTERM ended the run."""


class IsosmokeError(Exception):
    """Something the user can fix: `message` says what is wrong and where, `hint` what to do next.

    `hint` may be empty. `exit_code` is what the command ends with.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.INFRASTRUCTURE

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(IsosmokeError):
    """The command line asks for something that does not exist or contradicts itself."""

    exit_code = ExitCode.USAGE


class ManifestError(IsosmokeError):
    """The manifest is missing, unreadable or wrong; `message` has one mistake on each line."""

    exit_code = ExitCode.USAGE


class NothingSelectedError(IsosmokeError):
    """No scenario answers to what was asked for."""

    exit_code = ExitCode.NOTHING_SELECTED


class BinaryError(IsosmokeError):
    """The program under test is missing, cannot be executed, or does not fit the sandbox."""


class RecordError(IsosmokeError):
    """The record of a past run cannot be read."""


class BundleError(IsosmokeError):
    """A bundle cannot be made, or is none."""


class EngineError(IsosmokeError):
    """The engine could not even try to run a scenario."""


class EngineUnavailableError(EngineError):
    """The engine cannot work on this machine as it is; `hint` says what would mend that."""


class LeftBehindError(EngineError):
    """A sandbox could not be proved to be gone; `hint` is the command that removes what is left.

    It says nothing of the scenario: what that came to is its `__context__`, if it broke as well.
    `removed` names what a sweep has removed nevertheless.
    """

    def __init__(self, message: str, hint: str = "", removed: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint)
        self.removed = removed


def raise_left_behind(errors: Sequence[LeftBehindError], removed: Iterable[str] = ()) -> None:
    """Raise one error that says what all of these say; do nothing if there are none.

    It has what was `removed` and what each of the errors names as removed.
    """
    if errors:
        message = "; ".join(error.message for error in errors)
        hint = "; ".join(error.hint for error in errors if error.hint)
        named = (name for error in errors for name in error.removed)
        raise LeftBehindError(message, hint, (*removed, *named))


class ImageError(EngineError):
    """A clean environment is missing, or is not what it should be."""
