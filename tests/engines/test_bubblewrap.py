"""Sandboxes of bubblewrap where nobody can tell them to end, or they do not listen, or are many."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from isosmoke.engines.bubblewrap.engine import BubblewrapEngine
from isosmoke.results.outcome import Exited
from isosmoke.testing import Bench
from isosmoke.testing.bench import run
from support import available

FD_SETSIZE = 1024
"""How many descriptors select(2) can tell apart."""

DYING = """
import os, signal, sys, time
from pathlib import Path
from isosmoke.engines.bubblewrap.engine import BubblewrapEngine
from isosmoke.testing import Bench

def killed_after(seconds):
    victim = os.getpid()
    if os.fork() == 0:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass
        os.kill(victim, signal.SIGKILL)
        os._exit(0)

job = Bench(Path(sys.argv[1])).shell("sleep 600")
engine = BubblewrapEngine()
engine.preflight()
for moment in range(100):
    pid = os.fork()
    if pid == 0:
        killed_after(moment * 0.0001)
        with engine.sandbox(job.spec):
            signal.pause()
    os.waitpid(pid, 0)
"""
"""Makes a hundred sandboxes and dies over each, a tenth of a millisecond later every time."""


def test_no_sandbox_outlives_a_run_that_dies_while_it_is_made(tmp_path: Path) -> None:
    """Wherever bwrap stands when its starter is killed, it comes to its end."""
    available.engine("bubblewrap")
    subprocess.run([sys.executable, "-c", DYING, str(tmp_path)], check=True)

    assert available.eventually(lambda: not _naming(tmp_path)), _naming(tmp_path)


def test_keeper_that_does_not_answer_is_killed(tmp_path: Path) -> None:
    """A sandbox whose keeper does not see the end of its stdin is gone all the same."""
    available.engine("bubblewrap")
    with BubblewrapEngine().sandbox(Bench(tmp_path).shell(":").spec) as sandbox:
        os.kill(sandbox.pid, signal.SIGSTOP)

    assert not Path(f"/proc/{sandbox.pid}").exists()


@pytest.fixture
def crowded() -> Iterator[None]:
    """A process that has more open than select(2) can name."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * FD_SETSIZE:
        pytest.skip(f"this process may open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * FD_SETSIZE, hard))
    with ExitStack() as stack:
        for _ in range(FD_SETSIZE):
            stack.enter_context(Path(os.devnull).open())
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("crowded")
def test_sandbox_is_made_beside_many_open_files(tmp_path: Path) -> None:
    """How many descriptors a process has open changes nothing: a run may be wide, or a guest."""
    available.engine("bubblewrap")

    assert run(BubblewrapEngine(), Bench(tmp_path).shell("exit 3")).ending == Exited(3)


def _naming(folder: Path) -> list[str]:
    """The living whose command line names a folder."""
    found = subprocess.run(
        ["pgrep", "--full", "--list-name", f"overlay-src {folder}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.splitlines()
