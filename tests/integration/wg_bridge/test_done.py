"""`isosmoke done`: run the gate, then become `wg done` with the same verdicts."""

import subprocess
import sys
from pathlib import Path

import pytest

from isosmoke.history import layout
from support import bridged_wg, wg_stand_in
from support.bridged_wg import NO_VARIABLES, Project
from support.git_repositories import Git

ASKS = f'#!/bin/sh\nexec {sys.executable} {wg_stand_in.__file__} "$@"\n'
RECORDS = "#!/bin/sh\nprintf '%s\\n' \"$@\" >{file}\n"
NEVER_ASKS = "#!/bin/sh\necho $$ done $2 >done.txt\necho options: $3 $4\nexit 5\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project in its own directory, with a space in every path."""
    return bridged_wg.create_project(tmp_path / "with a space", monkeypatch)


def run_done(
    project: Project, wg: str, *arguments: str, path: str = bridged_wg.PATH
) -> "subprocess.CompletedProcess[str]":
    """Run `isosmoke done` in the project, with this text as the wg program."""
    program = project.top.parent / "wg"
    program.write_text(wg)
    program.chmod(0o755)
    environment = project.environment({"ISOSMOKE_WG": str(program), "PATH": path})
    del environment["WG_SMOKE_MANIFEST"]
    return subprocess.run(
        [sys.executable, "-m", "isosmoke", "done", *arguments],
        cwd=project.top,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def count_runs(project: Project) -> int:
    """Return the number of recorded runs in the project."""
    return len(list(layout.iter_run_directories(project.top / ".isosmoke" / "runs")))


def test_wg_is_answered_from_the_same_run(project: Project) -> None:
    """The gate of wg gets the verdicts of the one run, including a skip, and completes the task."""
    project.add("passes", "exit 0")
    project.add("skips", "echo 'reason: no endpoint' >&2; exit 77")

    done = run_done(project, ASKS, "task")

    assert done.returncode == 0, done.stderr
    assert '"passes": [0, []]' in done.stdout
    assert '"skips": [77, ["exit 77: no endpoint"]]' in done.stdout
    assert project.done
    assert count_runs(project) == 1
    assert bridged_wg.is_cleaned_up()


@pytest.mark.parametrize("wg", [ASKS, NEVER_ASKS])
def test_shut_gate_prevents_wg(project: Project, wg: str) -> None:
    """The failure is named and wg is not run, whether its `done` has a gate or not."""
    project.add("fails", "exit 3")

    done = run_done(project, wg, "task")

    assert done.returncode == 1
    assert "FAIL fails: exit 3" in done.stderr
    assert not project.done


def create_fakes(project: Project) -> Path:
    """Create a directory of programs that do nothing and exit with 0."""
    directory = project.top.parent / "fakes"
    directory.mkdir()
    for name in ("bash", "timeout"):
        (directory / name).write_text("#!/bin/sh\nexit 0\n")
        (directory / name).chmod(0o755)
    return directory


def test_fake_programs_on_path_do_not_open_the_gate(project: Project) -> None:
    """The scenario fails although a fake bash and timeout come first on PATH."""
    project.add("fails", "exit 3")
    fakes = create_fakes(project)

    done = run_done(project, ASKS, "task", path=f"{fakes}:{bridged_wg.PATH}")

    assert done.returncode == 1
    assert "FAIL fails: exit 3" in done.stderr
    assert f"WARNING: PATH entry {fakes} shadows system programs: bash, timeout" in done.stderr
    assert not project.done


def test_wg_runs_scripts_with_system_programs(project: Project) -> None:
    """The caller's PATH does not decide which programs run a script."""
    project.add("skips", "echo 'reason: no endpoint' >&2; exit 77")

    done = run_done(project, ASKS, "task", path=f"{create_fakes(project)}:{bridged_wg.PATH}")

    assert '"skips": [77,' in done.stdout, done.stderr
    assert bridged_wg.is_cleaned_up()


def test_bridge_warns_of_fake_programs(project: Project) -> None:
    """A fake cannot be kept from a bare `wg done`, so the bridge warns in advance."""
    project.add("passes", "exit 0")
    fakes = create_fakes(project)
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
    """Arguments after the task are passed to wg, and its output and exit code are unchanged."""
    project.add("passes", "exit 0")

    done = run_done(project, NEVER_ASKS, "task", "--converged", "--other")

    assert done.stdout == "options: --converged --other\n"
    assert done.returncode == 5
    assert bridged_wg.is_cleaned_up()


def test_task_without_scenarios_has_a_warning(project: Project) -> None:
    """The warning says that nothing was run, and wg runs."""
    project.add("foreign", "exit 1", owner="another")

    done = run_done(project, NEVER_ASKS, "task")

    assert project.done
    assert "nothing was run" in done.stderr


def test_missing_manifest_prevents_wg(project: Project) -> None:
    """The gate stays shut where wg itself would pass silently."""
    done = run_done(project, NEVER_ASKS, "task")

    assert done.returncode == 2
    assert "no manifest" in done.stderr
    assert not project.done


def test_unexecutable_wg_is_an_error(project: Project) -> None:
    """A program that the kernel refuses is an error with exit code 125."""
    project.add("foreign", "exit 0", owner="another")

    done = run_done(project, "no program at all", "task")

    assert done.returncode == 125
    assert "cannot be run: Exec format error" in done.stderr


def run_recorded(project: Project, *arguments: str) -> tuple[int, str, list[str] | None]:
    """Run `isosmoke done`; return its exit code and stderr, and the arguments of wg if it ran."""
    file = project.top.parent / "arguments.txt"
    done = run_done(project, RECORDS.format(file=f"'{file}'"), *arguments)
    return done.returncode, done.stderr, file.read_text().splitlines() if file.exists() else None


@pytest.mark.parametrize(
    "arguments",
    [
        "--dir .wg task",
        "--dir=.wg task",
        "task --dir .wg",
        "--json --dir .wg -- task",
        "-- task",
        "--full-smoke other",
    ],
)
def test_task_is_the_one_that_wg_would_complete(project: Project, arguments: str) -> None:
    """The value of an option is never taken for the task, so the failing scenario blocks."""
    project.add("fails", "exit 3")

    code, errors, called = run_recorded(project, *arguments.split())

    assert (code, called) == (1, None), errors
    assert "FAIL fails: exit 3" in errors


def test_arguments_reach_wg_unchanged(project: Project) -> None:
    """Each argument has its place in the arguments of wg, the end of the options too."""
    project.add("passes", "exit 0")
    arguments = ["--dir", ".", "--json", "--", "task"]

    code, errors, called = run_recorded(project, *arguments)

    assert (code, called) == (0, ["done", *arguments]), errors


@pytest.mark.parametrize("arguments", ["--unknown task", "--unknown .wg task", "task -d other"])
def test_option_that_is_unknown_prevents_wg(project: Project, arguments: str) -> None:
    """An option whose value could be the task is an error with a hint."""
    project.add("passes", "exit 0")

    code, errors, called = run_recorded(project, *arguments.split())

    assert (code, called) == (2, None)
    assert "  try: " in errors


def test_help_of_wg_is_shown_without_a_run(project: Project) -> None:
    """Nothing is completed when wg is asked for help."""
    project.add("fails", "exit 3")

    assert run_recorded(project, "task", "--help")[2] == ["done", "task", "--help"]
    assert count_runs(project) == 0


@pytest.fixture
def other(project: Project) -> Project:
    """Return another project with a graph directory."""
    other = Project(project.top.parent / "another project")
    (other.top / ".wg").mkdir(parents=True)
    (other.top / "tests" / "smoke").mkdir(parents=True)
    (other.top / "tests" / "smoke" / "manifest.toml").write_text(
        "[[scenario]]\nname = 'elsewhere'\nscript = 'elsewhere.sh'\nowners = ['task']\n"
    )
    (other.top / "tests" / "smoke" / "elsewhere.sh").write_text("echo 'it broke' >&2; exit 4\n")
    return other


@pytest.mark.parametrize("form", ["--dir {} task", "task --dir={}", "task --dir {}/.wg"])
@pytest.mark.parametrize("has_repository", [True, False])
def test_directory_decides_the_manifest(
    project: Project, other: Project, form: str, *, has_repository: bool
) -> None:
    """The scenarios of the other project block, although this project's would pass."""
    project.add("passes", "exit 0")
    if has_repository:
        Git(project.top)
        Git(other.top)
    arguments = [word.replace("{}", "../another project") for word in form.split()]

    code, errors, called = run_recorded(project, *arguments)

    assert (code, called) == (1, None), errors
    assert "FAIL elsewhere: exit 4: it broke" in errors
    assert list((other.top / ".isosmoke" / "receipts").iterdir())
    assert not (project.top / ".isosmoke" / "receipts").exists()


def test_directory_decides_the_record_of_a_bypass(project: Project, other: Project) -> None:
    """The audit of the other project reports it."""
    code, errors, called = run_recorded(
        project, "task", "--dir", "../another project", "--skip-smoke"
    )

    assert (code, called) == (0, ["done", "task", "--dir", "../another project", "--skip-smoke"])
    assert "this bypass is recorded" in errors
    assert "task" in (other.top / ".isosmoke" / "bypasses.jsonl").read_text()
    assert not (project.top / ".isosmoke" / "bypasses.jsonl").exists()


def test_call_without_a_task_is_refused(project: Project) -> None:
    """Options alone name no task."""
    done = run_done(project, NEVER_ASKS, "--full-smoke")

    assert done.returncode == 2
    assert "no task" in done.stderr


def test_bridge_prints_line_for_eval(project: Project) -> None:
    """Afterwards, a bare `wg done` is gated through the mirror."""
    project.add("passes", "exit 0")
    shell = 'eval "$("$0" -m isosmoke bridge)"; exec "$0" "$@" done task'
    environment = project.environment(NO_VARIABLES)
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
    assert bridged_wg.is_cleaned_up()
