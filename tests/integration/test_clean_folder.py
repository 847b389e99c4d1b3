"""Scenarios in a root filesystem that is a directory, on every engine and for every user."""

import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from support import available, root_filesystems

MANIFEST = """
[defaults]
image = "rootfs:../system"
settle_seconds = 0.5

[[scenario]]
name = "own_system"
script = "own_system.sh"
requires.commands = ["touch", "id"]

[[scenario]]
name = "leaks"
script = "leaks.sh"

[[scenario]]
name = "sees_the_host"
script = "sees_the_host.sh"

[[scenario]]
name = "needs_more"
script = "leaks.sh"
requires.commands = ["python3"]
"""

SCRIPTS = {
    "own_system.sh": (
        'set -eu; test "$HOME" = /var/lib; touch here /tmp/a "$HOME/b"; cat "$0" >/dev/null\n'
        "test -d /var/kept; test -d /home; test -e /bin/bash; id -un\n"
        "! touch /usr/bin/seen && ! touch /seen && ! rm -f /var/kept\n"
    ),
    "leaks.sh": "setsid sleep 60 >/dev/null 2>&1 </dev/null &",
    "sees_the_host.sh": "test -e /usr/bin/python3 || test -e /etc/debian_version",
}

OUTCOMES = {
    "own_system": "PASS",
    "leaks": "LEAK",
    "sees_the_host": "FAIL",
    "needs_more": "SKIP",
}


@pytest.fixture
def root() -> Iterator[Path]:
    """Create a system and a project, in a directory that every user can read."""
    directory = Path(mkdtemp(prefix="isosmoke-system-"))
    directory.chmod(0o755)
    root_filesystems.create_small(
        directory / "system", "touch", "id", "cat", "rm", "sleep", "setsid"
    )
    (directory / "project").mkdir()
    (directory / "project/manifest.toml").write_text(MANIFEST)
    for name, text in SCRIPTS.items():
        (directory / "project" / name).write_text(f"{text}\n")
    (directory / "project/wg").write_text("#!/bin/bash\n")
    (directory / "project/wg").chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.mark.parametrize("user", available.USERS)
@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_directory_is_clean_environment(name: str, user: str, root: Path) -> None:
    """The system is complete and read-only, the host's is absent, and leaks are found."""
    account = _prepare(user, name, root)
    before = available.snapshot(root / "system")
    result = _run(account, root, "--engine", name, "--json")
    assert _get_outcomes(result) == OUTCOMES
    assert available.snapshot(root / "system") == before


@pytest.mark.parametrize("user", available.USERS)
def test_imported_archive_is_clean_environment(user: str, root: Path) -> None:
    """An imported archive is used by its name, by default on bubblewrap, for its user."""
    account = _prepare(user, "bubblewrap", root)
    with tarfile.open(root / "system.tar.gz", "w:gz") as writer:
        writer.add(root / "system", ".")
    shutil.rmtree(root / "system")
    manifest = root / "project/manifest.toml"
    manifest.write_text(MANIFEST.replace("rootfs:../system", "team/small:1"))
    arguments = ("image", "import", str(root / "system.tar.gz"), "team/small:1")
    result = account.run(*arguments, folder=root / "own", working=root)
    assert "team/small:1" in result.stdout, result.stderr
    result = _run(account, root, "--json")
    assert _get_outcomes(result) == OUTCOMES
    assert json.loads(result.stdout)["engine"] == "bubblewrap"


def test_missing_image_has_hint_to_import_it(root: Path) -> None:
    """A missing image is an error with a hint, and nothing is downloaded."""
    available.require_engine("bubblewrap")
    manifest = root / "project/manifest.toml"
    manifest.write_text(MANIFEST.replace("rootfs:../system", "nowhere:1"))
    result = _run(available.current_user(), root, "--engine", "bubblewrap", "own_system")
    assert result.returncode == 125
    assert "bubblewrap has no image 'nowhere:1'" in result.stderr
    assert "isosmoke image import ARCHIVE|DIRECTORY nowhere:1" in result.stderr


def _prepare(user: str, engine: str, root: Path) -> available.User:
    account = available.USERS[user]()
    account.require_engine(engine)
    account.create_directories(root / "own")
    account.give_ownership(root / "project")
    return account


def _get_outcomes(result: "subprocess.CompletedProcess[str]") -> dict[str, str]:
    assert result.stdout, result.stderr
    return {
        scenario["name"]: scenario["outcome"] for scenario in json.loads(result.stdout)["scenarios"]
    }


def _run(
    account: available.User, root: Path, *arguments: str
) -> "subprocess.CompletedProcess[str]":
    """Run the project, with a HOME in a directory of the system."""
    variables = {"HOME": "/var/lib", "ISOSMOKE_WG": str(root / "project/wg")}
    return subprocess.run(
        account.command("run", *arguments),
        cwd=root / "project",
        env={**account.environment(root / "own"), **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_directory_without_system_is_refused(root: Path) -> None:
    """Nothing starts, and the error names the directory."""
    shutil.rmtree(root / "system")
    result = _run(available.current_user(), root)
    assert result.returncode == 125
    assert f"no root filesystem in {root}/system" in result.stderr


def test_engine_is_chosen_by_image(root: Path) -> None:
    """A directory runs on bubblewrap by default, which needs no daemon."""
    available.require_engine("bubblewrap")
    result = _run(available.current_user(), root, "own_system")
    assert "isosmoke · bubblewrap" in result.stdout
