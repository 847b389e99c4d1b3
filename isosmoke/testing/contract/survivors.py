"""Checks of processes that outlive their script."""

from dataclasses import replace
from pathlib import PurePosixPath

from isosmoke.engines.base import Engine
from isosmoke.keeper.events import Output
from isosmoke.results.outcome import Broke, Exited, TimedOut
from isosmoke.runner.sandbox_run import start
from isosmoke.testing.bench import Bench, JobOptions, JobResult, Witness, run, running_job
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
source, sink = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    os.write(sink, b"x")
    time.sleep(600)
os.read(source, 1)
print(server.getsockname()[1])
"""


@check
def a_survivor_is_listed_with_its_details(engine: Engine, bench: Bench) -> None:
    """Check that a daemon is listed with its arguments, parent, directory and socket."""
    result = run(engine, bench.python(_LISTENER))
    expect_ending(result, Exited(0), "a daemon could not be started")
    expect(that=len(result.survivors) == 1, message=f"not one survivor: {result.survivors}")
    (survivor,) = result.survivors
    expect(
        that=survivor.argv[1:] == ("-c", _LISTENER), message=f"its arguments are {survivor.argv}"
    )
    expect(
        that=survivor.ppid == 1 and survivor.pid > 1,
        message=f"it has pid {survivor.pid}, parent {survivor.ppid}",
    )
    expect(
        that=survivor.cwd == str(bench.workspace),
        message=f"its working directory is {survivor.cwd}",
    )
    expected = (f"tcp 127.0.0.1:{result.words[0]}",)
    expect(
        that=survivor.listens == expected,
        message=f"it listens on {survivor.listens}, not {expected}",
    )


_HEADLESS = """
import ctypes, os, platform, threading, time
EXIT = {"x86_64": 60, "aarch64": 93}[platform.machine()]
source, sink = os.pipe()
if os.fork():
    os.read(source, 1)
    os._exit(0)
def stay():
    while "\\nState:\\tZ" not in open(f"/proc/{os.getpid()}/status").read():
        time.sleep(0.01)
    os.write(sink, b"x")
    time.sleep(600)
threading.Thread(target=stay).start()
ctypes.CDLL(None).syscall(EXIT, 0)
"""


@check
def a_process_without_its_main_thread_is_listed(engine: Engine, bench: Bench) -> None:
    """Check that the kernel calls such a process a zombie, but its other threads are alive."""
    result = run(engine, bench.python(_HEADLESS))
    expect_ending(result, Exited(0), "a thread could not outlive the main one")
    survivors = [(survivor.argv[1:], survivor.cwd) for survivor in result.survivors]
    expected = [(("-c", _HEADLESS), str(bench.workspace))]
    expect(that=survivors == expected, message=f"the survivors are {survivors}")


_LEAVE_ZOMBIE = """
setsid bash -c '
    until read -r name </proc/$$/comm && [ "$name" = sleep ]; do sleep 0.01; done &
    echo $! >/tmp/child
    exec sleep 600
' &
until read -r child </tmp/child && read -r _ _ state _ <"/proc/$child/stat" && [ "$state" = Z ]; do
    sleep 0.01
done 2>/dev/null
exit 0
"""
"""A script that ends once a child has become a zombie, whose parent `sleep` never reaps it."""


@check
def only_the_living_are_listed(engine: Engine, bench: Bench) -> None:
    """Check that neither the keeper nor a zombie with a living parent is listed."""
    result = run(engine, bench.shell(_LEAVE_ZOMBIE, JobOptions(timeout=60.0)))
    expect_ending(result, Exited(0), "no child became a zombie")
    survivors = result.survivors
    names = [survivor.argv for survivor in survivors]
    expect(that=names == [("sleep", "600")], message=f"the survivors are {names}")


@check
def a_survivor_that_holds_the_output_delays_nothing(engine: Engine, bench: Bench) -> None:
    """Check that a script ends by itself even if a child holds or floods its stdout."""
    for child in ("sleep 600", "yes"):
        result = run(engine, bench.shell(f"{child} & exit 3"))
        expect_ending(result, Exited(3), child)
        expect(that=result.phases["run"] < PROMPT_SECONDS, message=f"{child} delayed the script")
        expect(that=len(result.survivors) == 1, message=f"{child} was not listed")


_OTHER_USER = """
import os, signal, sys, time
def become_other():
    try:
        os.setgroups([])
        os.setgid(54321)
        os.setuid(54321)
    except OSError:
        print("refused", flush=True)
        os._exit(0)
if sys.argv[1] == "stay":
    become_other()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
source, sink = os.pipe()
if os.fork() == 0:
    become_other()
    os.setsid()
    os.write(sink, b"x")
    time.sleep(600)
os.close(sink)
os.read(source, 1)
"""

_MAY_CHANGE_USER = JobOptions(capabilities=("SETUID", "SETGID"), timeout=1.0)


def _cannot_change_user(result: JobResult) -> bool:
    """Return whether the engine refuses the capabilities, or the sandbox knows only one user."""
    ending = result.ending
    return (isinstance(ending, Broke) and "capabilit" in ending.message) or (
        result.words == ["refused"]
    )


@check
def a_survivor_of_another_user_is_listed(engine: Engine, bench: Bench) -> None:
    """Check that a process that changed its user can be stopped and is listed."""
    argv = ("python3", "-c", _OTHER_USER, "leave")
    result = run(engine, bench.job(argv, replace(_MAY_CHANGE_USER, timeout=20.0)))
    if _cannot_change_user(result):
        return
    expect_ending(result, Exited(0), "another user's process could not be left")
    names = [survivor.argv for survivor in result.survivors]
    expect(that=names == [argv], message=f"the survivors are {names}")


@check
def a_deadline_kills_a_script_of_another_user(engine: Engine, bench: Bench) -> None:
    """Check that a script that changed its user and ignores SIGTERM is killed at its deadline."""
    argv = ("python3", "-c", _OTHER_USER, "stay")
    result = run(engine, bench.job(argv, _MAY_CHANGE_USER))
    if not _cannot_change_user(result):
        expect_ending(result, TimedOut(1.0), "a script of another user")
        expect(that=not result.survivors, message=f"{result.survivors} survived SIGKILL")


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
    """Check that a process that reads from the output pipe does not make the keeper wait."""
    with running_job(engine, bench.python(_THIEF)) as keeper:
        status = keeper.wait_for_exit(DEATH_SECONDS)
        expect(that=status == 3 << 8, message=f"a script that reads its own output: {status}")
        folder = PurePosixPath(bench.workspace)
        argv = ("python3", "-c", _THIEF)
        status, _ = keeper.probe(argv, folder, bench.environment, DEATH_SECONDS)
        expect(that=status == 3 << 8, message=f"a probe that reads its own output: {status}")
        expect(
            that=keeper.wait_until_empty(DEATH_SECONDS), message="a reader of the output is left"
        )


@check
def a_thawed_survivor_resumes(engine: Engine, bench: Bench) -> None:
    """Check that survivors that were frozen to be listed resume where they stopped."""
    with Witness() as witness:
        job = bench.shell(f"{witness.connect} cat <&3 >&3 & exit 0")
        with running_job(engine, job) as keeper:
            connection = witness.accept()
            keeper.wait_for_exit(DEATH_SECONDS)
            expect(that=keeper.freeze_survivors(), message="a waiting process is not listed")
            keeper.thaw()
            connection.send_line("back")
            expect(that=connection.receives("back\n"), message="a thawed process does not resume")


@check
def another_script_may_follow(engine: Engine, bench: Bench) -> None:
    """Check that a second script may start while survivors of the first still print."""
    outputs: list[Output] = []
    with Witness() as witness:
        prints = f"{witness.connect} read -u 3 word; echo $word; echo printed >&3; cat <&3"
        first = bench.shell(f"({prints}) & exit 3")
        with running_job(engine, first, outputs.append) as keeper:
            first_connection = witness.accept()
            status = keeper.wait_for_exit(DEATH_SECONDS)
            expect(that=status == 3 << 8, message=f"the first script's status is {status}")
            start(bench.shell(f"{witness.connect} read -u 3 word; echo $word; exit 4"), keeper)
            second_connection = witness.accept()
            first_connection.send_line("left")
            expect(
                that=first_connection.receives("printed\n"),
                message="a survivor of the first script was ended",
            )
            second_connection.send_line("next")
            status = keeper.wait_for_exit(DEATH_SECONDS)
            expect(that=status == 4 << 8, message=f"the next script's status is {status}")
            expect(
                that=keeper.freeze_survivors(),
                message="a survivor of the first script is not listed",
            )
    printed = b"".join(output.content for output in outputs)
    expect(that=printed == b"left\nnext\n", message=f"the scripts printed {printed!r}")
