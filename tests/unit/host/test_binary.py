"""The live binary: found, checked, hashed and copied."""

import hashlib
import os
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.errors import BinaryError, ExitCode, UsageError
from isosmoke.host import binary
from support.fixture_types import Ordinary

WEEK = 7 * 86400.0
MACHINE = os.uname().machine


def program(path: Path, content: bytes = b"#!/bin/sh\n") -> Path:
    """An executable file with this content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def elf(machine: int, order: str = "<") -> bytes:
    """The first bytes of an ELF program for this machine."""
    ident = b"\x7fELF\x02" + (b"\x01" if order == "<" else b"\x02") + b"\x01" + bytes(9)
    return ident + struct.pack(f"{order}HH", 2, machine) + bytes(100)


def test_option_wins_over_variable_and_path(tmp_path: Path) -> None:
    """The binary named by option is used, else the one ISOSMOKE_WG names, else wg on PATH."""
    named, variable = program(tmp_path / "named"), program(tmp_path / "variable")
    on_path = program(tmp_path / "bin/wg")
    environment = {"PATH": f"/gone:{on_path.parent}", "ISOSMOKE_WG": str(variable)}

    assert binary.find(str(named), environment) == named
    assert binary.find(None, environment) == variable
    assert binary.find("", environment) == variable
    assert binary.find(None, environment | {"ISOSMOKE_WG": ""}) == on_path


@pytest.mark.parametrize("environment", [{"PATH": "/gone"}, {"PATH": ""}, {}])
def test_no_binary_is_none(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no wg on the caller's PATH there is no binary, whatever PATH isosmoke has."""
    monkeypatch.setenv("PATH", str(program(tmp_path / "wg").parent))

    assert binary.find(None, environment) is None


def test_relative_names_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A binary found by a relative name is told by its whole path: sandboxes stand elsewhere."""
    wg = program(tmp_path / "target/wg")
    monkeypatch.chdir(tmp_path)

    assert binary.find("target/wg", {}) == wg
    assert binary.find(None, {"ISOSMOKE_WG": "./target/wg"}) == wg
    assert binary.find(None, {"PATH": "target"}) == wg


@pytest.mark.parametrize("origin", ["--binary", "ISOSMOKE_WG"])
def test_named_binary_must_be_a_program(tmp_path: Path, origin: str) -> None:
    """A name that leads to no program is a usage error that says who named it, never a fallback."""
    program(tmp_path / "bin/wg")
    plain = tmp_path / "plain"
    plain.touch(mode=0o644)
    for path, words in ((tmp_path / "gone", "no file"), (tmp_path, "no file"), (plain, "not exec")):
        named = str(path) if origin == "--binary" else None
        environment = {"PATH": str(tmp_path / "bin"), "ISOSMOKE_WG": str(path)}
        with pytest.raises(UsageError, match=words) as caught:
            binary.find(named, environment)
        assert caught.value.message.startswith(origin)
        assert str(path) in caught.value.message
        assert caught.value.hint


FITS = {
    "x86-64": (elf(62), "x86_64"),
    "arm64": (elf(183), "aarch64"),
    "a script": (b"#!/bin/sh\n", "x86_64"),
    "nothing at all": (b"", "x86_64"),
}

UNFIT = {
    "arm64 on x86-64": (elf(183), "x86_64", "aarch64"),
    "x86-64 on arm64": (elf(62), "aarch64", "x86_64"),
    "another machine": (elf(243), "x86_64", "243"),
    "32 bits": (b"\x7fELF\1\1\1" + bytes(9) + b"\2\0\3\0" + b"\xff" * 100, "x86_64", "machine 3"),
    "big endian": (elf(22, ">"), "x86_64", "22"),
    "a Mac's": (b"\xcf\xfa\xed\xfe\x07\x00\x00\x01" + bytes(24), "x86_64", "macOS"),
    "an old Mac's": (b"\xce\xfa\xed\xfe" + bytes(24), "x86_64", "macOS"),
    "a universal Mac's": (b"\xca\xfe\xba\xbe" + bytes(24), "aarch64", "macOS"),
    "cut short": (elf(62)[:19], "x86_64", "cut short"),
    "cut in its header": (elf(62)[:63], "x86_64", "cut short"),
    "cut behind its header": (Path(sys.executable).read_bytes()[:-1], MACHINE, "cut short"),
    "hardly begun": (b"\x7fELF", "x86_64", "cut short"),
}


@pytest.mark.parametrize(("content", "machine"), FITS.values(), ids=FITS)
def test_fitting_program_is_accepted(tmp_path: Path, content: bytes, machine: str) -> None:
    """A program for this machine is accepted, and what has no header is left to be tried."""
    binary.check_format(program(tmp_path / "wg", content), machine)


@pytest.mark.parametrize(("content", "machine", "words"), UNFIT.values(), ids=UNFIT)
def test_unfit_program_is_refused(tmp_path: Path, content: bytes, machine: str, words: str) -> None:
    """A program for another machine is refused in words that say what it is and what to do."""
    wg = program(tmp_path / "wg", content)
    with pytest.raises(BinaryError, match=words) as caught:
        binary.check_format(wg, machine)

    assert str(wg) in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code is ExitCode.INFRASTRUCTURE


@given(st.binary(max_size=80), st.sampled_from([b"", b"\x7fELF", b"\x7fELF\x02\x01"]))
def test_any_header_is_accepted_or_refused(content: bytes, start: bytes) -> None:
    """No bytes whatsoever raise anything but a BinaryError."""
    path = Path(os.environ["ISOSMOKE_STATE"]) / "any"
    path.write_bytes(start + content)
    try:
        binary.check_format(path, "x86_64")
    except BinaryError as error:
        assert error.hint  # noqa: PT017 - passing is allowed too


def test_interpreter_of_these_tests_fits_this_machine() -> None:
    """A real program of this machine is accepted under the name that this machine gives itself."""
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


def test_program_that_cannot_be_read_is_told(tmp_path: Path, ordinary: Ordinary) -> None:
    """A program that may be run but not read is a BinaryError, since it cannot be hashed."""
    wg = program(tmp_path / "wg")

    assert ordinary(UNREADABLE, wg).split() == ["BinaryError", "BinaryError"]


def test_copy_is_named_by_its_hash(tmp_path: Path, state_folder: Path) -> None:
    """The copy lies in a folder named by its sha256, executable under both names."""
    wg = program(tmp_path / "wg-debug", b"the program")
    taken = binary.take(wg)

    assert taken.source == wg
    assert taken.sha256 == hashlib.sha256(b"the program").hexdigest()
    assert taken.folder == state_folder / "binaries" / taken.sha256
    assert {one.name for one in taken.folder.iterdir()} == {"wg", "wg-debug"}
    for copy in taken.folder.iterdir():
        assert copy.read_bytes() == b"the program"
        assert copy.stat().st_mode & 0o777 == 0o755
    assert (taken.folder / "wg").samefile(taken.folder / "wg-debug")
    assert taken.folder.stat().st_mode & 0o777 == 0o755


def test_program_called_wg_has_one_name(tmp_path: Path) -> None:
    """A program that is called wg already needs no second name."""
    taken = binary.take(program(tmp_path / "wg"))

    assert [one.name for one in taken.folder.iterdir()] == ["wg"]


def test_two_takes_give_one_folder(tmp_path: Path, state_folder: Path) -> None:
    """The same content taken twice, from two places, lies in the store once."""
    one, other = program(tmp_path / "a/wg"), program(tmp_path / "b/other")
    first, again, second = binary.take(one), binary.take(one), binary.take(other)

    assert first == again
    assert first.folder == second.folder
    assert {copy.name for copy in first.folder.iterdir()} == {"wg", "other"}
    assert list((state_folder / "binaries").iterdir()) == [first.folder]


def test_takes_at_the_same_time_give_one_folder(tmp_path: Path, state_folder: Path) -> None:
    """Runs that start together after a build share one copy, and none of them fails."""
    wg = program(tmp_path / "built", os.urandom(1 << 20))
    with ThreadPoolExecutor(8) as pool:
        taken = set(pool.map(binary.take, [wg] * 8))

    assert len(taken) == 1
    assert [one.name for one in (state_folder / "binaries").iterdir()] == [taken.pop().sha256]


def test_rebuild_in_place_does_not_change_the_copy(tmp_path: Path) -> None:
    """A build that writes into the same file changes the source alone, and is a new take."""
    wg = program(tmp_path / "wg", b"first")
    first = binary.take(wg)
    with wg.open("r+b") as file:
        file.write(b"again")
    second = binary.take(wg)

    assert (first.folder / "wg").read_bytes() == b"first"
    assert (second.folder / "wg").read_bytes() == b"again"
    assert first.sha256 != second.sha256


def test_link_is_taken_for_what_it_leads_to(tmp_path: Path) -> None:
    """A linked binary is copied by its content and keeps the name that it was called by."""
    real = program(tmp_path / "versions/1.2.3", b"content")
    (tmp_path / "wg").symlink_to(real)
    taken = binary.take(tmp_path / "wg")

    assert (taken.folder / "wg").read_bytes() == b"content"
    assert not (taken.folder / "wg").is_symlink()


def test_builds_of_last_week_are_forgotten(tmp_path: Path, state_folder: Path) -> None:
    """A build that no run has used for a week goes with the next take, one in use stays."""
    old, used = binary.take(program(tmp_path / "a", b"old")), binary.take(program(tmp_path / "b"))
    store = state_folder / "binaries"
    (store / "unfinished-x").mkdir()
    for folder, age in ((old.folder, 1.1), (used.folder, 0.9), (store / "unfinished-x", 1.1)):
        then = folder.stat().st_mtime - age * WEEK
        os.utime(folder, (then, then))
    binary.take(program(tmp_path / "c", b"new"))

    assert not old.folder.exists()
    assert used.folder.is_dir()
    assert not (store / "unfinished-x").exists()


def test_take_keeps_a_build_in_use(tmp_path: Path) -> None:
    """Taking an old build again makes it young, so a build that is used every week stays."""
    wg = program(tmp_path / "wg")
    folder = binary.take(wg).folder
    new = folder.stat().st_mtime
    os.utime(folder, (new - 0.9 * WEEK, new - 0.9 * WEEK))
    binary.take(wg)

    assert folder.stat().st_mtime >= new


def test_entry_that_vanishes_from_the_store_is_no_error(tmp_path: Path, state_folder: Path) -> None:
    """What another run renames or removes while the store is looked through stops nobody."""
    store = state_folder / "binaries"
    store.mkdir()
    (store / "unfinished-y").symlink_to("gone")

    assert binary.take(program(tmp_path / "wg")).folder.is_dir()


def test_source_that_is_gone_is_a_binary_error(tmp_path: Path) -> None:
    """A program that a build has just removed is told as such."""
    with pytest.raises(BinaryError, match="gone"):
        binary.take(tmp_path / "gone")
