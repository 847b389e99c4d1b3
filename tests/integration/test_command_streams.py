"""The standard streams of a command after `--`: those of isosmoke itself."""

import json
import subprocess
from pathlib import Path

import pytest

from isosmoke.errors import ExitCode
from support import available, terminal_screen
from support.project import Project

_LINES = "for i in $(seq 500); do echo A$i >&2; echo B$i; done"
_EXPECTED = [f"{letter}{number}" for number in range(1, 501) for letter in "AB"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project."""
    return Project.within(tmp_path)


def _find_log(project: Project) -> Path:
    (log,) = project.top.glob(".isosmoke/runs/*/*/output-1.log")
    return log


def _run(project: Project, *command: str, stdin: int) -> "subprocess.CompletedProcess[bytes]":
    """Run a command in a sandbox with this stdin, its stdout and stderr in one pipe."""
    return subprocess.run(
        project.command("run", "--", *command),
        cwd=project.top,
        env=project.environment(),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


def test_order_of_a_command_that_prints_to_one_pipe(project: Project) -> None:
    """The screen and the record have the lines in the order in which they were printed."""
    done = _run(project, "sh", "-c", _LINES, stdin=subprocess.DEVNULL)
    lines = [line for line in done.stdout.decode().splitlines() if line in _EXPECTED]

    assert lines == _EXPECTED
    assert _find_log(project).read_text().splitlines() == _EXPECTED


def test_two_streams_stay_two(project: Project) -> None:
    """If stdout and stderr are different files, each has its own lines, in order."""
    done = project.run("run", "--", "sh", "-c", _LINES)

    assert [line for line in done.stdout.splitlines() if line in _EXPECTED] == _EXPECTED[1::2]
    assert [line for line in done.stderr.splitlines() if line in _EXPECTED] == _EXPECTED[::2]


def test_document_on_stdout_has_the_output_on_stderr(project: Project) -> None:
    """With --json, stdout has only the document, and all output is on stderr, in order."""
    done = project.run("run", "--json", "--", "sh", "-c", _LINES)
    (scenario,) = json.loads(done.stdout)["scenarios"]

    assert scenario["outcome"] == "PASS"
    assert [line for line in done.stderr.splitlines() if line in _EXPECTED] == _EXPECTED


def test_reason_is_found_in_the_only_stream(project: Project) -> None:
    """A command with one stream fails with the line that says why, wherever it was printed."""
    done = _run(project, "sh", "-c", "echo 'error: no disk' >&2; exit 3", stdin=subprocess.DEVNULL)

    assert b"exit 3: error: no disk" in done.stdout


@pytest.mark.parametrize("engine", ["bubblewrap", "docker"])
@pytest.mark.parametrize("size", [0, 1, 1_000_000])
def test_command_reads_a_pipe(project: Project, engine: str, size: int) -> None:
    """A command reads all of isosmoke's stdin, and then its end."""
    available.require_engine(engine)
    done = subprocess.run(
        project.command("run", "--engine", engine, "--", "wc", "-c"),
        cwd=project.top,
        env=project.environment(),
        input=b"x" * size,
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert str(size).encode() in done.stdout.split()


def test_command_reads_a_file(project: Project, tmp_path: Path) -> None:
    """A command reads a regular file to its end."""
    (tmp_path / "input").write_bytes(b"line\n" * 50_000)
    with (tmp_path / "input").open() as file:
        done = _run(project, "wc", "-l", stdin=file.fileno())

    assert b"50000" in done.stdout.split()


def test_command_has_no_input_from_the_null_device(project: Project) -> None:
    """An empty stdin of isosmoke is /dev/null for the command too."""
    done = _run(project, "readlink", "/proc/self/fd/0", stdin=subprocess.DEVNULL)

    assert b"/dev/null" in done.stdout.split()


@pytest.mark.parametrize("redirection", ["<&-", "0>other"])
def test_stdin_that_cannot_be_read_is_empty(project: Project, redirection: str) -> None:
    """A closed stdin, and one that can only be written, are empty for the command."""
    line = f'exec "$@" {redirection}'
    done = subprocess.run(
        ["sh", "-c", line, "sh", *project.command("run", "--", "wc", "-c")],
        cwd=project.top,
        env=project.environment(),
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert b"0" in done.stdout.split()


def test_open_stdin_does_not_delay_a_command(project: Project) -> None:
    """A command that does not read its stdin ends although that stays open."""
    process = subprocess.Popen(
        project.command("run", "--", "true"),
        cwd=project.top,
        env=project.environment(),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    assert process.stdin is not None

    assert b"PASS" in process.stderr.read()
    assert process.wait(60) == 0
    process.stdin.close()
    process.stderr.close()


def test_endless_input_ends_with_the_command(project: Project) -> None:
    """A command ends the process that writes its input."""
    arguments = project.command("run", "--", "head", "-n", "1")
    done = subprocess.run(
        ["sh", "-c", 'yes | "$@"', "sh", *arguments],
        cwd=project.top,
        env=project.environment(),
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert b"y" in done.stdout.split()


def test_endless_input_does_not_extend_the_timeout(project: Project) -> None:
    """The timeout of a command holds while its input is read."""
    arguments = project.command("run", "--timeout", "1", "--", "wc", "-c")
    done = subprocess.run(
        ["sh", "-c", 'yes | "$@"', "sh", *arguments],
        cwd=project.top,
        env=project.environment(),
        capture_output=True,
        check=False,
    )

    assert done.returncode == 1
    assert b"TIMEOUT" in done.stderr


@pytest.mark.parametrize("stderr", [subprocess.PIPE, subprocess.STDOUT])
def test_slow_reader_does_not_extend_the_timeout(project: Project, stderr: int) -> None:
    """A command and its report end though nothing reads the output; the record is complete."""
    size = 3_000_000
    arguments = project.command("run", "--timeout", "1", "--", "head", "-c", str(size), "/dev/zero")
    with subprocess.Popen(
        arguments,
        cwd=project.top,
        env=project.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
    ) as process:
        try:
            assert process.wait(120) in (1, 125)  # a timeout, or only the output is incomplete
        finally:
            process.kill()
        if process.stderr is not None:
            assert b"isosmoke show " in process.stderr.read()


@pytest.mark.parametrize("engine", ["bubblewrap", "docker"])
@pytest.mark.parametrize("lines", [0, 1, 2])
def test_command_learns_that_its_reader_has_gone(project: Project, engine: str, lines: int) -> None:
    """As in a shell, SIGPIPE ends a program that prints to `head`, also if isosmoke noticed it."""
    available.require_engine(engine)
    with subprocess.Popen(
        project.command("run", "--engine", engine, "--", "sh", "-c", "yes; echo code $? >&2"),
        cwd=project.top,
        env=project.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as run:
        assert run.stdout
        assert run.stderr
        read = [run.stdout.readline() for _ in range(lines)]
        run.stdout.close()
        errors = run.stderr.read().decode().splitlines()

    assert read[1:] == [b"y\n"] * (lines - 1)
    assert "code 141" in errors
    assert run.returncode == ExitCode.INFRASTRUCTURE


def test_signal_ends_a_run_whose_output_is_not_read(project: Project) -> None:
    """SIGTERM ends a command whose output nothing reads, long before its timeout."""
    with subprocess.Popen(
        project.command("run", "--", "cat", "/dev/zero"),
        cwd=project.top,
        env=project.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        try:
            process.stdout.read(1)
            process.terminate()
            assert process.wait(120) == 143
        finally:
            process.kill()


@pytest.mark.parametrize("engine", ["bubblewrap", "docker"])
def test_command_has_the_terminal(project: Project, engine: str) -> None:
    """At a terminal, a command reads what is typed, and the screen has its lines in order."""
    available.require_engine(engine)
    line = f"stty size; read it; echo =$it=; test -t 2 && {_LINES}"
    command = project.command("run", "--engine", engine, "--", "bash", "-c", line)
    with terminal_screen.program(
        command, working=project.top, environment=project.environment()
    ) as (screen, process):
        before = screen.settings()
        screen.wait_for("24 80")
        screen.type("typed\r")
        screen.wait_for("=typed=")
        screen.wait_for("1 PASS")
        assert process.wait(60) == 0
        assert screen.settings() == before

    shown = screen.seen.decode().replace("\r", "").splitlines()
    assert [text for text in shown if text in _EXPECTED] == _EXPECTED
    recorded = _find_log(project).read_text()
    assert [text for text in recorded.splitlines() if text in _EXPECTED] == _EXPECTED
    assert "\r" not in recorded


def test_key_interrupts_a_command_and_the_run(project: Project) -> None:
    """Ctrl-C ends the command, and isosmoke with the exit code of an interrupt."""
    command = project.command("run", "--", "sh", "-c", "echo -started-; exec sleep 600")
    with terminal_screen.program(
        command, working=project.top, environment=project.environment()
    ) as (screen, process):
        before = screen.settings()
        screen.wait_for("-started-")
        screen.type("\x03")
        screen.wait_for("NOT_RUN")
        assert process.wait(60) == 130
        assert screen.settings() == before


def test_program_may_handle_the_key(project: Project) -> None:
    """A command that handles Ctrl-C continues."""
    line = "trap 'echo caught; exit 0' INT; echo -started-; while :; do sleep 0.05; done"
    command = project.command("run", "--", "bash", "-c", line)
    with terminal_screen.program(
        command, working=project.top, environment=project.environment()
    ) as (screen, process):
        screen.wait_for("-started-")
        screen.type("\x03")
        screen.wait_for("caught")
        screen.wait_for("1 PASS")
        assert process.wait(60) == 0


def test_leak_at_a_terminal_is_reported(project: Project) -> None:
    """The end of the command hangs up on no process, so a leak is a leak at a terminal too."""
    command = project.command("run", "--", "sh", "-c", "sleep 600 & echo end")
    with terminal_screen.program(
        command, working=project.top, environment=project.environment()
    ) as (screen, process):
        screen.wait_for("left 1 process: sleep 600")
        assert process.wait(60) == 1


def test_background_job_is_not_stopped(project: Project) -> None:
    """In the background of a terminal, isosmoke neither reads from it nor changes it."""
    command = [
        "bash",
        "-mc",
        'read _; "$@" & wait; echo waited; read rest; echo "=$rest="',
        "bash",
        *project.command("run", "--", "echo", "it ran"),
    ]
    with terminal_screen.program(
        command, working=project.top, environment=project.environment()
    ) as (screen, process):
        before = screen.settings()
        screen.type("\rfor the shell\r")
        screen.wait_for("it ran")
        screen.wait_for("1 PASS")
        screen.wait_for("waited")
        screen.wait_for("=for the shell=")
        assert process.wait(60) == 0
        assert screen.settings() == before


def test_typed_lines_reach_a_command_whose_output_is_piped(project: Project) -> None:
    """With stdout elsewhere, the lines of the terminal are the input, and Ctrl-D ends it."""
    line = 'echo up; "$@" | cat'
    command = ["sh", "-c", line, "sh", *project.command("run", "--", "wc", "-l")]
    with terminal_screen.program(
        command, working=project.top, environment=project.environment()
    ) as (screen, process):
        screen.wait_for("up")
        screen.type("one\rtwo\r\x04")
        screen.wait_for("\n2\r\n")
        assert process.wait(60) == 0


@pytest.mark.parametrize("screen", ["console", "agent"])
def test_stdout_has_only_the_output_of_the_command(project: Project, screen: str) -> None:
    """A pipeline reads only the bytes of the command from stdout; the report is on stderr."""
    line = "printf '[42]'; sleep 600 &"
    done = project.run("run", "--report", screen, "--report", "github", "--", "sh", "-c", line)

    assert done.stdout == "[42]"
    assert "1 process: sleep 600" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("engine", ["bubblewrap", "docker"])
def test_command_has_the_umask_of_the_caller(project: Project, engine: str) -> None:
    """A command creates files with the modes that the caller chose."""
    available.require_engine(engine)
    done = subprocess.run(
        project.command("run", "--engine", engine, "--", "sh", "-c", "umask; >new; ls -l new"),
        cwd=project.top,
        env=project.environment(),
        capture_output=True,
        text=True,
        umask=0o027,
        check=False,
    )

    assert done.stdout.startswith("0027\n-rw-r-----"), done.stderr
