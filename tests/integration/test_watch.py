"""`isosmoke watch` with real files and sandboxes."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import available
from support.project import GOOD, Project


def wait_for(lines: Iterator[str], text: str) -> list[str]:
    """Return the lines up to the one that begins with a text."""
    seen = []
    for line in lines:
        seen.append(line)
        if line.startswith(text):
            return seen
    raise AssertionError(f"{text!r} is not in {seen}")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project with one scenario that sources a file."""
    available.require_engine("bubblewrap")
    return Project.within(tmp_path, GOOD)


def test_changes_are_run_until_the_interrupt(project: Project) -> None:
    """A sourced file, the manifest and the binary have an effect; the interrupt ends a run too."""
    command = project.command("watch", "--engine", "bubblewrap")
    with subprocess.Popen(
        command,
        cwd=project.top,
        env=project.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as watch:
        assert watch.stdout is not None
        lines = iter(watch.stdout.readline, "")
        assert wait_for(lines, "watching")[-1] == "watching 1 scenario  (Ctrl-C ends)\n"
        project.path("scenarios/lib.sh").write_text("fine() { exit 5; }\n")
        assert "changed: lib.sh\n" in wait_for(lines, "watching 1 scenario; failing: good")
        project.manifest.write_text("[[scenario]]\nnme = 1\n")
        assert wait_for(lines, "isosmoke: ")[-1].startswith(f"isosmoke: {project.manifest}:")
        project.manifest.write_text(GOOD.replace("It works.", "It sleeps."))
        project.path("scenarios/good.sh").write_text("touch started\nsleep 600\n")
        wait_for(lines, "isosmoke · ")
        watch.send_signal(signal.SIGINT)
        rest = list(lines)

    assert watch.returncode == 130
    assert any("NOT_RUN" in line for line in rest)
    assert not any(line.startswith("watching") for line in rest)


def test_nothing_to_watch_is_an_error(project: Project) -> None:
    """A name that selects nothing ends the command."""
    done = project.run("watch", "nothing")

    assert done.returncode == 4
