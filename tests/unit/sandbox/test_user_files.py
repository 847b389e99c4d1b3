"""Small files that are brought into a sandbox."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from isosmoke.host.caller_process import Caller
from isosmoke.sandbox import user_files


def caller(user: str = "alice", uid: int = 1234, gid: int = 2345) -> Caller:
    """Somebody."""
    home = Path("/home/alice")
    return Caller(uid=uid, gid=gid, user=user, home=home, working=home, environment={})


def database(folder: Path, text: str) -> Path:
    """A user database with this text."""
    path = folder / "passwd"
    path.write_text(text)
    return path


HOST = "root:x:0:0:root:/root:/bin/bash\nalicia:x:1234:9::/old:/bin/sh\nbob:x:2345:12340::/:\n"


def test_stored_file_is_kept_once_and_readable(state_folder: Path) -> None:
    """The same text is one file however often it is stored, readable for any user of a sandbox."""
    first, again, other = (
        user_files.stored("text\n"),
        user_files.stored("text\n"),
        user_files.stored(""),
    )

    assert first == again
    assert first.read_text() == "text\n"
    assert other.read_text() == ""
    assert first.stat().st_mode & 0o777 == 0o644
    assert {first, other} == set((state_folder / "files").iterdir())


def test_stored_text_is_utf8_in_any_locale() -> None:
    """A name of any script is stored as UTF-8, the encoding that its hash is made of."""
    assert user_files.stored("Zoë 花子\r\n").read_bytes() == "Zoë 花子\r\n".encode()


@pytest.mark.parametrize("user", ["alice", "CORP\\alice", 'a "b" c', "a#b;c", "[user]", "花子"])
def test_gitconfig_gives_the_user_an_identity(user: str) -> None:
    """Git itself reads the caller's name from it, whatever characters that has."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nowhere",
        "GIT_CONFIG_SYSTEM": str(user_files.stored(user_files.gitconfig(user))),
    }

    def told(name: str) -> str:
        command = ["git", "config", "--system", name]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.rstrip("\n")

    assert told("user.name") == user
    assert told("user.email") == f"{user}@isosmoke.invalid"
    assert told("safe.directory") == "*"
    assert told("include.path") == "/etc/gitconfig"


@pytest.mark.parametrize(("number", "known"), [(0, True), (1234, True), (12340, False), (9, False)])
def test_number_is_known_only_as_an_id(tmp_path: Path, number: int, known: bool) -> None:  # noqa: FBT001 - a table
    """A number counts as known where it is an entry's own, not a group's or part of another."""
    assert user_files.knows(database(tmp_path, HOST), number) is known


def test_missing_database_knows_nobody(tmp_path: Path) -> None:
    """A database that is not there, or is no text, has no entry."""
    (tmp_path / "odd").write_bytes(b"\xff:\xfe:7:\n")

    assert not user_files.knows(tmp_path / "gone", 0)
    assert user_files.knows(tmp_path / "odd", 7)


def test_own_user_is_known_to_this_machine() -> None:
    """The host's real database has root in it."""
    assert user_files.knows(Path("/etc/passwd"), pwd.getpwnam("root").pw_uid)


def test_passwd_has_the_caller_once(tmp_path: Path) -> None:
    """The image's users stay, but whoever has the caller's number gives way to the caller."""
    assert user_files.passwd(caller(), database(tmp_path, HOST)).splitlines() == [
        "root:x:0:0:root:/root:/bin/bash",
        "bob:x:2345:12340::/:",
        "alice:x:1234:2345::/home/alice:/bin/bash",
    ]


def test_group_has_the_callers_group_once(tmp_path: Path) -> None:
    """The image's groups stay, but the one with the caller's number gives way."""
    groups = "root:x:0:\nstaff:x:2345:bob\nwheel:x:10:alice\n"

    assert user_files.group(caller(), database(tmp_path, groups)).splitlines() == [
        "root:x:0:",
        "wheel:x:10:alice",
        "alice:x:2345:",
    ]


@pytest.mark.parametrize("make", [user_files.passwd, user_files.group])
def test_image_without_databases_gets_minimal_ones(make: type) -> None:
    """Where the image has none, root, nobody and the caller are there, one entry a line."""
    lines = make(caller(), None).splitlines()
    numbers = [line.split(":")[2] for line in lines]

    assert {"0", "65534"} <= set(numbers)
    assert len(numbers) == len(set(numbers))
    assert lines[-1].startswith("alice:x:")


@pytest.mark.parametrize("make", [user_files.passwd, user_files.group])
def test_root_as_caller_is_there_once(make: type) -> None:
    """A caller who is root does not make a second entry of that number."""
    text = make(caller("root", 0, 0), None)

    assert text.count("root:x:0:") == 1
    assert text.endswith("\n")


def test_program_is_placed_once_by_its_hash(tmp_path: Path) -> None:
    """A copy that can be run, whatever became of the file that it was made of."""
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF one")
    first = user_files.placed(program)
    assert user_files.placed(program) == first
    assert os.access(first, os.X_OK)
    program.write_bytes(b"\x7fELF two")
    assert user_files.placed(program) != first
    assert first.read_bytes() == b"\x7fELF one"


def test_program_without_room_is_an_error_that_names_the_folder(
    tmp_path: Path, state_folder: Path
) -> None:
    """Who reads "File too large" or "No space left" also reads where, and nothing half is kept."""
    program = tmp_path / "program"
    program.write_bytes(bytes(4096))
    code = (
        "import pathlib; from isosmoke.sandbox import user_files; "
        f"user_files.placed(pathlib.Path({str(program)!r}))"
    )
    small = ["prlimit", "--fsize=1024", sys.executable, "-c", code]
    done = subprocess.run(small, capture_output=True, text=True, check=False)
    assert f"File too large: '{state_folder}" in done.stderr
    assert list((state_folder / "files").iterdir()) == []
