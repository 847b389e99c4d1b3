"""Bundles of unknown origin: they fit this machine, and leave nothing behind."""

import io
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from isosmoke.errors import BundleError, ExitCode, ImageError
from isosmoke.execution.request import Request
from isosmoke.host import state
from isosmoke.host.caller_process import Caller
from isosmoke.repro import bundle_reader
from isosmoke.rootfs_images.archives import contained
from isosmoke.rootfs_images.archives.limits import Budget
from support import available
from support.archives import create_expanding_archive, create_sparse_archive


def create_archive(path: Path, *names: str) -> Path:
    """Create an archive of small files."""
    with tarfile.open(path, "w:gz") as writer:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 1
            writer.addfile(info, io.BytesIO(b"x"))
    return path


def open_bundle(path: Path) -> None:
    """Open a bundle, which must be refused."""
    with bundle_reader.opened(path, Caller.current(), Request(scenarios=())):
        raise AssertionError("it was opened")


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "deep": (lambda path: create_archive(path, "workspace/" + "a/" * 3000 + "x"), "nested deeper"),
    "holes": (
        lambda path: create_sparse_archive(path, 8 * 1024**4, "workspace/big"),
        "exceed 4 GiB including holes",
    ),
    "zeros": (
        lambda path: create_expanding_archive(path, "workspace/big", 1000),
        "exceed 4 GiB including holes",
    ),
    "header": (lambda path: create_archive(path, "a" * 2_000_000), "header exceeds 1 MiB"),
}
"""Bundles that are larger than they look, and the errors."""


@pytest.mark.parametrize("kind", REFUSED)
def test_bundle_that_expands_too_much_is_refused(kind: str, tmp_path: Path) -> None:
    """The error names the limit, and nothing remains."""
    create, message = REFUSED[kind]
    path = create(tmp_path / "one.isosmoke.tar.gz")

    with pytest.raises(BundleError, match=message) as caught:
        open_bundle(path)

    assert caught.value.hint
    assert not list(state.ensure_directory("scratch").iterdir())


def test_number_of_members_is_limited(tmp_path: Path) -> None:
    """A small bundle can have any number of empty files."""
    path = create_archive(tmp_path / "one.tar.gz", "a", "b", "c")
    budget = Budget(path, max_entries=2)

    with pytest.raises(ImageError, match="more than 2 entries"), path.open("rb") as file:
        contained.extract(file, tmp_path / "here", budget)


def test_sparse_member_keeps_its_holes(tmp_path: Path) -> None:
    """A sparse file of a workspace takes only the space of its data."""
    path = create_sparse_archive(tmp_path / "one.tar", 64 * 1024**2, "workspace/big")
    (tmp_path / "here").mkdir()

    with path.open("rb") as file:
        contained.extract(file, tmp_path / "here", Budget(path))

    status = (tmp_path / "here/workspace/big").stat()
    assert status.st_size == 64 * 1024**2
    assert status.st_blocks * 512 < 1024**2


def test_large_index_is_refused(tmp_path: Path) -> None:
    """The index is not read into memory, however small the bundle is."""
    path = create_sparse_archive(tmp_path / "one.tar", 1024**3, "./bundle.json")

    with pytest.raises(BundleError, match="more than 256 MiB"):
        open_bundle(path)


@pytest.mark.parametrize("kind", ["pipe", "directory"])
def test_path_that_is_no_file_is_refused(kind: str, tmp_path: Path) -> None:
    """A pipe is not waited for."""
    path = tmp_path / "one.tar.gz"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()

    with pytest.raises(BundleError, match=r"one\.tar\.gz"):
        open_bundle(path)


@pytest.mark.parametrize(
    ("command", "number", "code"),
    [
        (("run", "--bundle"), signal.SIGTERM, ExitCode.TERMINATED),
        (("repro",), signal.SIGINT, ExitCode.INTERRUPTED),
    ],
)
def test_stopped_unpacking_leaves_nothing(
    command: tuple[str, ...], number: signal.Signals, code: ExitCode, tmp_path: Path
) -> None:
    """A signal ends it at once: the file of 4 GB would take many seconds."""
    path = create_expanding_archive(tmp_path / "one.tar.gz", "workspace/big", 255)
    scratch = state.ensure_directory("scratch")
    process = subprocess.Popen([sys.executable, "-m", "isosmoke", *command, str(path)])
    try:
        assert available.wait_for(lambda: list(scratch.glob("*/workspace/big")), 60)
        process.send_signal(number)
        assert process.wait(60) == code
    finally:
        process.kill()
        process.wait()
    assert not list(scratch.iterdir())
