"""The stand-in: transparent for the caller, with a record of each call, and its sabotages."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isosmoke.teeth.calls import grammar
from isosmoke.teeth.calls.grammar import Grammar
from support.available import wait_for
from support.stand_in_program import SECONDS, StandIn
from support.terminal_screen import program as at_terminal

REAL = r"""#!/bin/bash
case "$1" in
    say) shift; printf '%s\n' "$@" ;;
    both) echo out; echo err >&2; echo out again; echo err again >&2 ;;
    exit) exit "$2" ;;
    die) kill -"$2" $$; sleep 600 ;;
    read) read -r line; echo "got $line" ;;
    where) pwd; echo "$VALUE"; [ -t 0 ] && echo terminal ;;
    flood) head -c 300000 /dev/zero | tr '\0' x ;;
    daemon) (exec 3>&-; while [ ! -e stop ]; do sleep 0.05; done; echo late) & echo started ;;
    nest) wg say nested ;;
    sink) bash "$2" "$3" ;;
    trap) trap 'echo trapped; exit 9' TERM; : >ready; while :; do sleep 0.05; done ;;
    wait) : >ready; exec sleep 600 ;;
    write) echo "$2" >>state; echo written ;;
    leave) sleep 0.2 >/dev/null 2>&1 & ;;
    make) mkdir made; rmdir made ;;
    call) exec 3<>/dev/tcp/127.0.0.1/1 ;;
    kill) kill -CONT 1 2>/dev/null ;;
    lock) exec 9>>lock; flock 9 ;;
    peek) cat lock | tr a b; kill -0 $$; read -r x <<<"$(ls)" ;;
    count) echo x >>state; wc -l <state ;;
    env) env | grep -e ^VALUE= -e ^ISOSMOKE_PLACE= ;;
esac
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> StandIn:
    """Return a stand-in that the tests of this module share; each gets a fresh log."""
    return StandIn.within(tmp_path_factory.mktemp("stand-in") / "root", REAL)


@pytest.fixture
def stand_in(built: StandIn) -> StandIn:
    """Return the stand-in with an empty log, an empty directory and the plan to record."""
    for directory in ("calls", "work"):
        for file in (built.root / directory).iterdir():
            file.unlink()
    built.write_plan("mode record\ntarget \n")
    return built


PID = re.compile(rb"\b\d+ (?=Killed|Terminated)")
"""The process id in bash's message about a signal."""

SAME = {
    "output": "wg say one two",
    "exit code": "wg exit 7; echo $?",
    "signal": "wg die KILL; echo $?",
    "another signal": "wg die TERM; echo $?",
    "order of two outputs in one pipe": "wg both 2>&1 | cat",
    "output in a variable": 'x=$(wg say a b); printf %s "$x"',
    "two pipes": "wg both 2> >(tr a-z A-Z) | cat",
    "output in a file": "wg both >f 2>&1; cat f",
    "appended output": "echo first >f; wg say second >>f; cat f",
    "file after the call": "{ wg say one; echo two; } >f; cat f",
    "closed output": "wg say lost >&-; echo $?",
    "stdin": "printf 'a\\nb\\n' | { wg read; read -r rest; echo $rest; }",
    "stdin of a loop": "printf 'a\\nb\\n' >f; while read -r x; do wg read; done <f",
    "directory and environment": "mkdir d; cd d; VALUE=v wg where | sed s,.*/,,; cd ..; rmdir d",
    "much output": "wg flood | wc -c",
    "reader that ends early": "wg flood | head -c 1; echo ${PIPESTATUS[0]}",
    "by its variable": "env -i /proc/self/cwd/../bin/wg say clean",
    "ignored signal": "trap '' PIPE; wg flood 2>/dev/null | head -c 1; echo ${PIPESTATUS[0]}",
    "calls at once": "for i in 1 2 3 4 5 6; do wg say $i & done | sort; wait",
    "signal for the call": (
        "wg trap >f & until [ -e ready ]; do :; done; kill $!; wait $!; echo $?; cat f; rm ready"
    ),
    "signal for the group": "timeout 0.5 wg wait; echo $?; rm -f ready",
}


@pytest.mark.parametrize("script", SAME.values(), ids=SAME)
def test_call_is_transparent(stand_in: StandIn, script: str) -> None:
    """A script has the same output and exit code with the stand-in and with the real binary."""
    real = {"PATH": f"{stand_in.root}/real:{os.environ['PATH']}", "LC_ALL": "C"}
    expected = stand_in.bash(script.replace("../bin", "../real"), env=real)
    for file in (stand_in.root / "work").iterdir():
        file.unlink()
    done = stand_in.bash(script)

    assert done.stdout == expected.stdout
    assert PID.sub(b"", done.stderr) == PID.sub(b"", expected.stderr)
    assert done.returncode == expected.returncode
    assert stand_in.calls()


def test_record_has_outputs_and_ending(stand_in: StandIn) -> None:
    """A record has the words, both outputs and the exit code of a call, in order."""
    stand_in.bash("wg both; wg exit 3; wg say a >f; wg both >g 2>&1; wg say b >/dev/null")
    both, failed, file, joined, null = stand_in.calls()

    assert [call.name for call in stand_in.calls()] == ["both", "exit", "say", "both", "say"]
    assert both.argv == (b"wg", b"both")
    assert both.stdout is not None
    assert both.stderr is not None
    assert (both.stdout.content, both.stderr.content) == (
        b"out\nout again\n",
        b"err\nerr again\n",
    )
    assert (both.status, failed.status) == (0, 3)
    assert file.stdout is not None
    assert file.stdout.content == b"a\n"
    assert joined.joined
    assert joined.stdout is not None
    assert joined.stdout.content == b"out\nerr\nout again\nerr again\n"
    assert null.stdout is None
    assert null.is_silent


def test_output_is_kept_up_to_a_limit(stand_in: StandIn) -> None:
    """The size and the digest are those of the whole output, also if it is not kept."""
    stand_in.bash("for i in 1 2 3 4 5; do wg flood; done | wc -c; (wg flood; wg flood) >f")
    calls = stand_in.calls()

    assert {call.stdout.size for call in calls if call.stdout} == {300000}
    assert len({call.stdout.digest for call in calls if call.stdout}) == 1


def test_nested_call_is_not_recorded(stand_in: StandIn) -> None:
    """A call that the real binary makes is counted as nested, and its output is not captured."""
    done = stand_in.bash("wg nest")
    outer, inner = stand_in.calls()

    assert done.stdout == b"nested\n"
    assert (outer.name, outer.nested) == ("nest", False)
    assert (inner.name, inner.nested, inner.stdout) == ("say", True, None)


def test_call_is_nested_at_any_depth(stand_in: StandIn) -> None:
    """The binary may start a program that starts others, many times."""
    script = stand_in.root / "work/deeper"
    script.write_text('[ "$1" = 0 ] && { wg say deep; exit; }\nbash "$0" $(($1 - 1)); :\n')
    done = stand_in.bash(f"wg sink {script} 40")
    outer, inner = stand_in.calls()

    assert done.stdout == b"deep\n"
    assert [(call.name, call.nested) for call in (outer, inner)] == [("sink", False), ("say", True)]


def test_daemon_that_holds_the_output_delays_nothing(stand_in: StandIn) -> None:
    """The call ends with the binary, and what a daemon prints later still arrives."""
    script = "exec 5>&1; wg daemon >&5 & wait $!; : >stop; exec 5>&-"
    done = stand_in.bash(script)

    assert done.stdout == b"started\nlate\n"
    (call,) = stand_in.calls()
    assert call.status == 0
    assert call.stdout is not None
    assert call.stdout.content == b"started\n"


def test_kill_of_the_call_ends_the_binary(stand_in: StandIn) -> None:
    """A caller that kills the call with SIGKILL leaves no process of the binary."""
    process = subprocess.Popen(
        [stand_in.program, "wait"], cwd=stand_in.root / "work", stdout=subprocess.DEVNULL
    )
    assert wait_for((stand_in.root / "work/ready").exists)
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.wait()

    assert process.returncode == -signal.SIGKILL
    assert wait_for(lambda: not Path(f"/proc/{child}").exists())
    (call,) = stand_in.calls()
    assert call.status is None


@pytest.mark.parametrize("words", [(), ("x", "y" * 40)])
def test_search_finds_only_the_real_binary(stand_in: StandIn, words: tuple[str, ...]) -> None:
    """A search by command line or by name finds the real process and no other."""
    process = subprocess.Popen([stand_in.program, "wait", *words], cwd=stand_in.root / "work")
    try:
        assert wait_for((stand_in.root / "work/ready").exists)
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        name = Path(f"/proc/{process.pid}/comm").read_text()
    finally:
        process.terminate()
        process.wait(SECONDS)

    assert command == b"isosmoke-call\0"
    assert name == "isosmoke-call\n"
    assert process.returncode == -signal.SIGTERM


def test_terminal_stays_a_terminal(stand_in: StandIn) -> None:
    """A call at a terminal reads and writes it, and a key that interrupts reaches it."""
    real = stand_in.root / "real/python"
    real.write_text(
        "#!/bin/sh\ntest -t 0 && test -t 1 && echo terminal; read word; echo got $word\n"
    )
    real.chmod(0o755)
    own = stand_in.root / "bin/python"
    own.hardlink_to(stand_in.program)
    with at_terminal(
        [str(own)], working=stand_in.root / "work", environment=stand_in.environment()
    ) as (screen, process):
        screen.wait_for("terminal")
        screen.type("x\n")
        screen.wait_for("got x")
        assert process.wait(SECONDS) == 0
    with at_terminal(
        [str(own)], working=stand_in.root / "work", environment=stand_in.environment()
    ) as (screen, process):
        screen.wait_for("terminal")
        screen.type("\x03")
        assert process.wait(SECONDS) == -signal.SIGINT
    own.unlink()


APPLIED = {
    "fail": ("wg write a; echo $?; cat state", b"1\n"),
    "noop": ("wg write a; echo $?; cat state", b"0\n"),
    "mute": ("wg write a; echo $?; cat state", b"0\na\n"),
    "lie": ("wg write a; echo $?; cat state", b"written\n1\na\n"),
    "absent": ("wg write a; echo $?; cat state", b"127\n"),
    "replay": ("wg write a; echo $?; wg say b; cat state", b"recorded\n4\nb\n"),
    "stale": ("wg count; wg count; wg count; cat state", b"1\n1\n2\nx\nx\nx\n"),
    "hang": ("timeout 0.5 wg write a; echo $?; cat state", b"124\n"),
}
"""Each sabotage of one subcommand: a script, and its output."""


@pytest.mark.parametrize("mode", APPLIED)
def test_sabotage(stand_in: StandIn, mode: str) -> None:
    """A sabotage of one subcommand does what its name says, and reports itself."""
    script, expected = APPLIED[mode]
    target = "count" if mode == "stale" else "write"
    (stand_in.root / "teeth/answer-0.1").write_text("recorded\n")
    stand_in.write_plan(f"mode {mode}\ntarget {target}\nanswer 1 4 0\n")
    done = stand_in.bash(f"{script} 2>/dev/null")

    assert done.stdout == expected
    assert {call.applied for call in stand_in.calls() if call.name == target} == {mode}
    assert {call.applied for call in stand_in.calls() if call.name != target} <= {""}


EFFECTS = {
    "say a": "",
    "both": "",
    "exit 3": "",
    "die TERM": "",
    "peek": "",
    "lock": "",
    "write x": "wrote",
    "make": "called mkdir",
    "call": "connected",
    "kill": "sent a signal",
    "leave": "left a process",
}
"""Calls of the real binary, and the beginning of their first effect."""


@pytest.mark.parametrize("words", EFFECTS)
def test_first_effect_of_a_call_is_recorded(stand_in: StandIn, words: str) -> None:
    """A traced call has the first effect outside its outputs; one that only reads has none."""
    real = {"PATH": f"{stand_in.root}/real:{os.environ['PATH']}", "LC_ALL": "C"}
    prepare = "touch lock; echo x >state;"
    expected = stand_in.bash(f"{prepare} wg {words}; echo $?", env=real)
    stand_in.write_plan("mode watch\ntarget \n")
    done = stand_in.bash(f"{prepare} wg {words}; echo $?")
    (call,) = stand_in.calls()

    assert call.effects is not None
    assert call.effects.startswith(EFFECTS[words])
    assert bool(call.effects) == bool(EFFECTS[words])
    assert done.stdout == expected.stdout


def test_orphan_leaves_a_process(stand_in: StandIn) -> None:
    """The orphan holds no descriptor, so it does not delay the caller, and outlives the call."""
    stand_in.write_plan("mode orphan\ntarget write\n")
    done = stand_in.bash("x=$(wg write a); echo $x")
    assert wait_for(lambda: _find_orphans(stand_in.root))
    left = _find_orphans(stand_in.root)
    for pid in left:
        os.kill(pid, signal.SIGKILL)

    assert done.stdout.startswith(b"written\n")
    assert len(left) == 1


def _find_orphans(root: Path) -> list[int]:
    processes = (path for path in Path("/proc").iterdir() if path.name.isdigit())
    return [int(path.name) for path in processes if _is_orphan_of(path, root)]


def _is_orphan_of(process: Path, root: Path) -> bool:
    try:
        is_orphan = (process / "cmdline").read_bytes().startswith(b"isosmoke-orphan")
        return is_orphan and (process / "exe").readlink() == root / "bin/wg"
    except OSError:
        return False


def test_replay_prefers_the_answer_to_the_same_arguments(stand_in: StandIn) -> None:
    """Each recorded answer is given once, first to the same arguments, then in order."""
    stand_in.bash("wg say a; wg say b; wg say a")
    recorded = [call.arguments for call in stand_in.calls()]
    for number in range(3):
        (stand_in.root / f"teeth/answer-{number}.1").write_text(f"answer {number}\n")
    answers = "".join(f"answer {arguments} 0 {i}\n" for i, arguments in enumerate(recorded))
    stand_in.write_plan(f"mode replay\ntarget say\n{answers}")
    done = stand_in.bash("wg say b; wg say a; wg say c; wg say a")

    assert done.stdout == b"answer 1\nanswer 0\nanswer 2\nanswer 2\n"


ONLY = {
    "noop": ("write", "wg write a; wg write b; wg write c; cat state", b"written\nwritten\na\nc\n"),
    "stale": ("count", "wg count; wg count; wg count; wg count", b"1\n1\n3\n4\n"),
}
"""The sabotage of the second call alone: its subcommand, a script, and its output."""


@pytest.mark.parametrize("mode", ONLY)
def test_sabotage_of_a_single_call(stand_in: StandIn, mode: str) -> None:
    """The other calls of the subcommand are real, and only the sabotaged one reports itself."""
    target, script, expected = ONLY[mode]
    stand_in.write_plan(f"mode {mode}\ntarget {target}\nonly 1\n")
    done = stand_in.bash(f"wg say x >/dev/null; {script}")

    assert done.stdout == expected
    applied = [call.applied for call in stand_in.calls() if call.name == target]
    assert applied == ["", mode, *[""] * (len(applied) - 2)]


def test_place_is_recorded_and_not_passed_on(stand_in: StandIn) -> None:
    """The binary does not see the variable that has the line of the script."""
    done = stand_in.bash("ISOSMOKE_PLACE=here VALUE=v wg env")

    assert done.stdout == b"VALUE=v\n"
    assert [call.place for call in stand_in.calls()] == ["here"]


def test_plan_that_is_missing_is_an_error(stand_in: StandIn) -> None:
    """Without a plan a call fails with 125, and the binary does not run."""
    (stand_in.root / "teeth/plan").unlink()
    done = stand_in.bash("wg write a")

    assert done.returncode == 125
    assert b"isosmoke stand-in" in done.stderr
    assert not (stand_in.root / "work/state").exists()


WORDS = st.sampled_from(
    ["add", "service", "stop", "--dir", "-v", "-", "--", "", "x y", "--dir=x", "config"]
)
GRAMMAR = Grammar(
    valued=("--dir",),
    groups=("service", "add"),
    between=("service -v",),
    between_valued=("service --dir", "add -v"),
    patterns=("_ x *", "config _ *"),
)


@settings(max_examples=25, deadline=None)
@given(words=st.lists(WORDS, max_size=5))
def test_grammar_is_that_of_the_runner(built: StandIn, words: list[str]) -> None:
    """The stand-in and the runner give a call the same name."""
    (built.root / "calls/log").unlink(missing_ok=True)
    built.write_plan(
        "mode record\ntarget \nvalued --dir\ngroup service\ngroup add\n"
        "between service -v\nbetween-valued service --dir\nbetween-valued add -v\n"
        "pattern _ x *\npattern config _ *\n"
    )
    subprocess.run([built.program, *words], check=False, stdin=subprocess.DEVNULL)
    (call,) = built.calls()

    assert call.name == grammar.name_call(words, GRAMMAR)
