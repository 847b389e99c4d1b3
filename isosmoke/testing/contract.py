"""What every engine must hold to, as plain functions: each takes an engine and a bench.

A check returns or raises `AssertionError` with words. It needs bash and python3 among the host's
own programs, which are the sandbox's image, and nothing else: run them all over a new engine with
`for check in CONTRACT: check(engine, Bench(folder))`, each with an empty folder of its own.
"""

import os
import shlex
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from signal import SIGKILL

from isosmoke.engines.base import START_SECONDS, Engine
from isosmoke.engines.bubblewrap import cgroup
from isosmoke.errors import EngineError
from isosmoke.interrupt import Interrupt
from isosmoke.keeper import protocol, shell
from isosmoke.keeper.client import Conversation, RefusedError
from isosmoke.keeper.protocol import Output, Size, frame
from isosmoke.results.outcome import Broke, Ending, Exited, Signaled, TimedOut
from isosmoke.runner.sandbox_run import start
from isosmoke.sandbox.spec import Job, Limits
from isosmoke.testing.bench import (
    HOME,
    PLAIN,
    Bench,
    Line,
    Seen,
    Terms,
    Typist,
    Witness,
    going,
    holder,
    run,
    started,
)

Check = Callable[[Engine, Bench], None]

_DEATH_SECONDS = 20.0

_PROMPT_SECONDS = 10.0
"""More than anything takes that nobody waits for, less than what it would wait for."""

_MUCH = 20_000_000
_LARGE, _BUSY_SECONDS = 64 << 20, 0.2
_FEWEST, _MOST = 20, 40
"""How many processes must and may be made where 40 are the limit."""


def _expect(*, that: object, words: str) -> None:
    if not that:
        raise AssertionError(words)


def _expect_ending(seen: Seen, wanted: Ending, words: str = "") -> None:
    if seen.ending != wanted:
        printed = seen.output.decode(errors="replace")
        raise AssertionError(f"{words}: {seen.ending}, not {wanted}; it printed: {printed}")


def _passes(engine: Engine, job: Job, words: str) -> Seen:
    """The job exits 0 and leaves nothing, or `words` is what is wrong."""
    seen = run(engine, job)
    _expect_ending(seen, Exited(0), words)
    _expect(that=not seen.survivors, words=f"{words}: it left {seen.survivors}")
    return seen


# What a sandbox contains.


def each_sandbox_is_fresh(engine: Engine, bench: Bench) -> None:
    """Nothing that one job writes is there for the next."""
    folders = ("/tmp", "/var/tmp", "/run", HOME, bench.workspace)  # noqa: S108 - in the sandbox
    places = " ".join(f"{one}/seen" for one in folders)
    _passes(engine, bench.shell(f"touch {places}"), "a fresh folder or the workspace is read-only")
    line = f"for one in {places}; do test ! -e $one || exit 1; done"
    _passes(engine, bench.shell(line), "a sandbox still has what an earlier one wrote")


def a_fresh_sandbox_has_only_its_script(engine: Engine, bench: Bench) -> None:
    """The first process is the keeper, and the script is all that runs beside it."""
    line = "for one in /proc/[0-9]*; do test $one = /proc/1 || test $one = /proc/$$ || exit 1; done"
    _passes(engine, bench.shell(line), "there is another process in a fresh sandbox")


def the_environment_is_what_the_job_says(engine: Engine, bench: Bench) -> None:
    """No variable of the host or of the image slips in."""
    seen = _passes(engine, bench.job(("env", "-0")), "env could not be run")
    found = dict(one.split("=", 1) for one in seen.output.decode().split("\0") if one)
    _expect(that=found == bench.environment, words=f"the environment is {sorted(found)}")


def the_script_stands_in_its_folder(engine: Engine, bench: Bench) -> None:
    """The working folder is the job's, by the same name as on the host."""
    seen = _passes(engine, bench.shell("/bin/pwd"), "pwd failed")
    _expect(that=seen.words == [str(bench.workspace)], words=f"it stands in {seen.words}")


def a_file_outside_the_specification_is_invisible(engine: Engine, bench: Bench) -> None:
    """Of the host's files only those that are mounted can be found."""
    outside = bench.folder / "outside"
    outside.write_text("secret")
    _passes(engine, bench.shell(f"test ! -e {outside}"), f"{outside} of the host can be seen")


def a_read_only_mount_cannot_be_written(engine: Engine, bench: Bench) -> None:
    """Neither a file of it nor the folder, while both can be read."""
    line = (
        f"cd {bench.fixed}; grep -q host file || exit 1; "
        "! echo x 2>/dev/null >file && ! touch more && ! rm -f file"
    )
    _passes(engine, bench.shell(line), "a read-only mount can be written, or not be read")
    _expect(that=_listed(bench.fixed) == {"file"}, words="a read-only folder of the host changed")


def the_system_cannot_be_written(engine: Engine, bench: Bench) -> None:
    """The host's own programs are safe from a script, root's too."""
    _passes(
        engine, bench.shell("! touch /usr/bin/seen && ! rm -f /usr/bin/env"), "/usr is writable"
    )
    _expect(that=Path("/usr/bin/env").exists(), words="a program of the host is gone")


def copy_on_write_does_not_change_the_host(engine: Engine, bench: Bench) -> None:
    """A script may write, move and remove in the workspace, and its host folder stays as it is."""
    folder = bench.workspace / "folder"
    folder.mkdir()
    (folder / "inner").write_text("inner\n")
    line = (
        "echo more >>file; echo new >new; mv folder moved; mkdir folder; touch folder/other; "
        "test -e moved/inner && test ! -e folder/inner && rm -r moved && grep -q more file"
    )
    _passes(engine, bench.shell(f"set -e; {line}"), "the workspace cannot be worked in")
    content = (bench.workspace / "file").read_text()
    _expect(that=content == "from the host\n", words=f"a file of the host changed: {content!r}")
    names = _listed(bench.workspace) | _listed(folder)
    _expect(that=names == {"file", "folder", "inner"}, words=f"the host's folder has {names}")


def what_a_script_writes_is_found(engine: Engine, bench: Bench) -> None:
    """While a sandbox stands, each folder of the host that it names holds what changed there."""
    places = (bench.workspace, PurePosixPath("/var/tmp"), HOME)  # noqa: S108 - in the sandbox
    job = bench.shell(f"for one in {shlex.join(map(str, places))}; do echo $one >$one/new; done")
    with engine.sandbox(job.spec) as sandbox:
        status = started(sandbox, job).exited(_PROMPT_SECONDS)
        _expect(that=status == 0, words=f"a script that writes ended with status {status}")
        told = {place: sandbox.changes.get(PurePosixPath(place)) for place in places}
        for place, folder in told.items():
            _expect(
                that=folder is None or _content(folder / "new") == f"{place}\n",
                words=f"what was written in {place} is not in {folder}",
            )


def _content(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def _listed(folder: Path) -> set[str]:
    return {one.name for one in folder.iterdir()}


def a_socket_in_the_workspace_cannot_be_reached(engine: Engine, bench: Bench) -> None:
    """A live service of the host that listens in a copy-on-write folder is out of reach."""
    code = (
        "import os, socket, sys\n"
        "one = socket.socket(socket.AF_UNIX)\n"
        "os.chdir(sys.argv[1]) if len(sys.argv) > 1 else None\n"
        "sys.exit(one.connect_ex('service.sock') == 0)\n"
    )
    with socket.socket(socket.AF_UNIX) as service:
        _bind(service, bench.workspace)
        service.listen()
        _passes(engine, bench.python(code), "a script connected to a live socket of the host")


def _bind(service: socket.socket, folder: Path) -> None:
    """By a descriptor, because the name of a socket may only have 108 characters."""
    descriptor = os.open(folder, os.O_PATH)
    try:
        service.bind(f"/proc/self/fd/{descriptor}/service.sock")
    finally:
        os.close(descriptor)


def an_isolated_network_reaches_nothing(engine: Engine, bench: Bench) -> None:
    """Loopback works, nothing is routed, and the host's own loopback is another one."""
    code = (
        "import socket, sys\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(server.getsockname())\n"
        "routes = open('/proc/net/route').read().splitlines()[1:]\n"
        "out = socket.socket().connect_ex(('127.0.0.1', PORT)) == 0\n"
        "sys.exit(f'routes {routes}, host reached: {out}' if routes or out else 0)\n"
    )
    with Witness() as witness:
        job = bench.python(code.replace("PORT", str(witness.port)), Terms(network="isolated"))
        _passes(engine, job, "an isolated network is not")


def the_host_network_is_the_hosts(engine: Engine, bench: Bench) -> None:
    """Without isolation a script reaches what listens on the host's loopback."""
    with Witness() as witness:
        _passes(engine, bench.shell(witness.connect), "the host's loopback cannot be reached")


# Who the script is, and what it may do.


def the_user_is_the_caller(engine: Engine, bench: Bench) -> None:
    """Files that it makes belong to the caller, and so does its HOME."""
    code = f"import os; print(os.getuid(), os.geteuid(), os.getgid(), os.stat('{HOME}').st_uid)"
    seen = _passes(engine, bench.python(code), "python3 cannot be run")
    wanted = [str(one) for one in (os.getuid(), os.getuid(), os.getgid(), os.getuid())]
    _expect(that=seen.words == wanted, words=f"user and group are {seen.words}, not {wanted}")


def the_script_has_no_privilege(engine: Engine, bench: Bench) -> None:
    """It holds no capability and can gain none, by setuid programs or otherwise."""
    status = _status(engine, bench)
    held = {name: status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
    _expect(that=set(held.values()) == {"0" * 16}, words=f"capabilities are held: {held}")
    _expect(that=status["NoNewPrivs"] == "1", words="privileges can be gained")


def a_named_capability_is_the_only_one(engine: Engine, bench: Bench) -> None:
    """A script has what its job names and no more; an engine that cannot give it says so."""
    chown, bit = Terms(capabilities=("CHOWN",)), f"{1:016x}"
    seen = run(engine, bench.job(("cat", "/proc/self/status"), chown))
    if isinstance(seen.ending, Broke):
        _expect(that="capabilit" in seen.ending.message, words=f"it broke: {seen.ending.message}")
        return
    status = _fields(seen)
    held = {name: status[name] for name in ("CapPrm", "CapEff")}
    _expect(that=set(held.values()) == {bit}, words=f"capabilities are held: {held}")
    _expect(that=status["NoNewPrivs"] == "1", words="privileges can be gained")
    the_keeper_cannot_be_opened(engine, bench, chown)


def the_script_starts_like_any_program(engine: Engine, bench: Bench) -> None:
    """No signal is ignored or blocked, it leads its session, and its stdin is empty."""
    status = _status(engine, bench)
    masks = {name: status[name] for name in ("SigBlk", "SigIgn")}
    _expect(that=set(masks.values()) == {"0" * 16}, words=f"signals are masked: {masks}")
    code = "import os, sys; sys.exit(os.getsid(0) != os.getpid() or sys.stdin.read() != '')"
    _passes(engine, bench.python(code), "it leads no session, or its stdin is not empty")


def _status(engine: Engine, bench: Bench) -> dict[str, str]:
    return _fields(_passes(engine, bench.job(("cat", "/proc/self/status")), "no /proc"))


def _fields(seen: Seen) -> dict[str, str]:
    lines = (line.partition(":") for line in seen.output.decode().splitlines())
    return {name: value.strip() for name, _, value in lines}


# What comes back.


def every_ending_is_told_apart(engine: Engine, bench: Bench) -> None:
    """An exit code is not a signal, whatever its number."""
    for line, ending in (
        ("exit 0", Exited(0)),
        ("exit 77", Exited(77)),
        ("exit 143", Exited(143)),
        ("exit 255", Exited(255)),
        ("kill -TERM $$", Signaled(15)),
        ("kill -KILL $$", Signaled(9)),
    ):
        _expect_ending(run(engine, bench.shell(line)), ending, line)


def a_missing_program_is_named(engine: Engine, bench: Bench) -> None:
    """What cannot be started is no failure of a script; the message says what it was."""
    ending = run(engine, bench.job(("no-such-program",))).ending
    named = isinstance(ending, Broke) and "no-such-program" in ending.message
    _expect(that=named, words=f"a missing program came out as {ending}")


def binary_output_is_untouched(engine: Engine, bench: Bench) -> None:
    """Every byte comes back, also zero, escape and what is no UTF-8."""
    code = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 8)"
    seen = _passes(engine, bench.python(code), "python3 cannot be run")
    _expect(that=seen.output == bytes(range(256)) * 8, words="the output was changed on its way")


def a_stream_keeps_its_order(engine: Engine, bench: Bench) -> None:
    """Lines of one stream arrive as they were printed, all of them, without a final newline too."""
    seen = _passes(engine, bench.shell("seq 2000; printf end"), "seq cannot be run")
    wanted = [*(str(one) for one in range(1, 2001)), "end"]
    _expect(that=seen.words == wanted, words=f"{len(seen.words)} of {len(wanted)} words, or mixed")


def much_output_is_counted_to_the_byte(engine: Engine, bench: Bench) -> None:
    """Nothing is lost and nobody waits for ever, however much is printed."""
    seen = _passes(engine, bench.shell(f"head -c {_MUCH} /dev/zero"), "it could not print")
    _expect(that=seen.size == _MUCH, words=f"{seen.size} bytes of {_MUCH}")


# Time.


def a_deadline_ends_what_listens(engine: Engine, bench: Bench) -> None:
    """SIGTERM comes at the deadline; who ends by it is not killed."""
    line = "trap 'echo told; exit 0' TERM; echo up; while :; do read -t 60 <> <(:); done"
    seen = run(engine, bench.shell(line, Terms(timeout=0.5, grace=10)))
    _expect_ending(seen, TimedOut(0.5), "a deadline")
    _expect(that=seen.words == ["up", "told"], words=f"it saw no SIGTERM: {seen.words}")
    _expect(that=seen.phases["run"] < _PROMPT_SECONDS, words="who ended at SIGTERM was waited for")


def a_deadline_kills_what_does_not_listen(engine: Engine, bench: Bench) -> None:
    """Who ignores SIGTERM has the grace, and then no more."""
    seen = run(engine, bench.shell("trap '' TERM; sleep 600", Terms(timeout=0.5, grace=0.5)))
    _expect_ending(seen, TimedOut(0.5), "a deadline")
    _expect(that=1 <= seen.phases["run"] < _PROMPT_SECONDS, words="SIGKILL came at another time")


def what_ends_in_time_is_no_survivor(engine: Engine, bench: Bench) -> None:
    """A process may end within the settle time, and nobody waits longer than it needs."""
    job = bench.shell("sleep 0.3 & exit 0", Terms(settle=30))
    seen = _passes(engine, job, "what ended in time was listed")
    _expect(that=seen.phases["settle"] < _PROMPT_SECONDS, words="an empty sandbox was waited for")


# Survivors.


_LISTENER = """
import os, socket, time
server = socket.create_server(("127.0.0.1", 0))
started, tell = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    os.write(tell, b"x")
    time.sleep(600)
os.read(started, 1)
print(server.getsockname()[1])
"""


def a_survivor_is_seen_with_all_it_has(engine: Engine, bench: Bench) -> None:
    """A daemon that forked twice is listed: its arguments, its parent, its folder, its socket."""
    seen = run(engine, bench.python(_LISTENER))
    _expect_ending(seen, Exited(0), "a daemon could not be made")
    _expect(that=len(seen.survivors) == 1, words=f"not one survivor: {seen.survivors}")
    (one,) = seen.survivors
    _expect(that=one.argv[1:] == ("-c", _LISTENER), words=f"its arguments are {one.argv}")
    _expect(that=one.ppid == 1 and one.pid > 1, words=f"it has pid {one.pid}, parent {one.ppid}")
    _expect(that=one.cwd == str(bench.workspace), words=f"it stands in {one.cwd}")
    wanted = (f"tcp 127.0.0.1:{seen.words[0]}",)
    _expect(that=one.listens == wanted, words=f"it listens on {one.listens}, not {wanted}")


_HEADLESS = """
import ctypes, os, platform, threading, time
EXIT = {"x86_64": 60, "aarch64": 93}[platform.machine()]
told, ready = os.pipe()
if os.fork():
    os.read(told, 1)
    os._exit(0)
def stay():
    while "\\nState:\\tZ" not in open(f"/proc/{os.getpid()}/status").read():
        time.sleep(0.01)
    os.write(ready, b"x")
    time.sleep(600)
threading.Thread(target=stay).start()
ctypes.CDLL(None).syscall(EXIT, 0)
"""


def a_process_without_its_main_thread_is_listed(engine: Engine, bench: Bench) -> None:
    """The kernel calls it a zombie, but its other threads are alive and may do anything."""
    seen = run(engine, bench.python(_HEADLESS))
    _expect_ending(seen, Exited(0), "a thread could not outlive the main one")
    told = [(one.argv[1:], one.cwd) for one in seen.survivors]
    wanted = [(("-c", _HEADLESS), str(bench.workspace))]
    _expect(that=told == wanted, words=f"of a process without a main thread is told {told}")


def only_the_living_are_listed(engine: Engine, bench: Bench) -> None:
    """The keeper is not a survivor, and neither is a zombie whose parent lives."""
    job = bench.shell("setsid bash -c 'sleep 0.1 & exec sleep 600' & exit 0")
    survivors = run(engine, job).survivors
    names = [one.argv for one in survivors]
    _expect(that=names == [("sleep", "600")], words=f"the survivors are {names}")


def a_survivor_that_holds_the_output_delays_nothing(engine: Engine, bench: Bench) -> None:
    """A script's end is its own, though a child holds its stdout, or floods it for ever."""
    for child in ("sleep 600", "yes"):
        seen = run(engine, bench.shell(f"{child} & exit 3"))
        _expect_ending(seen, Exited(3), child)
        _expect(that=seen.phases["run"] < _PROMPT_SECONDS, words=f"{child} held the script back")
        _expect(that=len(seen.survivors) == 1, words=f"{child} was not listed")


_THIEF = """
import os, threading
source = os.open("/proc/self/fd/1", os.O_RDONLY)
def steal():
    while True:
        os.read(source, 1 << 16)
for _ in range(7):
    threading.Thread(target=steal, daemon=True).start()
for _ in range(10_000):
    os.write(1, b"x")
os._exit(3)
"""


def a_reader_of_the_output_delays_nothing(engine: Engine, bench: Bench) -> None:
    """Who takes from a pipe what the keeper was about to read does not make it wait."""
    with going(engine, bench.python(_THIEF)) as keeper:
        status = keeper.exited(_DEATH_SECONDS)
        _expect(that=status == 3 << 8, words=f"a script that reads its own output: {status}")
        folder = PurePosixPath(bench.workspace)
        argv = ("python3", "-c", _THIEF)
        status, _ = keeper.probe(argv, folder, bench.environment, _DEATH_SECONDS)
        _expect(that=status == 3 << 8, words=f"a probe that reads its own output: {status}")
        _expect(that=keeper.empty(_DEATH_SECONDS), words="a reader of the output is left")


def what_is_thawed_goes_on(engine: Engine, bench: Bench) -> None:
    """Survivors that were frozen to be listed live on where they were."""
    with Witness() as witness:
        job = bench.shell(f"{witness.connect} cat <&3 >&3 & exit 0")
        with going(engine, job) as keeper:
            line = witness.met()
            keeper.exited(_DEATH_SECONDS)
            _expect(that=keeper.survivors(), words="a process that waits is no survivor")
            keeper.thaw()
            line.say("back")
            _expect(that=line.hears("back\n"), words="a thawed process does not go on")


def another_script_may_follow(engine: Engine, bench: Bench) -> None:
    """Once one is over the next may start, and what the first has left goes on printing."""
    heard: list[Output] = []
    with Witness() as witness:
        prints = f"{witness.connect} read -u 3 word; echo $word; echo told >&3; cat <&3"
        first = bench.shell(f"({prints}) & exit 3")
        with going(engine, first, heard.append) as keeper:
            line = witness.met()
            status = keeper.exited(_DEATH_SECONDS)
            _expect(that=status == 3 << 8, words=f"the first script's status is {status}")
            start(bench.shell(f"{witness.connect} read -u 3 word; echo $word; exit 4"), keeper)
            other = witness.met()
            line.say("left")
            _expect(that=line.hears("told\n"), words="what the first has left was ended")
            other.say("next")
            status = keeper.exited(_DEATH_SECONDS)
            _expect(that=status == 4 << 8, words=f"the next script's status is {status}")
            _expect(that=keeper.survivors(), words="what the first has left is no survivor")
    printed = b"".join(one.content for one in heard)
    _expect(that=printed == b"left\nnext\n", words=f"after the first was printed {printed!r}")


# What is asked beside the verdict.


def _probe(
    keeper: Conversation, bench: Bench, line: str, seconds: float = 20.0
) -> tuple[int | None, bytes]:
    folder = PurePosixPath(bench.workspace)
    return keeper.probe(("bash", "-c", line), folder, bench.environment, seconds)


def a_probe_stands_beside_the_script(engine: Engine, bench: Bench) -> None:
    """It sees the files and processes of the script that runs, and what it prints is its own."""
    heard: list[Output] = []
    with Witness() as witness:
        job = bench.shell(f"echo mine; echo seen >/tmp/seen; {witness.connect} cat <&3; exit 4")
        with going(engine, job, heard.append) as keeper:
            line = witness.met()
            told = _probe(
                keeper, bench, "cat /tmp/seen; pgrep -x cat >/dev/null && pwd >&2; exit 3"
            )
            wanted = (3 << 8, f"seen\n{bench.workspace}\n".encode())
            _expect(that=told == wanted, words=f"the probe told {told}, not {wanted}")
            line.close()
            status = keeper.exited(_DEATH_SECONDS)
            _expect(that=status == 4 << 8, words=f"after a probe the script's status is {status}")
            _expect(that=keeper.empty(_DEATH_SECONDS), words="a probe was left in the sandbox")
    printed = b"".join(one.content for one in heard)
    _expect(that=printed == b"mine\n", words=f"the script printed {printed!r} beside a probe")


def a_probe_leaves_nothing(engine: Engine, bench: Bench) -> None:
    """What it starts is gone with it, daemons too, and only the script's processes survive."""
    with Witness() as witness, going(engine, bench.shell("sleep 600 & exit 0")) as keeper:
        keeper.exited(_DEATH_SECONDS)
        told = _probe(keeper, bench, f"{witness.connect} (setsid sleep 599 >/dev/null 2>&1 &)")
        _expect(that=told == (0, b""), words=f"a probe that started a daemon told {told}")
        _expect(that=witness.met().breaks(), words="a daemon outlived the probe that made it")
        names = [one.argv for one in keeper.survivors()]
        _expect(that=names == [("sleep", "600")], words=f"after a probe {names} are left")


def a_probe_has_its_deadline(engine: Engine, bench: Bench) -> None:
    """It is killed there with all that it started, whatever they ignore, and the script is not."""
    with Witness() as witness, going(engine, bench.shell("sleep 600")) as keeper:
        line = f"trap '' TERM; echo up; {witness.connect} sleep 600 & setsid sleep 600"
        told = _probe(keeper, bench, line, 0.5)
        _expect(that=told == (None, b"up\n"), words=f"a probe without an end told {told}")
        _expect(that=witness.met().breaks(), words="a process of a probe outlived its deadline")
        _expect(that=keeper.exited(0.1) is None, words="the end of a probe ended the script")


def a_large_command_is_taken_in_a_flood(engine: Engine, bench: Bench) -> None:
    """What no pipe can hold reaches a keeper that has much to say itself, and holds nothing up."""
    large = {f"LARGE_{number}": "x" * 100_000 for number in range(12)}
    with going(engine, bench.shell("yes & exit 0")) as keeper:
        keeper.exited(_DEATH_SECONDS)
        environment = {**bench.environment, **large}
        argv = ("bash", "-c", "echo ${#LARGE_11}")
        told = keeper.probe(argv, PurePosixPath(bench.workspace), environment, 20.0)
        _expect(that=told == (0, b"100000\n"), words=f"a probe with much in it told {told}")


def a_probe_leaves_an_empty_sandbox_empty(engine: Engine, bench: Bench) -> None:
    """After everything is gone a probe can still be made, and nobody is left by it."""
    with going(engine, bench.shell("exit 0")) as keeper:
        keeper.exited(_DEATH_SECONDS)
        _expect(that=keeper.empty(_DEATH_SECONDS), words="nothing was left, and not empty")
        _expect(that=_probe(keeper, bench, "echo hi") == (0, b"hi\n"), words="no probe at the end")
        _expect(that=not keeper.survivors(), words="a probe was listed as a survivor")


def a_probe_that_cannot_be_started_changes_nothing(engine: Engine, bench: Bench) -> None:
    """A missing program is its shell's 127; at the limit of processes a probe may be refused."""
    terms = Terms(limits=Limits(processes=_MOST))
    with going(engine, bench.python(_FORKING, terms)) as keeper:
        keeper.exited(_DEATH_SECONDS)
        with suppress(RefusedError):
            status, said = keeper.probe(("no-such",), PurePosixPath("/"), {}, _DEATH_SECONDS)
            named = status == 127 << 8 and b"no-such" in said
            _expect(that=named, words=f"a missing program is told as {status}, {said!r}")
        listed = len(keeper.survivors())
        _expect(that=listed >= _FEWEST, words=f"{listed} processes were listed at the limit")


def what_a_script_took_is_counted(engine: Engine, bench: Bench) -> None:
    """The CPU time of all that ended and the most memory of one process, and nothing of a probe."""
    burn = 'import time; kept = b"x" * {}\nwhile time.process_time() < {}: pass'
    code = burn.format(_LARGE, _BUSY_SECONDS)
    with going(engine, bench.shell(f"python3 -c '{code}' & wait")) as keeper:
        keeper.exited(_DEATH_SECONDS)
        took = keeper.usage()
        seconds = took.user_seconds + took.system_seconds
        busy = _BUSY_SECONDS <= seconds < _DEATH_SECONDS
        _expect(that=busy, words=f"{seconds} s of CPU were counted")
        _expect(that=_LARGE <= took.largest < 2 * _LARGE, words=f"{took.largest} bytes were used")
        told = _probe(keeper, bench, f"python3 -c '{burn.format(4 * _LARGE, _BUSY_SECONDS)}'")
        _expect(that=told == (0, b""), words=f"the probe told {told}")
        _expect(that=keeper.usage() == took, words="what a probe takes is counted as the script's")


# A shell inside.


_WATCH = "echo ready; while :; do sleep 0.02; done"


def _sit(engine: Engine, job: Job, typist: Typist) -> int:
    """A shell in a sandbox of its own, in which no script was started."""
    with typist, engine.sandbox(job.spec) as sandbox:
        keeper = Conversation(sandbox.channel, sink=lambda _: None, interrupt=Interrupt())
        keeper.ready(START_SECONDS)
        return shell.attend(keeper, job, typist)


def a_shell_stands_at_a_terminal(engine: Engine, bench: Bench) -> None:
    """It leads a session with a terminal of its own, of the size that was asked for."""
    line = "test -t 0 -a -t 1 -a -t 2 && : </dev/tty && stty size && read it && echo =$it=; exit 7"
    typist = Typist(("31 97", b"typed\r"), size=Size(31, 97))
    status = _sit(engine, bench.shell(line), typist)
    printed = typist.seen["stdout"].decode()
    _expect(that=status == 7 << 8, words=f"the shell's status is {status}; it said {printed!r}")
    _expect(that="=typed=\r\n" in printed, words=f"what was typed came out as {printed!r}")


def a_shell_knows_when_its_terminal_changes(engine: Engine, bench: Bench) -> None:
    """Another size is told by SIGWINCH, and is there to be read."""
    job = bench.shell(f"trap 'stty size; exit 0' WINCH; {_WATCH}")
    typist = Typist(("ready", Size(11, 44)), size=Size(24, 80))
    status = _sit(engine, job, typist)
    printed = typist.seen["stdout"]
    _expect(that=status == 0 and b"11 44" in printed, words=f"{status}, it said {printed!r}")


def a_shell_is_interrupted_by_its_keys(engine: Engine, bench: Bench) -> None:
    """Ctrl-C is SIGINT for what stands in front, and for nothing else."""
    job = bench.shell(f"bash -mc '{_WATCH}'; echo left $?; exit 3")
    typist = Typist(("ready", b"\x03"), size=Size(24, 80))
    status = _sit(engine, job, typist)
    printed = typist.seen["stdout"]
    _expect(that=status == 3 << 8, words=f"Ctrl-C ended more: {status}, it said {printed!r}")
    _expect(that=b"left 130" in printed, words=f"Ctrl-C ended nothing: {printed!r}")


def a_shell_without_a_terminal_reads_lines(engine: Engine, bench: Bench) -> None:
    """It has pipes then: its streams stay apart, and the end of the input is its end."""
    typist = Typist(
        ("", b"test ! -t 0 && echo out\n"), ("out", b"echo err >&2\nexit 5"), ("", b""), size=None
    )
    status = _sit(engine, bench.job(("bash",)), typist)
    wanted = {"stdout": b"out\n", "stderr": b"err\n"}
    _expect(that=typist.seen == wanted, words=f"it said {typist.seen}")
    _expect(that=status == 5 << 8, words=f"the shell's status is {status}")


def a_shell_prints_to_its_last_byte(engine: Engine, bench: Bench) -> None:
    """What it printed before it ended comes, by a terminal and by pipes."""
    for size in (Size(24, 80), None):
        typist = Typist(size=size)
        _sit(engine, bench.shell("head -c 100000 /dev/zero; echo end"), typist)
        kept = typist.seen["stdout"].rstrip()
        whole = kept == bytes(100_000) + b"end"
        _expect(that=whole, words=f"{len(kept)} bytes came of a shell at {size}")


_STATE = "read -r _ _ state _ </proc/{}/stat; echo $state"


def a_shell_may_follow_the_script(engine: Engine, bench: Bench) -> None:
    """After the verdict there is a shell beside the survivors, whether these stand still or not."""
    with going(engine, bench.shell("sleep 600 & exit 0")) as keeper:
        keeper.exited(_DEATH_SECONDS)
        for thaw in (False, True):
            (left,) = keeper.survivors()
            if thaw:
                keeper.thaw()
            with Typist(size=Size(24, 80)) as typist:
                status = shell.attend(keeper, bench.shell(_STATE.format(left.pid)), typist)
            told = typist.seen["stdout"].strip()
            wanted = b"S" if thaw else b"T"
            _expect(that=(status, told) == (0, wanted), words=f"{status}, it is in {told!r}")


def a_shell_that_cannot_be_started_changes_nothing(engine: Engine, bench: Bench) -> None:
    """A missing program is told at the shell's own terminal, and the script goes on."""
    with going(engine, bench.shell("sleep 600")) as keeper, Typist(size=Size(24, 80)) as typist:
        status = shell.attend(keeper, bench.job(("no-such-shell",)), typist)
        named = status == 127 << 8 and b"no-such-shell" in typist.seen["stdout"]
        _expect(that=named, words=f"a missing shell is told as {status}, {typist.seen}")
        _expect(that=keeper.exited(0.1) is None, words="a missing shell ended the script")


def a_shell_that_does_not_read_holds_nothing_up(engine: Engine, bench: Bench) -> None:
    """However much is typed ahead, the keeper still answers, and the end of all is at once."""
    with Witness() as witness:
        with going(engine, bench.shell("sleep 600")) as keeper:
            line = f"stty raw -echo; {witness.connect} sleep 600"
            folder = PurePosixPath(bench.workspace)
            size = Size(24, 80)
            keeper.send(protocol.shell(("bash", "-c", line), folder, bench.environment, size=size))
            held = witness.met()
            for _ in range(3):
                keeper.send(protocol.typed(b"x" * 16_000))
            keeper.usage()
            _expect(that=keeper.exited(0.1) is None, words="typing ahead ended the script")
        _expect(that=held.breaks(), words="a shell outlived its sandbox")


# The keeper cannot be touched.


def a_script_may_kill_all_it_sees(engine: Engine, bench: Bench) -> None:
    """`kill -9 -1` hits neither the keeper nor the verdict."""
    seen = run(engine, bench.shell("kill -9 -1; exit 5"))
    _expect_ending(seen, Exited(5), "kill -9 -1")


def a_probe_may_be_killed_by_the_script(engine: Engine, bench: Bench) -> None:
    """A script that kills all it sees kills a probe too, and that is all it can do to one."""
    line = "until test -e /tmp/up; do sleep 0.02; done; kill -9 -1; exit 5"
    with going(engine, bench.shell(line)) as keeper:
        status, _ = _probe(keeper, bench, "touch /tmp/up; sleep 600")
        _expect(that=status == SIGKILL, words=f"a probe that was killed told {status}")
        status = keeper.exited(_DEATH_SECONDS)
        _expect(that=status == 5 << 8, words=f"the script's status is {status}")
        _expect(that=keeper.empty(_DEATH_SECONDS), words="something of the probe is left")


def the_keeper_survives_every_signal(engine: Engine, bench: Bench) -> None:
    """No signal from inside ends or stops PID 1."""
    line = "for one in $(seq 1 64); do kill -$one 1; done 2>/dev/null; exit 6"
    _expect_ending(run(engine, bench.shell(line)), Exited(6), "signals to PID 1")


def the_keeper_cannot_be_opened(engine: Engine, bench: Bench, terms: Terms = PLAIN) -> None:
    """Its descriptors, memory and environment are closed to everybody, root too."""
    code = (
        "import os\n"
        "names = [f'fd/{one}' for one in range(64)] + ['mem', 'environ']\n"
        "for name in names:\n"
        "    for mode in (os.O_RDONLY, os.O_WRONLY):\n"
        "        try:\n"
        "            os.open(f'/proc/1/{name}', mode)\n"
        "            print(name)\n"
        "        except OSError:\n"
        "            pass\n"
    )
    seen = _passes(engine, bench.python(code, terms), "python3 cannot be run")
    _expect(that=not seen.words, words=f"of the keeper could be opened: {seen.words}")


# Limits.


_FORKING = """
import os, sys, time
made = 0
try:
    while made < 200:
        if os.fork() == 0:
            time.sleep(600)
        made += 1
except BlockingIOError:
    pass
print(made, flush=True)
if len(sys.argv) > 1:
    import socket
    line = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    line.sendall(b"up\\n")
    time.sleep(600)
"""


def _cannot_limit() -> bool:
    """Root without control groups cannot be limited, unless there is a daemon that does it."""
    return os.getuid() == 0 and "pids" not in cgroup.parents()


def a_limit_of_processes_holds(engine: Engine, bench: Bench) -> None:
    """A script gets no more processes than it may have, and is judged all the same."""
    if _cannot_limit():
        return
    seen = run(engine, bench.python(_FORKING, Terms(limits=Limits(processes=_MOST))))
    _expect_ending(seen, Exited(0), "at the limit")
    made = int(seen.words[0])
    _expect(that=_FEWEST <= made < _MOST, words=f"{made} processes could be made, not {_MOST}")
    _expect(that=len(seen.survivors) == made, words=f"{len(seen.survivors)} of {made} were listed")


def a_limit_of_processes_is_the_sandboxes_own(engine: Engine, bench: Bench) -> None:
    """What the same user runs elsewhere, in a full sandbox too, takes nothing from the limit."""
    terms = Terms(limits=Limits(processes=_MOST))
    with Witness() as witness:
        full = bench.job(("python3", "-c", _FORKING, str(witness.port)), terms)
        with going(engine, full):
            witness.met()
            a_limit_of_processes_holds(engine, bench)


def a_limit_of_open_files_holds(engine: Engine, bench: Bench) -> None:
    """RLIMIT_NOFILE is what the job says."""
    seen = _passes(engine, bench.shell("ulimit -n", Terms(limits=Limits(open_files=99))), "ulimit")
    _expect(that=seen.words == ["99"], words=f"{seen.words} files may be open")


# The end.


def nothing_survives_the_end(engine: Engine, bench: Bench) -> None:
    """What a script left is gone the moment its sandbox was left."""
    with Witness() as witness:
        run(engine, bench.shell(f"{witness.connect} setsid sleep 600 & exit 0"))
        line = witness.met()
        _expect(that=line.breaks(), words="a process outlived its sandbox")


class _DeliberateError(Exception):
    """Raised in the middle of a sandbox, with the line to it."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self.line = line


def _fail_inside(engine: Engine, job: Job, witness: Witness) -> None:
    with going(engine, job):
        raise _DeliberateError(witness.met())


def an_exception_ends_the_sandbox(engine: Engine, bench: Bench) -> None:
    """However the block is left, its sandbox is destroyed."""
    with Witness() as witness:
        job = bench.shell(f"{witness.connect} sleep 600")
        try:
            _fail_inside(engine, job, witness)
        except _DeliberateError as error:
            _expect(that=error.line.breaks(), words="a process outlived the exception")


def leaving_after_the_keeper_died_is_harmless(engine: Engine, bench: Bench) -> None:
    """A keeper that is gone is told as an `EngineError`, and leaving its sandbox raises no more."""
    with Witness() as witness, going(engine, bench.shell(f"{witness.connect} sleep 600")) as keeper:
        line = witness.met()
        keeper._channel.write(frame(b"?", b""))  # noqa: SLF001 - what no keeper understands
        try:
            keeper.exited(_DEATH_SECONDS)
        except EngineError:
            _expect(that=line.breaks(), words="the sandbox outlived its keeper")
            return
        raise AssertionError("a keeper that is gone was not told")


def sandboxes_stand_side_by_side(engine: Engine, bench: Bench) -> None:
    """Two at a time know nothing of each other, and one may end before the other."""
    with Witness() as witness, going(engine, bench.shell(f"{witness.connect} cat <&3")) as first:
        witness.met()
        each_sandbox_is_fresh(engine, bench)
        a_fresh_sandbox_has_only_its_script(engine, bench)
        _expect(that=first.exited(0.1) is None, words="the end of one sandbox ended another")


def a_sandbox_cannot_signal_another(engine: Engine, bench: Bench) -> None:
    """Whoever kills all that can be seen hits nothing of a sandbox beside it."""
    with Witness() as witness, going(engine, bench.shell(f"{witness.connect} cat <&3")) as first:
        witness.met()
        run(engine, bench.shell("kill -9 -1; exit 0"))
        _expect(that=first.exited(0.1) is None, words="one sandbox killed in another")


def a_dead_run_is_swept_and_a_live_one_spared(engine: Engine, bench: Bench) -> None:
    """Killing a run ends its sandboxes; a sweep removes what is left of it and nothing else."""
    with Witness() as witness, going(engine, bench.shell(f"{witness.connect} sleep 600")) as live:
        witness.met()
        _die_holding(engine, bench, witness)
        removed = engine.sweep()
        _expect(that=removed, words="a killed run left nothing to sweep, or it was not found")
        again = set(removed) & set(engine.sweep())
        _expect(that=not again, words=f"a sweep did not remove {sorted(again)}")
        _expect(that=live.exited(0.1) is None, words="a sweep ended a live sandbox")
        _passes(engine, bench.shell(":"), "after a sweep no sandbox can be made")


def _die_holding(engine: Engine, bench: Bench, witness: Witness) -> None:
    """Kill a process that holds a sandbox, and see that the sandbox ends with it."""
    command = holder(engine, bench, f"{witness.connect} sleep 600")
    with subprocess.Popen(command) as process:
        line = witness.met()
        process.kill()
    _expect(that=line.breaks(), words="a sandbox outlived the run that made it by more than 5 s")


CONTRACT: tuple[Check, ...] = (
    each_sandbox_is_fresh,
    a_fresh_sandbox_has_only_its_script,
    the_environment_is_what_the_job_says,
    the_script_stands_in_its_folder,
    a_file_outside_the_specification_is_invisible,
    a_read_only_mount_cannot_be_written,
    the_system_cannot_be_written,
    copy_on_write_does_not_change_the_host,
    what_a_script_writes_is_found,
    a_socket_in_the_workspace_cannot_be_reached,
    an_isolated_network_reaches_nothing,
    the_host_network_is_the_hosts,
    the_user_is_the_caller,
    the_script_has_no_privilege,
    a_named_capability_is_the_only_one,
    the_script_starts_like_any_program,
    every_ending_is_told_apart,
    a_missing_program_is_named,
    binary_output_is_untouched,
    a_stream_keeps_its_order,
    much_output_is_counted_to_the_byte,
    a_deadline_ends_what_listens,
    a_deadline_kills_what_does_not_listen,
    what_ends_in_time_is_no_survivor,
    a_survivor_is_seen_with_all_it_has,
    a_process_without_its_main_thread_is_listed,
    only_the_living_are_listed,
    a_survivor_that_holds_the_output_delays_nothing,
    a_reader_of_the_output_delays_nothing,
    what_is_thawed_goes_on,
    another_script_may_follow,
    a_probe_stands_beside_the_script,
    a_probe_leaves_nothing,
    a_probe_has_its_deadline,
    a_large_command_is_taken_in_a_flood,
    a_probe_leaves_an_empty_sandbox_empty,
    a_probe_that_cannot_be_started_changes_nothing,
    what_a_script_took_is_counted,
    a_shell_stands_at_a_terminal,
    a_shell_knows_when_its_terminal_changes,
    a_shell_is_interrupted_by_its_keys,
    a_shell_without_a_terminal_reads_lines,
    a_shell_prints_to_its_last_byte,
    a_shell_may_follow_the_script,
    a_shell_that_cannot_be_started_changes_nothing,
    a_shell_that_does_not_read_holds_nothing_up,
    a_script_may_kill_all_it_sees,
    a_probe_may_be_killed_by_the_script,
    the_keeper_survives_every_signal,
    the_keeper_cannot_be_opened,
    a_limit_of_processes_holds,
    a_limit_of_processes_is_the_sandboxes_own,
    a_limit_of_open_files_holds,
    nothing_survives_the_end,
    an_exception_ends_the_sandbox,
    leaving_after_the_keeper_died_is_harmless,
    sandboxes_stand_side_by_side,
    a_sandbox_cannot_signal_another,
    a_dead_run_is_swept_and_a_live_one_spared,
)
"""Every check, the cheap and telling ones first."""
