"""A fresh HOME and a fresh /tmp for a command under `isosmoke-exec`."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from support.exec_runs import build_environment, find_user_prefix, run_exec


@pytest.mark.parametrize("user", ["root", "ordinary"])
def test_home_is_fresh_and_writable(user: str) -> None:
    """HOME is a blank directory each time, and nothing of it is left."""
    environment = {**build_environment(), "XDG_CONFIG_HOME": "/x"}
    script = 'ls -A "$HOME"; echo x >"$HOME/file" && echo "$HOME"; echo "${XDG_CONFIG_HOME-unset}"'
    for _ in range(2):
        done = run_exec(
            *("--fresh-home", "sh", "-c", script),
            prefix=find_user_prefix(user),
            env=environment,
            cwd="/",
        )
        home, config = done.stdout.splitlines()
        assert (done.returncode, config) == (0, "unset")
        assert list(Path(home).iterdir()) == []


@pytest.mark.parametrize("user", ["root", "ordinary"])
def test_tmp_is_fresh_and_writable(user: str) -> None:
    """Files of the host are not visible, and files of the command do not reach the host."""
    with TemporaryDirectory(dir="/tmp") as directory:
        script = "ls -A /tmp /var/tmp; echo x >/tmp/of-the-command; cat /tmp/of-the-command"
        done = run_exec("--fresh-tmp", "sh", "-c", script, prefix=find_user_prefix(user), cwd="/")

    assert done.stdout.split() == ["/tmp:", "/var/tmp:", "x"]  # noqa: S108
    assert not Path("/tmp/of-the-command").exists()  # noqa: S108 - as above
    assert Path(directory).name not in done.stdout


def test_working_directory_and_command_in_tmp_stay_visible() -> None:
    """A checkout below /tmp can be tested with a fresh /tmp."""
    with TemporaryDirectory(dir="/tmp") as path:
        working, program = Path(path) / "a/b", Path(path) / "c/script"
        working.mkdir(parents=True)
        program.parent.mkdir()
        program.write_text("#!/bin/sh\npwd; echo x >result; ls -A /tmp | wc -l\n")
        program.chmod(0o755)
        done = run_exec("--fresh-tmp", program, cwd=working)

        assert done.stdout.split() == [str(working), "1"]
        assert (working / "result").read_text() == "x\n"


@pytest.mark.parametrize("way", ["a name on PATH", "a link", "a link on PATH"])
def test_command_in_tmp_stays_visible_however_it_is_found(way: str) -> None:
    """A virtual environment below /tmp is on PATH, and a link may lead to a program there."""
    with TemporaryDirectory(dir="/tmp") as path, TemporaryDirectory(dir=Path.home()) as elsewhere:
        program, link = Path(path) / "bin/of-tmp", Path(elsewhere) / "of-tmp"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\necho ran; ls -A /tmp | wc -l\n")
        program.chmod(0o755)
        link.symlink_to(program)
        directory = program.parent if way == "a name on PATH" else link.parent
        environment = build_environment()
        environment["PATH"] = f"/none:{directory}:{environment['PATH']}"
        command = link if way == "a link" else link.name
        done = run_exec("--fresh-tmp", command, cwd="/", env=environment)

        assert done.stdout.split() == ["ran", "1"], done.stderr
