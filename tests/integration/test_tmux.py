"""What terminals show, asked of a tmux server that a test wrote down, and of real ones."""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from isosmoke.interrupt import Interrupt
from isosmoke.keeper.client import Conversation
from isosmoke.results.evidence import Evidence, Pane
from isosmoke.runner import tmux
from isosmoke.runner.tmux import LINES, MAX_PANES, Server, capture_panes, find_servers
from isosmoke.sandbox.processes import Process
from isosmoke.sandbox.spec import SandboxSpec
from isosmoke.testing import Act, Bench, FakeEngine
from isosmoke.testing.bench import Terms, going
from support import available

SERVER = Server("/usr/bin/tmux", "/tmp/tmux")  # noqa: S108 - in the sandbox
SPEC = SandboxSpec(label="one", image="host", mounts=(), uid=0, gid=0, network="host")

Probes = Mapping[tuple[str, ...], tuple[int | None, bytes]]


def _process(exe: str, *listens: str, state: str = "S") -> Process:
    return Process(
        pid=7,
        ppid=1,
        argv=("tmux: server",),
        cwd="/",
        exe=exe,
        age_seconds=1.0,
        state=state,
        listens=listens,
    )


def test_servers_are_tmux_that_listens_at_a_path() -> None:
    """A client listens nowhere; another program is not asked; a stopped server is known as such."""
    found = find_servers(
        [
            _process("/usr/bin/tmux", "unix /tmp/a", "tcp 127.0.0.1:80"),
            _process("/usr/bin/tmux"),
            _process("/usr/bin/tmux", "unix (unnamed)", "unix @abstract"),
            _process("/usr/bin/sshd", "unix /tmp/b"),
            _process("/opt/tmux", "unix /tmp/two words", state="T"),
        ]
    )

    assert found == (
        Server("/usr/bin/tmux", "/tmp/a"),  # noqa: S108 - in the sandbox
        Server("/opt/tmux", "/tmp/two words", stopped=True),  # noqa: S108 - in the sandbox
    )


def _listing(*names: str) -> Probes:
    lines = "".join(f"%{number} {100 + number} {name}\n" for number, name in enumerate(names))
    return {_words("list-panes", "-a", "-F", tmux._FORMAT): (0, lines.encode())}  # noqa: SLF001


def _captured(number: int, content: bytes | None) -> Probes:
    words = ("capture-pane", "-p", "-J", "-S", f"-{LINES}", "-t", f"%{number}")
    return {_words(*words): (None, b"") if content is None else (0, content)}


def _words(*words: str) -> tuple[str, ...]:
    return (SERVER.program, "-u", "-S", SERVER.socket, *words)


def _shown(probes: Probes, *found: Server, seconds: float = 60.0) -> Evidence:
    engine = FakeEngine({"one": Act(probes=probes)})
    with engine.sandbox(SPEC) as sandbox:
        keeper = Conversation(sandbox.channel, sink=lambda _: None, interrupt=Interrupt())
        keeper.ready(60.0)
        return capture_panes(keeper, found or (SERVER,), {}, seconds=seconds)


def test_each_pane_is_told_with_its_last_lines() -> None:
    """A pane has its name, its process and what it shows, without the empty rest of its screen."""
    probes = {
        **_listing("main:0.0", "my work:1.0"),
        **_captured(0, b"$ echo one\none\n\n\n\n"),
        **_captured(1, "Grüße\n".encode() * (LINES + 5)),
    }

    assert _shown(probes) == Evidence(
        panes=(
            Pane(server=SERVER.socket, name="main:0.0", pid=100, lines=("$ echo one", "one")),
            Pane(server=SERVER.socket, name="my work:1.0", pid=101, lines=("Grüße",) * LINES),
        )
    )


def test_line_is_never_cut() -> None:
    """A line that is very long is left out whole: a part of a secret would not be known as one."""
    probes = {**_listing("main:0.0"), **_captured(0, b"$\n" + b"x" * 5000)}

    assert _shown(probes).panes[0].lines == ("$", "[a line of 5000 characters]")


def test_panes_beyond_the_most_are_counted() -> None:
    """A server with very many panes is looked at in part, and it is said how many are missing."""
    captured = {
        words: told
        for number in range(MAX_PANES)
        for words, told in _captured(number, b"$").items()
    }
    listing = _listing(*(f"main:{number}.0" for number in range(MAX_PANES + 3)))
    evidence = _shown({**listing, **captured})

    assert [one.name for one in evidence.panes] == [
        f"main:{number}.0" for number in range(MAX_PANES)
    ]
    assert evidence.missing == (
        f"the panes of tmux at {SERVER.socket}: 3 more than {MAX_PANES} are left out",
    )


GONE = (1 << 8, b"no server running on /tmp/tmux\n")

UNTOLD: dict[str, tuple[Probes, str]] = {
    "it cannot be started": ({}, "starting the probe: no act has it"),
    "the server is gone": (dict.fromkeys(_listing(), GONE), "no server running on /tmp/tmux"),
    "it says nothing": (dict.fromkeys(_listing(), (1 << 8, b"")), "it told nothing"),
    "it does not answer": (dict.fromkeys(_listing(), (None, b"")), "it did not answer in time"),
}


@pytest.mark.parametrize(("probes", "why"), UNTOLD.values(), ids=UNTOLD)
def test_what_was_not_told_is_said(probes: Probes, why: str) -> None:
    """A server that does not answer costs nothing but its panes."""
    evidence = _shown(probes, seconds=0.05)

    assert evidence == Evidence(missing=(f"the panes of tmux at {SERVER.socket}: {why}",))


def test_pane_that_does_not_answer_leaves_the_others() -> None:
    """What was told before a server fell silent is kept."""
    probes = {**_listing("main:0.0", "main:0.1"), **_captured(0, b"$"), **_captured(1, None)}
    evidence = _shown(probes, seconds=0.3)

    assert [one.name for one in evidence.panes] == ["main:0.0"]
    assert len(evidence.missing) == 1


def test_stopped_server_is_not_asked() -> None:
    """A server that was stopped would never answer; the next one is asked all the same."""
    probes = {**_listing("main:0.0"), **_captured(0, b"$")}
    stopped = Server(SERVER.program, "/tmp/stopped", stopped=True)  # noqa: S108 - in the sandbox
    evidence = _shown(probes, stopped, SERVER)

    assert [one.name for one in evidence.panes] == ["main:0.0"]
    assert evidence.missing == ("the panes of tmux at /tmp/stopped: it is stopped",)


def test_what_is_no_list_of_panes_is_none() -> None:
    """A program that only bears tmux's name may print what it likes."""
    listing = dict.fromkeys(_listing(), (0, b"hello\n%x 1 a:0.0\n%1 one a:0.0\n\0"))

    assert _shown(listing).panes == ()


# On real engines.

TMUX = """
export TMUX_TMPDIR=/var/tmp SHELL=/bin/bash
tmux -f /dev/null new-session -d -s main -x 100 -y 30 "printf 'first pane\\n'; exec sleep 600"
tmux split-window -t main "printf 'second pane \\342\\202\\254\\n'; exec sleep 600"
until tmux capture-pane -p -t main:0.0 | grep -q first; do :; done
until tmux capture-pane -p -t main:0.1 | grep -q second; do :; done
"""


@contextmanager
def _with_tmux(name: str, bench: Bench) -> Iterator[Conversation]:
    if not Path("/usr/bin/tmux").exists():
        pytest.skip("tmux is not installed")
    job = bench.shell(f"set -e; {TMUX}", Terms(timeout=60))
    with going(available.engine(name), job) as keeper:
        assert keeper.exited(60) == 0
        yield keeper


@pytest.mark.parametrize("name", available.NAMES)
def test_real_tmux_with_two_panes(name: str, tmp_path: Path) -> None:
    """Both panes of a server that a script left are told as they looked, and it lives on."""
    bench = Bench(tmp_path)
    with _with_tmux(name, bench) as keeper:
        found = find_servers(keeper.living())
        evidence = capture_panes(keeper, found, bench.environment)
        left = keeper.survivors()

    assert [(one.name, one.lines) for one in evidence.panes] == [
        ("main:0.0", ("first pane",)),
        ("main:0.1", ("second pane €",)),
    ]
    assert evidence.missing == ()
    assert {one.pid for one in evidence.panes} <= {one.pid for one in left}
    assert shlex.join(("sleep", "600")) in {one.command_line for one in left}
    assert found == find_servers(left)


@pytest.mark.parametrize("name", available.NAMES)
def test_an_ordinary_user_sees_the_same(name: str) -> None:
    """What holds for root holds for somebody without any privilege."""
    user = available.somebody()
    user.must_have(name)
    done = user.pytest(__file__, "-k", f"real and {name}")
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
