"""Operations on isosmoke's own files, which never follow a symbolic link of a repository."""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from isosmoke.authoring import setup
from isosmoke.errors import IsosmokeError, UsageError
from isosmoke.history import gate_records
from isosmoke.host import files, workspace_directories
from isosmoke.host.files import trees
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.wg_bridge import mirror_manifest, scenario_shim
from support import available
from support.git_repositories import Git


def test_bypass_is_not_appended_to_a_hard_link(tmp_path: Path) -> None:
    """A list of bypasses that is a hard link of a file leaves that file unchanged."""
    (tmp_path / "mine").write_text("mine\n")
    (tmp_path / "home").mkdir()
    (tmp_path / "home/bypasses.jsonl").hardlink_to(tmp_path / "mine")
    record = gate_records.BypassRecord(
        task="a", agent=None, user="me", folder="/", at="2026-01-01T00:00:00Z", repository=None
    )

    with pytest.raises(UsageError, match="second name"):
        gate_records.save_bypass([tmp_path / "home"], record)

    assert (tmp_path / "mine").read_text() == "mine\n"


def test_receipt_is_not_read_through_a_link(tmp_path: Path) -> None:
    """A receipt that is a link to another one is refused, and named."""
    home = tmp_path / ".isosmoke"
    receipt = gate_records.save_receipt([home], "run", "text")
    receipt.with_name("other.json").symlink_to(receipt)

    with pytest.raises(UsageError, match=r"other\.json"):
        gate_records.list_receipts([home])


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("AGENTS.md", "outside/.gitignore"),
        ("AGENTS.md", "outside/missing.md"),
        ("AGENTS.md", "project/missing.md"),
        ("AGENTS.md", "project/notes.md"),
        ("AGENTS.md", "project/.git/AGENTS.md"),
        ("CLAUDE.md", "outside/CLAUDE.md"),
        ("CLAUDE.md", "project/CLAUDE.md"),
        ("tests", "outside"),
        ("tests", "outside/missing"),
        ("tests/smoke", "outside"),
        ("tests/smoke/manifest.toml", "outside/missing.toml"),
        ("tests/smoke/manifest.toml", "project/missing.toml"),
        ("tests/smoke/scenarios", "outside"),
        ("tests/smoke/scenarios/project_starts.sh", "outside/missing.sh"),
    ],
)
def test_init_writes_nothing_through_a_link_out_of_the_project(
    tmp_path: Path, name: str, target: str
) -> None:
    """If one of its files is a link out of the project, no file is written at all."""
    project = Git(tmp_path / "project").top
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/.gitignore").write_text("precious\n")
    (project / "notes.md").write_text("mine\n")
    (project / name).parent.mkdir(parents=True, exist_ok=True)
    (project / name).symlink_to(tmp_path / target)
    before = available.snapshot(tmp_path)

    with pytest.raises(IsosmokeError, match=Path(name).name):
        setup.carry_out(setup.plan(project))

    assert available.snapshot(tmp_path) == before


def test_link_to_another_repository_leads_out_of_the_project(tmp_path: Path) -> None:
    """A directory in another repository is not part of the project."""
    project, other = (Git(tmp_path / name).top for name in ("project", "other"))
    (project / "tests").symlink_to(other)

    assert workspace_directories.find_project(project / "tests/manifest.toml") == project
    with pytest.raises(UsageError, match="tests"):
        files.resolve_in_project(project / "tests/manifest.toml", project)


def test_link_above_the_project_is_followed(tmp_path: Path) -> None:
    """A path that the user types may contain links above the project."""
    top = Git(tmp_path / "project").top
    (tmp_path / "link").symlink_to(top)

    path = tmp_path / "link/manifest.toml"

    assert (
        files.resolve_in_project(path, workspace_directories.find_project(path))
        == top / "manifest.toml"
    )


def test_writing_a_mirror_does_not_change_a_hard_link_of_it(tmp_path: Path) -> None:
    """A file that a user keeps as a hard link of an old mirror is not changed."""
    source = Manifest(
        path=tmp_path / "manifest.toml", scenarios=(Scenario(name="a", script="a.sh"),)
    )
    mirror_manifest.write_mirror(source, tmp_path / "bridge.toml", tmp_path)
    (tmp_path / "kept").hardlink_to(tmp_path / "bridge.toml")
    before = (tmp_path / "kept").read_bytes()

    mirror_manifest.write_mirror(
        Manifest(path=source.path, scenarios=()), tmp_path / "bridge.toml", tmp_path
    )

    assert (tmp_path / "kept").read_bytes() == before


def test_link_is_removed_and_its_target_is_not(tmp_path: Path) -> None:
    """Removing a link to a directory removes only the link."""
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("directory")

    trees.remove(tmp_path / "link")

    assert [path.name for path in tmp_path.iterdir()] == ["directory"]


def test_shim_refuses_a_link_in_place_of_its_directory(tmp_path: Path) -> None:
    """It is an error if the private directory for a wg process is a link."""
    (tmp_path / f"{scenario_shim.format_lease(os.getpid())}.bridge").symlink_to(tmp_path)

    with pytest.raises(FileExistsError):
        scenario_shim.create_directory(str(tmp_path), os.getpid())


def test_removing_a_missing_path_is_no_error(tmp_path: Path) -> None:
    """Two concurrent sweeps may remove the same path; the second one does nothing."""
    trees.remove(tmp_path / "gone")


def test_file_is_written_completely_or_not_at_all(tmp_path: Path) -> None:
    """An existing file stays if the new one cannot replace it."""
    (tmp_path / "taken").mkdir()

    assert files.write(tmp_path / "one", "1").read_text() == "1"
    assert files.write(tmp_path / "one", "2").read_text() == "2"
    with pytest.raises(IsADirectoryError):
        files.write(tmp_path / "taken", "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "taken"]
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o644


def test_copies_of_a_tree_replace_and_join_what_is_there(tmp_path: Path) -> None:
    """Directories are merged; a copied file replaces a file, a link and a directory."""
    for name in ("source/both/copied", "source/file", "source/link", "source/deep"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("copied")
    (tmp_path / "target/both").mkdir(parents=True)
    (tmp_path / "target/both/there").write_text("there")
    (tmp_path / "target/file").write_text("there")
    (tmp_path / "outside").write_text("outside")
    (tmp_path / "target/link").symlink_to(tmp_path / "outside")
    (tmp_path / "target/deep/er").mkdir(parents=True)

    trees.copy_tree(tmp_path / "source", tmp_path / "target")

    target = tmp_path / "target"
    found = {str(p.relative_to(target)): p.read_text() for p in target.rglob("*") if p.is_file()}
    copied = dict.fromkeys(("both/copied", "file", "link", "deep"), "copied")
    assert found == copied | {"both/there": "there"}
    assert (tmp_path / "outside").read_text() == "outside"


def test_copies_of_a_tree_leave_out_what_is_removed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run may replace files of a cache that isosmoke keeps."""
    for name in ("source", "target"):
        (tmp_path / name).mkdir()
    for name in ("one", "two"):
        (tmp_path / "source" / name).write_text(name)
    copy_file = shutil.copyfile

    def remove_first(entry: Path, copy: Path, *, follow_symlinks: bool) -> None:
        if entry.name == "one":
            entry.unlink()
        copy_file(entry, copy, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(shutil, "copyfile", remove_first)

    trees.copy_tree(tmp_path / "source", tmp_path / "target")

    assert [path.name for path in (tmp_path / "target").iterdir()] == ["two"]


def test_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The error names the file itself, not the temporary file next to it."""
    with pytest.raises(FileNotFoundError) as caught:
        files.write(tmp_path / "missing" / "file", "text")

    assert caught.value.filename == str(tmp_path / "missing" / "file")


def test_shared_directory_locks_exclude_an_exclusive_one(tmp_path: Path) -> None:
    """Several shared locks can be held at the same time, and exclude an exclusive lock."""
    with (
        files.lock_directory(tmp_path, shared=True),
        files.lock_directory(tmp_path, shared=True, wait=False),
        pytest.raises(BlockingIOError),
        files.lock_directory(tmp_path, wait=False),
    ):
        pass

    with files.lock_directory(tmp_path, wait=False):
        pass


def test_lock_file_keeps_its_content(tmp_path: Path) -> None:
    """A lock file is created if it is missing, and never written to."""
    (tmp_path / "there").write_text("text")
    for name in ("there", "new"):
        with files.lock(tmp_path / name):
            pass

    assert [(tmp_path / name).read_text() for name in ("there", "new")] == ["text", ""]


def test_parts_of_a_text_are_written_one_after_another(tmp_path: Path) -> None:
    """A text may be produced while it is written; an error leaves the file as it was."""
    file = files.write(tmp_path / "file", iter(["one\n", "two\udcff\n"]))
    assert file.read_bytes() == b"one\ntwo\xff\n"

    def fail() -> Iterator[str]:
        yield "three"
        raise OSError(errno.EIO, "no more")

    with pytest.raises(OSError, match="no more"):
        files.write(file, fail())
    assert file.read_bytes() == b"one\ntwo\xff\n"
    assert list(tmp_path.iterdir()) == [file]
