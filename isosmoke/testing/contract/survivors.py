"""Processes that outlive their script."""

from pathlib import PurePosixPath

from isosmoke.engines.base import Engine
from isosmoke.keeper.protocol import Output
from isosmoke.results.outcome import Exited
from isosmoke.runner.sandbox_run import start
from isosmoke.testing.bench import Bench, Witness, going, run
from isosmoke.testing.contract.checks import (
    DEATH_SECONDS,
    PROMPT_SECONDS,
    check,
    expect,
    expect_ending,
)

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


@check
def a_survivor_is_seen_with_all_it_has(engine: Engine, bench: Bench) -> None:
    """A daemon that forked twice is listed: its arguments, its parent, its folder, its socket."""
    seen = run(engine, bench.python(_LISTENER))
    expect_ending(seen, Exited(0), "a daemon could not be made")
    expect(that=len(seen.survivors) == 1, words=f"not one survivor: {seen.survivors}")
    (one,) = seen.survivors
    expect(that=one.argv[1:] == ("-c", _LISTENER), words=f"its arguments are {one.argv}")
    expect(that=one.ppid == 1 and one.pid > 1, words=f"it has pid {one.pid}, parent {one.ppid}")
    expect(that=one.cwd == str(bench.workspace), words=f"it stands in {one.cwd}")
    wanted = (f"tcp 127.0.0.1:{seen.words[0]}",)
    expect(that=one.listens == wanted, words=f"it listens on {one.listens}, not {wanted}")


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


@check
def a_process_without_its_main_thread_is_listed(engine: Engine, bench: Bench) -> None:
    """The kernel calls it a zombie, but its other threads are alive and may do anything."""
    seen = run(engine, bench.python(_HEADLESS))
    expect_ending(seen, Exited(0), "a thread could not outlive the main one")
    told = [(one.argv[1:], one.cwd) for one in seen.survivors]
    wanted = [(("-c", _HEADLESS), str(bench.workspace))]
    expect(that=told == wanted, words=f"of a process without a main thread is told {told}")


@check
def only_the_living_are_listed(engine: Engine, bench: Bench) -> None:
    """The keeper is not a survivor, and neither is a zombie whose parent lives."""
    job = bench.shell("setsid bash -c 'sleep 0.1 & exec sleep 600' & exit 0")
    survivors = run(engine, job).survivors
    names = [one.argv for one in survivors]
    expect(that=names == [("sleep", "600")], words=f"the survivors are {names}")


@check
def a_survivor_that_holds_the_output_delays_nothing(engine: Engine, bench: Bench) -> None:
    """A script's end is its own, though a child holds its stdout, or floods it for ever."""
    for child in ("sleep 600", "yes"):
        seen = run(engine, bench.shell(f"{child} & exit 3"))
        expect_ending(seen, Exited(3), child)
        expect(that=seen.phases["run"] < PROMPT_SECONDS, words=f"{child} held the script back")
        expect(that=len(seen.survivors) == 1, words=f"{child} was not listed")


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


@check
def a_reader_of_the_output_delays_nothing(engine: Engine, bench: Bench) -> None:
    """Who takes from a pipe what the keeper was about to read does not make it wait."""
    with going(engine, bench.python(_THIEF)) as keeper:
        status = keeper.exited(DEATH_SECONDS)
        expect(that=status == 3 << 8, words=f"a script that reads its own output: {status}")
        folder = PurePosixPath(bench.workspace)
        argv = ("python3", "-c", _THIEF)
        status, _ = keeper.probe(argv, folder, bench.environment, DEATH_SECONDS)
        expect(that=status == 3 << 8, words=f"a probe that reads its own output: {status}")
        expect(that=keeper.empty(DEATH_SECONDS), words="a reader of the output is left")


@check
def what_is_thawed_goes_on(engine: Engine, bench: Bench) -> None:
    """Survivors that were frozen to be listed live on where they were."""
    with Witness() as witness:
        job = bench.shell(f"{witness.connect} cat <&3 >&3 & exit 0")
        with going(engine, job) as keeper:
            line = witness.met()
            keeper.exited(DEATH_SECONDS)
            expect(that=keeper.survivors(), words="a process that waits is no survivor")
            keeper.thaw()
            line.say("back")
            expect(that=line.hears("back\n"), words="a thawed process does not go on")


@check
def another_script_may_follow(engine: Engine, bench: Bench) -> None:
    """Once one is over the next may start, and what the first has left goes on printing."""
    heard: list[Output] = []
    with Witness() as witness:
        prints = f"{witness.connect} read -u 3 word; echo $word; echo told >&3; cat <&3"
        first = bench.shell(f"({prints}) & exit 3")
        with going(engine, first, heard.append) as keeper:
            line = witness.met()
            status = keeper.exited(DEATH_SECONDS)
            expect(that=status == 3 << 8, words=f"the first script's status is {status}")
            start(bench.shell(f"{witness.connect} read -u 3 word; echo $word; exit 4"), keeper)
            other = witness.met()
            line.say("left")
            expect(that=line.hears("told\n"), words="what the first has left was ended")
            other.say("next")
            status = keeper.exited(DEATH_SECONDS)
            expect(that=status == 4 << 8, words=f"the next script's status is {status}")
            expect(that=keeper.survivors(), words="what the first has left is no survivor")
    printed = b"".join(one.content for one in heard)
    expect(that=printed == b"left\nnext\n", words=f"after the first was printed {printed!r}")
