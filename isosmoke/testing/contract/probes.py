"""Commands that isosmoke runs in a sandbox beside the script."""

from contextlib import suppress
from pathlib import PurePosixPath

from isosmoke.engines.base import Engine
from isosmoke.keeper.client import Conversation, RefusedError
from isosmoke.keeper.protocol import Output
from isosmoke.sandbox.spec import Limits
from isosmoke.testing.bench import Bench, Terms, Witness, going
from isosmoke.testing.contract.checks import DEATH_SECONDS, check, expect
from isosmoke.testing.contract.limits import FORKING, MAX_PROCESSES, MIN_PROCESSES

_LARGE, _BUSY_SECONDS = 64 << 20, 0.2


def run_probe(
    keeper: Conversation, bench: Bench, line: str, seconds: float = 20.0
) -> tuple[int | None, bytes]:
    """Run a line of bash as a probe; return its raw wait status, None at the deadline, and output.

    The deadline is in `seconds`.
    """
    folder = PurePosixPath(bench.workspace)
    return keeper.probe(("bash", "-c", line), folder, bench.environment, seconds)


@check
def a_probe_stands_beside_the_script(engine: Engine, bench: Bench) -> None:
    """It sees the files and processes of the script that runs, and what it prints is its own."""
    heard: list[Output] = []
    with Witness() as witness:
        job = bench.shell(f"echo mine; echo seen >/tmp/seen; {witness.connect} cat <&3; exit 4")
        with going(engine, job, heard.append) as keeper:
            line = witness.met()
            # The script says that it is up before its `cat` has started.
            seen = "until pgrep -x cat >/dev/null; do sleep 0.02; done"
            told = run_probe(keeper, bench, f"cat /tmp/seen; {seen}; pwd >&2; exit 3")
            wanted = (3 << 8, f"seen\n{bench.workspace}\n".encode())
            expect(that=told == wanted, words=f"the probe told {told}, not {wanted}")
            line.close()
            status = keeper.exited(DEATH_SECONDS)
            expect(that=status == 4 << 8, words=f"after a probe the script's status is {status}")
            expect(that=keeper.empty(DEATH_SECONDS), words="a probe was left in the sandbox")
    printed = b"".join(one.content for one in heard)
    expect(that=printed == b"mine\n", words=f"the script printed {printed!r} beside a probe")


@check
def a_probe_leaves_nothing(engine: Engine, bench: Bench) -> None:
    """What it starts is gone with it, daemons too, and only the script's processes survive."""
    with Witness() as witness, going(engine, bench.shell("sleep 600 & exit 0")) as keeper:
        keeper.exited(DEATH_SECONDS)
        told = run_probe(keeper, bench, f"{witness.connect} (setsid sleep 599 >/dev/null 2>&1 &)")
        expect(that=told == (0, b""), words=f"a probe that started a daemon told {told}")
        expect(that=witness.met().breaks(), words="a daemon outlived the probe that made it")
        names = [one.argv for one in keeper.survivors()]
        expect(that=names == [("sleep", "600")], words=f"after a probe {names} are left")


@check
def a_probe_has_its_deadline(engine: Engine, bench: Bench) -> None:
    """It is killed there with all that it started, whatever they ignore, and the script is not."""
    with Witness() as witness, going(engine, bench.shell("sleep 600")) as keeper:
        line = f"trap '' TERM; echo up; {witness.connect} sleep 600 & setsid sleep 600"
        told = run_probe(keeper, bench, line, 0.5)
        expect(that=told == (None, b"up\n"), words=f"a probe without an end told {told}")
        expect(that=witness.met().breaks(), words="a process of a probe outlived its deadline")
        expect(that=keeper.exited(0.1) is None, words="the end of a probe ended the script")


@check
def a_large_command_is_taken_in_a_flood(engine: Engine, bench: Bench) -> None:
    """What no pipe can hold reaches a keeper that has much to say itself, and holds nothing up."""
    large = {f"LARGE_{number}": "x" * 100_000 for number in range(12)}
    with going(engine, bench.shell("yes & exit 0")) as keeper:
        keeper.exited(DEATH_SECONDS)
        environment = {**bench.environment, **large}
        argv = ("bash", "-c", "echo ${#LARGE_11}")
        told = keeper.probe(argv, PurePosixPath(bench.workspace), environment, 20.0)
        expect(that=told == (0, b"100000\n"), words=f"a probe with much in it told {told}")


@check
def a_probe_leaves_an_empty_sandbox_empty(engine: Engine, bench: Bench) -> None:
    """After everything is gone a probe can still be made, and nobody is left by it."""
    with going(engine, bench.shell("exit 0")) as keeper:
        keeper.exited(DEATH_SECONDS)
        expect(that=keeper.empty(DEATH_SECONDS), words="nothing was left, and not empty")
        expect(
            that=run_probe(keeper, bench, "echo hi") == (0, b"hi\n"), words="no probe at the end"
        )
        expect(that=not keeper.survivors(), words="a probe was listed as a survivor")


@check
def a_probe_that_cannot_be_started_changes_nothing(engine: Engine, bench: Bench) -> None:
    """A missing program is its shell's 127; at the limit of processes a probe may be refused."""
    terms = Terms(limits=Limits(processes=MAX_PROCESSES))
    with going(engine, bench.python(FORKING, terms)) as keeper:
        keeper.exited(DEATH_SECONDS)
        with suppress(RefusedError):
            status, said = keeper.probe(("no-such",), PurePosixPath("/"), {}, DEATH_SECONDS)
            named = status == 127 << 8 and b"no-such" in said
            expect(that=named, words=f"a missing program is told as {status}, {said!r}")
        listed = len(keeper.survivors())
        expect(that=listed >= MIN_PROCESSES, words=f"{listed} processes were listed at the limit")


@check
def what_a_script_took_is_counted(engine: Engine, bench: Bench) -> None:
    """The CPU time of all that ended and the most memory of one process, and nothing of a probe."""
    burn = 'import time; kept = b"x" * {}\nwhile time.process_time() < {}: pass'
    code = burn.format(_LARGE, _BUSY_SECONDS)
    with going(engine, bench.shell(f"python3 -c '{code}' & wait")) as keeper:
        keeper.exited(DEATH_SECONDS)
        took = keeper.usage()
        seconds = took.user_seconds + took.system_seconds
        busy = _BUSY_SECONDS <= seconds < DEATH_SECONDS
        expect(that=busy, words=f"{seconds} s of CPU were counted")
        expect(that=_LARGE <= took.largest < 2 * _LARGE, words=f"{took.largest} bytes were used")
        told = run_probe(keeper, bench, f"python3 -c '{burn.format(4 * _LARGE, _BUSY_SECONDS)}'")
        expect(that=told == (0, b""), words=f"the probe told {told}")
        expect(that=keeper.usage() == took, words="what a probe takes is counted as the script's")
