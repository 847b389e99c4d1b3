"""Checks of an interactive shell in a sandbox."""

from pathlib import PurePosixPath

from isosmoke.engines.base import START_SECONDS, Engine
from isosmoke.interrupt import Interrupt
from isosmoke.keeper import interactive_shell, protocol
from isosmoke.keeper.client import Conversation
from isosmoke.keeper.protocol import Size
from isosmoke.sandbox.spec import Job
from isosmoke.testing.bench import Bench, Typist, Witness, running_job
from isosmoke.testing.contract.checks import DEATH_SECONDS, check, expect

_WATCH = "echo ready; while :; do sleep 0.02; done"


def _run_shell(engine: Engine, job: Job, typist: Typist) -> int:
    """Run a shell in a new sandbox in which no script was started, and return its wait status."""
    with typist, engine.sandbox(job.spec) as sandbox:
        keeper = Conversation(sandbox.channel, sink=lambda _: None, interrupt=Interrupt())
        keeper.wait_until_ready(START_SECONDS)
        return interactive_shell.run_shell(keeper, job, typist)


@check
def a_shell_has_a_terminal(engine: Engine, bench: Bench) -> None:
    """Check that a shell leads a session with its own terminal, of the requested size."""
    line = "test -t 0 -a -t 1 -a -t 2 && : </dev/tty && stty size && read it && echo =$it=; exit 7"
    typist = Typist(("31 97", b"typed\r"), size=Size(31, 97))
    status = _run_shell(engine, bench.shell(line), typist)
    printed = typist.printed["stdout"].decode()
    expect(that=status == 7 << 8, message=f"the shell's status is {status}; it printed {printed!r}")
    expect(that="=typed=\r\n" in printed, message=f"the typed text was printed as {printed!r}")


@check
def a_shell_is_notified_of_a_new_size(engine: Engine, bench: Bench) -> None:
    """Check that a resized terminal sends SIGWINCH and reports its new size."""
    job = bench.shell(f"trap 'stty size; exit 0' WINCH; {_WATCH}")
    typist = Typist(("ready", Size(11, 44)), size=Size(24, 80))
    status = _run_shell(engine, job, typist)
    printed = typist.printed["stdout"]
    expect(that=status == 0 and b"11 44" in printed, message=f"{status}, it printed {printed!r}")


@check
def a_shell_is_interrupted_by_its_keys(engine: Engine, bench: Bench) -> None:
    """Check that Ctrl-C sends SIGINT to the foreground process only."""
    job = bench.shell(f"bash -mc '{_WATCH}'; echo left $?; exit 3")
    typist = Typist(("ready", b"\x03"), size=Size(24, 80))
    status = _run_shell(engine, job, typist)
    printed = typist.printed["stdout"]
    expect(
        that=status == 3 << 8, message=f"Ctrl-C ended the shell: {status}, it printed {printed!r}"
    )
    expect(that=b"left 130" in printed, message=f"Ctrl-C ended nothing: {printed!r}")


@check
def a_shell_without_a_terminal_reads_lines(engine: Engine, bench: Bench) -> None:
    """Check that a shell without a terminal has separate streams and ends with its input."""
    typist = Typist(
        ("", b"test ! -t 0 && echo out\n"), ("out", b"echo err >&2\nexit 5"), ("", b""), size=None
    )
    status = _run_shell(engine, bench.job(("bash",)), typist)
    expected = {"stdout": b"out\n", "stderr": b"err\n"}
    expect(that=typist.printed == expected, message=f"it printed {typist.printed}")
    expect(that=status == 5 << 8, message=f"the shell's status is {status}")


@check
def a_shell_prints_to_its_last_byte(engine: Engine, bench: Bench) -> None:
    """Check that all output of a shell arrives, by a terminal and by pipes."""
    for size in (Size(24, 80), None):
        typist = Typist(size=size)
        _run_shell(engine, bench.shell("head -c 100000 /dev/zero; echo end"), typist)
        printed = typist.printed["stdout"].rstrip()
        is_complete = printed == bytes(100_000) + b"end"
        expect(that=is_complete, message=f"{len(printed)} bytes arrived from a shell at {size}")


_STATE = "read -r _ _ state _ </proc/{}/stat; echo $state"


@check
def a_shell_may_follow_the_script(engine: Engine, bench: Bench) -> None:
    """Check that after the verdict a shell can run alongside the survivors, frozen or thawed."""
    with running_job(engine, bench.shell("sleep 600 & exit 0")) as keeper:
        keeper.wait_for_exit(DEATH_SECONDS)
        for thaw in (False, True):
            (survivor,) = keeper.freeze_survivors()
            if thaw:
                keeper.thaw()
            with Typist(size=Size(24, 80)) as typist:
                status = interactive_shell.run_shell(
                    keeper, bench.shell(_STATE.format(survivor.pid)), typist
                )
            state = typist.printed["stdout"].strip()
            expected = b"S" if thaw else b"T"
            expect(
                that=(status, state) == (0, expected),
                message=f"{status}, the survivor's state is {state!r}",
            )


@check
def a_shell_that_cannot_be_started_changes_nothing(engine: Engine, bench: Bench) -> None:
    """Check that a missing shell is reported at its terminal, and the script keeps running."""
    with (
        running_job(engine, bench.shell("sleep 600")) as keeper,
        Typist(size=Size(24, 80)) as typist,
    ):
        status = interactive_shell.run_shell(keeper, bench.job(("no-such-shell",)), typist)
        is_named = status == 127 << 8 and b"no-such-shell" in typist.printed["stdout"]
        expect(that=is_named, message=f"a missing shell is reported as {status}, {typist.printed}")
        expect(that=keeper.wait_for_exit(0.1) is None, message="a missing shell ended the script")


@check
def a_shell_that_does_not_read_holds_nothing_up(engine: Engine, bench: Bench) -> None:
    """Check that pending input delays neither the keeper nor the sandbox's end."""
    with Witness() as witness:
        with running_job(engine, bench.shell("sleep 600")) as keeper:
            line = f"stty raw -echo; {witness.connect} sleep 600"
            folder = PurePosixPath(bench.workspace)
            size = Size(24, 80)
            keeper.send(
                protocol.encode_shell(("bash", "-c", line), folder, bench.environment, size=size)
            )
            connection = witness.accept()
            for _ in range(3):
                keeper.send(protocol.encode_input(b"x" * 16_000))
            keeper.read_usage()
            expect(that=keeper.wait_for_exit(0.1) is None, message="typing ahead ended the script")
        expect(that=connection.wait_closed(), message="a shell outlived its sandbox")
