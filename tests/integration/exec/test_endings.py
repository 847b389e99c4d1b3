"""A run of `isosmoke-exec` that ends in any way leaves no process, and no verdict by mistake."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from support import available
from support.exec_runs import (
    EXEC,
    LEAVE_ONE,
    SECONDS,
    build_environment,
    read_records,
    run_exec,
)

COMMAND = "setsid sleep 1000 & sleep 1000 & echo ready; wait"
"""A command with three processes that hold its output, one of them in its own session."""


@contextmanager
def running(log: Path, *prefix: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a run in its own process group, and wait until all of its processes exist."""
    with subprocess.Popen(
        [*prefix, EXEC, "sh", "-c", COMMAND],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=build_environment(log),
        process_group=0,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield process


def require_end(process: subprocess.Popen[bytes]) -> None:
    """Wait until no process holds the output, which is when all have ended."""
    assert process.stdout
    assert process.stdout.read() == b""


def find_children(pid: int) -> list[int]:
    """Return the PIDs of the children of a process."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def list_names(pids: list[int]) -> list[str]:
    """Return the names of processes that may end at any moment."""
    names = []
    for pid in pids:
        with suppress(OSError):
            names.append(Path(f"/proc/{pid}/comm").read_text().strip())
    return names


def read_reason(log: Path) -> str:
    """Return the reason of the only record, which has no verdict."""
    assert available.wait_for(lambda: log.read_text().endswith("\n"), SECONDS)
    (record,) = read_records(log)
    assert (record["watched"], record["exit_code"], record["signal"]) == (False, None, None)
    reason: str = record["reason"]
    return reason


def test_killed_wrapper_leaves_nothing(tmp_path: Path) -> None:
    """`kill -9` of the wrapper ends every process, and leaves a record without a verdict."""
    with running(tmp_path / "log") as process:
        process.kill()
        require_end(process)

    assert read_reason(tmp_path / "log") == "isosmoke-exec was killed"


def test_killed_parent_leaves_nothing(tmp_path: Path) -> None:
    """`kill -9` of the process that started the wrapper ends it and every process."""
    keep = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    with running(tmp_path / "log", sys.executable, "-c", keep) as process:
        process.kill()
        require_end(process)

    assert "the process that started isosmoke-exec ended" in read_reason(tmp_path / "log")


def test_end_of_a_thread_of_the_parent_is_not_its_end(tmp_path: Path) -> None:
    """Test runners start tests from threads, which may end before the test does."""
    code = (
        "import subprocess, sys, threading\n"
        "started = []\n"
        "def start(): started.append(subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE))\n"
        "thread = threading.Thread(target=start); thread.start(); thread.join()\n"
        "started[0].communicate(b'x')\n"
        "sys.exit(started[0].returncode)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, EXEC, "sh", "-c", "read line; exit 4"],
        env=build_environment(tmp_path / "log"),
        check=False,
        timeout=SECONDS,
    )

    assert done.returncode == 4
    assert read_records(tmp_path / "log")[0]["watched"] is True


def test_killed_process_group_leaves_nothing(tmp_path: Path) -> None:
    """No process is left to write a record; the mark of the start tells that one is missing."""
    with running(tmp_path / "log") as process:
        os.killpg(process.pid, signal.SIGKILL)
        require_end(process)

    assert (tmp_path / "log").read_text() in {
        " ",
        " " + (tmp_path / "log").read_text().strip() + "\n",
    }
    assert '"watched": true' not in (tmp_path / "log").read_text()


def test_wrapper_killed_while_everything_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    """A stopped PID 1 is continued by the end of the wrapper."""
    with running(tmp_path / "log") as process:
        os.killpg(process.pid, signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        process.kill()
        require_end(process)


def test_killed_pid_1_is_no_verdict(tmp_path: Path) -> None:
    """The wrapper records that there is no verdict, and exits with 125."""
    with running(tmp_path / "log") as process:
        (init,) = find_children(process.pid)
        os.kill(init, signal.SIGKILL)
        require_end(process)
        assert process.wait(SECONDS) == 125

    assert read_reason(tmp_path / "log") == "PID 1 of the namespace was killed"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can unmount the /proc of a command")
def test_failed_check_is_no_verdict(tmp_path: Path) -> None:
    """If processes cannot be listed, the run has no verdict, instead of no leak."""
    log = tmp_path / "log"
    script = "mount -t tmpfs none /proc && { sleep 1000 & }; exit 0"
    done = subprocess.run(
        [EXEC, "--settle=0", "sh", "-c", script],
        env=build_environment(log),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )

    assert done.returncode == 125
    assert "isosmoke-exec: " in done.stderr
    record = json.loads(log.read_text())
    assert record["watched"] is False
    assert record["reason"]


LOSSES = {
    "removed": 'rm "$0"',
    "replaced": 'echo >"$0.new"; mv "$0.new" "$0"',
    "truncated": ': >"$0"',
}


@pytest.mark.parametrize("loss", LOSSES)
def test_log_that_the_command_loses_is_no_verdict(tmp_path: Path, loss: str) -> None:
    """The leak of this run, and the runs before it, would otherwise go unnoticed."""
    log = tmp_path / "log"
    assert run_exec("true", log=log).returncode == 0
    done = run_exec("sh", "-c", f"{LOSSES[loss]}; {LEAVE_ONE}", log, log=log)

    assert done.returncode == 125
    assert "the file that ISOSMOKE_EXEC_LOG names was removed or truncated" in done.stderr
    assert loss != "truncated" or read_reason(log).endswith("was removed or truncated")


def test_log_that_grows_meanwhile_or_has_a_new_name_keeps_its_verdict(tmp_path: Path) -> None:
    """Other runs append to it, and a program that rotates logs renames it."""
    log = tmp_path / "log"
    script = f'echo >>"$0"; mv "$0" "$0.1"; {LEAVE_ONE}'
    done = run_exec("sh", "-c", script, log, settings={"SETTLE": "0"}, log=log)

    assert done.returncode == 0, done.stderr
    assert '"sleep"' in (tmp_path / "log.1").read_text()


def test_wrapper_that_cannot_wait_is_no_verdict(tmp_path: Path) -> None:
    """poll(2) refuses to watch more descriptors than the limit, which another process can lower."""
    with running(tmp_path / "log") as process:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (1, 1))
        os.kill(process.pid, signal.SIGUSR1)
        require_end(process)
        assert process.wait(SECONDS) == 125


def test_request_to_end_ends_the_settle_time(tmp_path: Path) -> None:
    """A test runner that gives up does not have to wait."""
    log = tmp_path / "log"
    script = "sleep 1000 & echo ready"
    with subprocess.Popen(
        [EXEC, "--settle", "86400", "sh", "-c", script],
        stdout=subprocess.PIPE,
        env=build_environment(log),
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        (init,) = find_children(process.pid)
        assert available.wait_for(lambda: list_names(find_children(init)) == ["sleep"], SECONDS)
        process.terminate()
        assert process.wait(SECONDS) == 0

    assert [s["argv"] for s in read_records(log)[0]["survivors"]] == [["sleep", "1000"]]
