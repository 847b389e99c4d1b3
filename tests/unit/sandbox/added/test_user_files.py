"""The small files that isosmoke adds to a sandbox."""

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from isosmoke.host.caller_process import Caller
from isosmoke.sandbox.added import user_files
from support import limited_python


def caller(user: str = "alice", uid: int = 1234, gid: int = 2345) -> Caller:
    """Return a caller with this name and these numbers."""
    home = Path("/home/alice")
    return Caller(uid=uid, gid=gid, user=user, home=home, working=home, environment={})


def database(directory: Path, text: str) -> Path:
    """Write a user database with this text."""
    path = directory / "passwd"
    path.write_text(text)
    return path


HOST = "root:x:0:0:root:/root:/bin/bash\nalicia:x:1234:9::/old:/bin/sh\nbob:x:2345:12340::/:\n"


def test_text_is_stored_once_and_readable(state_folder: Path) -> None:
    """The same text is stored in one file, which any user of a sandbox can read."""
    first, again, other = (
        user_files.store_text("text\n"),
        user_files.store_text("text\n"),
        user_files.store_text(""),
    )

    assert first == again
    assert first.read_text() == "text\n"
    assert other.read_text() == ""
    assert first.stat().st_mode & 0o777 == 0o644
    assert {first, other} == set((state_folder / "files").iterdir())


def test_changed_copy_in_the_store_is_replaced(tmp_path: Path) -> None:
    """A stored program that was changed is not used again: its name is the hash of the original."""
    program = tmp_path / "bash"
    program.write_bytes(b"original")
    stored = user_files.store_program(program)
    stored.write_bytes(b"replaced")

    again = user_files.store_program(program)

    assert again == stored
    assert again.read_bytes() == b"original"
    assert again.stat().st_mode & 0o777 == 0o755


def test_stored_text_is_utf8_in_any_locale() -> None:
    """A text in any script is stored as UTF-8, the encoding of its hash."""
    assert user_files.store_text("Zoë 花子\r\n").read_bytes() == "Zoë 花子\r\n".encode()


@pytest.mark.parametrize("user", ["alice", "CORP\\alice", 'a "b" c', "a#b;c", "[user]", "花子"])
def test_gitconfig_gives_the_user_an_identity(user: str) -> None:
    """Git reads the caller's name from the configuration, whatever characters it has."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nowhere",
        "GIT_CONFIG_SYSTEM": str(user_files.store_text(user_files.render_gitconfig(user))),
    }

    def read(name: str) -> str:
        command = ["git", "config", "--system", name]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.rstrip("\n")

    assert read("user.name") == user
    assert read("user.email") == f"{user}@isosmoke.invalid"
    assert read("safe.directory") == "*"
    assert read("include.path") == "/etc/gitconfig"


@pytest.mark.parametrize(("number", "known"), [(0, True), (1234, True), (12340, False), (9, False)])
def test_only_the_number_of_an_entry_matches(tmp_path: Path, number: int, known: bool) -> None:  # noqa: FBT001 - a table
    """Only an entry's own number matches, not its group's and not a part of a number."""
    assert user_files.has_entry(database(tmp_path, HOST), number) is known


def test_missing_database_has_no_entries(tmp_path: Path) -> None:
    """A missing database has no entry; one with invalid UTF-8 can be read."""
    (tmp_path / "odd").write_bytes(b"\xff:\xfe:7:\n")

    assert not user_files.has_entry(tmp_path / "gone", 0)
    assert user_files.has_entry(tmp_path / "odd", 7)


def test_database_of_this_machine_has_root() -> None:
    """The host's real database has an entry for root."""
    assert user_files.has_entry(Path("/etc/passwd"), pwd.getpwnam("root").pw_uid)


def test_passwd_has_the_caller_once(tmp_path: Path) -> None:
    """The image's users stay, except that the caller replaces an entry with the same number."""
    assert user_files.render_passwd(caller(), database(tmp_path, HOST)).splitlines() == [
        "root:x:0:0:root:/root:/bin/bash",
        "bob:x:2345:12340::/:",
        "alice:x:1234:2345::/home/alice:/bin/bash",
    ]


def test_group_has_the_callers_group_once(tmp_path: Path) -> None:
    """The image's groups stay, except that the caller's replaces one with the same number."""
    groups = "root:x:0:\nstaff:x:2345:bob\nwheel:x:10:alice\n"

    assert user_files.render_group(caller(), database(tmp_path, groups)).splitlines() == [
        "root:x:0:",
        "wheel:x:10:alice",
        "alice:x:2345:",
    ]


@pytest.mark.parametrize("make", [user_files.render_passwd, user_files.render_group])
def test_image_without_databases_gets_minimal_ones(make: type) -> None:
    """Without a database in the image, there are entries for root, nobody and the caller."""
    lines = make(caller(), None).splitlines()
    numbers = [line.split(":")[2] for line in lines]

    assert {"0", "65534"} <= set(numbers)
    assert len(numbers) == len(set(numbers))
    assert lines[-1].startswith("alice:x:")


@pytest.mark.parametrize("make", [user_files.render_passwd, user_files.render_group])
def test_root_as_caller_has_one_entry(make: type) -> None:
    """A caller who is root has no second entry with that number."""
    text = make(caller("root", 0, 0), None)

    assert text.count("root:x:0:") == 1
    assert text.endswith("\n")


def test_program_is_stored_by_its_hash(tmp_path: Path) -> None:
    """The copy is executable, and does not change when the original does."""
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF one")
    first = user_files.store_program(program)
    assert user_files.store_program(program) == first
    assert os.access(first, os.X_OK)
    program.write_bytes(b"\x7fELF two")
    assert user_files.store_program(program) != first
    assert first.read_bytes() == b"\x7fELF one"


def test_error_of_a_failed_copy_names_the_directory(tmp_path: Path, state_folder: Path) -> None:
    """An error such as "No space left" names the directory, and no partial copy is kept."""
    program = tmp_path / "program"
    program.write_bytes(bytes(4096))
    code = (
        "import pathlib; from isosmoke.sandbox.added import user_files; "
        f"user_files.store_program(pathlib.Path({str(program)!r}))"
    )
    done = limited_python.run(code, most=1024)
    assert f"File too large: '{state_folder}" in done.stderr
    assert list((state_folder / "files").iterdir()) == []
