"""The commit, the branch and the state of a work tree, read while something else goes on."""

from collections.abc import Mapping
from pathlib import Path
from threading import Thread

from isosmoke.errors import IsosmokeError
from isosmoke.host import git
from isosmoke.host.git import RepositoryState
from isosmoke.host.workspace_directories import git_top

_PATIENCE_SECONDS = 2.0


class IdentityReader:
    """A reader of the state of the work tree around a directory, in its own thread.

    The state is unknown if there is no work tree, if git cannot read it, or if that takes too long.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._state: RepositoryState | None = None
        self._thread: Thread | None = None
        top = git_top(directory)
        if top is not None:
            self._thread = _start(Thread(target=self._read, args=(top, environment), daemon=True))

    def wait(self) -> RepositoryState | None:
        """Return the state, or None if it is unknown after a short wait for a slow git."""
        if self._thread is not None:
            self._thread.join(_PATIENCE_SECONDS)
        return self._state

    def _read(self, top: Path, environment: Mapping[str, str]) -> None:
        try:
            self._state = git.read_state(top, environment)
        except (IsosmokeError, OSError):
            self._state = None


def _start(thread: Thread) -> Thread | None:
    """Start a thread; None if the user has reached the limit of processes."""
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread
