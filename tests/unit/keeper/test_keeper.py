"""The keeper itself in a real sandbox, with its limits changed from outside as a script may try."""

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from isosmoke.errors import EngineError
from isosmoke.interrupt import Interrupt
from isosmoke.keeper.client import Conversation
from isosmoke.sandbox.processes import Process
from isosmoke.sandbox.spec import Job
from isosmoke.testing import Bench
from isosmoke.testing.bench import going
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
"""Every limit but that of CPU time, which would have to be spent first."""


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
    """Whether this is PID 1 of a sandbox that this process has made."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    pids = next(one for one in lines if one.startswith("NSpid:")).split()[1:]
    return len(pids) > 1 and pids[-1] == "1" and _is_below(pid, os.getpid())


def keepers() -> set[int]:
    """The pids, here, of the keepers of this process."""
    return {int(one.name) for one in Path("/proc").glob("[0-9]*") if _is_keeper(int(one.name))}


@contextmanager
def over(job: Job) -> Iterator[tuple[Conversation, int]]:
    """A keeper whose script has ended, and its pid here."""
    before = keepers()
    with going(available.engine("bubblewrap"), job) as keeper:
        assert keeper.exited(SECONDS) == 0
        (pid,) = keepers() - before
        yield keeper, pid


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Where the jobs come from."""
    return Bench(tmp_path)


def listed_or_broken(look: Callable[[], tuple[Process, ...]]) -> int | None:
    """How many processes are told, or None where it was told that the sandbox broke."""
    try:
        return len(look())
    except EngineError:
        return None


@pytest.mark.parametrize("files", range(16))
def test_keeper_without_descriptors_never_says_that_nobody_is_there(
    bench: Bench, files: int
) -> None:
    """However few files it may open, it lists what is left or the sandbox is broken."""
    with over(bench.shell("sleep 600 & exit 0")) as (keeper, pid):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (files, files))
        told = listed_or_broken(keeper.survivors)

    assert told in (None, 1)


@pytest.mark.parametrize("files", [9, 10])
def test_keeper_says_what_it_could_not_look_at(bench: Bench, files: int) -> None:
    """The error names the file and the reason."""
    with over(bench.shell("sleep 600 & exit 0")) as (keeper, pid):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (files, files))
        with pytest.raises(EngineError, match=r"/proc.*: Too many open files"):
            keeper.living()


@pytest.mark.parametrize("limit", LIMITS)
def test_keeper_without_a_resource_never_says_that_nobody_is_there(
    bench: Bench, limit: str
) -> None:
    """Whatever limit is nothing, what is left is listed or the sandbox is broken."""
    with over(bench.shell("sleep 600 & exit 0")) as (keeper, pid):
        resource.prlimit(pid, LIMITS[limit], (0, 0))
        told = listed_or_broken(keeper.survivors)

    assert told in (None, 1)


def test_warden_that_cannot_look_breaks_the_sandbox(bench: Bench) -> None:
    """Where nobody can tell what a probe left, no verdict is told any more."""
    job = bench.shell("sleep 600 & exit 0")
    probe = ("bash", "-c", "setsid sleep 601 & exit 0")
    with over(job) as (keeper, pid):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (12, 12))
        blind = (
            "import resource, os; resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (3, 3))"
        )
        with pytest.raises(EngineError, match="what a probe left: Too many open files"):
            keeper.probe(
                ("python3", "-c", f"{blind}; os.execvp('bash', {list(probe)!r})"),
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
told, ready = os.pipe()
if os.fork():
    print(os.read(told, 9).decode(), flush=True)
    os._exit(0)
threading.Thread(target=serve).start()
if "dead" in sys.argv:
    ctypes.CDLL(None).syscall(EXIT, 0)
time.sleep(600)
"""


@pytest.mark.parametrize("words", [(), ("own",), ("dead",), ("dead", "own")], ids="-".join)
def test_all_that_a_thread_has_is_told(bench: Bench, words: tuple[str, ...]) -> None:
    """A process is told with the sockets of its threads, whether its main thread is alive."""
    argv = ("python3", "-c", HEADLESS, *words)
    printed: list[bytes] = []
    job = bench.job(argv)
    with going(
        available.engine("bubblewrap"), job, lambda output: printed.append(output.content)
    ) as keeper:
        assert keeper.exited(SECONDS) == 0
        (living,) = keeper.living()
        (frozen,) = keeper.survivors()

    for told in (living, frozen):
        assert told.argv == argv
        assert told.ppid == 1
        assert told.state not in "TZXx"
        assert told.cwd == str(bench.workspace)
        assert "python3" in told.exe
        assert told.listens == (f"tcp 127.0.0.1:{b''.join(printed).decode().strip()}",)


HIDDEN = {
    "not dumpable": "ctypes.CDLL(None).prctl(4, 0)",
    "in a deep folder": "[(os.mkdir('d' * 200), os.chdir('d' * 200)) for _ in range(30)]",
    "without descriptors": "os.closerange(0, 3)",
}

HIDING = """
import ctypes, os, time
told, ready = os.pipe()
if os.fork():
    os.read(told, 1)
    os._exit(0)
{}
os.write(ready, b"x")
time.sleep(600)
"""


@pytest.mark.parametrize("hide", HIDDEN)
def test_process_that_keeps_something_back_is_listed(bench: Bench, hide: str) -> None:
    """What cannot be read of a process is left out, and the process is not."""
    code = HIDING.format(HIDDEN[hide])
    with over(bench.python(code)) as (keeper, _):
        (frozen,) = keeper.survivors()

    assert frozen.argv == ("python3", "-c", code)


TRACED = """
import ctypes, os, signal, time
told, ready = os.pipe()
if os.fork():
    os.read(told, 1)
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
    """A process that a debugger has stopped is still, and a leak as any other."""
    with over(bench.python(TRACED)) as (keeper, _):
        frozen = keeper.survivors()

    assert len(frozen) == 2
    assert [one.state for one in frozen].count("t") == 1


def test_second_script_that_cannot_be_started_is_told(bench: Bench) -> None:
    """Why a script could not be started comes before its end does, however often one is."""
    with going(available.engine("bubblewrap"), bench.shell("exit 0")) as keeper:
        assert keeper.exited(SECONDS) == 0
        keeper.go(("no-such",), bench.job(()).folder, {}, processes=None, open_files=None)
        with pytest.raises(EngineError, match="no-such: No such file"):
            keeper.exited(SECONDS)


def test_script_that_is_ended_at_once_is_ended(bench: Bench) -> None:
    """A signal that comes before the script has its own session is not lost."""
    with going(available.engine("bubblewrap"), bench.shell("sleep 600")) as keeper:
        keeper.kill()

        assert keeper.exited(SECONDS) == 9
        assert keeper.empty(SECONDS)


def test_limit_of_processes_holds_beside_the_fewest_files(bench: Bench) -> None:
    """A script that may open next to nothing gets its other limit too."""
    if os.getuid() == 0:
        pytest.skip("root's processes are counted by control groups alone")
    job = bench.shell("ulimit -u; exit 0")
    printed: list[bytes] = []
    with available.engine("bubblewrap").sandbox(job.spec) as sandbox:
        keeper = Conversation(
            sandbox.channel, sink=lambda output: printed.append(output.content), interrupt=NEVER
        )
        keeper.ready(SECONDS)
        keeper.go(job.argv, job.folder, job.environment, processes=40, open_files=4)
        assert keeper.exited(SECONDS) == 0

    assert b"".join(printed) == b"40\n"


def test_keeper_is_as_exact_for_an_ordinary_user() -> None:
    """What holds for root's keeper holds for that of somebody without any privilege."""
    user = available.somebody()
    user.must_have("bubblewrap")
    done = user.pytest(__file__)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
