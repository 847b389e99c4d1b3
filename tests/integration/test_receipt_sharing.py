"""Receipts that leave their work tree: another clone, and signed envelopes."""

import shutil
from pathlib import Path

import pytest

from support import available, key_pairs
from support.git_repositories import Git
from support.project import GOOD, Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project with a commit and one receipt of `task-a`."""
    available.require_engine("bubblewrap")
    project = Project.within(tmp_path, GOOD)
    Git(project.top).commit("first")
    assert project.run("gate", "task-a").returncode == 0
    return project


def test_receipt_is_valid_in_another_clone_at_another_path(project: Project) -> None:
    """Its paths start from the repository, so a copy of it is compared with the clone."""
    clone = project.top.parent / "elsewhere/clone"
    clone.parent.mkdir()
    Git(project.top)("clone", "--quiet", ".", str(clone))
    copy = clone.parent / "receipt.json"
    shutil.copy(project.receipts()[0], copy)
    shutil.rmtree(project.top)
    other = Project(clone, project.state)

    valid = other.run("receipt", "verify", str(copy))
    (clone / "scenarios/lib.sh").write_text("fine() { true; }\n")
    changed = other.run("receipt", "verify", str(copy))

    assert (valid.returncode, valid.stdout.splitlines()[0]) == (0, f"{copy}: valid")
    assert changed.returncode == 1
    assert "file scenarios/lib.sh changed" in changed.stdout


def test_signed_receipt_is_verified_with_the_public_key(project: Project, tmp_path: Path) -> None:
    """An envelope is verified like its receipt, and a key is compared only on request."""
    private, public = key_pairs.write(tmp_path / "keys")
    _, other = key_pairs.write(tmp_path / "others")
    (file,) = project.receipts()

    signed = project.run("receipt", "sign", "--key", str(private), str(file))
    envelope = file.with_suffix(".dsse")
    verify = ("receipt", "verify", str(envelope))
    plain, good, bad = (
        project.run(*verify, *options)
        for options in ((), ("--key", str(public)), ("--key", str(other)))
    )
    unsigned = project.run("receipt", "verify", str(file), "--key", str(public))
    again = project.run("receipt", "sign", "--key", str(private), str(envelope))

    assert (signed.returncode, signed.stdout) == (0, f"envelope: {envelope}\n"), signed.stderr
    assert plain.returncode == 0
    assert "note: its signatures were not verified: pass --key" in plain.stdout
    assert (good.returncode, "not verified" in good.stdout) == (0, False), good.stdout
    assert bad.returncode == 1
    assert f"no signature is of the key in {other}" in bad.stdout
    assert (unsigned.returncode, again.returncode) == (1, 2)
    assert "the receipt is not signed" in unsigned.stdout


@pytest.mark.parametrize("place", ["key", "scenarios/key"])
def test_key_that_a_sandbox_shows_is_refused(project: Project, tmp_path: Path, place: str) -> None:
    """A script could read a key in the project, and sign a receipt with it."""
    private, _ = key_pairs.write(tmp_path)
    shutil.copy(private, project.path(place))
    link = tmp_path / "link"
    link.symlink_to(project.path(place))
    (file,) = project.receipts()

    for key in (place, str(link)):
        refused = project.run("receipt", "sign", "--key", key, str(file))
        assert refused.returncode == 2
        assert "which the sandboxes of scenarios show" in refused.stderr
    assert not file.with_suffix(".dsse").exists()
