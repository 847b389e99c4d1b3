"""The option `--isosmoke-leaks`: processes that a test leaves; see docs/existing-suites.md.

The pytest process becomes a subreaper (prctl(2)), so a daemon that a test starts stays a descendant
of it. After the teardown of a test, every descendant is a leak of that test, unless it belongs to a
fixture with a wider scope that is still set up, or is a helper of multiprocessing.
"""

import ctypes
import os
import select
import signal
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import pytest

from isosmoke.keeper import procfs
from isosmoke.leak_log.log_reader import ExecRecord, ExecSurvivor

_SETTLE_SECONDS = 2.0
_SET_CHILD_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of <linux/prctl.h>."""

_TABLES = ("tcp", "tcp6", "udp", "udp6", "unix")


class _Identity(NamedTuple):
    """A process: a PID with the start time in ticks, because PIDs are used again."""

    pid: int
    started: int


class LeakWatch:
    """The pytest plugin that `--isosmoke-leaks` registers."""

    def __init__(self, *, fails: bool) -> None:
        self._fails = fails
        if ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
            raise pytest.UsageError(f"isosmoke: prctl: {os.strerror(ctypes.get_errno())}")
        path = os.environ.get("ISOSMOKE_EXEC_LOG")
        self._log = Path(path).absolute() if path else None
        self._initial = set(_list_descendants())
        self._owned: dict[Any, set[_Identity]] = {}
        self._started = (datetime.now(UTC), monotonic())

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, object, object]:
        """Record the processes that a fixture of a wider scope starts."""
        if fixturedef.scope == "function":
            return (yield)
        before = set(_list_descendants())
        try:
            return (yield)
        finally:
            self._owned[fixturedef] = set(_list_descendants()) - before

    def pytest_fixture_post_finalizer(self, fixturedef: Any) -> None:
        """Release the processes of a fixture: those that still live are leaks."""
        self._owned.pop(fixturedef, None)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Mark the start of a test in the log, as `isosmoke-exec` does."""
        self._started = (datetime.now(UTC), monotonic())
        self._append(b" ")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        """Fail the test if processes are left after its fixtures are torn down."""
        try:
            yield
        finally:
            survivors = self._end_leaks()
            self._record(item.nodeid, survivors)
        if survivors and self._fails:
            lines = "\n".join(map(_describe, survivors))
            pytest.fail(f"isosmoke: LEAK: the test left\n{lines}", pytrace=False)

    def _end_leaks(self) -> tuple[ExecSurvivor, ...]:
        """Wait for processes that are about to end, and end the rest; return the latter."""
        _wait(self._find_leaks(), _SETTLE_SECONDS)
        leaks = self._find_leaks()
        survivors = tuple(filter(None, map(_inspect, leaks)))
        while leaks:
            for leak in leaks:
                with suppress(ProcessLookupError):
                    os.kill(leak.pid, signal.SIGKILL)
            _wait(leaks, None)
            leaks = self._find_leaks()
        return survivors

    def _find_leaks(self) -> list[_Identity]:
        owned = self._initial.union(*self._owned.values())
        helpers = set(_list_helpers())
        kept = {process.pid for process in owned} | helpers
        return [process for process in _list_descendants(kept) if process not in owned]

    def _record(self, test: str, survivors: tuple[ExecSurvivor, ...]) -> None:
        started_at, started = self._started
        record = ExecRecord(
            schema_version=1,
            test=test,
            argv=tuple(sys.argv),
            cwd=str(Path.cwd()),
            started_at=f"{started_at:%Y-%m-%dT%H:%M:%S}.{started_at.microsecond // 1000:03}Z",
            seconds=round(monotonic() - started, 3),
            watched=True,
            reason="",
            exit_code=0,
            signal=None,
            survivors=survivors,
        )
        self._append(f"{record.model_dump_json()}\n".encode())

    def _append(self, content: bytes) -> None:
        if self._log:
            with self._log.open("ab", buffering=0) as file:
                file.write(content)


def _list_helpers() -> Iterator[int]:
    """Yield the PIDs of the processes that multiprocessing keeps until the interpreter ends."""
    tracker = sys.modules.get("multiprocessing.resource_tracker")
    server = sys.modules.get("multiprocessing.forkserver")
    for helper in (
        getattr(getattr(tracker, "_resource_tracker", None), "_pid", None),
        getattr(getattr(server, "_forkserver", None), "_forkserver_pid", None),
    ):
        if helper:
            yield helper


def _list_descendants(without: Iterable[int] = ()) -> list[_Identity]:
    """Return the living descendants of this process, except those of the processes `without`."""
    children: dict[int, list[tuple[_Identity, str]]] = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
            process = _Identity(int(entry.name), int(fields[19]))
            children.setdefault(int(fields[1]), []).append((process, fields[0].decode()))
    found: list[_Identity] = []
    pending, skipped = [os.getpid()], set(without)
    while pending:
        for process, state in children.get(pending.pop(), ()):
            if process.pid in skipped:
                continue
            pending.append(process.pid)
            if state not in "ZXx":
                found.append(process)
    return found


def _wait(processes: Iterable[_Identity], seconds: float | None) -> None:
    """Wait until all of these processes have ended, or for so many seconds."""
    deadline = None if seconds is None else monotonic() + seconds
    with ExitStack() as stack:
        pending = set()
        for process in processes:
            with suppress(ProcessLookupError):
                descriptor = os.pidfd_open(process.pid)
                stack.callback(os.close, descriptor)
                pending.add(descriptor)
        while pending:
            remaining = None if deadline is None else max(0.0, deadline - monotonic())
            ended = select.select(pending, (), (), remaining)[0]
            pending.difference_update(ended)
            if not ended:
                return


def _inspect(process: _Identity) -> ExecSurvivor | None:
    """Return a process as the log has it, or None if it has ended."""
    directory = Path("/proc", str(process.pid))
    try:
        cmdline = (directory / "cmdline").read_bytes()
        name = (directory / "comm").read_text(errors="backslashreplace").rstrip("\n")
    except (FileNotFoundError, ProcessLookupError):
        return None
    words = cmdline.removesuffix(b"\0").split(b"\0")
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    age = uptime - process.started / os.sysconf("SC_CLK_TCK")
    argv = tuple(word.decode(errors="backslashreplace") for word in words)
    return ExecSurvivor(
        pid=process.pid,
        argv=argv if cmdline.strip(b"\0 ") else (f"[{name}]",),
        age_seconds=round(max(0.0, age), 2),
        sockets=tuple(_list_sockets(directory)),
    )


def _list_sockets(directory: Path) -> list[str]:
    """Return the addresses of the sockets of a process that accept."""
    inodes = set()
    with suppress(OSError):
        for descriptor in os.scandir(directory / "fd"):
            with suppress(OSError):
                target = str(Path(descriptor.path).readlink())
                inodes.add(target.removeprefix("socket:[").removesuffix("]"))
    tables = {}
    for table in _TABLES:
        with suppress(FileNotFoundError):
            tables[table] = (directory / "net" / table).read_bytes()
    return sorted({a for inode, a in procfs.parse_listeners(tables).items() if inode in inodes})


def _describe(survivor: ExecSurvivor) -> str:
    sockets = f", listens on {', '.join(survivor.sockets)}" if survivor.sockets else ""
    return (
        f"  {' '.join(survivor.argv)} (PID {survivor.pid}, age {survivor.age_seconds} s{sockets})"
    )
