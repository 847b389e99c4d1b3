"""The option `--isosmoke-leaks`: processes that a test leaves; see docs/existing-suites.md.

The pytest process becomes a subreaper (prctl(2)), so a daemon that a test starts stays a descendant
of it. After the teardown of a test, every descendant is a leak of that test, unless it belongs to a
fixture with a wider scope that is still set up, or is a helper of multiprocessing.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import pytest

from isosmoke.interrupt import wait_readable
from isosmoke.keeper import procfs
from isosmoke.leak_log.log_reader import ExecRecord, ExecSurvivor

_SETTLE_SECONDS = 2.0
_END_SECONDS = 10.0
"""The limit for the end of killed processes: one that waits for a device ends when that answers."""
_SET_CHILD_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of <linux/prctl.h>."""

_DEAD = "ZXx"
"""The states of a process or task that has ended."""

_COLLECTION = "collection"
"""The owner of the processes that plugins and the modules of tests start before the first test."""

_WORKER_KEY = "isosmoke_leaks"
"""The key of the output of an xdist worker."""

_TABLES = ("tcp", "tcp6", "udp", "udp6", "unix")


class _Identity(NamedTuple):
    """A process: a PID with the start time in ticks, because PIDs are used again."""

    pid: int
    started: int


class LeakWatch:
    """The pytest plugin that `--isosmoke-leaks` registers."""

    def __init__(self, *, fails: bool) -> None:
        self._fails = fails
        self._reaper = _become_subreaper()
        path = os.environ.get("ISOSMOKE_EXEC_LOG")
        self._log = Path(path).absolute() if path else None
        self._log_size = 0
        self._initial = set(_list_descendants())
        self._owned: dict[Any, set[_Identity]] = {}
        self._started = (datetime.now(UTC), monotonic())
        self._late: list[str] = []
        self._failure = ""

    def pytest_collection_finish(self) -> None:
        """Record the processes that are no test's, such as a server of a module."""
        self._owned[_COLLECTION] = set(_list_descendants()) - self._initial

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """Fail the session if a process that is no test's is left once all plugins are done."""
        yield
        if self._owned.pop(_COLLECTION, None):
            self._mark_start()
            survivors = self._end_leaks()
            self._record(_COLLECTION, survivors)
            self._late += map(_describe, survivors)
        worker_output = getattr(session.config, "workeroutput", None)
        if worker_output is not None:
            worker_output[_WORKER_KEY] = self._late
        elif self._late and self._fails and not session.exitstatus:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what an xdist worker found at its end."""
        self._late += getattr(node, "workeroutput", {}).get(_WORKER_KEY, ())

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print what no test was charged with."""
        if self._late and self._fails:
            terminalreporter.section("isosmoke: LEAK: left by the collection of tests, or a plugin")
            for line in self._late:
                terminalreporter.write_line(line)

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
        """Mark the start of a test in the log, as `isosmoke-exec` does.

        A plugin may run each test in a child process, which does not inherit to be a subreaper.
        """
        if self._reaper != os.getpid():
            self._reaper = _become_subreaper()
        self._mark_start()

    def _mark_start(self) -> None:
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
            lines = "\n".join(map(_describe, survivors)) if self._fails else ""
            self._failure = f"isosmoke: LEAK: the test left\n{lines}" if lines else ""
        if self._failure:
            pytest.fail(self._failure, pytrace=False)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, call: "pytest.CallInfo[None]"
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Keep a leak an error: pytest accepts any exception of a test that is marked xfail."""
        report = yield
        if call.when == "teardown" and self._failure and report.outcome != "failed":
            report.outcome, report.longrepr = "failed", self._failure
            if hasattr(report, "wasxfail"):
                del report.wasxfail
        return report

    def _end_leaks(self) -> tuple[ExecSurvivor, ...]:
        """Wait for processes that are about to end, and end the rest; return the latter."""
        leaks = self._settle()
        survivors: dict[_Identity, ExecSurvivor] = {}
        deadline = monotonic() + _END_SECONDS
        while leaks:
            for leak in leaks:
                if leak not in survivors:
                    survivors[leak] = _inspect(leak)
            refused = {leak for leak in leaks if not _kill(leak)}
            self._initial |= refused
            _wait(set(leaks) - refused, deadline)
            leaks = self._find_leaks()
            if monotonic() > deadline:
                self._initial.update(leaks)
                break
        return tuple(survivors.values())

    def _settle(self) -> list[_Identity]:
        """Wait up to the settle time; return the processes that are then left.

        A process that forks and ends again and again is left all the same.
        """
        deadline = monotonic() + _SETTLE_SECONDS
        leaks = self._find_leaks()
        while leaks and monotonic() < deadline:
            _wait(leaks, deadline)
            leaks = self._find_leaks()
        return leaks

    def _find_leaks(self) -> list[_Identity]:
        owned = self._initial.union(*self._owned.values())
        kept = owned.union(filter(None, map(_identify, _list_helpers())))
        return _list_descendants(kept)

    def _record(self, test: str, survivors: tuple[ExecSurvivor, ...]) -> None:
        started_at, started = self._started
        is_lost = self._is_log_lost()
        record = ExecRecord(
            schema_version=1,
            test=test,
            argv=tuple(sys.argv),
            cwd=str(Path.cwd()),
            started_at=f"{started_at:%Y-%m-%dT%H:%M:%S}.{started_at.microsecond // 1000:03}Z",
            seconds=round(monotonic() - started, 3),
            watched=not is_lost,
            reason="the log was removed or truncated" if is_lost else "",
            exit_code=None if is_lost else 0,
            signal=None,
            survivors=() if is_lost else survivors,
        )
        self._append(f"{record.model_dump_json()}\n".encode())

    def _append(self, content: bytes) -> None:
        if self._log:
            with self._log.open("ab", buffering=0) as file:
                file.write(content)
                self._log_size = os.fstat(file.fileno()).st_size

    def _is_log_lost(self) -> bool:
        """Return whether the file has lost what was written to it: others only append."""
        if self._log is None:
            return False
        try:
            return self._log.stat().st_size < self._log_size
        except FileNotFoundError:
            return True


def _become_subreaper() -> int:
    """Adopt orphaned descendants from now on, and return the own PID.

    Raises:
        pytest.UsageError: if the system refuses it.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise pytest.UsageError(f"isosmoke: prctl: {os.strerror(ctypes.get_errno())}")
    return os.getpid()


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


def _read_status(directory: Path) -> tuple[str, int, int] | None:
    """Return the state, the parent and the start time of a process or task (proc(5), `stat`).

    None means that it has ended, or that /proc hides it (`hidepid`).
    """
    try:
        fields = (directory / "stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return fields[0].decode(), int(fields[1]), int(fields[19])


def _identify(pid: int) -> _Identity | None:
    status = _read_status(Path("/proc", str(pid)))
    return _Identity(pid, status[2]) if status else None


def _find_living_task(pid: int) -> Path | None:
    """Return the directory of a living task of a process, or None if it has ended.

    A process ends with the last of its tasks. Its main thread stays as a zombie until then.
    """
    with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        for task in sorted(Path("/proc", str(pid), "task").iterdir()):
            status = _read_status(task)
            if status and status[0] not in _DEAD:
                return task
    return None


def _list_descendants(without: Iterable[_Identity] = ()) -> list[_Identity]:
    """Return the living descendants of this process, except `without` and their descendants.

    A process may fork and end during a scan that then has only its remains. A blank result is
    therefore confirmed by a second scan with the same remains.
    """
    skipped = set(without)
    previous: set[_Identity] = set()
    while True:
        living, dead = _scan(skipped)
        if living or dead == previous:
            return living
        previous = dead


def _scan(skipped: set[_Identity]) -> tuple[list[_Identity], set[_Identity]]:
    """Return the living and the dead descendants, without those below `skipped`."""
    children: dict[int, list[tuple[_Identity, str]]] = {}
    for entry in os.scandir("/proc"):
        status = _read_status(Path(entry.path)) if entry.name.isdigit() else None
        if status:
            state, parent, started = status
            children.setdefault(parent, []).append((_Identity(int(entry.name), started), state))
    living: list[_Identity] = []
    dead: set[_Identity] = set()
    pending = [os.getpid()]
    while pending:
        for process, state in children.get(pending.pop(), ()):
            if process in skipped:
                continue
            pending.append(process.pid)
            if state not in _DEAD or _find_living_task(process.pid):
                living.append(process)
            else:
                dead.add(process)
    return living, dead


def _open(process: _Identity) -> int | None:
    """Return a descriptor (pidfd_open(2)) of this process, or None if it has ended."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    if _identify(process.pid) == process:
        return descriptor
    os.close(descriptor)
    return None


def _kill(process: _Identity) -> bool:
    """Kill a process, unless it has ended; return False if this is not permitted."""
    descriptor = _open(process)
    if descriptor is None:
        return True
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    finally:
        os.close(descriptor)
    return True


def _wait(processes: Iterable[_Identity], deadline: float) -> None:
    """Wait until all of these processes have ended, at most until then on the monotonic clock."""
    for process in processes:
        descriptor = _open(process)
        if descriptor is None:
            continue
        try:
            if not wait_readable(descriptor, max(0.0, deadline - monotonic())):
                return
        finally:
            os.close(descriptor)


def _inspect(process: _Identity) -> ExecSurvivor:
    """Return a process as the log has it; one that has ended meanwhile is `[ended]`."""
    cmdline, name, directory = b"", "ended", _find_living_task(process.pid)
    with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        if directory and _identify(process.pid) == process:
            name = (directory / "comm").read_text(errors="backslashreplace").rstrip("\n")
            cmdline = (directory / "cmdline").read_bytes()
    words = cmdline.removesuffix(b"\0").split(b"\0")
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    age = uptime - process.started / os.sysconf("SC_CLK_TCK")
    argv = tuple(word.decode(errors="backslashreplace") for word in words)
    return ExecSurvivor(
        pid=process.pid,
        argv=argv if cmdline.strip(b"\0 ") else (f"[{name}]",),
        age_seconds=round(max(0.0, age), 2),
        sockets=tuple(_list_sockets(directory)) if directory else (),
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
        with suppress(OSError):
            tables[table] = (directory / "net" / table).read_bytes()
    return sorted({a for inode, a in procfs.parse_listeners(tables).items() if inode in inodes})


def _describe(survivor: ExecSurvivor) -> str:
    sockets = f", listens on {', '.join(survivor.sockets)}" if survivor.sockets else ""
    return (
        f"  {' '.join(survivor.argv)} (PID {survivor.pid}, age {survivor.age_seconds} s{sockets})"
    )
