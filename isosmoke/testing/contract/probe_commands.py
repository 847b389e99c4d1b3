"""Checks of probes: commands that isosmoke runs in a sandbox alongside the script."""

from contextlib import suppress
from pathlib import PurePosixPath

from isosmoke.engines.base import Engine
from isosmoke.keeper.client import Conversation
from isosmoke.keeper.events import Output
from isosmoke.keeper.exchange import RefusedError
from isosmoke.sandbox.spec import ResourceLimits
from isosmoke.testing.bench import Bench, JobOptions, Witness, running_job
from isosmoke.testing.contract.checks import DEATH_SECONDS, check, expect
from isosmoke.testing.contract.limits import FORKING, MAX_PROCESSES, MIN_PROCESSES

_LARGE_BYTES, _BUSY_SECONDS = 64 << 20, 0.2


def run_probe(
    keeper: Conversation, bench: Bench, line: str, seconds: float = 20.0
) -> tuple[int | None, bytes]:
    """Run a line of bash as a probe and return its raw wait status and its output.

    The status is None if the probe was still running after `seconds`.
    """
    folder = PurePosixPath(bench.workspace)
    return keeper.probe(("bash", "-c", line), folder, bench.environment, seconds)


@check
def a_probe_runs_alongside_the_script(engine: Engine, bench: Bench) -> None:
    """Check that a probe sees the script's files and processes, and its output is separate."""
    outputs: list[Output] = []
    with Witness() as witness:
        job = bench.shell(f"echo mine; echo seen >/tmp/seen; {witness.connect} cat <&3; exit 4")
        with running_job(engine, job, outputs.append) as keeper:
            connection = witness.accept()
            # The script announces itself before its `cat` has started.
            wait = "until pgrep -x cat >/dev/null; do sleep 0.02; done"
            reply = run_probe(keeper, bench, f"cat /tmp/seen; {wait}; pwd >&2; exit 3")
            expected = (3 << 8, f"seen\n{bench.workspace}\n".encode())
            expect(that=reply == expected, message=f"the probe's reply is {reply}, not {expected}")
            connection.close()
            status = keeper.wait_for_exit(DEATH_SECONDS)
            expect(that=status == 4 << 8, message=f"after a probe the script's status is {status}")
            expect(
                that=keeper.wait_until_empty(DEATH_SECONDS),
                message="a probe was left in the sandbox",
            )
    printed = b"".join(output.content for output in outputs)
    expect(that=printed == b"mine\n", message=f"the script printed {printed!r} alongside a probe")


@check
def a_probe_leaves_nothing(engine: Engine, bench: Bench) -> None:
    """Check that all processes of a probe, including daemons, end with it; the script's survive."""
    with Witness() as witness, running_job(engine, bench.shell("sleep 600 & exit 0")) as keeper:
        keeper.wait_for_exit(DEATH_SECONDS)
        reply = run_probe(keeper, bench, f"{witness.connect} (setsid sleep 599 >/dev/null 2>&1 &)")
        expect(
            that=reply == (0, b""), message=f"the reply of a probe that started a daemon is {reply}"
        )
        expect(that=witness.accept().wait_closed(), message="a daemon outlived its probe")
        names = [survivor.argv for survivor in keeper.freeze_survivors()]
        expect(that=names == [("sleep", "600")], message=f"after a probe {names} are left")


@check
def a_probe_has_its_deadline(engine: Engine, bench: Bench) -> None:
    """Check that a deadline kills a probe and its processes, but not the script."""
    with Witness() as witness, running_job(engine, bench.shell("sleep 600")) as keeper:
        line = f"trap '' TERM; echo up; {witness.connect} sleep 600 & setsid sleep 600"
        reply = run_probe(keeper, bench, line, 0.5)
        expect(that=reply == (None, b"up\n"), message=f"the reply of an endless probe is {reply}")
        expect(
            that=witness.accept().wait_closed(),
            message="a process of a probe outlived its deadline",
        )
        expect(
            that=keeper.wait_for_exit(0.1) is None, message="the end of a probe ended the script"
        )


@check
def a_large_command_is_accepted_during_a_flood(engine: Engine, bench: Bench) -> None:
    """Check that a command larger than a pipe reaches a keeper that is busy sending output."""
    large = {f"LARGE_{number}": "x" * 100_000 for number in range(12)}
    with running_job(engine, bench.shell("yes & exit 0")) as keeper:
        keeper.wait_for_exit(DEATH_SECONDS)
        environment = {**bench.environment, **large}
        argv = ("bash", "-c", "echo ${#LARGE_11}")
        reply = keeper.probe(argv, PurePosixPath(bench.workspace), environment, 20.0)
        expect(that=reply == (0, b"100000\n"), message=f"the reply of a large probe is {reply}")


@check
def a_probe_leaves_an_empty_sandbox_empty(engine: Engine, bench: Bench) -> None:
    """Check that a probe can run after every process has ended, and leaves none."""
    with running_job(engine, bench.shell("exit 0")) as keeper:
        keeper.wait_for_exit(DEATH_SECONDS)
        expect(
            that=keeper.wait_until_empty(DEATH_SECONDS),
            message="a sandbox without processes is not reported empty",
        )
        expect(
            that=run_probe(keeper, bench, "echo hi") == (0, b"hi\n"),
            message="a probe failed in an empty sandbox",
        )
        expect(that=not keeper.freeze_survivors(), message="a probe was listed as a survivor")


@check
def a_probe_that_cannot_be_started_changes_nothing(engine: Engine, bench: Bench) -> None:
    """Check that a missing program exits 127; at the limit of processes a probe may be refused."""
    options = JobOptions(limits=ResourceLimits(processes=MAX_PROCESSES))
    with running_job(engine, bench.python(FORKING, options)) as keeper:
        keeper.wait_for_exit(DEATH_SECONDS)
        with suppress(RefusedError):
            status, output = keeper.probe(("no-such",), PurePosixPath("/"), {}, DEATH_SECONDS)
            is_named = status == 127 << 8 and b"no-such" in output
            expect(that=is_named, message=f"a missing program is reported as {status}, {output!r}")
        listed = len(keeper.freeze_survivors())
        expect(that=listed >= MIN_PROCESSES, message=f"{listed} processes were listed at the limit")


@check
def the_usage_of_a_script_is_counted(engine: Engine, bench: Bench) -> None:
    """Check that usage is total CPU time and peak memory of one process, without probes."""
    burn = 'import time; held = b"x" * {}\nwhile time.process_time() < {}: pass'
    code = burn.format(_LARGE_BYTES, _BUSY_SECONDS)
    with running_job(engine, bench.shell(f"python3 -c '{code}' & wait")) as keeper:
        keeper.wait_for_exit(DEATH_SECONDS)
        usage = keeper.read_usage()
        seconds = usage.user_seconds + usage.system_seconds
        is_busy = _BUSY_SECONDS <= seconds < DEATH_SECONDS
        expect(that=is_busy, message=f"{seconds} s of CPU time were counted")
        expect(
            that=_LARGE_BYTES <= usage.largest < 2 * _LARGE_BYTES,
            message=f"{usage.largest} bytes were used",
        )
        reply = run_probe(
            keeper, bench, f"python3 -c '{burn.format(4 * _LARGE_BYTES, _BUSY_SECONDS)}'"
        )
        expect(that=reply == (0, b""), message=f"the probe's reply is {reply}")
        expect(
            that=keeper.read_usage() == usage, message="a probe's usage is counted as the script's"
        )
