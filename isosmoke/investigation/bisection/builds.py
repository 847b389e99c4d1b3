"""Builds of commits, each in one of a few git work trees next to the repository."""

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import field
from pathlib import Path
from queue import SimpleQueue
from threading import Lock

from isosmoke.dataclass import dataclass
from isosmoke.errors import IsosmokeError
from isosmoke.host import files, git
from isosmoke.host.files import trees
from isosmoke.host.git import GitError
from isosmoke.interrupt import Interrupt

_GIT_SECONDS = 1800.0
_POLL_SECONDS = 0.1
_GRACE_SECONDS = 5.0


class BuildError(IsosmokeError):
    """A commit could not be built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """Builds of commits of the repository `top` in work trees below `directory`.

    `command` is a shell command, and `binary` the path of what it builds, relative to the work
    tree. A work tree is used for one commit after another, so that a build can be incremental. The
    user's own work tree is never touched.
    """

    top: Path
    directory: Path
    command: str
    binary: Path
    environment: Mapping[str, str]
    _free: "SimpleQueue[int]" = field(default_factory=SimpleQueue)
    _git: Lock = field(default_factory=Lock)

    def open_slots(self, number: int) -> None:
        """Permit this number of concurrent builds."""
        self.directory.mkdir(exist_ok=True)
        for slot in range(1, number + 1):
            self._free.put(slot)

    @contextmanager
    def built(self, commit: str, log: Path, interrupt: Interrupt) -> Iterator[Path]:
        """Build a commit, and yield the path of its binary, which stays during the context.

        Raises:
            BuildError: if the build fails, creates no binary, or was interrupted.
        """
        slot = self._free.get()
        try:
            with self._lock_slot(slot, interrupt) as lock:
                tree = self._check_out(slot, commit)
                self._build(tree, log, interrupt, lock)
                path = tree / self.binary
                if not path.is_file():
                    raise BuildError(f"the build created no file {self.binary}")
                yield path
        finally:
            self._free.put(slot)

    @contextmanager
    def _lock_slot(self, slot: int, interrupt: Interrupt) -> Iterator[int]:
        """Hold the lock of a work tree, which a build that outlived a killed run also holds."""
        with files.open_file(self.directory / f"{slot}.lock", os.O_RDWR | os.O_CREAT) as lock:
            while not _try_lock(lock):
                if interrupt.wait(_POLL_SECONDS):
                    raise BuildError("it was interrupted")
            yield lock

    def _check_out(self, slot: int, commit: str) -> Path:
        tree = self.directory / str(slot)
        settings = git.list_filter_settings(self.top, self.environment)
        with self._git:
            if not (tree / ".git").exists():
                trees.remove(tree)
                self._run("worktree", "prune")
                add = ("worktree", "add", "--quiet", "--detach", "--no-checkout", "--force")
                self._run(*add, str(tree), commit)
        # An older binary must not be taken for the result of a build that creates none.
        with suppress(FileNotFoundError):
            (tree / self.binary).unlink()
        git.run(
            tree,
            *("checkout", "--quiet", "--force", "--detach", commit),
            environment=self.environment,
            settings=settings,
            seconds=_GIT_SECONDS,
        )
        return tree

    def _build(self, tree: Path, log: Path, interrupt: Interrupt, lock: int) -> None:
        own = {name: value for name, value in self.environment.items() if name[:4] != "GIT_"}
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["/bin/sh", "-c", self.command],
                cwd=tree,
                env=own,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=[lock],
            )
        try:
            while process.poll() is None:
                if interrupt.wait(_POLL_SECONDS):
                    raise BuildError("it was interrupted")
        finally:
            _end(process)
        if process.returncode:
            raise BuildError(f"the build failed with exit code {process.returncode}")

    def get_name(self, commit: str) -> str:
        """Return the file name of a binary."""
        return self.binary.name

    def remove(self) -> None:
        """Remove all work trees.

        Raises:
            IsosmokeError: if one cannot be removed.
        """
        if self.directory.exists():
            for tree in sorted(self.directory.iterdir()):
                if (tree / ".git").exists():
                    with suppress(GitError):  # the files are removed below in any case
                        self._run("worktree", "remove", "--force", "--force", str(tree))
            trees.remove(self.directory)
        self._run("worktree", "prune")

    def _run(self, *arguments: str) -> None:
        git.run(self.top, *arguments, environment=self.environment, seconds=_GIT_SECONDS)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End everything that a build left in its session's process group."""
    with suppress(ProcessLookupError, PermissionError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
