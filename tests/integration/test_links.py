"""No command writes or reads through a symbolic link that a repository has prepared."""

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from support import available
from support.git_repositories import Git
from support.project import Project

TARGETS: Mapping[str, Callable[[Path], str]] = {
    "itself": lambda _: ".",
    "inside": lambda _: "scenarios",
    "outside": lambda directory: str(directory / "outside"),
    "home": lambda directory: str(directory / "home"),
    "dangling": lambda directory: str(directory / "outside/missing"),
    "file": lambda directory: str(directory / "outside/.gitignore"),
}
"""The targets of links in a prepared repository."""


RECORDS = (".isosmoke", ".isosmoke/runs", ".isosmoke/receipts", ".isosmoke/bypasses.jsonl")


COMMANDS = (
    ("run", "good", "--engine", "bubblewrap"),
    ("gate", "task-a", "--engine", "bubblewrap"),
    ("done", "task-a"),
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project with its own `.gitignore`, next to another directory of its user."""
    project = Project.within(tmp_path)
    Git(project.top).commit("all", _gitignore="mine\n")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/.gitignore").write_text("precious\n")
    return project


def link(project: Project, name: str, target: str) -> None:
    """Create a link in the project, and its parent directory."""
    path = project.path(name)
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(target)


def list_user_files(project: Project) -> dict[str, bytes]:
    """Return all files that no command may change: everything except isosmoke's state."""
    files = available.snapshot(project.top.parent)
    return {path: line for path, line in files.items() if path.partition("/")[0] != "state"}


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
@pytest.mark.parametrize("target", TARGETS)
def test_no_command_follows_a_link_to_the_records(
    project: Project, target: str, arguments: tuple[str, ...]
) -> None:
    """Each command is refused with the link's path, and no file of the user changes."""
    available.require_engine("bubblewrap")
    link(project, ".isosmoke", TARGETS[target](project.top.parent))
    before = list_user_files(project)

    done = project.run(*arguments)

    assert done.returncode == 2, done.stderr
    assert str(project.path(".isosmoke")) in done.stderr
    assert list_user_files(project) == before


@pytest.mark.parametrize("name", RECORDS[1:])
def test_no_gate_follows_a_link_among_the_records(project: Project, name: str) -> None:
    """A link in the records directory shuts the gate before anything is run."""
    available.require_engine("bubblewrap")
    link(project, name, str(project.top.parent / "outside"))
    before = list_user_files(project)

    done = project.run("gate", "task-a", "--engine", "bubblewrap")

    assert done.returncode == 2, done.stderr
    assert str(project.path(name)) in done.stderr
    assert {path for path in list_user_files(project) if "outside" in path} == {
        path for path in before if "outside" in path
    }


@pytest.mark.parametrize("name", [".isosmoke", ".isosmoke/bypasses.jsonl"])
def test_bypass_is_not_recorded_through_a_link(project: Project, name: str) -> None:
    """The gate stays shut, and no line is appended to a file of the user."""
    link(project, name, str(project.top.parent / "outside/.gitignore"))
    before = list_user_files(project)

    done = project.run("gate", "task-a", "--skip-smoke")

    assert done.returncode == 2, done.stderr
    assert list_user_files(project) == before


@pytest.mark.parametrize("arguments", [("runs",), ("show",), ("logs", "good"), ("audit",)])
def test_no_record_is_read_through_a_link(project: Project, arguments: tuple[str, ...]) -> None:
    """Prepared runs and receipts in another directory are not read."""
    link(project, ".isosmoke", str(project.top.parent / "outside"))
    project.path(".wg").mkdir()
    project.path(".wg/graph.jsonl").write_text('{"kind": "task", "id": "task-a"}\n')

    done = project.run(*arguments)

    assert done.returncode == 2, done.stdout + done.stderr
    assert str(project.path(".isosmoke")) in done.stderr


def test_existing_gitignore_is_kept(project: Project) -> None:
    """A project's own file in the records directory is not replaced."""
    available.require_engine("bubblewrap")
    project.path(".isosmoke").mkdir()
    project.path(".isosmoke/.gitignore").symlink_to("../.gitignore")

    assert project.run("run", "good", "--engine", "bubblewrap").returncode == 0
    assert project.path(".gitignore").read_text() == "mine\n"
    assert project.path(".isosmoke/.gitignore").is_symlink()


@pytest.mark.parametrize("make", [os.symlink, os.link])
def test_locking_through_a_link_is_refused(
    project: Project, make: Callable[[Path, Path], None]
) -> None:
    """A lock file that is a symbolic or hard link does not change the linked file."""
    available.require_engine("bubblewrap")
    project.path(".isosmoke/runs").mkdir(parents=True)
    make(project.path("wg"), project.path(".isosmoke/runs/.lock"))
    before = project.binary.read_bytes()

    done = project.run("run", "good", "--engine", "bubblewrap")

    assert done.returncode == 2, done.stderr
    assert project.binary.read_bytes() == before


def test_old_runs_are_not_removed_through_a_link(project: Project) -> None:
    """If the directory of runs links to another project's, its runs are not removed."""
    available.require_engine("bubblewrap")
    runs = project.top.parent / "outside/runs"
    for number in range(30):
        (runs / f"20200101-000000-{number:04x}").mkdir(parents=True)
    link(project, ".isosmoke/runs", str(runs))
    before = available.snapshot(runs)

    assert project.run("run", "good", "--engine", "bubblewrap").returncode == 2
    assert available.snapshot(runs) == before


def test_repro_refuses_a_link_in_place_of_the_records(project: Project) -> None:
    """No sandbox is created if the link would hide the whole project in it."""
    available.require_engine("bubblewrap")
    link(project, ".isosmoke", ".")

    done = project.run("repro", "good", "--engine", "bubblewrap")

    assert done.returncode == 2, done.stderr
    assert str(project.path(".isosmoke")) in done.stderr


def test_repro_saves_nothing_through_a_link(project: Project) -> None:
    """If the directory of scripts links out of the project, no file is created there."""
    available.require_engine("bubblewrap")
    scripts = project.path("scenarios").rename(project.top.parent / "outside/scenarios")
    project.path("scenarios").symlink_to(scripts)
    before = list_user_files(project)

    done = subprocess.run(
        project.command("repro", "--engine", "bubblewrap", "--save", "typed", "--owner", "a"),
        cwd=project.top,
        env=project.environment(),
        input="true\n",
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2, done.stderr
    assert "scenarios" in done.stderr
    assert list_user_files(project) == before


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("manifest.toml", "outside/other.toml"),
        ("manifest.toml", "project/.git/other.toml"),
        ("scenarios", "outside/scenarios"),
        ("scenarios", "project/.git/scenarios"),
    ],
)
def test_new_adds_nothing_through_a_link_out_of_the_project(
    project: Project, name: str, target: str
) -> None:
    """A manifest or directory of scripts outside the project, or in `.git`, is not changed."""
    moved = project.path(name).rename(project.top.parent / target)
    project.path(name).symlink_to(moved)
    before = list_user_files(project)

    done = project.run("new", "fresh", "--owner", "a", "--assertion", "It holds.")

    assert done.returncode == 2, done.stderr
    assert name in done.stderr
    assert list_user_files(project) == before


@pytest.mark.parametrize("name", [".isosmoke", ".isosmoke/bridge.toml", ".isosmoke/bridge.sh"])
def test_no_mirror_is_written_through_a_link(project: Project, name: str) -> None:
    """The bridge creates no file in the target of a link."""
    target = "outside" if name == ".isosmoke" else "outside/missing"
    link(project, name, str(project.top.parent / target))
    before = list_user_files(project)

    done = project.run("bridge")

    assert done.returncode == 2, done.stderr
    assert str(project.path(name)) in done.stderr
    assert list_user_files(project) == before


def test_bundle_is_not_written_through_a_link(project: Project) -> None:
    """A link with the former name of unfinished bundles does not change its target."""
    available.require_engine("bubblewrap")
    assert project.run("run", "good", "--engine", "bubblewrap").returncode == 0
    outside = project.top.parent / "outside/.gitignore"
    project.path(".good.isosmoke.tar.gz.unfinished").symlink_to(outside)

    done = project.run("bundle", "good")

    assert done.returncode == 0, done.stderr
    assert outside.read_text() == "precious\n"
    assert project.path("good.isosmoke.tar.gz").is_file()


def test_sweep_ignores_a_link_in_the_scratch_directory(project: Project) -> None:
    """Neither the link nor the empty directories in its target are removed."""
    outside = project.top.parent / "outside"
    (outside / "work-0/work").mkdir(parents=True)
    project.state.mkdir()
    (project.state / "scratch").mkdir()
    (project.state / "scratch/dead").symlink_to(outside)
    before = list_user_files(project)

    done = project.run("sweep")

    assert done.returncode == 0, done.stderr
    assert list_user_files(project) == before


def test_sweep_refuses_a_link_in_place_of_the_scratch_directory(project: Project) -> None:
    """If the scratch directory is a link, no file in its target is removed."""
    project.state.mkdir()
    (project.state / "scratch").symlink_to(project.top.parent / "outside")
    before = list_user_files(project)

    done = project.run("sweep")

    assert done.returncode == 2, done.stderr
    assert str(project.state / "scratch") in done.stderr
    assert list_user_files(project) == before


@pytest.mark.parametrize("kind", ["junit", "jsonl"])
@pytest.mark.parametrize("name", ["report", "directory/report"])
def test_report_is_not_written_through_a_link_out_of_the_repository(
    project: Project, name: str, kind: str
) -> None:
    """If the path of a report is a link out of the repository, nothing is run or written."""
    outside = project.top.parent / "outside"
    (outside / "report").write_text("precious")
    first, _, rest = name.partition("/")
    link(project, first, str(outside / "report" if not rest else outside))
    before = list_user_files(project)

    done = project.run("run", "good", "--report", f"{kind}={name}")

    assert done.returncode == 2, done.stderr
    assert f"{project.path(name)} leads through a symbolic link" in done.stderr
    assert list_user_files(project) == before


def test_past_report_is_not_written_through_a_link_out_of_the_repository(project: Project) -> None:
    """The report of a past run is not written through such a link either."""
    available.require_engine("bubblewrap")
    outside = project.top.parent / "outside/report"
    outside.write_text("precious")
    project.run("run", "good", "--engine", "bubblewrap")
    link(project, "report", str(outside))

    done = project.run("report", "--as", "junit", "-o", "report")

    assert done.returncode == 2, done.stderr
    assert outside.read_text() == "precious"


def test_report_is_written_through_the_users_own_link(project: Project) -> None:
    """Links outside a repository, and links inside one to its own files, are followed."""
    available.require_engine("bubblewrap")
    own = project.top.parent / "own.xml"
    own.symlink_to(project.top.parent / "outside/report.xml")
    link(project, "link.xml", "report.xml")
    project.path("report.xml").write_text("before")
    options = ("--report", f"junit={own}", "--report", "html=link.xml")

    done = project.run("run", "good", "--engine", "bubblewrap", *options)

    assert done.returncode == 0, done.stderr
    assert "<testsuite" in (project.top.parent / "outside/report.xml").read_text()
    assert own.is_symlink()
    assert "<html" in project.path("report.xml").read_text()
