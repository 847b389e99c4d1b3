"""Bubblewrap sandboxes whose creator dies, whose keeper hangs, or that have many open files."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from isosmoke.engines.bubblewrap import bwrap_program, engine
from isosmoke.engines.bubblewrap.engine import BubblewrapEngine, find_unlimited
from isosmoke.errors import EngineError
from isosmoke.interrupt import Interrupt
from isosmoke.keeper.client import Conversation
from isosmoke.results.outcome import Exited
from isosmoke.sandbox import masks
from isosmoke.sandbox.spec import ReadOnly, ResourceLimits, SandboxSpec
from isosmoke.testing import Bench
from isosmoke.testing.bench import run
from support import available

FD_SETSIZE = 1024
"""The number of descriptors that select(2) can handle."""

DYING = """
import os, signal, sys, time
from pathlib import Path
from isosmoke.engines.bubblewrap.engine import BubblewrapEngine
from isosmoke.testing import Bench

def kill_after(seconds):
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
for step in range(100):
    pid = os.fork()
    if pid == 0:
        kill_after(step * 0.0001)
        with engine.sandbox(job.spec):
            signal.pause()
    os.waitpid(pid, 0)
"""
"""A script that creates a hundred sandboxes and dies during each, 0.1 ms later every time."""


def test_sandbox_ends_if_its_creator_dies_during_creation(tmp_path: Path) -> None:
    """A bwrap ends in whatever state it is when its parent is killed."""
    available.require_engine("bubblewrap")
    subprocess.run([sys.executable, "-c", DYING, str(tmp_path)], check=True)

    assert available.wait_for(lambda: not _find_processes(tmp_path)), _find_processes(tmp_path)


@pytest.mark.skipif(os.getuid() != 0, reason="masks are for root")
@pytest.mark.parametrize("memory", [None, 1 << 28])
def test_file_that_vanishes_during_the_creation_stops_no_sandbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: int | None
) -> None:
    """A sandbox that was refused is known before it is used, with and without limits."""
    available.require_engine("bubblewrap")
    job = Bench(tmp_path).shell(":")
    mask = ReadOnly(Path(os.devnull), PurePosixPath("/etc/isosmoke-test-gone"), is_mask=True)
    spec = replace(job.spec, mounts=(*job.spec.mounts, mask), limits=ResourceLimits(memory=memory))
    looks, real = iter([spec]), masks.drop_vain_masks  # the first look finds the file
    monkeypatch.setattr(masks, "drop_vain_masks", lambda spec: next(looks, None) or real(spec))

    assert run(BubblewrapEngine(), replace(job, spec=spec)).ending == Exited(0)


def test_unresponsive_keeper_is_killed(tmp_path: Path) -> None:
    """A sandbox ends even if its keeper does not notice the end of its stdin."""
    available.require_engine("bubblewrap")
    with BubblewrapEngine().sandbox(Bench(tmp_path).shell(":").spec) as sandbox:
        os.kill(sandbox.pid, signal.SIGSTOP)

    assert not Path(f"/proc/{sandbox.pid}").exists()


@pytest.fixture(params=["the launcher", "bwrap"])
def program(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Select the program that creates sandboxes, and return its name in messages."""
    available.require_engine("bubblewrap")
    name = str(request.param)
    if name == "bwrap":
        path = str(bwrap_program.find_installed())
        monkeypatch.setenv(bwrap_program.PATH_VARIABLE, path)
    bwrap_program.find_program.cache_clear()
    if bwrap_program.find_program().name != name:
        pytest.skip("the launcher is for root")
    yield name
    bwrap_program.find_program.cache_clear()


def test_sandbox_that_does_not_start_in_time_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """The process that was to become the keeper ends too, even if it does not read its stdin."""
    late = f": overlay-src {tmp_path}; sleep 600; :"
    monkeypatch.setattr(SandboxSpec, "keeper", lambda _: ("/bin/sh", "-c", late))
    monkeypatch.setattr(engine, "START_SECONDS", 0.5)
    with (
        pytest.raises(EngineError, match=f"^{program} created no sandbox within 0.5 s$"),
        BubblewrapEngine().sandbox(Bench(tmp_path).shell(":").spec),
    ):
        pytest.fail("the sandbox has started")

    assert not _find_processes(tmp_path)


def test_killed_program_is_named(tmp_path: Path, program: str) -> None:
    """An error names the program that creates sandboxes, whichever it is."""
    with BubblewrapEngine().sandbox(Bench(tmp_path).shell("sleep 600").spec) as sandbox:
        keeper = Conversation(sandbox.channel, sink=lambda _: None, interrupt=Interrupt())
        keeper.wait_until_ready(60)
        parent = Path(f"/proc/{sandbox.pid}/stat").read_text().rpartition(")")[2].split()[1]
        os.kill(int(parent), signal.SIGKILL)
        os.kill(sandbox.pid, signal.SIGKILL)
        with pytest.raises(EngineError, match=rf"{program} was killed by SIGKILL$"):
            keeper.wait_for_exit(60)


def test_killed_keeper_is_named_with_its_signal(tmp_path: Path) -> None:
    """An ERROR says how the sandbox ended, as its keeper can no longer explain it."""
    available.require_engine("bubblewrap")
    with BubblewrapEngine().sandbox(Bench(tmp_path).shell("sleep 600").spec) as sandbox:
        keeper = Conversation(sandbox.channel, sink=lambda _: None, interrupt=Interrupt())
        keeper.wait_until_ready(60)
        os.kill(sandbox.pid, signal.SIGKILL)
        with pytest.raises(EngineError, match=r"its keeper was killed by SIGKILL$"):
            keeper.wait_for_exit(60)


@pytest.fixture
def many_open_files() -> Iterator[None]:
    """Give the process more open files than select(2) can handle."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * FD_SETSIZE:
        pytest.skip(f"this process may open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * FD_SETSIZE, hard))
    with ExitStack() as stack:
        for _ in range(FD_SETSIZE):
            stack.enter_context(Path(os.devnull).open())
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_open_files")
def test_sandbox_is_created_with_many_open_files(tmp_path: Path) -> None:
    """The number of open descriptors in the process has no effect."""
    available.require_engine("bubblewrap")

    assert run(BubblewrapEngine(), Bench(tmp_path).shell("exit 3")).ending == Exited(3)


def _find_processes(directory: Path) -> list[str]:
    """Return the running processes whose command line names a directory."""
    result = subprocess.run(
        ["pgrep", "--full", "--list-name", f"overlay-src {directory}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout.splitlines()


@pytest.mark.parametrize(
    ("controllers", "uid", "unlimited"),
    [
        ((), 0, {"memory", "processes"}),
        ((), 1000, {"memory"}),
        (("pids",), 0, {"memory"}),
        (("memory",), 0, {"processes"}),
        (("memory",), 1000, set()),
        (("memory", "pids"), 0, set()),
    ],
)
def test_resource_without_its_controller_is_unlimited(
    controllers: tuple[str, ...], uid: int, unlimited: set[str]
) -> None:
    """A run notes that the limit has no effect. The keeper limits the processes of a user."""
    assert find_unlimited(controllers, uid=uid) == unlimited
