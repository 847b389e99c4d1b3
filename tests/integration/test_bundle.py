"""Bundles: everything that reproduces a scenario elsewhere, and no secret."""

import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from isosmoke.errors import BundleError
from isosmoke.execution.session import Request
from isosmoke.host.caller_process import Caller
from isosmoke.repro.bundle import opened
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
    """A repository with a scenario that fails over what git tracks, and what it does not yet."""
    passed = tmp_path / "passed.txt"
    passed.write_text("passed-content-of-a-file\n")
    made = Project.within(tmp_path, GOOD + BREAKS.replace("PASSED", str(passed)))
    made.path("scenarios/breaks.sh").write_text(
        "git rev-parse --show-toplevel >/dev/null || exit 99\nwg\ncat tracked untracked\nexit 4\n"
    )
    made.path("tracked").write_text("tracked\n")
    made.path(".gitignore").write_text("ignored\n")
    git = Git(made.top)
    git("add", "-A")
    git("commit", "-qm", "one")
    made.path("untracked").write_text("untracked\n")
    made.path("ignored").write_text("ignored\n")
    made.path("leaky").write_text(f"here is {VALUE} in a file\n")
    made.path("out").symlink_to("/etc/passwd")
    made.binary.rename(tmp_path / "built")
    made.binary.symlink_to(tmp_path / "built")
    return made


def bundled(project: Project) -> Path:
    """A bundle of the scenario that breaks, made after it was run."""
    available.engine("bubblewrap")
    project.run("run", "breaks", TOKEN=VALUE)
    done = project.run("bundle", "breaks", TOKEN=VALUE)
    assert done.returncode == 0, done.stderr
    assert "left out leaky: it holds a secret" in done.stderr
    assert "left out out: a link that leads out" in done.stderr
    return project.path("breaks.isosmoke.tar.gz")


def elsewhere(project: Project, tmp_path: Path) -> Project:
    """Another machine: neither the project nor what isosmoke kept is there."""
    shutil.rmtree(project.top)
    shutil.rmtree(project.state)
    other = Project(tmp_path / "other", tmp_path / "other-state")
    other.top.mkdir()
    return other


def without_binary(
    other: Project, *words: str, text: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run isosmoke where there is no wg but the bundle's."""
    environment = {name: one for name, one in other.environment().items() if name != "ISOSMOKE_WG"}
    return subprocess.run(
        other.command(*words),
        cwd=other.top,
        env=environment,
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )


def test_bundle_reproduces_where_nothing_else_is(project: Project, tmp_path: Path) -> None:
    """With one file the script comes out as it did: the same files, program, and repository."""
    file = shutil.move(bundled(project), tmp_path / "b.tar.gz")
    other = elsewhere(project, tmp_path)
    done = without_binary(other, "run", "--json", "--bundle", str(file))
    told = json.loads(done.stdout)["scenarios"][0]

    assert (done.returncode, told["exit_code"]) == (1, 4), done.stdout
    assert told["output"]["last_lines"] == ["wg", "tracked", "untracked"]
    assert list((other.top / ".isosmoke/runs").iterdir())


def test_somebody_can_sit_in_a_bundle(project: Project, tmp_path: Path) -> None:
    """A shell in what the bundle has, which says what is missing and how it was."""
    file = shutil.move(bundled(project), tmp_path / "b.tar.gz")
    other = elsewhere(project, tmp_path)
    done = without_binary(other, "repro", str(file), text='bash "$ISOSMOKE_SCRIPT"\n')

    assert (done.stdout, done.returncode) == ("wg\ntracked\nuntracked\n", 4), done.stderr
    assert "was      FAIL: exit 4" in done.stderr
    assert "TOKEN was set then and is not now" in done.stderr
    assert not any((other.state / "scratch").iterdir())


def test_bundle_has_no_secret(project: Project) -> None:
    """Neither a value that is passed, nor a file that is, nor what git ignores."""
    file = bundled(project)
    with tarfile.open(file) as archive:
        contents = {one.name: _content(archive, one) for one in archive}

    assert "workspace/untracked" in contents
    assert "workspace/ignored" not in contents
    assert not any(name.startswith("workspace/.isosmoke") for name in contents)
    for secret in (VALUE.encode(), b"passed-content-of-a-file"):
        assert not [name for name, content in contents.items() if secret in content]


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member) if member.isfile() else None
    return b"" if file is None else file.read()


def archive_of(folder: Path, *members: tarfile.TarInfo) -> Path:
    """An archive with these members."""
    with tarfile.open(folder / "bad.tar.gz", "w:gz") as archive:
        for one in members:
            archive.addfile(one, io.BytesIO(b"x" * one.size))
    return folder / "bad.tar.gz"


def named(name: str, *, link: str = "", size: int = 1) -> tarfile.TarInfo:
    """One member: a file, or a symbolic link."""
    member = tarfile.TarInfo(name)
    member.size = 0 if link else size
    if link:
        member.type, member.linkname = tarfile.SYMTYPE, link
    return member


@pytest.mark.parametrize(
    "member",
    [
        named("../escaped"),
        named("/tmp/escaped"),  # noqa: S108 - where it must not get
        named("workspace/link", link="/etc"),
        named("workspace/link", link="../../.."),
        named("bundle.json"),
    ],
    ids=lambda one: f"{one.name} {one.linkname}",
)
def test_archive_that_is_no_bundle_is_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    """Nothing is written outside of the folder that is thrown away, and the error says so."""
    path = archive_of(tmp_path, member)
    with (
        pytest.raises(BundleError, match="no bundle"),
        opened(path, Caller.here(), Request(scenarios=())),
    ):
        raise AssertionError("it was opened")

    assert not [one for one in tmp_path.rglob("*") if one.name == "escaped"]


def forged(
    file: Path, index: Mapping[str, str] | None = None, members: Mapping[str, bytes] | None = None
) -> Path:
    """A bundle whose index or entry says something else, and with other or more members."""
    into, left = file.with_name("forged.tar.gz"), dict(members or {})
    with tarfile.open(file) as old, tarfile.open(into, "w:gz") as new:
        contents = {one.name: _content(old, one) for one in old}
        said = json.loads(contents.pop("bundle.json"))
        for table in (said, said["scenario"]["entry"]):
            table |= {name: one for name, one in (index or {}).items() if name in table}
        left["bundle.json"] = json.dumps(said).encode()
        for name, content in {**contents, **left}.items():
            member = named(name, size=len(content))
            member.mode = 0o755
            new.addfile(member, io.BytesIO(content))
    return into


def refused(project: Project, bundle: Path) -> str:
    """What is said of a bundle that is not opened."""
    done = project.run("repro", str(bundle), TOKEN=VALUE)
    assert (done.returncode, done.stdout) == (125, ""), done.stderr
    return done.stderr


def test_bundle_with_another_binary_is_refused(project: Project) -> None:
    """The program must be the one that the record names."""
    bundle = forged(bundled(project), members={"binary/wg": b"#!/bin/sh\necho evil\n"})
    assert "not the program that was tested" in refused(project, bundle)


@pytest.mark.parametrize("place", [".git", "sub/.git"])
def test_bundle_starts_nothing_outside_of_its_sandbox(project: Project, place: str) -> None:
    """Git does what a repository's own settings say, so one that comes along is not opened."""
    mark = project.top.parent / "mark"
    bundle = forged(
        bundled(project),
        members={
            f"workspace/{place}/HEAD": b"ref: refs/heads/main\n",
            f"workspace/{place}/config": f"[core]\n\tfsmonitor = touch {mark}\n".encode(),
            f"workspace/{place}/objects/nothing": b"",
            f"workspace/{place}/refs/nothing": b"",
        },
    )

    assert "a repository of its own" in refused(project, bundle)
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
    ids=["working", "relative", "manifest", "script", "git-folder", "borrowed-objects"],
)
def test_bundle_that_leads_out_of_itself_is_refused(
    project: Project, index: dict[str, str], members: dict[str, str]
) -> None:
    """Its sandbox shows the workspace that came, and no folder of this machine."""
    outside = project.top.parent / "outside"
    (outside / "objects").mkdir(parents=True)

    def meant(text: str) -> str:
        return text.replace("/OUTSIDE", str(outside))

    bundle = forged(
        bundled(project),
        {name: meant(value) for name, value in index.items()},
        {name: meant(content).encode() for name, content in members.items()},
    )
    assert "leads out of itself" in refused(project, bundle)


def index_of(file: Path) -> dict[str, Any]:
    """What a bundle says of itself."""
    with tarfile.open(file) as archive:
        told: dict[str, Any] = json.loads(_content(archive, archive.getmember("bundle.json")))
    return told


def saying(folder: Path, index: Mapping[str, Any]) -> Path:
    """A bundle with nothing but what it says of itself."""
    content = json.dumps(index).encode()
    path = folder / "said.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(named("bundle.json", size=len(content)), io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"schema_version": 2}, "was written by a later isosmoke"),
        ({"working": 7}, "is no bundle: working: Input should be a valid string"),
    ],
)
def test_bundle_that_says_what_is_not_understood_is_refused(
    project: Project, tmp_path: Path, said: Mapping[str, Any], error: str
) -> None:
    """The words are the user's, with what to do next, and not those of a library's trace."""
    done = project.run("repro", str(saying(tmp_path, {**index_of(bundled(project)), **said})))

    assert (done.returncode, done.stdout) == (125, "")
    assert error in done.stderr


def test_whoever_opens_a_bundle_is_told_what_it_gets_of_theirs(project: Project) -> None:
    """A script of somebody else is passed the variables and files that its entry names."""
    file = bundled(project)
    done = project.run("run", "--bundle", str(file), TOKEN=VALUE)

    assert "NOTE its script gets your TOKEN\n" in done.stderr
    assert f"NOTE its script gets your {project.top.parent / 'passed.txt'}\n" in done.stderr


def test_script_outside_of_the_workspace_is_not_bundled(project: Project) -> None:
    """What lies elsewhere would not be there when it is opened."""
    available.engine("bubblewrap")
    outside = project.top.parent / "outside.sh"
    outside.write_text("exit 3\n")
    project.manifest.write_text(GOOD.replace("scenarios/good.sh", "../outside.sh"))
    project.run("run", "good")
    done = project.run("bundle", "good")

    assert done.returncode == 125
    assert "lies outside" in done.stderr
    assert not list(project.top.glob("*.tar.gz"))


def test_git_that_fails_makes_no_bundle(project: Project) -> None:
    """Where git cannot say which files there are, nothing is bundled that looks whole."""
    available.engine("bubblewrap")
    project.run("run", "breaks", TOKEN=VALUE)
    project.path(".git/index").write_bytes(b"broken")
    done = project.run("bundle", "breaks", TOKEN=VALUE)

    assert done.returncode == 125
    assert "git ls-files" in done.stderr
    assert not list(project.top.glob("*.tar.gz"))


def test_workspace_without_git_is_bundled_whole(tmp_path: Path) -> None:
    """Outside a repository the manifest's folder goes, and is no repository when it is opened."""
    available.engine("bubblewrap")
    project = Project.within(tmp_path)
    project.path("scenarios/bad.sh").write_text("test ! -e .git && exit 6\n")
    project.run("run", "bad")
    assert project.run("bundle", "bad", "-o", "b.tgz").returncode == 0
    done = project.run("run", "--json", "--bundle", "b.tgz")

    assert json.loads(done.stdout)["scenarios"][0]["exit_code"] == 6


@pytest.mark.parametrize(
    "words",
    [["good"], ["--last-failed"], ["--rerun", "latest"], ["--timeout", "9"], ["--", "true"]],
)
def test_bundle_takes_nothing_that_chooses_among_scenarios(
    tmp_path: Path, words: list[str]
) -> None:
    """It has one scenario, as it was: what would be passed over in silence is refused."""
    project = Project.within(tmp_path)
    project.path("b.tgz").touch()
    done = project.run("run", "--bundle", "b.tgz", *words)

    assert done.returncode == 2
    assert "--bundle has its own scenario" in done.stderr
