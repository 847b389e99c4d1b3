"""A run at a terminal and in a log: keys, signals, folded lines, and no animation in a log."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from support import available
from support.project import Project
from support.terminal_screen import Screen, program

CURSOR = re.compile(rb"\x1b\[[0-9;?]*[ABCDEFGHJKSTfhlsu]|\r(?!\n)")
COLOUR = re.compile(rb"\x1b\[[0-9;]*m")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project; its runs need bubblewrap."""
    available.require_engine("bubblewrap")
    return Project.within(tmp_path)


class Server:
    """A socket at which a scenario waits until the test lets it end."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._socket = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._socket.settimeout(60)
        self.port = self._socket.getsockname()[1]

    def accept(self) -> socket.socket:
        """Return the connection of the scenario, once it waits."""
        connection, _ = self._socket.accept()
        return self._stack.enter_context(connection)


@pytest.fixture
def server() -> Iterator[Server]:
    """Return a server for one scenario."""
    with ExitStack() as stack:
        yield Server(stack)


def wait_in_scenario(project: Project, server: Server, ending: str = "exit 3") -> None:
    """Let the scenario `bad` print two lines, report to the server and wait for its answer.

    The lines are printed by one write, which the printf of bash itself does not do.
    """
    project.path("scenarios/bad.sh").write_text(
        f"env printf 'first line\\nsecond line\\n'\n"
        f"exec 3<>/dev/tcp/127.0.0.1/{server.port}; read -r <&3; {ending}\n"
    )


def look(screen: Screen, keys: str) -> None:
    """Press keys until the output of the scenario has arrived and is shown."""
    while b"second line" not in screen.seen:
        screen.type(keys)
        screen.wait_for("RUNNING ")
        screen.wait_for("\x1b[2m  ")


@contextmanager
def at_terminal(
    project: Project, *arguments: str, **variables: str
) -> Iterator[tuple[Screen, "subprocess.Popen[bytes]"]]:
    """Run isosmoke at a terminal of 80 columns."""
    environment = {**project.environment(), "TERM": "xterm", **variables}
    with program(project.command(*arguments), working=project.top, environment=environment) as (
        screen,
        process,
    ):
        yield screen, process


def test_key_shows_what_runs(project: Project, server: Server) -> None:
    """The key `t` shows the last lines and does not disturb the run; the terminal is restored."""
    wait_in_scenario(project, server)
    with at_terminal(project, "run", "bad") as (screen, process):
        before = screen.settings()
        connection = server.accept()
        look(screen, "xt")
        connection.sendall(b"go\n")
        screen.wait_for("isosmoke run bad")
        assert process.wait(60) == 1
        assert screen.settings() == before

    assert b"xt" not in screen.seen


def test_interrupt_restores_the_terminal(project: Project, server: Server) -> None:
    """After Ctrl-C the terminal is as before, and the command that runs the rest is printed."""
    wait_in_scenario(project, server)
    with at_terminal(project, "run") as (screen, process):
        before = screen.settings()
        server.accept()
        screen.type("\x03")
        screen.wait_for("run the rest: isosmoke run --rerun ")
        assert process.wait(60) == 130
        assert screen.settings() == before


def test_rerun_command_runs_the_rest(project: Project, server: Server) -> None:
    """The printed command is complete: it can be pasted."""
    wait_in_scenario(project, server)
    run = subprocess.Popen(
        project.command("run", "-j", "1"),
        cwd=project.top,
        env=project.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    server.accept()
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate(timeout=60)
    project.path("scenarios/bad.sh").write_text("exit 0\n")
    (command,) = re.findall(r"^run the rest: isosmoke (.*)$", output, re.MULTILINE)
    done = project.run(*command.split())

    assert run.returncode == 130
    assert {line.split()[2] for line in done.stdout.splitlines() if line.startswith("PASS")} >= {
        "bad"
    }


def test_stopped_run_gives_the_terminal_back(project: Project, server: Server) -> None:
    """Ctrl-Z stops the run with the terminal as before; it continues with keys."""
    wait_in_scenario(project, server)
    shell = ["bash", "-c", 'set -m; "$@"; echo is stopped; read -r; fg', "bash"]
    environment = {**project.environment(), "TERM": "xterm"}
    with program(
        [*shell, *project.command("run", "bad")], working=project.top, environment=environment
    ) as (screen, process):
        before = screen.settings()
        connection = server.accept()
        assert available.wait_for(lambda: screen.settings() != before)
        screen.type("\x1a")
        screen.wait_for("is stopped")
        assert screen.settings() == before
        screen.type("\n")
        assert available.wait_for(lambda: screen.settings() != before)
        look(screen, "t")
        connection.sendall(b"go\n")
        screen.wait_for("isosmoke run bad")
        assert process.wait(60) == 1


def read_glance(lines: Iterator[str]) -> list[str]:
    """Return the lines about the only scenario that runs: its name, and two or none of output."""
    name = next((line for line in lines if line.startswith("RUNNING ")), "the run has ended")
    first = next(lines, "")
    return [name, first, next(lines, "")] if "first" in first else [name, first]


@pytest.mark.parametrize("variables", [{}, {"AGENT": "goose"}], ids=["reader", "agent"])
def test_signal_shows_what_runs_in_a_log(
    project: Project, server: Server, variables: dict[str, str]
) -> None:
    """SIGUSR1 prints the last lines, also for an agent, and the run goes on."""
    wait_in_scenario(project, server)
    with subprocess.Popen(
        project.command("run", "bad"),
        cwd=project.top,
        env={**project.environment(), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as run:
        assert run.stdout is not None
        connection = server.accept()
        lines = iter(run.stdout.readline, "")
        shown = []
        while "  │ second line\n" not in shown:
            assert "the run has ended" not in shown
            run.send_signal(signal.SIGUSR1)
            shown = read_glance(lines)
        connection.sendall(b"go\n")
        rest = list(lines)

    assert shown[0].startswith("RUNNING ")
    assert "  │ first line\n" in shown
    assert run.returncode == 1
    assert any(line.startswith("FAIL bad") for line in rest)


def test_signal_ends_no_python_that_ends() -> None:
    """Python gives signals their default action before it removes the last objects."""
    code = (
        "import os, signal\n"
        "from isosmoke.inherited_state import reset_inherited_state\n"
        "class Last:\n"
        "    def __del__(self, kill=os.kill, number=int(signal.SIGUSR1), own=os.getpid(),\n"
        "                write=os.write):\n"
        "        kill(own, number)\n"
        "        write(1, b'survived')\n"
        "last = Last()\n"
        "reset_inherited_state()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)

    assert (done.returncode, done.stdout) == (0, b"survived")


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ((), {"good", "bad", "skips"}),
        (("-q",), {"bad"}),
        (("--status-level", "pass"), {"good", "bad"}),
        (("--status-level", "none"), set()),
    ],
)
def test_levels(project: Project, options: tuple[str, ...], names: set[str]) -> None:
    """Lines are folded; the explanation of the failure, the counts and the exit code stay."""
    done = project.run("run", "-j", "1", *options)
    lines = done.stdout.splitlines()
    shown = {row[2] for row in map(str.split, lines) if len(row) > 2 and row[1].endswith("s")}

    assert shown == names
    assert "FAIL bad" in lines
    assert any(line.startswith("1 PASS  1 SKIP  1 FAIL  in") for line in lines)
    assert done.returncode == 1


def test_quiet_and_level_are_exclusive(project: Project) -> None:
    """A contradiction is a usage error."""
    done = project.run("run", "-q", "--status-level", "all")

    assert done.returncode == 2
    assert "--quiet and --status-level cannot be combined" in done.stderr


@pytest.mark.parametrize("force", ["1", "0", "true"])
def test_forced_colour_moves_no_cursor_in_a_pipe(project: Project, force: str) -> None:
    """Colour in a log, but nothing that is redrawn."""
    done = subprocess.run(
        project.command("run"),
        cwd=project.top,
        env={**project.environment(), "FORCE_COLOR": force, "TERM": "xterm-256color"},
        capture_output=True,
        check=False,
    )

    assert COLOUR.search(done.stdout)
    assert not CURSOR.search(done.stdout + done.stderr)


@pytest.mark.parametrize(
    "variables", [{"CI": "true"}, {"TERM": "dumb"}, {"CI": "1", "FORCE_COLOR": "1"}]
)
def test_log_of_a_terminal_moves_no_cursor(project: Project, variables: dict[str, str]) -> None:
    """A CI system may provide a terminal, and a dumb terminal cannot move its cursor."""
    with at_terminal(project, "run", **variables) as (screen, process):
        screen.wait_for("isosmoke run bad")
        process.wait(60)
        screen.clear()

    assert not CURSOR.search(screen.seen.replace(b"\r\n", b"\n"))


def test_terminal_without_colour_is_redrawn(project: Project) -> None:
    """NO_COLOR removes colours only."""
    with at_terminal(project, "run", NO_COLOR="1") as (screen, process):
        screen.wait_for("isosmoke run bad")
        process.wait(60)
        screen.clear()

    assert CURSOR.search(screen.seen)
    assert not re.search(rb"\x1b\[[0-9;]*3[0-7]", screen.seen)
