"""What a program's own file says that it needs."""

import platform
import sys
from pathlib import Path

import pytest

from isosmoke.rootfs_images import elf, loader_diagnosis
from support import elf_programs


def test_program_names_its_loader_and_libraries(tmp_path: Path) -> None:
    """An ordinary one is linked for one of the loaders that this machine can have."""
    needs = elf.read(elf_programs.ordinary(tmp_path))
    assert needs
    assert needs.loader in loader_diagnosis.LOADERS[platform.machine()]
    assert any(one.startswith("libc.") for one in needs.libraries)


def test_highest_version_is_what_counts(tmp_path: Path) -> None:
    """Versions are compared as numbers, and a library that is not here is named all the same."""
    needs = elf.read(elf_programs.newer(tmp_path))
    assert needs
    assert needs.glibc == (2, 99)
    lacking = elf.read(elf_programs.lacking(tmp_path))
    assert lacking
    assert "libgone.so" in lacking.libraries


def test_static_program_needs_nothing(tmp_path: Path) -> None:
    """Neither a loader nor a library."""
    static = elf_programs.ordinary(tmp_path, options=("-static",))
    assert elf.read(static) == elf.Needs("", (), ())


def test_this_python_is_a_program() -> None:
    """A real one, of whatever made it."""
    needs = elf.read(Path(sys.executable).resolve())
    assert needs
    assert needs.loader


@pytest.mark.parametrize(
    "content", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x02\x01\x01" + b"\0" * 9]
)
def test_what_is_no_program_needs_nothing_known(content: bytes, tmp_path: Path) -> None:
    """A script, an empty file, and one that was cut short."""
    (tmp_path / "file").write_bytes(content)
    assert elf.read(tmp_path / "file") is None
