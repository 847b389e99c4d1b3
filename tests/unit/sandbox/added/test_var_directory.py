"""The `/var` of the host image: its links, its directories and its mount points."""

from pathlib import Path, PurePosixPath

import pytest

from isosmoke.sandbox.added import var_directory


def create(*targets: str) -> Path:
    """Return the directory that is mounted at /var if these are mounted too."""
    return var_directory.store(map(PurePosixPath, targets)).source


def test_links_lead_to_the_directories_of_run() -> None:
    """A PID file in /var/run is in /run, and a lock in /var/lock is in /run/lock."""
    var = create()

    assert {name: str((var / name).readlink()) for name in ("run", "lock")} == {
        "run": "/run",
        "lock": "/run/lock",
    }
    assert all((var / name).is_dir() for name in ("cache", "lib", "spool"))


@pytest.mark.parametrize("name", ["log", "tmp", "lib/jenkins/work", "run/service", "lock"])
def test_each_target_has_a_mount_point(name: str) -> None:
    """Every directory that is mounted in /var has a directory there, even in a linked one."""
    point = create(f"/var/{name}", f"/var/{name}/inner", "/srv/other") / name

    assert point.is_dir()
    assert point.resolve() == point
    assert list(point.iterdir()) == []


def test_mounted_file_has_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file is mounted on a file."""
    monkeypatch.setattr(var_directory, "VAR", PurePosixPath(tmp_path))
    (tmp_path / "file").touch()

    assert (create(str(tmp_path / "file")) / "file").is_file()


def test_same_targets_share_a_directory() -> None:
    """The directory is created once, and is readable by every user."""
    first, second = create("/var/tmp"), create("/var/tmp")  # noqa: S108 - in the sandbox

    assert first == second != create()
    assert first.stat().st_mode & 0o777 == 0o755
