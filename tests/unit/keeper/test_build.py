"""How the keeper is compiled, and what is said when it cannot be."""

import platform
import shutil
import struct
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from isosmoke.keeper import KEEPER_FILE
from isosmoke.keeper.build import FLAGS, SOURCE, compile_keeper

PT_LOAD, PT_INTERP = 1, 3
MACHINES = {"x86_64": 62, "aarch64": 183}


def segments(program: bytes) -> set[int]:
    """The kinds of program headers of a 64-bit little endian ELF file."""
    (table,) = struct.unpack_from("<Q", program, 32)
    size, count = struct.unpack_from("<HH", program, 54)
    return {struct.unpack_from("<I", program, table + number * size)[0] for number in range(count)}


def complain(folder: Path, text: str) -> None:
    """Put a `cc` there that fails with these words."""
    compiler = folder / "cc"
    compiler.write_text(f"#!/bin/sh\necho {text} >&2\nexit 1\n")
    compiler.chmod(0o755)


@pytest.fixture
def without_compilers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The only folder on PATH, with nothing in it."""
    if find_spec("ziglang") is not None:
        pytest.skip("the ziglang wheel is installed, so there is always a compiler")
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.mark.skipif(shutil.which("cc") is None, reason="no cc on this machine")
def test_keeper_is_a_static_program_for_this_machine(tmp_path: Path) -> None:
    """The keeper is an ELF program for this machine that needs no loader, so any image runs it."""
    compile_keeper(tmp_path / "keeper")
    program = (tmp_path / "keeper").read_bytes()

    assert program[:6] == b"\x7fELF\x02\x01"
    assert struct.unpack_from("<H", program, 18) == (MACHINES[platform.machine()],)
    assert PT_LOAD in segments(program)
    assert PT_INTERP not in segments(program)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no cc on this machine")
def test_keeper_refuses_to_be_anything_but_pid_1(tmp_path: Path) -> None:
    """Started by hand, the keeper says what it is and ends."""
    compile_keeper(tmp_path / "keeper")
    done = subprocess.run([tmp_path / "keeper"], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stdout == ""
    assert "PID 1" in done.stderr


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
def test_analyzer_finds_nothing_in_the_keeper(tmp_path: Path) -> None:
    """No path through the keeper leaks a descriptor or uses what may be missing, gcc says."""
    command = ["gcc", *FLAGS, "-fanalyzer", "-o", str(tmp_path / "keeper"), str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_keeper_of_this_checkout_is_there() -> None:
    """Whoever runs these tests has built the keeper, executable and where isosmoke looks for it."""
    assert KEEPER_FILE.is_file()
    assert KEEPER_FILE.stat().st_mode & 0o111


@pytest.mark.usefixtures("without_compilers")
def test_missing_compilers_are_each_named(tmp_path: Path) -> None:
    """Where nothing can compile, the error has a line for each compiler that was tried."""
    with pytest.raises(RuntimeError) as caught:
        compile_keeper(tmp_path / "keeper")

    first, *complaints = str(caught.value).splitlines()
    assert "static keeper" in first
    assert complaints[0] == "cc: No such file or directory"
    assert complaints[1].startswith(f"{sys.executable} -m ziglang cc")
    assert "No module named ziglang" in "\n".join(complaints[1:])
    assert not (tmp_path / "keeper").exists()


def test_failing_compiler_is_told_in_its_own_words(without_compilers: Path, tmp_path: Path) -> None:
    """A compiler that fails, for want of a static libc say, is quoted beside the next one tried."""
    complain(without_compilers, "cannot find -lc")
    with pytest.raises(RuntimeError) as caught:
        compile_keeper(tmp_path / "keeper")

    assert "cc: cannot find -lc" in str(caught.value)
    assert "ziglang" in str(caught.value)
