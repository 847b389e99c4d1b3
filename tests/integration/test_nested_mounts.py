"""What is mounted inside the workspace is in the sandbox, at its place, and stays as it is."""

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
from support.podman_service import service, subordinate

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
"""Reads all that is mounted, changes what may be changed, and reads that again."""

SEEN = ["inner", "built", "leaf", "settings", "changed", "leaf", "more"]

CHANGES = {
    "node modules/inner": "changed",
    "target/built": "removed",
    "target/deep/leaf": "changed",
    "target/new": "added",
}


@contextmanager
def mounted(*words: str) -> Iterator[None]:
    """A mount, by the words of mount(8), the last of which is its point."""
    subprocess.run(["mount", *words], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", words[-1]], check=True)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a project, which everybody may look into."""
    if os.getuid() != 0:
        pytest.skip("only root can mount")
    folder = Path(mkdtemp(prefix="isosmoke-mounts-"))
    folder.chmod(0o755)
    (folder / "project").mkdir()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        stack.callback(available.unmount, folder)
        yield folder


@pytest.fixture
def project(place: Path) -> Iterator[Path]:
    """A project with mounts: in memory, of a folder, one in another, and of a single file."""
    top = place / "project"
    for one in ("node modules", "target", "../elsewhere"):
        (top / one).mkdir()
    (top / "settings").touch()
    (place / "elsewhere/settings").write_text("settings\n")
    with ExitStack() as stack:
        stack.enter_context(mounted("-t", "tmpfs", "none", str(top / "node modules")))
        stack.enter_context(mounted("--bind", str(place / "elsewhere"), str(top / "target")))
        (top / "target/deep").mkdir()
        stack.enter_context(mounted("-t", "tmpfs", "none", str(top / "target/deep")))
        settings = str(place / "elsewhere/settings")
        stack.enter_context(mounted("--bind", settings, str(top / "settings")))
        for one in ("node modules/inner", "target/built", "target/deep/leaf"):
            (top / one).write_text(f"{Path(one).name}\n")
        yield top


def ran(
    who: available.User, project: Path, *words: str, working: str = "."
) -> "subprocess.CompletedProcess[str]":
    """A command of isosmoke by a user who owns the project."""
    who.settle_in(project.parent / "own")
    who.take_over(project)
    return who.run(*words, folder=project.parent / "own", working=project / working)


def kept(project: Path) -> dict[str, bytes]:
    """The project without isosmoke's records."""
    found = available.listing(project)
    return {path: line for path, line in found.items() if not path.startswith(".isosmoke")}


def shown(who: available.User, engine: str, project: Path) -> None:
    """Expect the mounts in a sandbox, what changed at its place, and a host that is as it was."""
    who.settle_in(project.parent / "own")
    who.take_over(project)
    before = kept(project)

    done = ran(
        who, project, "run", "--engine", engine, "--evidence", "always", "--json", "--",
        "sh", "-c", SCRIPT,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    (scenario,) = json.loads(done.stdout)["scenarios"]
    assert scenario["output"]["last_lines"] == SEEN
    changes = {one["path"]: one["change"] for one in scenario["attempts"][0]["evidence"]["changes"]}
    found = {
        str(Path(path).relative_to(project)): change
        for path, change in changes.items()
        if path.startswith(f"{project}/")
    }
    assert found == CHANGES
    assert kept(project) == before


@pytest.mark.parametrize("name", available.NAMES)
def test_roots_sandbox_shows_what_is_mounted_in_the_workspace(name: str, project: Path) -> None:
    """Each mount is a copy at its place, its changes are evidence, and the host has none."""
    who = available.me()
    who.must_have(name)
    shown(who, name, project)


@pytest.mark.parametrize("name", ["docker", "podman"])
def test_a_daemon_shows_an_ordinary_user_what_is_mounted(name: str, project: Path) -> None:
    """Who may use the daemon gets the same sandbox as root."""
    who = available.somebody()
    who.must_have(name)
    shown(who, name, project)


def test_roots_podman_shows_what_is_mounted(project: Path) -> None:
    """The overlays of Podman's own are no different."""
    with service(available.me(), "runc") as made:
        shown(made.client, "podman", project)


def named(who: available.User, engine: str, project: Path) -> str:
    """Expect that nothing runs and every mount is named; returns the reason, without raw words."""
    done = ran(who, project, "run", "--engine", engine, "--json", "--", "echo", "it ran")

    assert done.returncode == 125, done.stdout + done.stderr
    (scenario,) = json.loads(done.stdout)["scenarios"]
    assert scenario["output"]["size"] == 0
    reason = str(scenario["reason"])
    for one in ("node modules", "target", "target/deep"):
        assert str(project / one) in reason
    assert "bwrap:" not in reason
    assert "invalid argument" not in reason.lower()
    return reason


def test_bubblewrap_names_what_it_cannot_show_an_ordinary_user(project: Path) -> None:
    """The kernel forbids it, so nothing runs, and each mount is named with what helps."""
    who = available.somebody()
    who.must_have("bubblewrap")

    assert "--engine docker" in named(who, "bubblewrap", project)


def test_rootless_podman_names_what_it_cannot_show(project: Path) -> None:
    """In its user namespace the kernel forbids the same."""
    with service(subordinate(), "runc") as made:
        assert "mount them outside the workspace" in named(made.client, "podman", project)


def test_a_folder_that_isosmoke_empties_may_be_a_mount(place: Path) -> None:
    """Its own records may lie on another disk: they are kept there, and no script sees them."""
    who = available.me()
    who.must_have("bubblewrap")
    project = place / "project"
    (project / ".isosmoke").mkdir()
    with mounted("-t", "tmpfs", "none", str(project / ".isosmoke")):
        done = ran(
            who, project, "run", "--engine", "bubblewrap", "--",
            "sh", "-c", 'test -z "$(ls .isosmoke)"',
        )  # fmt: skip
        runs = len(list((project / ".isosmoke/runs").glob("2*")))

    assert done.returncode == 0, done.stdout + done.stderr
    assert runs == 1


@pytest.mark.parametrize("name", [".isosmoke", "settings"])
def test_bubblewrap_names_a_mount_that_it_need_not_show(name: str, place: Path) -> None:
    """Also a single file, and what is emptied, keep an ordinary user from a copy around it."""
    who = available.somebody()
    who.must_have("bubblewrap")
    project = place / "project"
    (place / "settings").touch()
    (project / "settings").touch()
    (project / ".isosmoke").mkdir()
    words = {".isosmoke": ("-t", "tmpfs", "none"), "settings": ("--bind", f"{place}/settings")}
    with mounted(*words[name], str(project / name)):
        done = ran(who, project, "run", "--engine", "bubblewrap", "--", "echo", "it ran")

    assert done.returncode == 125, done.stdout + done.stderr
    assert str(project / name) in done.stdout + done.stderr
    assert "Can't make overlay mount" not in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["bubblewrap", "docker"])
def test_a_script_may_stand_in_a_mount(name: str, place: Path) -> None:
    """The caller's working directory is in a mount, which is a repository of its own."""
    who = available.me()
    who.must_have(name)
    project = place / "project"
    (project / "inner").mkdir()
    with mounted("-t", "tmpfs", "none", str(project / "inner")):
        (project / "inner/deep").mkdir()
        (project / "inner/deep/file").write_text("found\n")
        (project / ".git").mkdir()
        done = ran(
            who, project, "run", "--engine", name, "--", "grep", "found", "file",
            working="inner/deep",
        )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_mount_over_another_is_the_one_that_is_shown(place: Path) -> None:
    """Of mounts on one point, and of mounts under others, the sandbox has what the host shows."""
    who = available.me()
    who.must_have("bubblewrap")
    project = place / "project"
    (project / "data").mkdir()
    with ExitStack() as stack:
        for text in ("first", "second"):
            stack.enter_context(mounted("-t", "tmpfs", "none", str(project / "data")))
            (project / "data/deep").mkdir()
            stack.enter_context(mounted("-t", "tmpfs", "none", str(project / "data/deep")))
            for one in ("data", "data/deep"):
                (project / one / "file").write_text(f"{text}\n")
        done = ran(
            who, project, "run", "--engine", "bubblewrap", "--",
            "grep", "second", "data/file", "data/deep/file",
        )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["bubblewrap", "docker"])
def test_what_no_overlay_can_show_is_named(name: str, place: Path) -> None:
    """A file system that Linux has in no overlay is named, and nothing runs."""
    who = available.me()
    who.must_have(name)
    project = place / "project"
    (project / "system").mkdir()
    who.settle_in(place / "own")
    words = ("run", "--engine", name, "--json", "--", "echo", "it ran")
    with mounted("-t", "proc", "none", str(project / "system")):
        done = who.run(*words, folder=place / "own", working=project)

    assert done.returncode == 125, done.stdout + done.stderr
    (scenario,) = json.loads(done.stdout)["scenarios"]
    assert scenario["output"]["size"] == 0
    assert str(project / "system") in scenario["reason"]
    assert "Can't make overlay mount" not in scenario["reason"]


def test_what_is_no_file_is_named_before_anything_runs(place: Path) -> None:
    """A device that is mounted in the workspace stops the run with its path."""
    who = available.me()
    project = place / "project"
    (project / "null").touch()
    with mounted("--bind", "/dev/null", str(project / "null")):
        done = ran(who, project, "run", "--engine", "bubblewrap", "--", "echo", "it ran")

    assert done.returncode == 2, done.stdout + done.stderr
    assert f"{project}/null" in done.stderr
    assert "sudo umount" in done.stderr


def test_a_mount_that_its_user_cannot_read_is_named(place: Path) -> None:
    """A folder in which its user sees nothing would be an empty one in the sandbox."""
    who = available.somebody()
    project = place / "project"
    (project / "closed").mkdir()
    who.settle_in(place / "own")
    who.take_over(project)
    with mounted("-t", "tmpfs", "-o", "mode=0700", "none", str(project / "closed")):
        done = who.run(
            "run", "--engine", "docker", "--", "echo", "it ran",
            folder=place / "own", working=project,
        )  # fmt: skip

    assert done.returncode == 2, done.stdout + done.stderr
    assert f"{project}/closed" in done.stderr


def test_a_mount_that_the_daemon_does_not_see_is_named(place: Path) -> None:
    """In a mount namespace of isosmoke's own the daemon would show the empty folder below."""
    who = available.me()
    who.must_have("docker")
    who.settle_in(place / "own")
    project = place / "project"
    (project / "modules").mkdir()
    line = 'mount -t tmpfs none modules && touch modules/inner && exec "$@"'
    done = subprocess.run(
        [
            "unshare", "--mount", "sh", "-c", line, "sh",
            *who.command("run", "--engine", "docker", "--json", "--", "ls", "modules"),
        ],
        cwd=project,
        env=who.environment(place / "own"),
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip

    assert done.returncode == 125, done.stdout + done.stderr
    (scenario,) = json.loads(done.stdout)["scenarios"]
    assert f"does not see what is mounted at {project}/modules" in scenario["reason"]
    assert scenario["output"]["size"] == 0


def test_copies_in_memory_show_what_is_mounted(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no layer can be on disk, what is mounted is a copy all the same."""
    available.engine("bubblewrap")
    found = replace(bwrap_program.program(), layers_on_disk=False)
    monkeypatch.setattr(bwrap_program, "program", lambda: found)
    bench = Bench(place / "bench")
    (bench.workspace / "data").mkdir()
    with mounted("-t", "tmpfs", "none", str(bench.workspace / "data")):
        (bench.workspace / "data/inner").write_text("inner\n")
        job = bench.shell("grep inner data/inner && rm data/inner && touch data/new")
        spec = replace(job.spec, mounts=(*job.spec.mounts, CopyOnWrite(bench.workspace / "data")))
        seen = run(BubblewrapEngine(), replace(job, spec=spec))
        left = [one.name for one in (bench.workspace / "data").iterdir()]

    assert seen.ending == Exited(0), seen.output
    assert left == ["inner"]


@pytest.mark.parametrize("name", ["bubblewrap", "docker"])
def test_a_mount_below_a_read_only_folder_cannot_be_written(name: str, place: Path) -> None:
    """What is mounted in a folder of the host that a sandbox only reads is shown, and only read."""
    made = available.engine(name)
    bench = Bench(place / "bench")
    (bench.fixed / "data").mkdir()
    with mounted("-t", "tmpfs", "none", str(bench.fixed / "data")):
        (bench.fixed / "data/inner").write_text("inner\n")
        line = f"grep inner {bench.fixed}/data/inner && ! touch {bench.fixed}/data/new"
        seen = run(made, bench.shell(line))

    assert seen.ending == Exited(0), seen.output


def test_an_overlay_that_is_too_deep_is_named(place: Path) -> None:
    """Linux stacks two overlays and no third, which a copy would be."""
    who = available.me()
    who.must_have("bubblewrap")
    project = place / "project"
    who.settle_in(place / "own")
    with ExitStack() as stack:
        (place / "disk").mkdir()
        stack.enter_context(mounted("-t", "tmpfs", "none", str(place / "disk")))
        lower = place / "disk/lower"
        lower.mkdir()
        for target in (place / "disk/once", project / "twice"):
            parts = [place / "disk" / f"{part}-{target.name}" for part in ("upper", "work")]
            for one in (*parts, target):
                one.mkdir()
            options = f"lowerdir={lower},upperdir={parts[0]},workdir={parts[1]}"
            stack.enter_context(mounted("-t", "overlay", "-o", options, "none", str(target)))
            lower = target
        words = ("run", "--engine", "bubblewrap", "--json", "--", "echo", "it ran")
        done = who.run(*words, folder=place / "own", working=project)

    assert done.returncode == 125, done.stdout + done.stderr
    (scenario,) = json.loads(done.stdout)["scenarios"]
    assert f"{project}/twice" in scenario["reason"]
    assert scenario["output"]["size"] == 0


def test_bundle_and_repro_have_what_is_mounted(place: Path) -> None:
    """A bundle takes the files of a mount along, and a seat in the sandbox shows them."""
    who = available.me()
    who.must_have("bubblewrap")
    project = place / "project"
    (project / "data").mkdir()
    (project / "manifest.toml").write_text('[[scenario]]\nname = "one"\nscript = "one.sh"\n')
    (project / "one.sh").write_text("grep inner data/inner\n")
    with mounted("-t", "tmpfs", "none", str(project / "data")):
        (project / "data/inner").write_text("inner\n")
        done = ran(who, project, "run", "one", "--engine", "bubblewrap")
        assert done.returncode == 0, done.stdout + done.stderr
        assert ran(who, project, "bundle", "one").returncode == 0
        sat = subprocess.run(
            who.command("repro", "one", "--engine", "bubblewrap"),
            cwd=project,
            env=who.environment(place / "own"),
            input="cat data/inner\n",
            capture_output=True,
            text=True,
            check=False,
        )
    again = ran(who, project, "run", "--bundle", "one.isosmoke.tar.gz", "--engine", "bubblewrap")

    assert sat.stdout == "inner\n", sat.stderr
    assert again.returncode == 0, again.stdout + again.stderr
