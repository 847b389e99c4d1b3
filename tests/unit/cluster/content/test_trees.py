"""The workspace as workers receive it."""

from pathlib import Path

from isosmoke.cluster.content import trees
from isosmoke.host.caller_process import Caller
from isosmoke.host.workspace_directories import Workspace
from isosmoke.manifest.models import Scenario
from isosmoke.runner.job_builder import RunContext


def read_files(top: Path, copies: Path | None = None, **keys: object) -> dict[str, bytes]:
    """Return the files of a workspace as workers receive them."""
    caller = Caller(uid=1, gid=1, user="u", home=top, working=top, environment={})
    context = RunContext(caller, Workspace((top,), (), top), None, copies=copies)
    scenario = Scenario.validate({"name": "one", "script": "one.sh", **keys}).place(top)
    catalog = trees.describe_workspace(context, [scenario])
    listing = trees.decode(bytes(catalog.blobs[catalog.trees[top]]))
    contents = {entry.path: catalog.blobs.get(entry.target) for entry in listing}
    return {path: file.read_bytes() for path, file in contents.items() if isinstance(file, Path)}


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
