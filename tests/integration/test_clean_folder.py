"""A scenario in a root filesystem that is a folder: on every engine, for every user."""

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
def place() -> Iterator[Path]:
    """A folder that every user can look into: a system, and a project beside it."""
    folder = Path(mkdtemp(prefix="isosmoke-system-"))
    folder.chmod(0o755)
    root_filesystems.small(folder / "system", "touch", "id", "cat", "rm", "sleep", "setsid")
    (folder / "project").mkdir()
    (folder / "project/manifest.toml").write_text(MANIFEST)
    for name, text in SCRIPTS.items():
        (folder / "project" / name).write_text(f"{text}\n")
    (folder / "project/wg").write_text("#!/bin/bash\n")
    (folder / "project/wg").chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("user", available.USERS)
@pytest.mark.parametrize("name", available.NAMES)
def test_folder_is_a_clean_environment(name: str, user: str, place: Path) -> None:
    """Its system is whole and cannot be written, the host's is not there, and leaks are seen."""
    who = _settled(user, name, place)
    before = available.listing(place / "system")
    done = _run(who, place, "--engine", name, "--json")
    assert _outcomes(done) == OUTCOMES
    assert available.listing(place / "system") == before


@pytest.mark.parametrize("user", available.USERS)
def test_imported_archive_is_a_clean_environment(user: str, place: Path) -> None:
    """By its name, on bubblewrap without being asked, for whoever imported it."""
    who = _settled(user, "bubblewrap", place)
    with tarfile.open(place / "system.tar.gz", "w:gz") as writer:
        writer.add(place / "system", ".")
    shutil.rmtree(place / "system")
    manifest = place / "project/manifest.toml"
    manifest.write_text(MANIFEST.replace("rootfs:../system", "team/small:1"))
    words = ("image", "import", str(place / "system.tar.gz"), "team/small:1")
    done = who.run(*words, folder=place / "own", working=place)
    assert "team/small:1" in done.stdout, done.stderr
    done = _run(who, place, "--json")
    assert _outcomes(done) == OUTCOMES
    assert json.loads(done.stdout)["engine"] == "bubblewrap"


def test_image_that_is_not_here_says_how_to_get_it(place: Path) -> None:
    """Nothing is fetched behind anybody's back."""
    available.engine("bubblewrap")
    manifest = place / "project/manifest.toml"
    manifest.write_text(MANIFEST.replace("rootfs:../system", "nowhere:1"))
    done = _run(available.me(), place, "--engine", "bubblewrap", "own_system")
    assert done.returncode == 125
    assert "bubblewrap has no image 'nowhere:1'" in done.stderr
    assert "isosmoke image import ARCHIVE|DIRECTORY nowhere:1" in done.stderr


def _settled(user: str, engine: str, place: Path) -> available.User:
    who = available.USERS[user]()
    who.must_have(engine)
    who.settle_in(place / "own")
    who.take_over(place / "project")
    return who


def _outcomes(done: "subprocess.CompletedProcess[str]") -> dict[str, str]:
    assert done.stdout, done.stderr
    return {one["name"]: one["outcome"] for one in json.loads(done.stdout)["scenarios"]}


def _run(who: available.User, place: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """A run of the project; HOME is where the system has a folder without it."""
    more = {"HOME": "/var/lib", "ISOSMOKE_WG": str(place / "project/wg")}
    return subprocess.run(
        who.command("run", *words),
        cwd=place / "project",
        env={**who.environment(place / "own"), **more},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_folder_that_is_no_system_is_refused(place: Path) -> None:
    """Nothing is started, and the folder is named."""
    shutil.rmtree(place / "system")
    done = _run(available.me(), place)
    assert done.returncode == 125
    assert f"no root filesystem in {place}/system" in done.stderr


def test_engine_is_chosen_by_what_the_image_is(place: Path) -> None:
    """Without a word about engines, a folder runs on bubblewrap, which needs no daemon."""
    available.engine("bubblewrap")
    done = _run(available.me(), place, "own_system")
    assert "isosmoke · bubblewrap" in done.stdout
