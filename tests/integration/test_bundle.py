"""Bundles: everything that reproduces a scenario on another machine, and no secret."""

import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from isosmoke.errors import BundleError
from isosmoke.execution.request import Request
from isosmoke.host.caller_process import Caller
from isosmoke.repro.bundle_reader import opened
from support import available
from support.git_repositories import Git
from support.project import GOOD, Project

VALUE = "my-secret-value-of-a-variable"

BREAKS = """
[[scenario]]
name = "breaks"
script = "scenarios/breaks.sh"
pass_env = ["TOKEN"]
pass_files = ["PASSED"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a repository with a scenario that fails with tracked and untracked files."""
    passed = tmp_path / "passed.txt"
    passed.write_text("passed-content-of-a-file\n")
    project = Project.within(tmp_path, GOOD + BREAKS.replace("PASSED", str(passed)))
    project.path("scenarios/breaks.sh").write_text(
        "git rev-parse --show-toplevel >/dev/null || exit 99\nwg\ncat tracked untracked\nexit 4\n"
    )
    project.path("tracked").write_text("tracked\n")
    project.path(".gitignore").write_text("ignored\n")
    git = Git(project.top)
    git("add", "-A")
    git("commit", "-qm", "one")
    project.path("untracked").write_text("untracked\n")
    project.path("ignored").write_text("ignored\n")
    project.path("leaky").write_text(f"here is {VALUE} in a file\n")
    project.path("out").symlink_to("/etc/passwd")
    project.binary.rename(tmp_path / "built")
    project.binary.symlink_to(tmp_path / "built")
    return project


def create_bundle(project: Project) -> Path:
    """Run the failing scenario, and return a bundle of it."""
    available.require_engine("bubblewrap")
    project.run("run", "breaks", TOKEN=VALUE)
    done = project.run("bundle", "breaks", TOKEN=VALUE)
    assert done.returncode == 0, done.stderr
    assert "omitted leaky: it contains a secret" in done.stderr
    assert "omitted out: its link is absolute or leaves the workspace" in done.stderr
    return project.path("breaks.isosmoke.tar.gz")


def other_machine(project: Project, tmp_path: Path) -> Project:
    """Return a project on another machine, without the first project and its state."""
    shutil.rmtree(project.top)
    shutil.rmtree(project.state)
    other = Project(tmp_path / "other", tmp_path / "other-state")
    other.top.mkdir()
    return other


def run_without_binary(
    other: Project, *args: str, text: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run isosmoke where the only wg is that of the bundle."""
    environment = {
        name: value for name, value in other.environment().items() if name != "ISOSMOKE_WG"
    }
    return subprocess.run(
        other.command(*args),
        cwd=other.top,
        env=environment,
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )


def test_bundle_reproduces_outcome_on_other_machine(project: Project, tmp_path: Path) -> None:
    """The script has the same files, program and repository, and the same outcome."""
    file = shutil.move(create_bundle(project), tmp_path / "b.tar.gz")
    other = other_machine(project, tmp_path)
    done = run_without_binary(other, "run", "--json", "--bundle", str(file))
    record = json.loads(done.stdout)["scenarios"][0]

    assert (done.returncode, record["exit_code"]) == (1, 4), done.stdout
    assert record["output"]["last_lines"] == ["wg", "tracked", "untracked"]
    assert list((other.top / ".isosmoke/runs").iterdir())


def test_shell_can_be_opened_in_bundle(project: Project, tmp_path: Path) -> None:
    """The banner reports missing variables and the recorded outcome."""
    file = shutil.move(create_bundle(project), tmp_path / "b.tar.gz")
    other = other_machine(project, tmp_path)
    done = run_without_binary(other, "repro", str(file), text='bash "$ISOSMOKE_SCRIPT"\n')

    assert (done.stdout, done.returncode) == ("wg\ntracked\nuntracked\n", 4), done.stderr
    assert "recorded FAIL: exit 4" in done.stderr
    assert "TOKEN was set in the recorded run, but is not set now" in done.stderr
    assert not any((other.state / "scratch").iterdir())


def test_bundle_has_no_secret(project: Project) -> None:
    """A bundle has no passed value, no passed file, and no ignored file."""
    file = create_bundle(project)
    with tarfile.open(file) as archive:
        contents = {member.name: _content(archive, member) for member in archive}

    assert "workspace/untracked" in contents
    assert "workspace/ignored" not in contents
    assert not any(name.startswith("workspace/.isosmoke") for name in contents)
    for secret in (VALUE.encode(), b"passed-content-of-a-file"):
        assert not [name for name, content in contents.items() if secret in content]


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member) if member.isfile() else None
    return b"" if file is None else file.read()


def create_archive(directory: Path, *members: tarfile.TarInfo) -> Path:
    """Create an archive with these members."""
    with tarfile.open(directory / "bad.tar.gz", "w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return directory / "bad.tar.gz"


def create_member(
    name: str, *, link: str = "", size: int = 1, kind: bytes = tarfile.SYMTYPE
) -> tarfile.TarInfo:
    """Return a member: a file, or with `link` a symbolic link or another kind."""
    member = tarfile.TarInfo(name)
    member.size = 0 if link else size
    if link:
        member.type, member.linkname = kind, link
    return member


@pytest.mark.parametrize(
    "members",
    [
        [create_member("../escaped")],
        [create_member("/tmp/escaped")],  # noqa: S108 - must not be written
        [create_member("workspace/link", link="/etc")],
        [create_member("workspace/link", link="../../..")],
        [create_member("bundle.json")],
        [create_member("hard", link="/etc/passwd", kind=tarfile.LNKTYPE)],
        [create_member("hard", link="missing", kind=tarfile.LNKTYPE)],
        [create_member("pipe", link="unused", kind=tarfile.FIFOTYPE)],
        [create_member("a/b/up", link=".."), create_member("a/out", link="b/up/../../escaped")],
        [create_member("up", link="../.."), create_member("up/new/escaped")],
        [create_member("file"), create_member("file/escaped")],
    ],
    ids=lambda members: " ".join(f"{member.name} {member.linkname}" for member in members),
)
def test_archive_that_is_no_bundle_is_refused(
    tmp_path: Path, members: list[tarfile.TarInfo]
) -> None:
    """Nothing is written outside of the temporary directory, and the error says so."""
    path = create_archive(tmp_path, *members)
    with (
        pytest.raises(BundleError, match="is not a bundle"),
        opened(path, Caller.current(), Request(scenarios=())),
    ):
        raise AssertionError("it was opened")

    assert not [path for path in tmp_path.rglob("*") if path.name == "escaped"]


def test_damaged_archive_is_refused(tmp_path: Path) -> None:
    """Damage in the compressed part is an error for the user, and no traceback."""
    path = create_archive(tmp_path, create_member("workspace/file", size=100_000))
    content = bytearray(path.read_bytes())
    content[20:60] = bytes(40)
    path.write_bytes(content)
    with (
        pytest.raises(BundleError, match="is not a bundle"),
        opened(path, Caller.current(), Request(scenarios=())),
    ):
        raise AssertionError("it was opened")


def forge_bundle(
    file: Path, index: Mapping[str, str] | None = None, members: Mapping[str, bytes] | None = None
) -> Path:
    """Return a copy of a bundle with a different index or entry, and with more members."""
    output, added = file.with_name("forged.tar.gz"), dict(members or {})
    with tarfile.open(file) as old, tarfile.open(output, "w:gz") as new:
        contents = {member.name: _content(old, member) for member in old}
        document = json.loads(contents.pop("bundle.json"))
        for table in (document, document["scenario"]["entry"]):
            table |= {name: value for name, value in (index or {}).items() if name in table}
        added["bundle.json"] = json.dumps(document).encode()
        for name, content in {**contents, **added}.items():
            member = create_member(name, size=len(content))
            member.mode = 0o755
            new.addfile(member, io.BytesIO(content))
    return output


def read_refusal(project: Project, bundle: Path) -> str:
    """Return the error for a bundle that is refused."""
    done = project.run("repro", str(bundle), TOKEN=VALUE)
    assert (done.returncode, done.stdout) == (125, ""), done.stderr
    return done.stderr


def test_bundle_with_another_binary_is_refused(project: Project) -> None:
    """The program must be the one in the record."""
    bundle = forge_bundle(create_bundle(project), members={"binary/wg": b"#!/bin/sh\necho evil\n"})
    assert "not the program that was tested" in read_refusal(project, bundle)


@pytest.mark.parametrize("path", [".git", "sub/.git"])
def test_bundle_starts_no_program_outside_its_sandbox(project: Project, path: str) -> None:
    """A bundled repository is refused, because its settings could make git run a program."""
    mark = project.top.parent / "mark"
    bundle = forge_bundle(
        create_bundle(project),
        members={
            f"workspace/{path}/HEAD": b"ref: refs/heads/main\n",
            f"workspace/{path}/config": f"[core]\n\tfsmonitor = touch {mark}\n".encode(),
            f"workspace/{path}/objects/nothing": b"",
            f"workspace/{path}/refs/nothing": b"",
        },
    )

    assert "the bundle contains a git repository" in read_refusal(project, bundle)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("index", "members"),
    [
        ({"working": "/OUTSIDE"}, {}),
        ({"working": "../../../OUTSIDE"}, {}),
        ({"manifest": "/OUTSIDE/manifest.toml"}, {}),
        ({"script": "/OUTSIDE/script.sh"}, {}),
        ({"commit": ""}, {"workspace/.git": "gitdir: /OUTSIDE"}),
        (
            {"commit": ""},
            {
                "workspace/.git/HEAD": "ref: refs/heads/main",
                "workspace/.git/objects/info/alternates": "/OUTSIDE",
            },
        ),
    ],
    ids=["working", "relative", "manifest", "script", "git-directory", "borrowed-objects"],
)
def test_bundle_with_outside_path_is_refused(
    project: Project, index: dict[str, str], members: dict[str, str]
) -> None:
    """The sandbox shows the bundled workspace, and no directory of this machine."""
    outside = project.top.parent / "outside"
    (outside / "objects").mkdir(parents=True)

    def expand(text: str) -> str:
        return text.replace("/OUTSIDE", str(outside))

    bundle = forge_bundle(
        create_bundle(project),
        {name: expand(value) for name, value in index.items()},
        {name: expand(content).encode() for name, content in members.items()},
    )
    assert "refers to a path outside of it" in read_refusal(project, bundle)


def read_index(file: Path) -> dict[str, Any]:
    """Return the index of a bundle."""
    with tarfile.open(file) as archive:
        index: dict[str, Any] = json.loads(_content(archive, archive.getmember("bundle.json")))
    return index


def create_index_bundle(directory: Path, index: Mapping[str, Any]) -> Path:
    """Create a bundle that has only an index."""
    content = json.dumps(index).encode()
    path = directory / "index.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(create_member("bundle.json", size=len(content)), io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"schema_version": 2}, "was written by a later version of isosmoke"),
        ({"working": 7}, "is not a bundle: working: Input should be a valid string"),
    ],
)
def test_bundle_with_invalid_index_is_refused(
    project: Project, tmp_path: Path, changes: Mapping[str, Any], error: str
) -> None:
    """The error has a message for the user, and no traceback of a library."""
    done = project.run(
        "repro",
        str(create_index_bundle(tmp_path, {**read_index(create_bundle(project)), **changes})),
    )

    assert (done.returncode, done.stdout) == (125, "")
    assert error in done.stderr


def test_passed_values_of_bundle_are_reported(project: Project) -> None:
    """The variables and files of the user that are passed to the script are reported."""
    file = create_bundle(project)
    done = project.run("run", "--bundle", str(file), TOKEN=VALUE)

    assert "NOTE its script receives your TOKEN\n" in done.stderr
    assert f"NOTE its script receives your {project.top.parent / 'passed.txt'}\n" in done.stderr


def test_script_outside_workspace_is_not_bundled(project: Project) -> None:
    """A script outside the workspace would not exist in the bundle."""
    available.require_engine("bubblewrap")
    outside = project.top.parent / "outside.sh"
    outside.write_text("exit 3\n")
    project.manifest.write_text(GOOD.replace("scenarios/good.sh", "../outside.sh"))
    project.run("run", "good")
    done = project.run("bundle", "good")

    assert done.returncode == 125
    assert "is outside of" in done.stderr
    assert not list(project.top.glob("*.tar.gz"))


def test_failure_of_git_prevents_bundle(project: Project) -> None:
    """If git cannot list the files, no incomplete bundle is created."""
    available.require_engine("bubblewrap")
    project.run("run", "breaks", TOKEN=VALUE)
    project.path(".git/index").write_bytes(b"broken")
    done = project.run("bundle", "breaks", TOKEN=VALUE)

    assert done.returncode == 125
    assert "git ls-files" in done.stderr
    assert not list(project.top.glob("*.tar.gz"))


def test_workspace_without_git_is_bundled_completely(tmp_path: Path) -> None:
    """Without git the manifest's directory is bundled, and is no repository afterwards."""
    available.require_engine("bubblewrap")
    project = Project.within(tmp_path)
    project.path("scenarios/bad.sh").write_text("test ! -e .git && exit 6\n")
    project.run("run", "bad")
    assert project.run("bundle", "bad", "-o", "b.tgz").returncode == 0
    done = project.run("run", "--json", "--bundle", "b.tgz")

    assert json.loads(done.stdout)["scenarios"][0]["exit_code"] == 6


@pytest.mark.parametrize(
    "args",
    [["good"], ["--last-failed"], ["--rerun", "latest"], ["--timeout", "9"], ["--", "true"]],
)
def test_bundle_cannot_be_combined_with_selection(tmp_path: Path, args: list[str]) -> None:
    """A bundle has a single scenario, so options that select scenarios are refused."""
    project = Project.within(tmp_path)
    project.path("b.tgz").touch()
    done = project.run("run", "--bundle", "b.tgz", *args)

    assert done.returncode == 2
    assert "--bundle cannot be combined with" in done.stderr


def test_huge_file_is_not_read(project: Project) -> None:
    """A file that is larger than the limit ends the bundling before its content is read."""
    available.require_engine("bubblewrap")
    project.run("run", "good")
    project.path("huge").touch()
    os.truncate(project.path("huge"), 1 << 42)

    done = project.run("bundle", "good")

    assert done.returncode == 125, done.stderr
    assert "exceed 512 MiB" in done.stderr
    assert "try: add files that the scenario does not need to .gitignore" in done.stderr


def test_stopped_bundling_leaves_nothing(project: Project) -> None:
    """A signal ends it at once, and removes the unfinished file."""
    available.require_engine("bubblewrap")
    project.run("run", "good")
    project.path("large").touch()
    os.truncate(project.path("large"), 500 << 20)
    process = subprocess.Popen(
        project.command("bundle", "good"), cwd=project.top, env=project.environment()
    )
    try:
        assert available.wait_for(lambda: list(project.top.glob(".good.isosmoke.*")), 120)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    finally:
        process.kill()
        process.wait()
    assert not list(project.top.glob("*good.isosmoke*"))
