"""The search, format check and copies of the live binary."""

import hashlib
import os
import struct
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import time  # noqa: TID251 - compared with file times, which are wall clock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.errors import BinaryError, ExitCode, UsageError
from isosmoke.host import binary, files
from isosmoke.host.files import trees
from isosmoke.host.learned import identities
from support.fixture_types import Ordinary

WEEK = 7 * 86400.0
MACHINE = os.uname().machine


def program(path: Path, content: bytes = b"#!/bin/sh\n") -> Path:
    """Create an executable file with this content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def elf(machine: int, order: str = "<") -> bytes:
    """Return the first bytes of an ELF program for this machine."""
    ident = b"\x7fELF\x02" + (b"\x01" if order == "<" else b"\x02") + b"\x01" + bytes(9)
    return ident + struct.pack(f"{order}HH", 2, machine) + bytes(100)


def test_option_wins_over_variable_and_path(tmp_path: Path) -> None:
    """The binary given by option is used, else the one in ISOSMOKE_WG, else wg on PATH."""
    named, variable = program(tmp_path / "named"), program(tmp_path / "variable")
    on_path = program(tmp_path / "bin/wg")
    environment = {"PATH": f"/gone:{on_path.parent}", "ISOSMOKE_WG": str(variable)}

    assert binary.find(str(named), environment) == named
    assert binary.find(None, environment) == variable
    assert binary.find("", environment) == variable
    assert binary.find(None, environment | {"ISOSMOKE_WG": ""}) == on_path


@pytest.mark.parametrize("environment", [{"PATH": "/gone"}, {"PATH": ""}, {}])
def test_missing_binary_is_none(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without wg on the caller's PATH there is no binary, whatever PATH isosmoke itself has."""
    monkeypatch.setenv("PATH", str(program(tmp_path / "wg").parent))

    assert binary.find(None, environment) is None


def test_relative_names_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path becomes absolute, because sandboxes have another working directory."""
    wg = program(tmp_path / "target/wg")
    monkeypatch.chdir(tmp_path)

    assert binary.find("target/wg", {}) == wg
    assert binary.find(None, {"ISOSMOKE_WG": "./target/wg"}) == wg
    assert binary.find(None, {"PATH": "target"}) == wg


@pytest.mark.parametrize("origin", ["--binary", "ISOSMOKE_WG"])
def test_named_binary_must_be_a_program(tmp_path: Path, origin: str) -> None:
    """A path to no program is a usage error that names its origin; there is no fallback."""
    program(tmp_path / "bin/wg")
    plain = tmp_path / "plain"
    plain.touch(mode=0o644)
    for path, error in ((tmp_path / "gone", "no file"), (tmp_path, "no file"), (plain, "not exec")):
        option = str(path) if origin == "--binary" else None
        environment = {"PATH": str(tmp_path / "bin"), "ISOSMOKE_WG": str(path)}
        with pytest.raises(UsageError, match=error) as caught:
            binary.find(option, environment)
        assert caught.value.message.startswith(origin)
        assert str(path) in caught.value.message
        assert caught.value.hint


MATCHES = {
    "x86-64": (elf(62), "x86_64"),
    "arm64": (elf(183), "aarch64"),
    "a script": (b"#!/bin/sh\n", "x86_64"),
    "an empty file": (b"", "x86_64"),
}

MISMATCHES = {
    "arm64 on x86-64": (elf(183), "x86_64", "aarch64"),
    "x86-64 on arm64": (elf(62), "aarch64", "x86_64"),
    "another machine": (elf(243), "x86_64", "243"),
    "32 bits": (b"\x7fELF\1\1\1" + bytes(9) + b"\2\0\3\0" + b"\xff" * 100, "x86_64", "machine 3"),
    "big endian": (elf(22, ">"), "x86_64", "22"),
    "macOS": (b"\xcf\xfa\xed\xfe\x07\x00\x00\x01" + bytes(24), "x86_64", "macOS"),
    "macOS, 32 bits": (b"\xce\xfa\xed\xfe" + bytes(24), "x86_64", "macOS"),
    "macOS, universal": (b"\xca\xfe\xba\xbe" + bytes(24), "aarch64", "macOS"),
    "19 bytes": (elf(62)[:19], "x86_64", "truncated"),
    "truncated in its header": (elf(62)[:63], "x86_64", "truncated"),
    "truncated after its header": (Path(sys.executable).read_bytes()[:-1], MACHINE, "truncated"),
    "magic only": (b"\x7fELF", "x86_64", "truncated"),
}


@pytest.mark.parametrize(("content", "machine"), MATCHES.values(), ids=MATCHES)
def test_matching_program_is_accepted(tmp_path: Path, content: bytes, machine: str) -> None:
    """A program for this machine and a file without a header are accepted."""
    binary.check_format(program(tmp_path / "wg", content), machine)


@pytest.mark.parametrize(("content", "machine", "reason"), MISMATCHES.values(), ids=MISMATCHES)
def test_mismatching_program_is_refused(
    tmp_path: Path, content: bytes, machine: str, reason: str
) -> None:
    """A program for another machine is refused with the reason and a hint."""
    wg = program(tmp_path / "wg", content)
    with pytest.raises(BinaryError, match=reason) as caught:
        binary.check_format(wg, machine)

    assert str(wg) in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code is ExitCode.INFRASTRUCTURE


@given(st.binary(max_size=80), st.sampled_from([b"", b"\x7fELF", b"\x7fELF\x02\x01"]))
def test_any_header_is_accepted_or_refused(content: bytes, start: bytes) -> None:
    """Arbitrary bytes are accepted or raise a BinaryError, and no other exception."""
    path = Path(os.environ["ISOSMOKE_STATE"]) / "any"
    path.write_bytes(start + content)
    try:
        binary.check_format(path, "x86_64")
    except BinaryError as error:
        assert error.hint  # noqa: PT017 - passing is allowed too


def test_interpreter_of_these_tests_matches_this_machine() -> None:
    """A real program of this machine is accepted for the machine name of uname."""
    binary.check_format(Path(sys.executable), MACHINE)


UNREADABLE = """
import sys
from pathlib import Path
from isosmoke.host import binary
from isosmoke.errors import IsosmokeError
Path(sys.argv[1]).chmod(0o111)
for attempt in (
    lambda: binary.check_format(Path(sys.argv[1]), "x86_64"),
    lambda: binary.take(Path(sys.argv[1])),
):
    try:
        attempt()
    except IsosmokeError as error:
        print(type(error).__name__)
"""


def test_unreadable_program_is_an_error(tmp_path: Path, ordinary: Ordinary) -> None:
    """A program that can be run but not read is a BinaryError, because it cannot be hashed."""
    wg = program(tmp_path / "wg")

    assert ordinary(UNREADABLE, wg).split() == ["BinaryError", "BinaryError"]


def test_copy_is_named_by_its_hash(tmp_path: Path, state_folder: Path) -> None:
    """The copy is in a directory named by its SHA-256, executable under both names."""
    wg = program(tmp_path / "wg-debug", b"the program")
    stored = binary.take(wg)

    assert stored.source == wg
    assert stored.sha256 == hashlib.sha256(b"the program").hexdigest()
    assert stored.folder.parent == state_folder / "binaries"
    assert stored.folder.name.startswith(stored.sha256)
    assert {copy.name for copy in stored.folder.iterdir()} == {"wg", "wg-debug"}
    for copy in stored.folder.iterdir():
        assert copy.read_bytes() == b"the program"
        assert copy.stat().st_mode & 0o777 == 0o755
    assert (stored.folder / "wg").samefile(stored.folder / "wg-debug")
    assert stored.folder.stat().st_mode & 0o777 == 0o755


def test_program_called_wg_has_one_name(tmp_path: Path) -> None:
    """A program that is already called wg gets no second name."""
    stored = binary.take(program(tmp_path / "wg"))

    assert [copy.name for copy in stored.folder.iterdir()] == ["wg"]


def test_same_content_is_stored_once_under_each_name(tmp_path: Path, state_folder: Path) -> None:
    """A copy is reused, and a directory never has the name under which another run used it."""
    wg, other = program(tmp_path / "a/wg"), program(tmp_path / "b/grep")
    first, again, second = binary.take(wg), binary.take(wg), binary.take(other)

    assert first == again
    assert first.sha256 == second.sha256
    assert {copy.name for copy in first.folder.iterdir()} == {"wg"}
    assert {copy.name for copy in second.folder.iterdir()} == {"wg", "grep"}
    assert set((state_folder / "binaries").iterdir()) == {first.folder, second.folder}


@pytest.mark.parametrize("change", ["rewritten", "added", "removed", "linked", "other name"])
def test_changed_copy_is_never_handed_out(tmp_path: Path, change: str) -> None:
    """A copy that was changed in the store is replaced by a copy of the program."""
    tool = program(tmp_path / "tool", b"the program")
    folder = binary.take(tool).folder
    match change:
        case "rewritten":
            (folder / "wg").write_bytes(b"always passes")
        case "added":
            program(folder / "cat", b"always passes")
        case "removed":
            (folder / "tool").unlink()
        case "linked":
            (folder / "wg").unlink()
            (folder / "wg").symlink_to(tool)
        case _:
            (folder / "tool").unlink()
            program(folder / "tool", b"always passes")

    stored = binary.take(tool)

    assert {copy.name for copy in stored.folder.iterdir()} == {"wg", "tool"}
    for copy in stored.folder.iterdir():
        assert not copy.is_symlink()
        assert copy.read_bytes() == b"the program"
    assert binary.find_copy(stored.sha256) == stored.folder / "wg"


def test_concurrent_runs_share_one_copy(tmp_path: Path, state_folder: Path) -> None:
    """Runs that start at the same time after a build share one copy, and none of them fails."""
    wg = program(tmp_path / "built", os.urandom(1 << 20))
    with ThreadPoolExecutor(8) as pool:
        stored = set(pool.map(binary.take, [wg] * 8))

    assert len(stored) == 1
    assert list((state_folder / "binaries").iterdir()) == [stored.pop().folder]


def test_rebuild_in_place_does_not_change_the_copy(tmp_path: Path) -> None:
    """A build that writes to the same file changes only the source, and is copied separately."""
    wg = program(tmp_path / "wg", b"first")
    first = binary.take(wg)
    with wg.open("r+b") as file:
        file.write(b"again")
    second = binary.take(wg)

    assert (first.folder / "wg").read_bytes() == b"first"
    assert (second.folder / "wg").read_bytes() == b"again"
    assert first.sha256 != second.sha256


def test_target_of_link_is_copied(tmp_path: Path) -> None:
    """The content of a linked binary is copied, under the name of the link."""
    real = program(tmp_path / "versions/1.2.3", b"content")
    (tmp_path / "wg").symlink_to(real)
    stored = binary.take(tmp_path / "wg")

    assert (stored.folder / "wg").read_bytes() == b"content"
    assert not (stored.folder / "wg").is_symlink()


def test_unused_builds_are_removed_after_a_week(tmp_path: Path, state_folder: Path) -> None:
    """Storing a build removes those that no run has used for a week, and keeps those in use."""
    old, used = binary.take(program(tmp_path / "a", b"old")), binary.take(program(tmp_path / "b"))
    store = state_folder / "binaries"
    (store / "unfinished-x").mkdir()
    for directory, age in ((old.folder, 1.1), (used.folder, 0.9), (store / "unfinished-x", 1.1)):
        then = directory.stat().st_mtime - age * WEEK
        os.utime(directory, (then, then))
    binary.take(program(tmp_path / "c", b"new"))

    assert not old.folder.exists()
    assert used.folder.is_dir()
    assert not (store / "unfinished-x").exists()


def test_build_in_use_is_kept(tmp_path: Path) -> None:
    """Storing an old build again renews it, so a build that is used every week stays."""
    wg = program(tmp_path / "wg")
    directory = binary.take(wg).folder
    new = directory.stat().st_mtime
    os.utime(directory, (new - 0.9 * WEEK, new - 0.9 * WEEK))
    binary.take(wg)

    assert directory.stat().st_mtime >= new


def test_vanishing_entry_of_the_store_is_ignored(tmp_path: Path, state_folder: Path) -> None:
    """An entry that another run renames or removes during the cleanup is no error."""
    store = state_folder / "binaries"
    store.mkdir()
    (store / "unfinished-y").symlink_to("gone")

    assert binary.take(program(tmp_path / "wg")).folder.is_dir()


def test_missing_source_is_a_binary_error(tmp_path: Path) -> None:
    """A program that a build has just removed is reported as missing."""
    with pytest.raises(BinaryError, match="gone"):
        binary.take(tmp_path / "gone")


def take_known(path: Path, monkeypatch: pytest.MonkeyPatch) -> binary.Binary:
    """Take a program twice, so that its hash is known, as if it was built some time ago."""
    later = time() + 60
    with monkeypatch.context() as patch:
        patch.setattr(identities, "time", lambda: later)
        binary.take(path, recall=True)
        return binary.take(path, recall=True)


def refuse_to_hash(path: Path) -> str:
    """Take the place of the function that hashes a file."""
    raise AssertionError(f"{path} was hashed")


def test_known_program_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that did not change is hashed again only if the caller insists, as a gate does."""
    wg = program(tmp_path / "wg")
    known = take_known(wg, monkeypatch)

    monkeypatch.setattr(files, "sha256", refuse_to_hash)

    assert binary.take(wg, recall=True) == known
    with pytest.raises(AssertionError, match="was hashed"):
        binary.take(wg)


def test_program_that_was_just_changed_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A further change could have the same time, so the hash is not known yet."""
    wg = program(tmp_path / "wg")
    for _ in range(2):
        binary.take(wg, recall=True)

    monkeypatch.setattr(files, "sha256", refuse_to_hash)

    with pytest.raises(AssertionError, match="was hashed"):
        binary.take(wg, recall=True)


def _rewrite(wg: Path, _: Path) -> None:
    times = wg.stat()
    wg.write_bytes(b"#!/bin/ls\n")
    os.utime(wg, ns=(times.st_atime_ns, times.st_mtime_ns))


def _replace(wg: Path, _: Path) -> None:
    program(wg.with_name("new"), b"#!/bin/ls\n").rename(wg)


def _rewrite_copy(_: Path, copy: Path) -> None:
    copy.write_bytes(b"#!/bin/ls\n")


def _add_to_copies(_: Path, copy: Path) -> None:
    program(copy.with_name("grep"))


def _remove_copies(_: Path, copy: Path) -> None:
    trees.remove(copy.parent)


@pytest.mark.parametrize(
    "change", [_rewrite, _replace, _rewrite_copy, _add_to_copies, _remove_copies]
)
def test_changed_program_or_copy_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path, Path], None]
) -> None:
    """A known hash is not used for other content, nor with copies that were changed."""
    wg = program(tmp_path / "wg")
    known = take_known(wg, monkeypatch)
    change(wg, known.folder / "wg")

    taken = binary.take(wg, recall=True)

    assert taken.sha256 == hashlib.sha256(wg.read_bytes()).hexdigest()
    assert sorted(path.name for path in taken.folder.iterdir()) == ["wg"]
    assert (taken.folder / "wg").read_bytes() == wg.read_bytes()
