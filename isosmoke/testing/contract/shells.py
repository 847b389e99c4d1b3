"""Checks of an interactive shell in a sandbox, and of a command that takes over streams."""

import signal
from pathlib import PurePosixPath

from isosmoke.engines.base import START_SECONDS, Engine
from isosmoke.interrupt import Interrupt
from isosmoke.keeper import interactive_shell, protocol
from isosmoke.keeper.client import Conversation
from isosmoke.keeper.protocol import Size, StreamPlan
from isosmoke.results.outcome import Exited, Signaled
from isosmoke.sandbox.spec import Job
from isosmoke.testing.bench import Bench, CommandUser, JobOptions, Typist, Witness, run, running_job
from isosmoke.testing.contract.checks import DEATH_SECONDS, check, expect, expect_ending

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


_AT_TERMINAL = StreamPlan(input="terminal", output="terminal", size=Size(31, 97))
_PIPED = StreamPlan(input="passed")
_JOINED = StreamPlan(input="passed", output="joined")
_LINES = 1000
_PATIENT = JobOptions(timeout=120)
_TERMINAL = StreamPlan(output="terminal", size=Size(24, 80))


@check
def one_stream_keeps_the_order(engine: Engine, bench: Bench) -> None:
    """Check that what a command prints on stdout and stderr arrives in the order of printing."""
    line = f"for i in $(seq {_LINES}); do echo a$i >&2; echo b$i; done"
    expected = "".join(f"a{number}\nb{number}\n" for number in range(1, _LINES + 1))
    for plan in (_JOINED, _TERMINAL):
        with CommandUser(plan) as user:
            run(engine, bench.shell(line, _PATIENT), user)
        printed = user.printed["stdout"].decode().replace("\r\n", "\n")
        expect(that=printed == expected, message=f"{plan.output}: the order is {printed[:200]!r}")


@check
def two_streams_stay_apart(engine: Engine, bench: Bench) -> None:
    """Check that stdout and stderr arrive as two streams unless they are one."""
    with CommandUser(_PIPED) as user:
        run(engine, bench.shell("echo out; echo err >&2"), user)
    expect(
        that=user.printed == {"stdout": b"out\n", "stderr": b"err\n"},
        message=f"it printed {user.printed}",
    )


@check
def a_command_reads_the_input(engine: Engine, bench: Bench) -> None:
    """Check that all input arrives, however much, and then its end."""
    for plan in (_PIPED, _JOINED):
        chunks = [("", b"x" * 50_000), ("", b"y" * 10_000), ("", b"")]
        with CommandUser(plan, *chunks) as user:
            result = run(engine, bench.shell("tr -d x | wc -c", _PATIENT), user)
        expect(that=result.words == ["10000"], message=f"of the input, {result.words} arrived")


@check
def a_command_need_not_read_the_input(engine: Engine, bench: Bench) -> None:
    """Check that input that is never read delays neither a command nor its verdict."""
    for line in ("exec 0<&-; echo done", "echo done"):
        with CommandUser(_PIPED, ("", b"x" * 60_000)) as user:
            result = run(engine, bench.shell(line), user)
        expect_ending(result, Exited(0), f"'{line}' with input")
        expect(that=result.words == ["done"], message=f"'{line}' printed {result.words}")


@check
def a_command_learns_that_its_reader_has_gone(engine: Engine, bench: Bench) -> None:
    """Check that SIGPIPE ends what writes to a stream without a reader; the other one is read."""
    with CommandUser(_PIPED, left=["stdout"]) as user:
        result = run(engine, bench.shell("yes; echo $? >&2"), user)
    expect_ending(result, Exited(0), "the command after the program that wrote")
    errors = user.printed["stderr"]
    expect(that=errors == b"141\n", message=f"the program ended with {errors!r}")
    with CommandUser(_JOINED, left=["stdout"]) as user:
        result = run(engine, bench.shell("exec yes >&2"), user)
    expect_ending(result, Signaled(signal.SIGPIPE), "the program that wrote to one stream")


@check
def a_command_has_a_terminal(engine: Engine, bench: Bench) -> None:
    """Check that a command has the terminal on all streams, and reads what is typed."""
    line = "test -t 0 -a -t 1 -a -t 2 && : </dev/tty && stty size && read it && echo =$it=; exit 7"
    with CommandUser(_AT_TERMINAL, ("31 97", b"typed\r")) as user:
        result = run(engine, bench.shell(line), user)
    printed = user.printed["stdout"].decode()
    expect_ending(result, Exited(7), "the command at a terminal")
    expect(that="=typed=\r\n" in printed, message=f"the typed text was printed as {printed!r}")
    expect(that=b"\r" not in result.output, message=f"the record is {result.output!r}")


@check
def a_command_is_interrupted_by_its_keys(engine: Engine, bench: Bench) -> None:
    """Check that Ctrl-C sends SIGINT to the command, and that Ctrl-Z does not stop it."""
    with CommandUser(_AT_TERMINAL, ("ready", b"\x1a\x03")) as user:
        result = run(engine, bench.shell("echo ready; exec sleep 600"), user)
    expect_ending(result, Signaled(2), "the interrupted command")


@check
def a_command_is_notified_of_a_new_size(engine: Engine, bench: Bench) -> None:
    """Check that a command gets SIGWINCH and the new size of the terminal."""
    job = bench.shell(f"trap 'stty size; exit 0' WINCH; {_WATCH}")
    with CommandUser(_AT_TERMINAL, ("ready", Size(11, 44))) as user:
        result = run(engine, job, user)
    expect_ending(result, Exited(0), "the command at a resized terminal")
    expect(that=b"11 44" in user.printed["stdout"], message=f"it printed {user.printed}")


@check
def a_terminal_hides_no_survivor(engine: Engine, bench: Bench) -> None:
    """Check that what a command leaves is listed at a terminal too: nothing hangs up on it."""
    with CommandUser(_AT_TERMINAL) as user:
        result = run(engine, bench.shell("sleep 600 & echo end"), user)
    names = sorted(process.argv[0] for process in result.survivors)
    expect(that="sleep" in names, message=f"the survivors are {names}")
    expect(that=b"end" in result.output, message=f"it printed {result.output!r}")


@check
def a_terminal_shows_the_last_byte(engine: Engine, bench: Bench) -> None:
    """Check that all output of a command arrives from a terminal."""
    with CommandUser(_TERMINAL) as user:
        run(engine, bench.shell("head -c 100000 /dev/zero; echo end", _PATIENT), user)
    printed = user.printed["stdout"].rstrip()
    expect(that=printed == bytes(100_000) + b"end", message=f"{len(printed)} bytes arrived")
