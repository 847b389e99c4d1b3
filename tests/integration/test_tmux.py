"""Panes of terminals, captured from a scripted tmux server and from real servers."""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from isosmoke.interrupt import Interrupt
from isosmoke.keeper.client import Conversation
from isosmoke.results.evidence import Evidence, Pane
from isosmoke.runner.evidence import tmux
from isosmoke.runner.evidence.tmux import LINES, MAX_PANES, Server, capture_panes, find_servers
from isosmoke.sandbox.spec import SandboxSpec
from isosmoke.sandbox.survivors import Process
from isosmoke.testing import Act, Bench, FakeEngine
from isosmoke.testing.bench import JobOptions, running_job
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


def test_server_is_tmux_that_listens_at_a_path() -> None:
    """A client listens at no path, another program is ignored, and a stopped server is marked."""
    servers = find_servers(
        [
            _process("/usr/bin/tmux", "unix /tmp/a", "tcp 127.0.0.1:80"),
            _process("/usr/bin/tmux"),
            _process("/usr/bin/tmux", "unix (unnamed)", "unix @abstract"),
            _process("/usr/bin/sshd", "unix /tmp/b"),
            _process("/opt/tmux", "unix /tmp/two words", state="T"),
        ]
    )

    assert servers == (
        Server("/usr/bin/tmux", "/tmp/a"),  # noqa: S108 - in the sandbox
        Server("/opt/tmux", "/tmp/two words", stopped=True),  # noqa: S108 - in the sandbox
    )


def _list_probe(*names: str) -> Probes:
    lines = "".join(f"%{number} {100 + number} {name}\n" for number, name in enumerate(names))
    return {_command("list-panes", "-a", "-F", tmux._FORMAT): (0, lines.encode())}  # noqa: SLF001


def _capture_probe(number: int, content: bytes | None) -> Probes:
    args = ("capture-pane", "-p", "-J", "-S", f"-{LINES}", "-t", f"%{number}")
    return {_command(*args): (None, b"") if content is None else (0, content)}


def _command(*args: str) -> tuple[str, ...]:
    return (SERVER.program, "-u", "-S", SERVER.socket, *args)


def _capture(probes: Probes, *servers: Server, seconds: float = 60.0) -> Evidence:
    engine = FakeEngine({"one": Act(probes=probes)})
    with engine.sandbox(SPEC) as sandbox:
        keeper = Conversation(sandbox.channel, sink=lambda _: None, interrupt=Interrupt())
        keeper.wait_until_ready(60.0)
        return capture_panes(keeper, servers or (SERVER,), {}, seconds=seconds)


def test_pane_has_its_last_lines() -> None:
    """A pane has its name, its process and its content, without the empty rest of the screen."""
    probes = {
        **_list_probe("main:0.0", "my work:1.0"),
        **_capture_probe(0, b"$ echo one\none\n\n\n\n"),
        **_capture_probe(1, "Grüße\n".encode() * (LINES + 5)),
    }

    assert _capture(probes) == Evidence(
        panes=(
            Pane(server=SERVER.socket, name="main:0.0", pid=100, lines=("$ echo one", "one")),
            Pane(server=SERVER.socket, name="my work:1.0", pid=101, lines=("Grüße",) * LINES),
        )
    )


def test_line_is_never_truncated() -> None:
    """A very long line is omitted completely, as part of a secret would not be recognized."""
    probes = {**_list_probe("main:0.0"), **_capture_probe(0, b"$\n" + b"x" * 5000)}

    assert _capture(probes).panes[0].lines == ("$", "[line of 5000 characters omitted]")


def test_panes_beyond_maximum_are_counted() -> None:
    """The panes of a server beyond the maximum are only counted."""
    captured = {
        command: result
        for number in range(MAX_PANES)
        for command, result in _capture_probe(number, b"$").items()
    }
    listing = _list_probe(*(f"main:{number}.0" for number in range(MAX_PANES + 3)))
    evidence = _capture({**listing, **captured})

    assert [pane.name for pane in evidence.panes] == [
        f"main:{number}.0" for number in range(MAX_PANES)
    ]
    assert evidence.missing == (
        f"the panes of tmux at {SERVER.socket}: 3 more than {MAX_PANES} were omitted",
    )


GONE = (1 << 8, b"no server running on /tmp/tmux\n")

FAILURES: dict[str, tuple[Probes, str]] = {
    "it cannot be started": ({}, "cannot start the probe: the act does not define it"),
    "the server is gone": (dict.fromkeys(_list_probe(), GONE), "no server running on /tmp/tmux"),
    "it prints nothing": (dict.fromkeys(_list_probe(), (1 << 8, b"")), "it printed no error"),
    "it does not respond": (
        dict.fromkeys(_list_probe(), (None, b"")),
        "it did not respond in time",
    ),
}


@pytest.mark.parametrize(("probes", "reason"), FAILURES.values(), ids=FAILURES)
def test_missing_panes_are_reported(probes: Probes, reason: str) -> None:
    """A server that does not respond affects only its own panes."""
    evidence = _capture(probes, seconds=0.05)

    assert evidence == Evidence(missing=(f"the panes of tmux at {SERVER.socket}: {reason}",))


def test_unresponsive_pane_does_not_affect_others() -> None:
    """Panes that were captured before a server stopped responding are retained."""
    probes = {
        **_list_probe("main:0.0", "main:0.1"),
        **_capture_probe(0, b"$"),
        **_capture_probe(1, None),
    }
    evidence = _capture(probes, seconds=0.3)

    assert [pane.name for pane in evidence.panes] == ["main:0.0"]
    assert len(evidence.missing) == 1


def test_stopped_server_is_not_probed() -> None:
    """A stopped server cannot respond; the next server is probed nevertheless."""
    probes = {**_list_probe("main:0.0"), **_capture_probe(0, b"$")}
    stopped = Server(SERVER.program, "/tmp/stopped", stopped=True)  # noqa: S108 - in the sandbox
    evidence = _capture(probes, stopped, SERVER)

    assert [pane.name for pane in evidence.panes] == ["main:0.0"]
    assert evidence.missing == ("the panes of tmux at /tmp/stopped: it is stopped",)


def test_invalid_list_of_panes_is_empty() -> None:
    """Another program that is named tmux may print any text."""
    listing = dict.fromkeys(_list_probe(), (0, b"hello\n%x 1 a:0.0\n%1 one a:0.0\n\0"))

    assert _capture(listing).panes == ()


# On real engines.

TMUX = """
export TMUX_TMPDIR=/var/tmp SHELL=/bin/bash
tmux -f /dev/null new-session -d -s main -x 100 -y 30 "printf 'first pane\\n'; exec sleep 600"
tmux split-window -t main "printf 'second pane \\342\\202\\254\\n'; exec sleep 600"
until tmux capture-pane -p -t main:0.0 | grep -q first; do :; done
until tmux capture-pane -p -t main:0.1 | grep -q second; do :; done
"""


@contextmanager
def _running_tmux(name: str, bench: Bench) -> Iterator[Conversation]:
    if not Path("/usr/bin/tmux").exists():
        pytest.skip("tmux is not installed")
    job = bench.shell(f"set -e; {TMUX}", JobOptions(timeout=60))
    with running_job(available.require_engine(name), job) as keeper:
        assert keeper.wait_for_exit(60) == 0
        yield keeper


@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_real_tmux_has_two_panes(name: str, tmp_path: Path) -> None:
    """Both panes of a server that outlived its script are captured, and the server continues."""
    bench = Bench(tmp_path)
    with _running_tmux(name, bench) as keeper:
        servers = find_servers(keeper.list_processes())
        evidence = capture_panes(keeper, servers, bench.environment)
        survivors = keeper.freeze_survivors()

    assert [(pane.name, pane.lines) for pane in evidence.panes] == [
        ("main:0.0", ("first pane",)),
        ("main:0.1", ("second pane €",)),
    ]
    assert evidence.missing == ()
    assert {pane.pid for pane in evidence.panes} <= {process.pid for process in survivors}
    assert shlex.join(("sleep", "600")) in {process.command_line for process in survivors}
    assert servers == find_servers(survivors)


@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_ordinary_user_has_same_result(name: str) -> None:
    """The tests also pass for an ordinary user."""
    user = available.ordinary_user()
    user.require_engine(name)
    done = user.pytest(__file__, "-k", f"real and {name}")
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
