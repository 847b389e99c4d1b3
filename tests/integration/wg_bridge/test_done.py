"""`isosmoke done`: the gate first, then the process becomes `wg done` with the same verdicts."""

import subprocess
import sys
from pathlib import Path

import pytest

from isosmoke.history import layout
from support import bridged_wg, wg_stand_in
from support.bridged_wg import NOTHING, Project

ASKS = f'#!/bin/sh\nexec {sys.executable} {wg_stand_in.__file__} "$@"\n'
NEVER_ASKS = "#!/bin/sh\necho $$ done $2 >done.txt\necho options: $3 $4\nexit 5\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """One whose every path has a space in it, in a place of its own."""
    return bridged_wg.within(tmp_path / "with a space", monkeypatch)


def isosmoke_done(project: Project, wg: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """`isosmoke done` in the project, with this text as the program wg."""
    program = project.top.parent / "wg"
    program.write_text(wg)
    program.chmod(0o755)
    environment = project.environment({"ISOSMOKE_WG": str(program)})
    del environment["WG_SMOKE_MANIFEST"]
    return subprocess.run(
        [sys.executable, "-m", "isosmoke", "done", *words],
        cwd=project.top,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def runs(project: Project) -> int:
    """How many runs the project has a record of."""
    return len(list(layout.runs_in(project.top / ".isosmoke" / "runs")))


def test_wg_is_answered_from_the_same_run(project: Project) -> None:
    """Wg's own gate hears the verdicts of the one run, a skip included, and marks the task done."""
    project.add("passes", "exit 0")
    project.add("skips", "echo 'reason: no endpoint' >&2; exit 77")

    done = isosmoke_done(project, ASKS, "task")

    assert done.returncode == 0, done.stderr
    assert '"passes": [0, []]' in done.stdout
    assert '"skips": [77, ["exit 77: no endpoint"]]' in done.stdout
    assert project.done
    assert runs(project) == 1
    assert bridged_wg.nothing_is_left()


@pytest.mark.parametrize("wg", [ASKS, NEVER_ASKS])
def test_shut_gate_keeps_wg_from_running(project: Project, wg: str) -> None:
    """A scenario that fails is named and wg is not run, whether its `done` has a gate or not."""
    project.add("fails", "exit 3")

    done = isosmoke_done(project, wg, "task")

    assert done.returncode == 1
    assert "FAIL fails: exit 3" in done.stderr
    assert not project.done


def test_options_output_and_exit_code_are_those_of_wg(project: Project) -> None:
    """What follows the task is wg's to read, and what wg prints and ends with arrives unchanged."""
    project.add("passes", "exit 0")

    done = isosmoke_done(project, NEVER_ASKS, "task", "--converged", "--other")

    assert done.stdout == "options: --converged --other\n"
    assert done.returncode == 5
    assert bridged_wg.nothing_is_left()


def test_task_that_owns_nothing_is_loud(project: Project) -> None:
    """Wg runs, and it is said that nothing was shown to work."""
    project.add("foreign", "exit 1", owner="another")

    done = isosmoke_done(project, NEVER_ASKS, "task")

    assert project.done
    assert "nothing was run" in done.stderr


def test_manifest_that_is_missing_keeps_wg_from_running(project: Project) -> None:
    """Where wg would pass in silence, the gate stays shut."""
    done = isosmoke_done(project, NEVER_ASKS, "task")

    assert done.returncode == 2
    assert "no manifest" in done.stderr
    assert not project.done


def test_wg_that_cannot_be_run_is_no_success(project: Project) -> None:
    """A program that the kernel refuses is 125, in words, after the gate has opened."""
    project.add("foreign", "exit 0", owner="another")

    done = isosmoke_done(project, "no program at all", "task")

    assert done.returncode == 125
    assert "cannot be run: Exec format error" in done.stderr


def test_call_without_a_task_is_refused(project: Project) -> None:
    """Options alone name no task."""
    done = isosmoke_done(project, NEVER_ASKS, "--full-smoke")

    assert done.returncode == 2
    assert "no task" in done.stderr


def test_bridge_prints_what_the_shell_needs(project: Project) -> None:
    """One line for eval, after which a bare `wg done` is gated through the mirror."""
    project.add("passes", "exit 0")
    shell = 'eval "$("$0" -m isosmoke bridge)"; exec "$0" "$@" done task'
    environment = project.environment(NOTHING)
    del environment["WG_SMOKE_MANIFEST"]

    done = subprocess.run(
        ["bash", "-c", shell, sys.executable, wg_stand_in.__file__],
        cwd=project.top,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.stdout == '{"passes": [0, []]}\n', done.stderr
    assert project.done
    assert bridged_wg.nothing_is_left()
