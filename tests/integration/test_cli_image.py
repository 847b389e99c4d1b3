"""The command `isosmoke image`: output, accepted sources and errors."""

import io
import json
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from isosmoke.errors import ExitCode
from isosmoke.host import state
from support import available, root_filesystems


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """Return a minimal root filesystem."""
    directory = tmp_path / "system"
    (directory / "usr/bin").mkdir(parents=True)
    (directory / "usr/bin/tool").write_text("one")
    return directory


def run_image(*arguments: object, stdin: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run `isosmoke image` and return the completed process."""
    with (stdin or Path("/dev/null")).open("rb") as file:
        return subprocess.run(
            [sys.executable, "-m", "isosmoke", "image", *map(str, arguments)],
            stdin=file,
            capture_output=True,
            text=True,
            check=False,
        )


def test_image_is_imported_listed_and_removed(system: Path) -> None:
    """An image keeps its name, digest and size from import to removal."""
    done = run_image("import", system, "one")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("one  ")
    listed = run_image("list").stdout
    assert listed.startswith(done.stdout.strip())
    assert str(system) in listed
    (row,) = json.loads(run_image("list", "--json").stdout)["images"]
    assert (row["name"], row["size"]) == ("one", 3)
    assert run_image("remove", "one").returncode == 0
    assert json.loads(run_image("list", "--json").stdout)["images"] == []


def test_archive_is_read_from_stdin(system: Path, tmp_path: Path) -> None:
    """An archive on stdin, as from `docker export`, yields the same image as its directory."""
    with tarfile.open(tmp_path / "one.tar.xz", "w:xz") as writer:
        writer.add(system, ".")
    done = run_image("import", "-", "one", stdin=tmp_path / "one.tar.xz")
    assert done.returncode == 0, done.stderr
    assert run_image("import", system, "one").stdout == done.stdout


def test_used_name_requires_replace(system: Path) -> None:
    """A used name is refused with the differences; `--replace` prints the changes."""
    run_image("import", system, "one")
    (system / "usr/bin/tool").write_text("two")
    refused = run_image("import", system, "one")
    assert refused.returncode == 125
    assert "~ usr/bin/tool" in refused.stderr
    assert "--replace" in refused.stderr
    assert (
        "changed +0 -0 ~1: ~ usr/bin/tool" in run_image("import", system, "one", "--replace").stdout
    )


@contextmanager
def import_in_progress() -> "Iterator[subprocess.Popen[bytes]]":
    """Yield an import that has unpacked a file and waits for the rest of its archive."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as writer:
        info = tarfile.TarInfo("usr/one")
        info.size = 100_000
        writer.addfile(info, io.BytesIO(b"x" * info.size))
    command = [sys.executable, "-m", "isosmoke", "image", "import", "-", "one"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(content.getvalue()[:70_000])
        process.stdin.flush()
        assert available.wait_for(lambda: any(list_scratch("*/rootfs/usr/one")), 60)
        try:
            yield process
        finally:
            process.kill()


def list_scratch(pattern: str = "*") -> list[Path]:
    """Return what is in the scratch directories."""
    return list(state.ensure_directory("scratch").glob(pattern))


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, ExitCode.TERMINATED), (signal.SIGINT, ExitCode.INTERRUPTED)],
)
def test_stopped_import_leaves_nothing(number: signal.Signals, code: ExitCode) -> None:
    """A signal ends an import, even while it waits for its archive, and removes what it wrote."""
    with import_in_progress() as process:
        process.send_signal(number)
        assert process.wait(60) == code
        assert not list_scratch()


def test_killed_import_is_removed_by_the_next(system: Path) -> None:
    """An import removes what a killed import left."""
    with import_in_progress() as process:
        process.kill()
        process.wait()
        assert list_scratch()
    assert run_image("import", system, "two").returncode == 0
    assert not list_scratch()


def test_image_is_checked_for_binary_and_commands(tmp_path: Path) -> None:
    """`image check` tries the binary and looks for the required commands."""
    available.require_engine("bubblewrap")
    root_filesystems.create_small(tmp_path / "system", "id", "sh")
    (tmp_path / "wg").write_text("#!/bin/sh\necho wg 9\n")
    (tmp_path / "wg").chmod(0o755)
    (tmp_path / "one.sh").touch()
    entry = '[[scenario]]\nname = "one"\nscript = "one.sh"\nrequires.commands = ["wg", "id"{}]\n'
    manifest = tmp_path / "manifest.toml"
    arguments = ("check", "rootfs:system", "--binary", tmp_path / "wg", "--manifest", manifest)

    manifest.write_text(entry.format(""))
    done = run_image(*arguments)
    assert done.returncode == 0, done.stderr
    assert "rootfs:system on bubblewrap: glibc 2." in done.stdout
    assert "wg runs: wg 9" in done.stdout
    assert "has bash, id (required by 1 scenario of" in done.stdout

    manifest.write_text(entry.format(', "jq"'))
    (tmp_path / "wg").write_text("#!/bin/missing\n")
    done = run_image(*arguments)
    assert done.returncode == 1, done.stderr
    assert "wg cannot run: its interpreter /bin/missing does not exist in the image" in done.stdout
    assert "lacks jq" in done.stdout
