"""An interactive shell in a sandbox."""

from pathlib import PurePosixPath

from isosmoke.engines.base import START_SECONDS, Engine
from isosmoke.interrupt import Interrupt
from isosmoke.keeper import interactive_shell, protocol
from isosmoke.keeper.client import Conversation
from isosmoke.keeper.protocol import Size
from isosmoke.sandbox.spec import Job
from isosmoke.testing.bench import Bench, Typist, Witness, going
from isosmoke.testing.contract.checks import DEATH_SECONDS, check, expect

_WATCH = "echo ready; while :; do sleep 0.02; done"


def _sit(engine: Engine, job: Job, typist: Typist) -> int:
    """A shell in a sandbox of its own, in which no script was started."""
    with typist, engine.sandbox(job.spec) as sandbox:
        keeper = Conversation(sandbox.channel, sink=lambda _: None, interrupt=Interrupt())
        keeper.ready(START_SECONDS)
        return interactive_shell.attend(keeper, job, typist)


@check
def a_shell_stands_at_a_terminal(engine: Engine, bench: Bench) -> None:
    """It leads a session with a terminal of its own, of the size that was asked for."""
    line = "test -t 0 -a -t 1 -a -t 2 && : </dev/tty && stty size && read it && echo =$it=; exit 7"
    typist = Typist(("31 97", b"typed\r"), size=Size(31, 97))
    status = _sit(engine, bench.shell(line), typist)
    printed = typist.seen["stdout"].decode()
    expect(that=status == 7 << 8, words=f"the shell's status is {status}; it said {printed!r}")
    expect(that="=typed=\r\n" in printed, words=f"what was typed came out as {printed!r}")


@check
def a_shell_knows_when_its_terminal_changes(engine: Engine, bench: Bench) -> None:
    """Another size is told by SIGWINCH, and is there to be read."""
    job = bench.shell(f"trap 'stty size; exit 0' WINCH; {_WATCH}")
    typist = Typist(("ready", Size(11, 44)), size=Size(24, 80))
    status = _sit(engine, job, typist)
    printed = typist.seen["stdout"]
    expect(that=status == 0 and b"11 44" in printed, words=f"{status}, it said {printed!r}")


@check
def a_shell_is_interrupted_by_its_keys(engine: Engine, bench: Bench) -> None:
    """Ctrl-C is SIGINT for what stands in front, and for nothing else."""
    job = bench.shell(f"bash -mc '{_WATCH}'; echo left $?; exit 3")
    typist = Typist(("ready", b"\x03"), size=Size(24, 80))
    status = _sit(engine, job, typist)
    printed = typist.seen["stdout"]
    expect(that=status == 3 << 8, words=f"Ctrl-C ended more: {status}, it said {printed!r}")
    expect(that=b"left 130" in printed, words=f"Ctrl-C ended nothing: {printed!r}")


@check
def a_shell_without_a_terminal_reads_lines(engine: Engine, bench: Bench) -> None:
    """It has pipes then: its streams stay apart, and the end of the input is its end."""
    typist = Typist(
        ("", b"test ! -t 0 && echo out\n"), ("out", b"echo err >&2\nexit 5"), ("", b""), size=None
    )
    status = _sit(engine, bench.job(("bash",)), typist)
    wanted = {"stdout": b"out\n", "stderr": b"err\n"}
    expect(that=typist.seen == wanted, words=f"it said {typist.seen}")
    expect(that=status == 5 << 8, words=f"the shell's status is {status}")


@check
def a_shell_prints_to_its_last_byte(engine: Engine, bench: Bench) -> None:
    """What it printed before it ended comes, by a terminal and by pipes."""
    for size in (Size(24, 80), None):
        typist = Typist(size=size)
        _sit(engine, bench.shell("head -c 100000 /dev/zero; echo end"), typist)
        kept = typist.seen["stdout"].rstrip()
        whole = kept == bytes(100_000) + b"end"
        expect(that=whole, words=f"{len(kept)} bytes came of a shell at {size}")


_STATE = "read -r _ _ state _ </proc/{}/stat; echo $state"


@check
def a_shell_may_follow_the_script(engine: Engine, bench: Bench) -> None:
    """After the verdict there is a shell beside the survivors, whether these stand still or not."""
    with going(engine, bench.shell("sleep 600 & exit 0")) as keeper:
        keeper.exited(DEATH_SECONDS)
        for thaw in (False, True):
            (left,) = keeper.survivors()
            if thaw:
                keeper.thaw()
            with Typist(size=Size(24, 80)) as typist:
                status = interactive_shell.attend(
                    keeper, bench.shell(_STATE.format(left.pid)), typist
                )
            told = typist.seen["stdout"].strip()
            wanted = b"S" if thaw else b"T"
            expect(that=(status, told) == (0, wanted), words=f"{status}, it is in {told!r}")


@check
def a_shell_that_cannot_be_started_changes_nothing(engine: Engine, bench: Bench) -> None:
    """A missing program is told at the shell's own terminal, and the script goes on."""
    with going(engine, bench.shell("sleep 600")) as keeper, Typist(size=Size(24, 80)) as typist:
        status = interactive_shell.attend(keeper, bench.job(("no-such-shell",)), typist)
        named = status == 127 << 8 and b"no-such-shell" in typist.seen["stdout"]
        expect(that=named, words=f"a missing shell is told as {status}, {typist.seen}")
        expect(that=keeper.exited(0.1) is None, words="a missing shell ended the script")


@check
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
            expect(that=keeper.exited(0.1) is None, words="typing ahead ended the script")
        expect(that=held.breaks(), words="a shell outlived its sandbox")
