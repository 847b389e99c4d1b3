"""Requirements read from a program's ELF file."""

import platform
import sys
from pathlib import Path

import pytest

from isosmoke.rootfs_images import elf, loader_diagnosis
from support import elf_programs


def test_program_names_its_loader_and_libraries(tmp_path: Path) -> None:
    """An ordinary program is linked for one of the loaders of this machine's architecture."""
    needs = elf.read_requirements(elf_programs.compile_ordinary(tmp_path))
    assert needs
    assert needs.loader in loader_diagnosis.LOADERS[platform.machine()]
    assert any(library.startswith("libc.") for library in needs.libraries)


def test_highest_required_version_is_returned(tmp_path: Path) -> None:
    """Versions are compared as numbers, and a missing library is still named."""
    needs = elf.read_requirements(elf_programs.compile_for_newer_libc(tmp_path))
    assert needs
    assert needs.glibc == (2, 99)
    lacking = elf.read_requirements(elf_programs.compile_with_missing_library(tmp_path))
    assert lacking
    assert "libgone.so" in lacking.libraries


def test_static_program_has_no_requirements(tmp_path: Path) -> None:
    """A static program has neither a loader nor a library."""
    static = elf_programs.compile_ordinary(tmp_path, options=("-static",))
    assert elf.read_requirements(static) == elf.ElfRequirements("", (), ())


def test_python_interpreter_has_a_loader() -> None:
    """The running interpreter is a real program, built by an unknown toolchain."""
    needs = elf.read_requirements(Path(sys.executable).resolve())
    assert needs
    assert needs.loader


@pytest.mark.parametrize(
    "content", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x02\x01\x01" + b"\0" * 9]
)
def test_file_that_is_not_a_program_has_no_requirements(content: bytes, tmp_path: Path) -> None:
    """A script, an empty file and a truncated ELF file have no known requirements."""
    (tmp_path / "file").write_bytes(content)
    assert elf.read_requirements(tmp_path / "file") is None
