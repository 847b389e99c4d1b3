"""`isosmoke leaks` on logs that `isosmoke-exec` wrote."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from isosmoke.cli import cli
from support.exec_runs import LEAVE_ONE, find_refusal_prefix, run_exec


def leaks(*arguments: object) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, ["leaks", *map(str, arguments)])


def leave(log: Path, test: str, script: str = LEAVE_ONE) -> None:
    """Run a test that passes and leaves what the script leaves."""
    assert run_exec("--settle=0", "--name", test, "sh", "-c", script, log=log).returncode == 0


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return a log with a test that leaves a process twice, and one that leaves none."""
    path = tmp_path / "log"
    for test, script in (("leaky", LEAVE_ONE), ("leaky", LEAVE_ONE), ("clean", "true")):
        leave(path, test, script)
    return path


def test_summary_names_test_process_and_count(log: Path) -> None:
    """A leak fails the command."""
    done = leaks(log)

    assert done.exit_code == 1
    assert done.output.startswith("leaky\n  LEAK  sleep #: in 2 of 2 runs, age up to ")
    assert done.output.endswith("leaks: 1 new, 0 known, in 3 runs; 0 unwatched\n")


def test_log_comes_from_the_environment(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable of the suite is enough; JSON has the same facts."""
    monkeypatch.setenv("ISOSMOKE_EXEC_LOG", str(log))
    document = json.loads(leaks("--json").output)

    assert document["tests"] == {"clean": 1, "leaky": 2}
    assert [(leak["test"], leak["runs"]) for leak in document["leaks"]] == [("leaky", 2)]
    assert "<failure" in leaks("--junit").output


def test_baseline_only_shrinks(log: Path, tmp_path: Path) -> None:
    """Known leaks pass; a new one fails; a fixed one that returns is new."""
    file, later = tmp_path / "baseline.json", tmp_path / "later"
    assert leaks(log, "--baseline", file).exit_code == 2  # a lost baseline accepts nothing
    assert leaks(log, "--new-baseline", file).exit_code == 0
    assert leaks(log, "--new-baseline", file).exit_code == 2  # it would grow
    assert leaks(log, "--baseline", file).exit_code == 0

    leave(later, "leaky", "true")
    assert "fixed: leaky: sleep" in leaks(later, "--baseline", file).output
    assert json.loads(file.read_text())["leaks"] == []
    assert leaks(log, "--baseline", file).exit_code == 1
    assert json.loads(file.read_text())["leaks"] == []


def test_lost_run_is_never_a_pass(tmp_path: Path) -> None:
    """A mark of a start without a line is a run without a verdict."""
    log = tmp_path / "log"
    leave(log, "clean", "true")
    with log.open("a") as file:
        file.write(" ")

    assert leaks(log).exit_code == 1
    assert "UNWATCHED unknown test: its line in the log is missing or damaged" in leaks(log).output
    assert leaks(log, "--allow-unwatched").exit_code == 0


def test_log_without_runs_is_never_a_pass(tmp_path: Path) -> None:
    """No log is a mistake, and a log without runs selects nothing."""
    (tmp_path / "log").touch()

    assert leaks(tmp_path / "log").exit_code == 4
    assert leaks(tmp_path / "missing").exit_code == 2
    assert leaks().exit_code == 2


def test_refused_namespace_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    """The command does not run, and the log counts it as unwatched."""
    log, prefix = tmp_path / "log", find_refusal_prefix()
    done = run_exec("echo", "ran", log=log, prefix=prefix)

    assert (done.returncode, done.stdout) == (125, "")
    cause = "user.max_pid_namespaces=0 allows too few namespaces (clone: No space left on device)"
    assert cause in done.stderr
    assert "try: sudo sysctl -w user.max_pid_namespaces=15000;" in done.stderr
    assert "ISOSMOKE_EXEC_MISSING=run" in done.stderr
    assert leaks(log).exit_code == 1


def test_refused_namespace_may_run_unwatched(tmp_path: Path) -> None:
    """If asked, the command runs as without the wrapper, and is counted as unwatched."""
    log, prefix = tmp_path / "log", find_refusal_prefix()
    script = "echo ran; env | grep ISOSMOKE_EXEC_LOG; exit 7"
    done = run_exec("sh", "-c", script, log=log, prefix=prefix, settings={"MISSING": "run"})

    assert (done.returncode, done.stdout, done.stderr) == (7, "ran\n", "")
    assert "UNWATCHED sh -c" in leaks(log).output
    assert leaks(log).exit_code == 1
    assert leaks(log, "--allow-unwatched").exit_code == 77  # no run was watched
