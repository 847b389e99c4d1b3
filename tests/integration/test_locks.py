"""Locks between processes: who waits for whom, and that nothing is held for the dead."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from isosmoke.pytest_plugin.locks import held
from support import available

HOLD = """
import sys
from isosmoke.pytest_plugin.locks import held
with held(sys.argv[2:], within=sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another(scope: str, *names: str) -> "Iterator[subprocess.Popen[str]]":
    """Another process that holds these locks until its stdin ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, scope, *names],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process


def said(process: "subprocess.Popen[str]") -> str:
    """Its next line."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def is_waiting(process: "subprocess.Popen[str]") -> bool:
    """Whether the kernel has it wait for a lock (proc(5), /proc/locks)."""
    locks = Path("/proc/locks").read_text().splitlines()
    return any(" -> POSIX" in line and f" {process.pid} " in line for line in locks)


def test_who_wants_a_lock_waits_until_it_is_free() -> None:
    """Another process goes on only when the block that holds one of its locks is left."""
    with ExitStack() as stack:
        with held(["a", "b"], within="run"):
            process = stack.enter_context(another("run", "b", "c"))
            assert available.eventually(lambda: is_waiting(process), 60)
        assert said(process) == "held"


@pytest.mark.parametrize(("scope", "name"), [("run", "c"), ("other run", "a")])
def test_other_locks_and_other_scopes_do_not_wait(scope: str, name: str) -> None:
    """What is not shared is not waited for."""
    with held(["a", "b"], within="run"), another(scope, name) as process:
        assert said(process) == "held"


def test_nothing_is_held_for_the_dead() -> None:
    """A process that is killed lets go."""
    with another("run", "a") as process:
        assert said(process) == "held"
        process.kill()
        with held(["a"], within="run"):
            pass
