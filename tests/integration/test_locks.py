"""Locks between processes: waiting for a lock, and release at the end of a process."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from isosmoke.pytest_plugin.locks import locked
from support import available

HOLDER = """
import sys
from isosmoke.pytest_plugin.locks import locked
with locked(sys.argv[2:], scope=sys.argv[1]):
    print("locked", flush=True)
    sys.stdin.read()
"""


@contextmanager
def running_holder(scope: str, *names: str) -> "Iterator[subprocess.Popen[str]]":
    """Run another process that holds these locks until its stdin ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, scope, *names],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process


def read_line(process: "subprocess.Popen[str]") -> str:
    """Return the next line of its output."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def is_waiting(process: "subprocess.Popen[str]") -> bool:
    """Return whether the process is waiting for a lock (proc(5), /proc/locks)."""
    locks = Path("/proc/locks").read_text().splitlines()
    return any(" -> POSIX" in line and f" {process.pid} " in line for line in locks)


def test_process_waits_until_lock_is_free() -> None:
    """Another process continues only after the block that holds one of its locks."""
    with ExitStack() as stack:
        with locked(["a", "b"], scope="run"):
            process = stack.enter_context(running_holder("run", "b", "c"))
            assert available.wait_for(lambda: is_waiting(process), 60)
        assert read_line(process) == "locked"


@pytest.mark.parametrize(("scope", "name"), [("run", "c"), ("other run", "a")])
def test_other_locks_and_other_scopes_do_not_wait(scope: str, name: str) -> None:
    """A process does not wait for other locks, or for locks in other scopes."""
    with locked(["a", "b"], scope="run"), running_holder(scope, name) as process:
        assert read_line(process) == "locked"


def test_killed_process_releases_locks() -> None:
    """A killed process releases its locks."""
    with running_holder("run", "a") as process:
        assert read_line(process) == "locked"
        process.kill()
        with locked(["a"], scope="run"):
            pass
