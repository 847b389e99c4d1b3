"""A run has the same outcome in every state that isosmoke inherits from its parent."""

import itertools
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from support import available
from support.project import Project

WITHOUT_DESCRIPTORS = """
import os, sys
for descriptor in map(int, sys.argv[1].split(",")):
    os.close(descriptor)
os.execvp(sys.argv[2], sys.argv[2:])
"""

WITH_SIGNALS = """
import ctypes, os, signal, sys
if sys.argv[1] == "blocked":
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
else:
    libc = ctypes.CDLL(None)
    ignore = (ctypes.c_char * 64)(1)  # struct sigaction of the kernel, SIG_IGN
    call = {"x86_64": 13, "aarch64": 134}[os.uname().machine]  # rt_sigaction
    for number in {*range(1, 65)} - {signal.SIGKILL, signal.SIGSTOP}:
        assert libc.syscall(call, number, ignore, None, 8) == 0, number
os.execvp(sys.argv[2], sys.argv[2:])
"""

CLOSED = [
    ",".join(closed) for count in (1, 2, 3) for closed in itertools.combinations("012", count)
]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project with scenarios that pass, fail and skip."""
    available.require_engine("bubblewrap")
    return Project.within(tmp_path)


def run_isosmoke(project: Project, *launcher: str, **variables: str) -> tuple[int, str, str]:
    """Run the failing scenario from a launcher; return the exit code, stdout and the outcome."""
    done = subprocess.run(
        [*launcher, sys.executable, "-m", "isosmoke", "run", "bad", "--json"],
        cwd=project.top,
        env={**project.environment(), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    (file,) = project.top.glob(".isosmoke/runs/*/bad/result.json")
    scenario = json.loads(file.read_text())
    return done.returncode, done.stdout, f"{scenario['outcome']}: {scenario['reason']}"


@pytest.mark.parametrize("closed", CLOSED)
def test_closed_standard_descriptors_change_no_outcome(project: Project, closed: str) -> None:
    """Each combination of closed descriptors gives the outcome and the exit code of a shell."""
    code, _, outcome = run_isosmoke(project, sys.executable, "-c", WITHOUT_DESCRIPTORS, closed)

    assert (code, outcome) == (1, "FAIL: exit 3: broken")


@pytest.mark.parametrize("act", ["ignored", "blocked"])
def test_inherited_signals_change_no_outcome(project: Project, act: str) -> None:
    """A script starts with no signal ignored or blocked, nor one that the C library hides."""
    script = "grep -E '^Sig(Ign|Blk):' /proc/self/status >&2; exit 3\n"
    project.path("scenarios/bad.sh").write_text(script)
    code, document, _ = run_isosmoke(project, sys.executable, "-c", WITH_SIGNALS, act)
    (scenario,) = json.loads(document)["scenarios"]
    lines = scenario["output"]["last_lines"]

    assert code == 1
    assert [line.split()[1] for line in lines] == ["0" * 16, "0" * 16]


@pytest.mark.parametrize("mask", ["777", "0", "277"])
def test_inherited_mode_mask_changes_no_outcome(project: Project, mask: str) -> None:
    """The owner of a file that isosmoke creates can use it under any mask."""
    code, _, outcome = run_isosmoke(project, "sh", "-c", f'umask {mask}; exec "$@"', "sh")

    assert (code, outcome) == (1, "FAIL: exit 3: broken")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-16", "ascii:strict"])
def test_inherited_encoding_changes_no_outcome(project: Project, encoding: str) -> None:
    """Text is UTF-8 in any locale, so that a document is the same everywhere."""
    code, document, outcome = run_isosmoke(project, PYTHONIOENCODING=encoding, LC_ALL="C")

    assert (code, outcome) == (1, "FAIL: exit 3: broken")
    assert json.loads(document)["scenarios"]


@pytest.mark.parametrize("command", ["list", "run bad", "show", "doctor"])
def test_text_is_written_in_any_encoding(project: Project, command: str) -> None:
    """No command ends with a traceback where the locale has no letter but those of ASCII."""
    done = project.run(*command.split(), PYTHONIOENCODING="ascii", LC_ALL="C")

    assert "Traceback" not in done.stderr


def test_stderr_without_room_costs_no_document(project: Project) -> None:
    """A warning that nothing takes neither hides the document nor changes the exit code."""
    launcher = ("sh", "-c", 'exec "$@" 2>/dev/full', "sh")
    shadowed = project.top / "programs"
    shadowed.mkdir()
    (shadowed / "git").write_text("#!/bin/sh\n")
    (shadowed / "git").chmod(0o755)
    code, document, outcome = run_isosmoke(project, *launcher, PATH=f"{shadowed}:{available.PATH}")

    assert (code, outcome) == (1, "FAIL: exit 3: broken")
    assert json.loads(document)["warnings"]


def test_user_signals_end_no_run(project: Project) -> None:
    """SIGUSR1 only shows what runs, SIGUSR2 has no meaning, and a run continues after them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = f"exec 3<>/dev/tcp/127.0.0.1/{port}; read -r <&3; exit 3\n"
        project.path("scenarios/bad.sh").write_text(script)
        with subprocess.Popen(
            project.command("run", "bad"), cwd=project.top, env=project.environment()
        ) as run:
            connection, _ = server.accept()
            run.send_signal(signal.SIGUSR1)
            run.send_signal(signal.SIGUSR2)
            connection.sendall(b"go\n")
            connection.close()

    assert run.returncode == 1


@pytest.mark.parametrize("command", ["run good", "list", "gate task-a", "doctor --json"])
def test_unexpected_error_of_a_command_ends_with_125(tmp_path: Path, command: str) -> None:
    """A library that breaks is no failing scenario, and prints no traceback."""
    project = Project.within(tmp_path)
    broken = tmp_path / "broken"
    for name in ("pydantic", "rich"):
        (broken / name).mkdir(parents=True)
        (broken / name / "__init__.py").write_text("raise RuntimeError('broken library')\n")
    done = project.run(*command.split(), PYTHONPATH=str(broken))

    assert done.returncode == 125, done.stderr
    assert "isosmoke: unexpected error: RuntimeError: broken library\n" in done.stderr
    assert "Traceback" not in done.stderr
    (file,) = (project.state / "bug-reports").iterdir()
    assert str(file) in done.stderr
    assert "Traceback" in file.read_text()
