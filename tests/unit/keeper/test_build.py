"""The compilation of the C programs, and the error if no compiler works."""

import hashlib
import os
import platform
import shutil
import struct
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from isosmoke.keeper import KEEPER_FILE
from isosmoke.keeper.build import (
    EXEC_SOURCE,
    FLAGS,
    LAUNCHER_SOURCE,
    SOURCE,
    STAND_IN_SOURCE,
    compile_program,
)

PT_LOAD, PT_INTERP = 1, 3
SOURCES = [SOURCE, EXEC_SOURCE, LAUNCHER_SOURCE, STAND_IN_SOURCE]
MACHINES = {"x86_64": 62, "aarch64": 183}


def segments(program: bytes) -> set[int]:
    """Return the kinds of program headers of a 64-bit little endian ELF file."""
    (table,) = struct.unpack_from("<Q", program, 32)
    size, count = struct.unpack_from("<HH", program, 54)
    return {struct.unpack_from("<I", program, table + number * size)[0] for number in range(count)}


def write_failing_compiler(directory: Path, text: str) -> None:
    """Write a `cc` that prints `text` and fails."""
    compiler = directory / "cc"
    compiler.write_text(f"#!/bin/sh\necho {text} >&2\nexit 1\n")
    compiler.chmod(0o755)


@pytest.fixture
def without_compilers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the only directory on PATH, which is empty."""
    if find_spec("ziglang") is not None:
        pytest.skip("the ziglang wheel is installed, so there is always a compiler")
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    return directory


@pytest.mark.skipif(shutil.which("cc") is None, reason="no cc on this machine")
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_program_is_static_and_for_this_machine(tmp_path: Path, source: Path) -> None:
    """The program is an ELF program that needs no loader, so it runs in any image."""
    compile_program(source, tmp_path / "program")
    program = (tmp_path / "program").read_bytes()

    assert program[:6] == b"\x7fELF\x02\x01"
    assert struct.unpack_from("<H", program, 18) == (MACHINES[platform.machine()],)
    assert PT_LOAD in segments(program)
    assert PT_INTERP not in segments(program)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no cc on this machine")
def test_keeper_that_is_not_pid_1_fails(tmp_path: Path) -> None:
    """A keeper that is started by hand prints an error and exits."""
    compile_program(SOURCE, tmp_path / "keeper")
    done = subprocess.run([tmp_path / "keeper"], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stdout == ""
    assert "PID 1" in done.stderr


def run_analyzer(source: Path) -> "subprocess.CompletedProcess[str]":
    """Analyze a source, without keeping what it is compiled to."""
    command = ["gcc", *FLAGS, "-fanalyzer", "-S", "-o", os.devnull, str(source)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def compute_analyzer_digest(source: Path) -> str:
    """Return a digest of what the result of the analyzer depends on."""
    texts = [
        subprocess.run(["gcc", *options], capture_output=True, check=True).stdout
        for options in (["--version"], ["-E", str(source)])
    ]
    return hashlib.sha256(repr((FLAGS, texts)).encode()).hexdigest()


@pytest.mark.parametrize("status", [0, 1])
def test_keeper_is_replaced_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """A run that copies the keeper during a build gets the old one, and no part of the new one."""
    if status and find_spec("ziglang") is not None:
        pytest.skip("the ziglang wheel is installed, so there is always a compiler")
    target = tmp_path / "keeper"
    target.write_text("old")
    compiler = tmp_path / "bin/cc"
    compiler.parent.mkdir()
    compiler.write_text(
        '#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\nprintf new >"$2"\n'
        f"cp '{target}' '{tmp_path}/copy'\nexit {status}\n"
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{compiler.parent}:/usr/bin:/bin")
    with suppress(RuntimeError):
        compile_program(SOURCE, target)

    assert (tmp_path / "copy").read_text() == "old"
    assert target.read_text() == ("old" if status else "new")
    assert not list(tmp_path.glob(".keeper*"))


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_analyzer_finds_nothing(cache: pytest.Cache, source: Path) -> None:
    """The analyzer of gcc finds no leaked descriptor and no null pointer on any path.

    That takes seconds, so it is done once for the same compiler and preprocessed source.
    """
    known, digest = f"isosmoke/analyzed/{source.stem}", compute_analyzer_digest(source)
    if cache.get(known, "") == digest:
        return
    done = run_analyzer(source)

    assert done.returncode == 0, done.stderr
    cache.set(known, digest)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
def test_analyzer_finds_a_fault_in_a_changed_header(tmp_path: Path) -> None:
    """A result is valid only for the same headers, and a null pointer is found."""
    source, header = tmp_path / "main.c", tmp_path / "read.h"
    source.write_text(
        '#include "read.h"\nint main(void) { int number = 0; return read(&number); }\n'
    )
    header.write_text("static int read(int *at) { return *at; }\n")
    clean = compute_analyzer_digest(source)
    assert run_analyzer(source).returncode == 0
    assert compute_analyzer_digest(source) == clean

    header.write_text("static int read(int *at) { at = 0; return *at; }\n")

    assert compute_analyzer_digest(source) != clean
    assert "dereference of NULL" in run_analyzer(source).stderr


def test_keeper_of_this_checkout_is_built() -> None:
    """The keeper is built and executable at the path where isosmoke looks for it."""
    assert KEEPER_FILE.is_file()
    assert KEEPER_FILE.stat().st_mode & 0o111


@pytest.mark.usefixtures("without_compilers")
def test_missing_compilers_are_each_named(tmp_path: Path) -> None:
    """If nothing can compile, the error has a line for each compiler that was tried."""
    with pytest.raises(RuntimeError) as caught:
        compile_program(SOURCE, tmp_path / "keeper")

    first, *failures = str(caught.value).splitlines()
    assert "static keeper" in first
    assert failures[0] == "cc: No such file or directory"
    assert failures[1].startswith(f"{sys.executable} -m ziglang cc")
    assert "No module named ziglang" in "\n".join(failures[1:])
    assert not (tmp_path / "keeper").exists()


def test_failing_compiler_is_quoted(without_compilers: Path, tmp_path: Path) -> None:
    """The error quotes a compiler that fails, for example without a static libc, and the next."""
    write_failing_compiler(without_compilers, "cannot find -lc")
    with pytest.raises(RuntimeError) as caught:
        compile_program(SOURCE, tmp_path / "keeper")

    assert "cc: cannot find -lc" in str(caught.value)
    assert "ziglang" in str(caught.value)
