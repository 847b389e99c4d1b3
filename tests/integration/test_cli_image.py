"""`isosmoke image`: what it prints, takes and refuses."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from support import available, root_filesystems


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """The least that is a system."""
    folder = tmp_path / "system"
    (folder / "usr/bin").mkdir(parents=True)
    (folder / "usr/bin/tool").write_text("one")
    return folder


def isosmoke(*words: object, stdin: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """A command line, run to its end."""
    with (stdin or Path("/dev/null")).open("rb") as file:
        return subprocess.run(
            [sys.executable, "-m", "isosmoke", "image", *map(str, words)],
            stdin=file,
            capture_output=True,
            text=True,
            check=False,
        )


def test_image_comes_is_listed_and_goes(system: Path) -> None:
    """By one name from the first to the last, with its digest and size."""
    done = isosmoke("import", system, "one")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("one  ")
    listed = isosmoke("list").stdout
    assert listed.startswith(done.stdout.strip())
    assert str(system) in listed
    (row,) = json.loads(isosmoke("list", "--json").stdout)["images"]
    assert (row["name"], row["size"]) == ("one", 3)
    assert isosmoke("remove", "one").returncode == 0
    assert json.loads(isosmoke("list", "--json").stdout)["images"] == []


def test_archive_may_come_from_a_pipe(system: Path, tmp_path: Path) -> None:
    """So that `docker export` needs no file in between."""
    with tarfile.open(tmp_path / "one.tar.xz", "w:xz") as writer:
        writer.add(system, ".")
    done = isosmoke("import", "-", "one", stdin=tmp_path / "one.tar.xz")
    assert done.returncode == 0, done.stderr
    assert isosmoke("import", system, "one").stdout == done.stdout


def test_name_is_taken_over_only_on_request(system: Path) -> None:
    """It says what differs, and with leave what changed."""
    isosmoke("import", system, "one")
    (system / "usr/bin/tool").write_text("two")
    refused = isosmoke("import", system, "one")
    assert refused.returncode == 125
    assert "~ usr/bin/tool" in refused.stderr
    assert "--replace" in refused.stderr
    assert (
        "changed +0 -0 ~1: ~ usr/bin/tool" in isosmoke("import", system, "one", "--replace").stdout
    )


def test_image_is_checked_for_what_scenarios_need(tmp_path: Path) -> None:
    """The binary is tried there, and what a manifest requires is looked for."""
    available.engine("bubblewrap")
    root_filesystems.small(tmp_path / "system", "id", "sh")
    (tmp_path / "wg").write_text("#!/bin/sh\necho wg 9\n")
    (tmp_path / "wg").chmod(0o755)
    (tmp_path / "one.sh").touch()
    entry = '[[scenario]]\nname = "one"\nscript = "one.sh"\nrequires.commands = ["wg", "id"{}]\n'
    manifest = tmp_path / "manifest.toml"
    words = ("check", "rootfs:system", "--binary", tmp_path / "wg", "--manifest", manifest)

    manifest.write_text(entry.format(""))
    done = isosmoke(*words)
    assert done.returncode == 0, done.stderr
    assert "rootfs:system on bubblewrap: glibc 2." in done.stdout
    assert "wg runs: wg 9" in done.stdout
    assert "has bash, id (what 1 scenario of" in done.stdout

    manifest.write_text(entry.format(', "jq"'))
    (tmp_path / "wg").write_text("#!/bin/zsh\n")
    done = isosmoke(*words)
    assert done.returncode == 1, done.stderr
    assert "wg cannot run: its interpreter /bin/zsh does not exist in the image" in done.stdout
    assert "lacks jq" in done.stdout
