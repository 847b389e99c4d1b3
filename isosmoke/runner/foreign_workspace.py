"""The capabilities with which root can use a workspace that another user owns."""

import os
from collections.abc import Iterable
from pathlib import Path

from isosmoke.host.caller_process import Caller, read_effective_capabilities

_OVERRIDING = {"DAC_OVERRIDE": 1, "FOWNER": 3}
"""The capabilities that lift permissions of files, with their bits (capabilities(7))."""


def find_needed_capabilities(caller: Caller, directories: Iterable[Path]) -> tuple[str, ...]:
    """Return the capabilities with which root uses `directories` as it does outside a sandbox.

    A CI service checks out a repository as one user and runs a container as root. Return none if
    the caller is not root, lacks the capabilities itself, or owns the directories.
    """
    if caller.uid != 0 or not any(_is_foreign(path, caller.uid) for path in directories):
        return ()
    effective = read_effective_capabilities()
    return tuple(name for name, bit in _OVERRIDING.items() if effective >> bit & 1)


def _is_foreign(directory: Path, uid: int) -> bool:
    """Return whether another user owns the directory or one of its entries."""
    with os.scandir(directory) as entries:
        owners = {entry.stat(follow_symlinks=False).st_uid for entry in entries}
    return bool({*owners, directory.stat().st_uid} - {uid})
