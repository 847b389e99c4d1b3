"""The workspace as workers receive it."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from isosmoke.cluster.content import trees
from isosmoke.errors import UsageError
from isosmoke.execution.places import known_secrets
from isosmoke.host.caller_process import Caller
from isosmoke.host.workspace_directories import Workspace
from isosmoke.manifest.models import Scenario
from isosmoke.runner.job_builder import RunContext


def read_files(top: Path, copies: Path | None = None, **keys: object) -> dict[str, bytes]:
    """Return the files of a workspace as workers receive them."""
    caller = Caller(uid=1, gid=1, user="u", home=top, working=top, environment={})
    context = RunContext(caller, Workspace((top,), (), top), None, copies=copies)
    scenario = Scenario.validate({"name": "one", "script": "one.sh", **keys}).place(top)
    catalog = trees.describe_workspace(context, known_secrets.find(None, [scenario], caller))
    listing = trees.decode(bytes(catalog.blobs[catalog.trees[top]]))
    contents = {entry.path: catalog.blobs.get(entry.target) for entry in listing}
    return {path: file.read_bytes() for path, file in contents.items() if isinstance(file, Path)}


def git(directory: Path, *arguments: str) -> None:
    """Run git in a directory."""
    subprocess.run(["git", *arguments], cwd=directory, check=True, stdout=subprocess.DEVNULL)


def list_own_files(top: Path, pass_files: Sequence[str] = ()) -> set[str]:
    """Return the files of a work tree that workers receive, without those of its repositories."""
    return {
        path for path in read_files(top, pass_files=pass_files) if ".git" not in Path(path).parts
    }


def test_copies_replace_files(tmp_path: Path) -> None:
    """The copy of a script is sent, whatever its file has become in the meantime."""
    top, copies = tmp_path / "top", tmp_path / "copies"
    for directory in (top, copies / top.relative_to("/")):
        directory.mkdir(parents=True)
        (directory / "one.sh").write_text(f"in {directory.name}\n")
    (top / "one.sh").write_text("changed\n")
    (top / "data").write_text("data\n")

    assert read_files(top, copies) == {"one.sh": b"in top\n", "data": b"data\n"}


def test_secret_files_stay(tmp_path: Path) -> None:
    """A secret file in the workspace is not sent with it, by whatever path it is named."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/token").write_text("secret\n")
    (tmp_path / "link").symlink_to("secrets/token")
    (tmp_path / "data").write_text("data\n")

    assert read_files(tmp_path, pass_files=["~/link"]) == {"data": b"data\n"}
    assert read_files(tmp_path, pass_files=[str(tmp_path / "secrets")]) == {"data": b"data\n"}


def test_other_name_of_a_secret_file_stays(tmp_path: Path) -> None:
    """A hard link in the workspace to a secret file outside of it is not sent."""
    top = tmp_path / "top"
    top.mkdir()
    (tmp_path / "token").write_text("secret\n")
    (top / "other").hardlink_to(tmp_path / "token")
    (top / "data").write_text("data\n")

    assert read_files(top, pass_files=[str(tmp_path / "token")]) == {"data": b"data\n"}


def test_ignored_files_of_a_nested_repository_stay(tmp_path: Path) -> None:
    """A repository in the workspace has its own rules for what git ignores, as a submodule has."""
    for directory in (tmp_path, tmp_path / "nested", tmp_path / "nested/module"):
        directory.mkdir(exist_ok=True)
        git(directory, "init", "-q")
        (directory / ".gitignore").write_text("token\n")
        (directory / "token").write_text("secret\n")
        (directory / "data").write_text("data\n")

    names = ("", "nested/", "nested/module/")
    expected = {f"{name}{file}" for name in names for file in (".gitignore", "data")}
    assert list_own_files(tmp_path) == expected


def test_secret_file_of_a_repository_is_refused(tmp_path: Path) -> None:
    """The repository, which workers receive, would have the content of a file that git tracks."""
    git(tmp_path, "init", "-q")
    (tmp_path / "token").write_text("secret\n")
    (tmp_path / "link").symlink_to("token")
    assert list_own_files(tmp_path, pass_files=["~/link"]) == set()

    git(tmp_path, "add", "token")
    with pytest.raises(UsageError, match="token is secret, but git tracks it"):
        read_files(tmp_path, pass_files=["~/link"])
