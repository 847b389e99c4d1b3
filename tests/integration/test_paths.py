"""Projects at unusual paths: reached through links, and with names that are not UTF-8."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from support import available, wg_stand_in
from support.available import ENGINE_NAMES
from support.git_repositories import Git
from support.project import Project

SEES_LINKED_PATHS = """
[[scenario]]
name = "sees"
script = "scenarios/sees.sh"
pass_files = ["PASSED"]
"""

_ENGINES = [name for name in ENGINE_NAMES if name != "podman"]


@pytest.mark.parametrize("engine", _ENGINES)
def test_every_name_of_the_workspace_exists_inside(tmp_path: Path, engine: str) -> None:
    """A link above the project, in PWD, an argument, the manifest and HOME, leads to the copy."""
    available.require_engine(engine)
    (tmp_path / "var/user").mkdir(parents=True)
    (tmp_path / "homes").symlink_to("var")
    project = Project.within(tmp_path / "var/user")
    named = tmp_path / "homes/user"
    (tmp_path / "other").symlink_to(project.top)
    project.path("passed").write_text("passed\n")
    project.path("plain").write_text("plain\n")
    project.manifest.write_text(SEES_LINKED_PATHS.replace("PASSED", str(named / "project/passed")))
    project.path("scenarios/sees.sh").write_text(
        f"cd {named}/project && test -s passed && cat {named}/project/plain\n"
        "cd ~/project && pwd -P\n"
        f"echo new >{named}/project/file && cat {project.top}/file\n"
    )
    project.binary.rename(tmp_path / "wg")
    environment = {
        **project.environment(),
        "HOME": str(named),
        "PWD": str(named / "project"),
        "ISOSMOKE_WG": str(tmp_path / "wg"),
        "ISOSMOKE_STATE": str(tmp_path / "state"),
        "PATH": f"{named}/project/bin:{available.PATH}",
    }

    def run(*arguments: str) -> str:
        done = subprocess.run(
            project.command("run", "--engine", engine, *arguments),
            cwd=named / "project",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (log,) = project.top.glob(".isosmoke/runs/*/*/output-1.log")
        output = log.read_text()
        log.unlink()
        return output

    project.path("bin").mkdir()
    expected = f"plain\n{project.top}\nnew\n"
    assert run() == expected
    assert run("--manifest", str(named / "project/manifest.toml")) == expected
    assert run("--", "cat", str(tmp_path / "other/plain")) == "plain\n"
    assert not project.path("file").exists()


def create_work_tree(directory: Path, name: str) -> Project:
    """Return a project in a linked work tree with this name; its repository is `main`."""
    project = Project.within(directory)
    git = Git(project.top)
    git.commit("one")
    project.top.rename(directory / "main")
    git = Git(directory / "main")
    git("worktree", "add", "--quiet", "--detach", str(directory / name))
    return Project(directory / name, project.state)


def test_path_that_is_not_utf8_works_in_every_command(tmp_path: Path) -> None:
    """Paths are bytes: they are escaped where they are printed, and restored for use."""
    available.require_engine("bubblewrap")
    project = create_work_tree(tmp_path, os.fsdecode(b"caf\xe9"))

    def run(status: int, *arguments: str) -> str:
        done = project.run(*arguments)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    assert "caf\\\\udce9" in run(1, "run", "--json", "bad")
    assert run(0, "logs", "bad") == "broken\n"
    assert "FAIL" in run(0, "show", "bad")
    run(0, "repro", "bad")
    run(0, "bundle", "bad")
    run(1, "run", "--bundle", "bad.isosmoke.tar.gz")
    run(0, "gate", "task-a")
    (receipt,) = (*project.receipts(), *(tmp_path / "main/.isosmoke/receipts").glob("*.json"))
    run(0, "receipt", "verify", str(receipt))
    assert "caf\\351" in run(0, "bridge")
    mirror = project.path(".isosmoke/bridge.toml")
    assert tomllib.loads(mirror.read_text())["bridge"]["source"].endswith(
        r"caf\udce9/manifest.toml"
    )
    assert "good" in run(0, "list", "--manifest", str(mirror))


@pytest.mark.parametrize("has_state_outside", [True, False])
def test_done_works_at_a_path_that_is_not_utf8(tmp_path: Path, *, has_state_outside: bool) -> None:
    """`isosmoke done` gates wg and serves its verdicts, whose path can be such a path too."""
    available.require_engine("bubblewrap")
    directory = tmp_path / os.fsdecode(b"caf\xe9")
    directory.mkdir()
    project = Project.within(directory)
    Git(project.top).commit("one")
    project.binary.write_text(
        f'#!/bin/sh\nshift\nexec "{sys.executable}" "{wg_stand_in.__file__}" done "$@"\n'
    )
    state = tmp_path / "state" if has_state_outside else project.state

    opened = project.run("done", "task-a", ISOSMOKE_STATE=str(state))
    shut = project.run("done", "task-b", ISOSMOKE_STATE=str(state))

    assert opened.returncode == 0, opened.stdout + opened.stderr
    assert json.loads(opened.stdout)["good"][0] == 0
    assert project.path(wg_stand_in.DONE).read_text() == "task-a\n"
    assert shut.returncode == 1, shut.stdout + shut.stderr
    assert "gate: SHUT for 'task-b'" in shut.stderr


def test_pytest_works_at_a_path_that_is_not_utf8(tmp_path: Path) -> None:
    """Scenarios are items, the fixture `sandbox` runs, and a failure has its log."""
    available.require_engine("bubblewrap")
    project = create_work_tree(tmp_path, os.fsdecode(b"caf\xe9"))
    project.path("test_it.py").write_text(
        "def test_it(sandbox):\n    assert sandbox('pwd', '-P').exit_code == 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "manifest.toml", "test_it.py"],
        cwd=project.top,
        env={**project.environment(), "PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 2 passed, 1 skipped" in done.stdout, done.stdout + done.stderr
    assert "FAIL: exit 3: broken" in done.stdout


def test_container_cannot_have_a_path_that_is_not_utf8(tmp_path: Path) -> None:
    """The daemon's format cannot express the path, so it is an error and not a FAIL."""
    available.require_engine("docker")
    project = create_work_tree(tmp_path, os.fsdecode(b"caf\xe9"))
    done = project.run("run", "--engine", "docker", "good")
    assert done.returncode == 125, done.stdout + done.stderr
    assert "which is not UTF-8" in done.stderr


def test_work_tree_without_its_repository_is_used_without_git(tmp_path: Path) -> None:
    """One line says what is missing; the scenarios run, and a bundle has the files."""
    available.require_engine("bubblewrap")
    project = create_work_tree(tmp_path, "tree")
    shutil.rmtree(tmp_path / "main")
    done = project.run("run", "bad")

    assert done.returncode == 1, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count("git repository that is missing") == 1
    assert project.run("bundle", "bad").returncode == 0
    assert project.run("gate", "task-a").returncode == 0


@pytest.mark.parametrize("engine", _ENGINES)
def test_root_uses_a_checkout_of_another_user(tmp_path: Path, engine: str) -> None:
    """As root outside, a script reads, changes and commits files of another owner."""
    if os.getuid() != 0:
        pytest.skip("only root is above the permissions of files")
    available.require_engine(engine)
    project = Project.within(tmp_path)
    project.path("scenarios/good.sh").write_text(
        "set -e\ncat private\necho more >>private\nchmod 644 private\n"
        "git add private\ngit commit --quiet --message two\nrm scenarios/lib.sh\n"
    )
    project.path("private").write_text("private\n")
    project.path("private").chmod(0o600)
    Git(project.top).commit("one")
    for path in (project.top, *project.top.rglob("*")):
        os.chown(path, 1234, 1234)
    done = project.run("run", "--engine", engine, "good")
    assert done.returncode == 0, done.stdout + done.stderr


def test_root_has_no_capability_in_its_own_checkout(tmp_path: Path) -> None:
    """The capabilities are for the checkout of another user only."""
    available.require_engine("bubblewrap")
    project = Project.within(tmp_path)
    done = project.run("run", "--", "grep", "-q", "^CapEff:\t0*$", "/proc/self/status")
    assert done.returncode == 0, done.stdout + done.stderr
