"""The keeper in a real sandbox, with its limits changed from outside as a script may try."""

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from isosmoke.errors import EngineError
from isosmoke.interrupt import Interrupt
from isosmoke.keeper.client import Conversation
from isosmoke.sandbox.spec import Job
from isosmoke.sandbox.survivors import Process
from isosmoke.testing import Bench
from isosmoke.testing.bench import running_job
from support import available

SECONDS = 30.0
NEVER = Interrupt()

LIMITS = {
    "AS": resource.RLIMIT_AS,
    "CORE": resource.RLIMIT_CORE,
    "DATA": resource.RLIMIT_DATA,
    "FSIZE": resource.RLIMIT_FSIZE,
    "MEMLOCK": resource.RLIMIT_MEMLOCK,
    "MSGQUEUE": resource.RLIMIT_MSGQUEUE,
    "NICE": resource.RLIMIT_NICE,
    "NOFILE": resource.RLIMIT_NOFILE,
    "NPROC": resource.RLIMIT_NPROC,
    "RSS": resource.RLIMIT_RSS,
    "RTPRIO": resource.RLIMIT_RTPRIO,
    "RTTIME": resource.RLIMIT_RTTIME,
    "SIGPENDING": resource.RLIMIT_SIGPENDING,
    "STACK": resource.RLIMIT_STACK,
}
"""Every limit except CPU time, which would have to be used up first."""


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _is_below(pid: int, ancestor: int) -> bool:
    while pid > 1 and pid != ancestor:
        pid = _parent(pid)
    return pid == ancestor


def _is_keeper(pid: int) -> bool:
    """Return whether `pid` is PID 1 of a sandbox that this process created."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    pids = next(line for line in lines if line.startswith("NSpid:")).split()[1:]
    return len(pids) > 1 and pids[-1] == "1" and _is_below(pid, os.getpid())


def find_keepers() -> set[int]:
    """Return the PIDs of this process's keepers, in this PID namespace."""
    pids = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
    return {pid for pid in pids if _is_keeper(pid)}


@contextmanager
def ended_script(job: Job) -> Iterator[tuple[Conversation, int]]:
    """Run a job until its script has ended; yield its keeper and the keeper's PID here."""
    before = find_keepers()
    with running_job(available.require_engine("bubblewrap"), job) as keeper:
        assert keeper.wait_for_exit(SECONDS) == 0
        (pid,) = find_keepers() - before
        yield keeper, pid


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return the source of the jobs."""
    return Bench(tmp_path)


def count_or_none(list_processes: Callable[[], tuple[Process, ...]]) -> int | None:
    """Return the number of listed processes, or None if the sandbox is broken."""
    try:
        return len(list_processes())
    except EngineError:
        return None


@pytest.mark.parametrize("files", range(16))
def test_keeper_without_descriptors_never_misses_a_survivor(bench: Bench, files: int) -> None:
    """For any limit of open files, the survivor is listed or the sandbox is broken."""
    with ended_script(bench.shell("sleep 600 & exit 0")) as (keeper, pid):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (files, files))
        count = count_or_none(keeper.freeze_survivors)

    assert count in (None, 1)


@pytest.mark.parametrize("files", range(4, 11))
def test_keeper_names_the_file_that_it_cannot_read(bench: Bench, files: int) -> None:
    """The error names the file and the reason, for any limit that lets it wait for its four.

    It waits again after the first command, with the new limit.
    """
    with ended_script(bench.shell("sleep 600 & exit 0")) as (keeper, pid):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (files, files))
        keeper.terminate()
        with pytest.raises(EngineError, match=r"/proc.*: Too many open files"):
            keeper.list_processes()


@pytest.mark.parametrize("limit", LIMITS)
def test_keeper_without_a_resource_never_misses_a_survivor(bench: Bench, limit: str) -> None:
    """For any limit of zero, the survivor is listed or the sandbox is broken."""
    with ended_script(bench.shell("sleep 600 & exit 0")) as (keeper, pid):
        resource.prlimit(pid, LIMITS[limit], (0, 0))
        count = count_or_none(keeper.freeze_survivors)

    assert count in (None, 1)


def test_supervisor_that_cannot_read_proc_breaks_the_sandbox(bench: Bench) -> None:
    """If leftover processes of a probe cannot be found, the sandbox is broken."""
    job = bench.shell("sleep 600 & exit 0")
    probe = ("bash", "-c", "setsid sleep 601 & exit 0")
    with ended_script(job) as (keeper, pid):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (12, 12))
        set_limit = (
            "import resource, os; resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (3, 3))"
        )
        with pytest.raises(EngineError, match="leftovers of a probe: Too many open files"):
            keeper.probe(
                ("python3", "-c", f"{set_limit}; os.execvp('bash', {list(probe)!r})"),
                job.folder,
                job.environment,
                SECONDS,
            )


HEADLESS = """
import ctypes, os, platform, socket, sys, threading, time
EXIT = {"x86_64": 60, "aarch64": 93}[platform.machine()]
UNSHARE = {"x86_64": 272, "aarch64": 97}[platform.machine()]
CLONE_FILES = 0x400
def serve():
    if "own" in sys.argv:
        assert ctypes.CDLL(None).syscall(UNSHARE, CLONE_FILES) == 0
    server = socket.create_server(("127.0.0.1", 0))
    while "dead" in sys.argv and "\\nState:\\tZ" not in open("/proc/self/status").read():
        time.sleep(0.01)
    os.write(ready, b"%d" % server.getsockname()[1])
    time.sleep(600)
source, ready = os.pipe()
if os.fork():
    print(os.read(source, 9).decode(), flush=True)
    os._exit(0)
threading.Thread(target=serve).start()
if "dead" in sys.argv:
    ctypes.CDLL(None).syscall(EXIT, 0)
time.sleep(600)
"""


@pytest.mark.parametrize("options", [(), ("own",), ("dead",), ("dead", "own")], ids="-".join)
def test_process_is_listed_with_the_sockets_of_its_threads(
    bench: Bench, options: tuple[str, ...]
) -> None:
    """A process has the sockets of all its threads, even if its main thread is dead."""
    argv = ("python3", "-c", HEADLESS, *options)
    chunks: list[bytes] = []
    job = bench.job(argv)
    with running_job(
        available.require_engine("bubblewrap"), job, lambda output: chunks.append(output.content)
    ) as keeper:
        assert keeper.wait_for_exit(SECONDS) == 0
        (living,) = keeper.list_processes()
        (frozen,) = keeper.freeze_survivors()

    for process in (living, frozen):
        assert process.argv == argv
        assert process.ppid == 1
        assert process.state not in "TZXx"
        assert process.cwd == str(bench.workspace)
        assert "python3" in process.exe
        assert process.listens == (f"tcp 127.0.0.1:{b''.join(chunks).decode().strip()}",)


HIDDEN = {
    "not dumpable": "ctypes.CDLL(None).prctl(4, 0)",
    "in a deep directory": "[(os.mkdir('d' * 200), os.chdir('d' * 200)) for _ in range(30)]",
    "without descriptors": "os.closerange(0, 3)",
}

HIDING = """
import ctypes, os, time
source, ready = os.pipe()
if os.fork():
    os.read(source, 1)
    os._exit(0)
{}
os.write(ready, b"x")
time.sleep(600)
"""


@pytest.mark.parametrize("hide", HIDDEN)
def test_process_with_unreadable_data_is_listed(bench: Bench, hide: str) -> None:
    """A process is listed even if some of its data cannot be read."""
    code = HIDING.format(HIDDEN[hide])
    with ended_script(bench.python(code)) as (keeper, _):
        (frozen,) = keeper.freeze_survivors()

    assert frozen.argv == ("python3", "-c", code)


TRACED = """
import ctypes, os, signal, time
source, ready = os.pipe()
if os.fork():
    os.read(source, 1)
    os._exit(0)
traced = os.fork()
if not traced:
    ctypes.CDLL(None).ptrace(0, 0, 0, 0)
    os.kill(os.getpid(), signal.SIGUSR1)
    os._exit(0)
os.waitpid(traced, os.WUNTRACED)
os.write(ready, b"x")
time.sleep(600)
"""


def test_traced_process_and_its_tracer_are_listed(bench: Bench) -> None:
    """A process that a debugger has stopped counts as frozen, and as a leak."""
    with ended_script(bench.python(TRACED)) as (keeper, _):
        frozen = keeper.freeze_survivors()

    assert len(frozen) == 2
    assert [process.state for process in frozen].count("t") == 1


def test_failed_start_of_second_script_is_an_error(bench: Bench) -> None:
    """The reason why a later script could not be started is reported before its end."""
    with running_job(available.require_engine("bubblewrap"), bench.shell("exit 0")) as keeper:
        assert keeper.wait_for_exit(SECONDS) == 0
        keeper.start_script(("no-such",), bench.job(()).folder, {}, processes=None, open_files=None)
        with pytest.raises(EngineError, match="no-such: No such file"):
            keeper.wait_for_exit(SECONDS)


def test_script_that_is_killed_at_once_ends(bench: Bench) -> None:
    """A signal that arrives before the script has its own session is not lost."""
    with running_job(available.require_engine("bubblewrap"), bench.shell("sleep 600")) as keeper:
        keeper.kill()

        assert keeper.wait_for_exit(SECONDS) == 9
        assert keeper.wait_until_empty(SECONDS)


def test_process_limit_applies_with_a_minimal_file_limit(bench: Bench) -> None:
    """A script that may open only four files still gets its process limit."""
    if os.getuid() == 0:
        pytest.skip("root's processes are counted by control groups alone")
    job = bench.shell("ulimit -u; exit 0")
    chunks: list[bytes] = []
    with available.require_engine("bubblewrap").sandbox(job.spec) as sandbox:
        keeper = Conversation(
            sandbox.channel, sink=lambda output: chunks.append(output.content), interrupt=NEVER
        )
        keeper.wait_until_ready(SECONDS)
        keeper.start_script(job.argv, job.folder, job.environment, processes=40, open_files=4)
        assert keeper.wait_for_exit(SECONDS) == 0

    assert b"".join(chunks) == b"40\n"


def test_keeper_passes_these_tests_for_an_ordinary_user() -> None:
    """These tests also pass for a user without privileges."""
    user = available.ordinary_user()
    user.require_engine("bubblewrap")
    done = user.pytest(__file__)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
