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


def isosmoke_done(
    project: Project, wg: str, *words: str, path: str = bridged_wg.PATH
) -> "subprocess.CompletedProcess[str]":
    """`isosmoke done` in the project, with this text as the program wg."""
    program = project.top.parent / "wg"
    program.write_text(wg)
    program.chmod(0o755)
    environment = project.environment({"ISOSMOKE_WG": str(program), "PATH": path})
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
    return len(list(layout.run_folders(project.top / ".isosmoke" / "runs")))


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


def liars(project: Project) -> Path:
    """A directory of programs that do nothing and end well."""
    folder = project.top.parent / "fakes"
    folder.mkdir()
    for name in ("bash", "timeout"):
        (folder / name).write_text("#!/bin/sh\nexit 0\n")
        (folder / name).chmod(0o755)
    return folder


def test_stand_ins_on_path_open_no_gate(project: Project) -> None:
    """A bash and a timeout that do nothing come first, and the scenario fails all the same."""
    project.add("fails", "exit 3")
    fakes = liars(project)

    done = isosmoke_done(project, ASKS, "task", path=f"{fakes}:{bridged_wg.PATH}")

    assert done.returncode == 1
    assert "FAIL fails: exit 3" in done.stderr
    assert f"WARNING: PATH entry {fakes} shadows system programs: bash, timeout" in done.stderr
    assert not project.done


def test_wg_asks_by_the_systems_programs(project: Project) -> None:
    """What wg runs a script with is the system's, whatever came first on the caller's PATH."""
    project.add("skips", "echo 'reason: no endpoint' >&2; exit 77")

    done = isosmoke_done(project, ASKS, "task", path=f"{liars(project)}:{bridged_wg.PATH}")

    assert '"skips": [77,' in done.stdout, done.stderr
    assert bridged_wg.nothing_is_left()


def test_bridge_names_what_would_run_its_shims(project: Project) -> None:
    """A stand-in cannot be kept from a bare `wg done`, so it is named before there is one."""
    project.add("passes", "exit 0")
    fakes = liars(project)
    path = f"{fakes}:{bridged_wg.PATH}"
    environment = project.environment({"PATH": path, "BASH_ENV": "/dev/null"})
    del environment["WG_SMOKE_MANIFEST"]

    done = subprocess.run(
        [sys.executable, "-m", "isosmoke", "bridge"],
        cwd=project.top,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0
    assert f"WARNING: wg would run its scenarios with bash of {fakes}" in done.stderr
    assert f"WARNING: wg would run its scenarios with timeout of {fakes}" in done.stderr
    assert "WARNING: wg would run its scenarios with BASH_ENV set" in done.stderr
    assert done.stdout.startswith("export WG_SMOKE_MANIFEST=")


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
