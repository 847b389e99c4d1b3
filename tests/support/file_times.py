"""The times of files, on which the learned results depend."""

import os
from pathlib import Path
from time import time  # noqa: TID251 - compared with file times

import pytest

from isosmoke.host.learned import identities


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the files of a test count as changed some time ago."""
    later = time() + 60
    monkeypatch.setattr(identities, "time", lambda: later)


def pass_tick(top: Path) -> None:
    """Return when the file system's clock has moved on, so that a change has a later time."""
    probe = top.parent / "probe"
    newest = max(path.lstat().st_ctime_ns for path in (top, *top.rglob("*")))
    probe.touch()
    while probe.stat().st_ctime_ns <= newest:
        os.utime(probe)
