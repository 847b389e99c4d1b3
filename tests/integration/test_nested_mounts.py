"""Mounts inside the workspace: visible in the sandbox at their paths, and unchanged."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import pytest

from isosmoke.engines.bubblewrap import bwrap_program
from isosmoke.engines.bubblewrap.engine import BubblewrapEngine
from isosmoke.results.outcome import Exited
from isosmoke.sandbox.spec import CopyOnWrite
from isosmoke.testing.bench import Bench, run
from support import available
from support.podman_service import find_subordinate_user, service

SCRIPT = """
set -eu
cat "node modules/inner" target/built target/deep/leaf settings
echo changed >"node modules/inner"
rm target/built
echo more >>target/deep/leaf
touch target/new
if echo x 2>/dev/null >settings; then exit 9; fi
cat "node modules/inner" target/deep/leaf
"""
"""A script that reads all mounts, changes the writable ones, and reads them again."""

OUTPUT = ["inner", "built", "leaf", "settings", "changed", "leaf", "more"]

CHANGES = {
    "node modules/inner": "changed",
    "target/built": "removed",
    "target/deep/leaf": "changed",
    "target/new": "added",
}


@contextmanager
def mounted(*args: str) -> Iterator[None]:
    """Mount with these arguments of mount(8), of which the last is the mount point."""
    subprocess.run(["mount", *args], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", args[-1]], check=True)


@pytest.fixture
def directory() -> Iterator[Path]:
    """Yield a directory with a project, which all users may read."""
    if os.getuid() != 0:
        pytest.skip("only root can mount")
    path = Path(mkdtemp(prefix="isosmoke-mounts-"))
    path.chmod(0o755)
    (path / "project").mkdir()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, path)
        stack.callback(available.unmount, path)
        yield path


@pytest.fixture
def project(directory: Path) -> Iterator[Path]:
    """Yield a project with mounts: in memory, of a directory, nested, and of a single file."""
    top = directory / "project"
    for path in ("node modules", "target", "../elsewhere"):
        (top / path).mkdir()
    (top / "settings").touch()
    (directory / "elsewhere/settings").write_text("settings\n")
    with ExitStack() as stack:
        stack.enter_context(mounted("-t", "tmpfs", "none", str(top / "node modules")))
        stack.enter_context(mounted("--bind", str(directory / "elsewhere"), str(top / "target")))
        (top / "target/deep").mkdir()
        stack.enter_context(mounted("-t", "tmpfs", "none", str(top / "target/deep")))
        settings = str(directory / "elsewhere/settings")
        stack.enter_context(mounted("--bind", settings, str(top / "settings")))
        for path in ("node modules/inner", "target/built", "target/deep/leaf"):
            (top / path).write_text(f"{Path(path).name}\n")
        yield top


def run_isosmoke(
    user: available.User, project: Path, *args: str, working: str = "."
) -> "subprocess.CompletedProcess[str]":
    """Run isosmoke as a user who owns the project."""
    user.create_directories(project.parent / "own")
    user.give_ownership(project)
    return user.run(*args, folder=project.parent / "own", working=project / working)


def list_files(project: Path) -> dict[str, bytes]:
    """Return the files of the project without isosmoke's records."""
    files = available.snapshot(project)
    return {path: line for path, line in files.items() if not path.startswith(".isosmoke")}


def check_mounts(user: available.User, engine: str, project: Path) -> None:
    """Check that a sandbox shows and reports the mounts, and leaves the host unchanged."""
    user.create_directories(project.parent / "own")
    user.give_ownership(project)
    before = list_files(project)

    done = run_isosmoke(
        user, project, "run", "--engine", engine, "--evidence", "always", "--json", "--",
        "sh", "-c", SCRIPT,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    (scenario,) = json.loads(done.stdout)["scenarios"]
    assert scenario["output"]["last_lines"] == OUTPUT
    changes = {
        change["path"]: change["change"]
        for change in scenario["attempts"][0]["evidence"]["changes"]
    }
    workspace_changes = {
        str(Path(path).relative_to(project)): change
        for path, change in changes.items()
        if path.startswith(f"{project}/")
    }
    assert workspace_changes == CHANGES
    assert list_files(project) == before


@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_sandbox_of_root_shows_mounts_in_workspace(name: str, project: Path) -> None:
    """Each mount is a copy at its path, its changes are evidence, and the host is unchanged."""
    user = available.current_user()
    user.require_engine(name)
    check_mounts(user, name, project)


@pytest.mark.parametrize("name", ["docker", "podman"])
def test_daemon_shows_mounts_to_ordinary_user(name: str, project: Path) -> None:
    """A user with access to the daemon has the same sandbox as root."""
    user = available.ordinary_user()
    user.require_engine(name)
    check_mounts(user, name, project)


def test_podman_of_root_shows_mounts(project: Path) -> None:
    """The sandbox is the same with Podman's own overlays."""
    with service(available.current_user(), "runc") as podman:
        check_mounts(podman.client, "podman", project)


def check_refusal(user: available.User, engine: str, project: Path) -> str:
    """Check that nothing runs and all mounts are reported; return the reason."""
    done = run_isosmoke(user, project, "run", "--engine", engine, "--json", "--", "echo", "it ran")

    assert done.returncode == 125, done.stdout + done.stderr
    (scenario,) = json.loads(done.stdout)["scenarios"]
    assert scenario["output"]["size"] == 0
    reason = str(scenario["reason"])
    for path in ("node modules", "target", "target/deep"):
        assert str(project / path) in reason
    assert "bwrap:" not in reason
    assert "invalid argument" not in reason.lower()
    return reason


def test_bubblewrap_reports_mounts_to_ordinary_user(project: Path) -> None:
    """The kernel forbids the mounts, so nothing runs, and each is reported with a hint."""
    user = available.ordinary_user()
    user.require_engine("bubblewrap")

    assert "--engine docker" in check_refusal(user, "bubblewrap", project)


def test_rootless_podman_reports_mounts(project: Path) -> None:
    """The kernel also forbids the mounts in Podman's user namespace."""
    with service(find_subordinate_user(), "runc") as podman:
        assert "mount them outside the workspace" in check_refusal(podman.client, "podman", project)


def test_hidden_directory_may_be_a_mount(directory: Path) -> None:
    """Isosmoke's records may be on another disk, and are hidden from scripts."""
    user = available.current_user()
    user.require_engine("bubblewrap")
    project = directory / "project"
    (project / ".isosmoke").mkdir()
    with mounted("-t", "tmpfs", "none", str(project / ".isosmoke")):
        done = run_isosmoke(
            user, project, "run", "--engine", "bubblewrap", "--",
            "sh", "-c", 'test -z "$(ls .isosmoke)"',
        )  # fmt: skip
        runs = len(list((project / ".isosmoke/runs").glob("2*")))

    assert done.returncode == 0, done.stdout + done.stderr
    assert runs == 1


@pytest.mark.parametrize("name", [".isosmoke", "settings"])
def test_bubblewrap_reports_file_and_hidden_mounts(name: str, directory: Path) -> None:
    """A mounted file or hidden directory also prevents an ordinary user's copy of its parent."""
    user = available.ordinary_user()
    user.require_engine("bubblewrap")
    project = directory / "project"
    (directory / "settings").touch()
    (project / "settings").touch()
    (project / ".isosmoke").mkdir()
    args = {".isosmoke": ("-t", "tmpfs", "none"), "settings": ("--bind", f"{directory}/settings")}
    with mounted(*args[name], str(project / name)):
        done = run_isosmoke(user, project, "run", "--engine", "bubblewrap", "--", "echo", "it ran")

    assert done.returncode == 125, done.stdout + done.stderr
    assert str(project / name) in done.stdout + done.stderr
    assert "Can't make overlay mount" not in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["bubblewrap", "docker"])
def test_working_directory_may_be_in_a_mount(name: str, directory: Path) -> None:
    """The caller's working directory is in a mount, which is a separate repository."""
    user = available.current_user()
    user.require_engine(name)
    project = directory / "project"
    (project / "inner").mkdir()
    with mounted("-t", "tmpfs", "none", str(project / "inner")):
        (project / "inner/deep").mkdir()
        (project / "inner/deep/file").write_text("found\n")
        (project / ".git").mkdir()
        done = run_isosmoke(
            user, project, "run", "--engine", name, "--", "grep", "found", "file",
            working="inner/deep",
        )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr


def test_covering_mount_is_shown(directory: Path) -> None:
    """The sandbox shows the visible mounts of the host, not those that are covered."""
    user = available.current_user()
    user.require_engine("bubblewrap")
    project = directory / "project"
    (project / "data").mkdir()
    with ExitStack() as stack:
        for text in ("first", "second"):
            stack.enter_context(mounted("-t", "tmpfs", "none", str(project / "data")))
            (project / "data/deep").mkdir()
            stack.enter_context(mounted("-t", "tmpfs", "none", str(project / "data/deep")))
            for path in ("data", "data/deep"):
                (project / path / "file").write_text(f"{text}\n")
        done = run_isosmoke(
            user, project, "run", "--engine", "bubblewrap", "--",
            "grep", "second", "data/file", "data/deep/file",
        )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["bubblewrap", "docker"])
def test_file_system_without_overlay_support_is_reported(name: str, directory: Path) -> None:
    """A file system that Linux cannot use in an overlay is reported, and nothing runs."""
    user = available.current_user()
    user.require_engine(name)
    project = directory / "project"
    (project / "system").mkdir()
    user.create_directories(directory / "own")
    args = ("run", "--engine", name, "--json", "--", "echo", "it ran")
    with mounted("-t", "proc", "none", str(project / "system")):
        done = user.run(*args, folder=directory / "own", working=project)

    assert done.returncode == 125, done.stdout + done.stderr
    (scenario,) = json.loads(done.stdout)["scenarios"]
    assert scenario["output"]["size"] == 0
    assert str(project / "system") in scenario["reason"]
    assert "Can't make overlay mount" not in scenario["reason"]


def test_mounted_device_is_reported_before_run(directory: Path) -> None:
    """A device that is mounted in the workspace prevents the run, and is reported."""
    user = available.current_user()
    project = directory / "project"
    (project / "null").touch()
    with mounted("--bind", "/dev/null", str(project / "null")):
        done = run_isosmoke(user, project, "run", "--engine", "bubblewrap", "--", "echo", "it ran")

    assert done.returncode == 2, done.stdout + done.stderr
    assert f"{project}/null" in done.stderr
    assert "sudo umount" in done.stderr


def test_unreadable_mount_is_reported(directory: Path) -> None:
    """An unreadable directory, which would be empty in the sandbox, is reported."""
    user = available.ordinary_user()
    project = directory / "project"
    (project / "closed").mkdir()
    user.create_directories(directory / "own")
    user.give_ownership(project)
    with mounted("-t", "tmpfs", "-o", "mode=0700", "none", str(project / "closed")):
        done = user.run(
            "run", "--engine", "docker", "--", "echo", "it ran",
            folder=directory / "own", working=project,
        )  # fmt: skip

    assert done.returncode == 2, done.stdout + done.stderr
    assert f"{project}/closed" in done.stderr


def test_mount_invisible_to_daemon_is_reported(directory: Path) -> None:
    """A mount in isosmoke's own mount namespace is invisible to the daemon, and is reported."""
    user = available.current_user()
    user.require_engine("docker")
    user.create_directories(directory / "own")
    project = directory / "project"
    (project / "modules").mkdir()
    line = 'mount -t tmpfs none modules && touch modules/inner && exec "$@"'
    done = subprocess.run(
        [
            "unshare", "--mount", "sh", "-c", line, "sh",
            *user.command("run", "--engine", "docker", "--json", "--", "ls", "modules"),
        ],
        cwd=project,
        env=user.environment(directory / "own"),
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip

    assert done.returncode == 125, done.stdout + done.stderr
    (scenario,) = json.loads(done.stdout)["scenarios"]
    assert f"does not see what is mounted at {project}/modules" in scenario["reason"]
    assert scenario["output"]["size"] == 0


def test_copies_in_memory_show_mounts(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without layers on disk, a mount is a copy as well."""
    available.require_engine("bubblewrap")
    program = replace(bwrap_program.find_program(), layers_on_disk=False)
    monkeypatch.setattr(bwrap_program, "find_program", lambda: program)
    bench = Bench(directory / "bench")
    (bench.workspace / "data").mkdir()
    with mounted("-t", "tmpfs", "none", str(bench.workspace / "data")):
        (bench.workspace / "data/inner").write_text("inner\n")
        job = bench.shell("grep inner data/inner && rm data/inner && touch data/new")
        spec = replace(job.spec, mounts=(*job.spec.mounts, CopyOnWrite(bench.workspace / "data")))
        result = run(BubblewrapEngine(), replace(job, spec=spec))
        names = [path.name for path in (bench.workspace / "data").iterdir()]

    assert result.ending == Exited(0), result.output
    assert names == ["inner"]


@pytest.mark.parametrize("name", ["bubblewrap", "docker"])
def test_mount_below_read_only_directory_is_read_only(name: str, directory: Path) -> None:
    """A mount in a read-only directory of the host is visible, but read-only."""
    engine = available.require_engine(name)
    bench = Bench(directory / "bench")
    (bench.fixed / "data").mkdir()
    with mounted("-t", "tmpfs", "none", str(bench.fixed / "data")):
        (bench.fixed / "data/inner").write_text("inner\n")
        line = f"grep inner {bench.fixed}/data/inner && ! touch {bench.fixed}/data/new"
        result = run(engine, bench.shell(line))

    assert result.ending == Exited(0), result.output


def test_too_deep_overlay_is_reported(directory: Path) -> None:
    """Linux stacks two overlays; a third one, which a copy requires, is impossible."""
    user = available.current_user()
    user.require_engine("bubblewrap")
    project = directory / "project"
    user.create_directories(directory / "own")
    with ExitStack() as stack:
        (directory / "disk").mkdir()
        stack.enter_context(mounted("-t", "tmpfs", "none", str(directory / "disk")))
        lower = directory / "disk/lower"
        lower.mkdir()
        for target in (directory / "disk/once", project / "twice"):
            parts = [directory / "disk" / f"{part}-{target.name}" for part in ("upper", "work")]
            for path in (*parts, target):
                path.mkdir()
            options = f"lowerdir={lower},upperdir={parts[0]},workdir={parts[1]}"
            stack.enter_context(mounted("-t", "overlay", "-o", options, "none", str(target)))
            lower = target
        args = ("run", "--engine", "bubblewrap", "--json", "--", "echo", "it ran")
        done = user.run(*args, folder=directory / "own", working=project)

    assert done.returncode == 125, done.stdout + done.stderr
    (scenario,) = json.loads(done.stdout)["scenarios"]
    assert f"{project}/twice" in scenario["reason"]
    assert scenario["output"]["size"] == 0


def test_bundle_and_repro_have_mounts(directory: Path) -> None:
    """A bundle includes the files of a mount, and a shell in the sandbox shows them."""
    user = available.current_user()
    user.require_engine("bubblewrap")
    project = directory / "project"
    (project / "data").mkdir()
    (project / "manifest.toml").write_text('[[scenario]]\nname = "one"\nscript = "one.sh"\n')
    (project / "one.sh").write_text("grep inner data/inner\n")
    with mounted("-t", "tmpfs", "none", str(project / "data")):
        (project / "data/inner").write_text("inner\n")
        done = run_isosmoke(user, project, "run", "one", "--engine", "bubblewrap")
        assert done.returncode == 0, done.stdout + done.stderr
        assert run_isosmoke(user, project, "bundle", "one").returncode == 0
        shell = subprocess.run(
            user.command("repro", "one", "--engine", "bubblewrap"),
            cwd=project,
            env=user.environment(directory / "own"),
            input="cat data/inner\n",
            capture_output=True,
            text=True,
            check=False,
        )
    rerun = run_isosmoke(
        user, project, "run", "--bundle", "one.isosmoke.tar.gz", "--engine", "bubblewrap"
    )

    assert shell.stdout == "inner\n", shell.stderr
    assert rerun.returncode == 0, rerun.stdout + rerun.stderr
