"""A command that a test runs to its end is forked, and nothing shows it."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from isosmoke.errors import ExitCode
from support.project import Project


@pytest.mark.parametrize("arguments", ["list", "list nothing", "run --wrong", "--help", "show bad"])
def test_forked_command_is_like_one_of_a_new_python(arguments: str, tmp_path: Path) -> None:
    """Both have the same output, messages and exit code."""
    project = Project.within(tmp_path)
    new = subprocess.run(
        project.command(*arguments.split()),
        cwd=project.top,
        env=project.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    forked = project.run(*arguments.split())

    assert (forked.returncode, forked.stdout) == (new.returncode, new.stdout)
    assert forked.stderr == new.stderr


def test_concurrent_commands_have_their_own_ends(tmp_path: Path) -> None:
    """Each end is that of the command, whatever ends before it."""
    project = Project.within(tmp_path)
    commands = [("list",), ("list", "--wrong")] * 8
    with ThreadPoolExecutor(len(commands)) as threads:
        ends = [
            done.returncode for done in threads.map(lambda words: project.run(*words), commands)
        ]

    assert ends == [ExitCode.OK, ExitCode.USAGE] * 8
