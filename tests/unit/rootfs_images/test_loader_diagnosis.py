"""Diagnosis from output that real loaders printed."""

import pytest

from isosmoke.rootfs_images import loader_diagnosis
from isosmoke.rootfs_images.elf import ElfRequirements

GLIBC = "/lib64/ld-linux-x86-64.so.2"
MUSL = "/lib/ld-musl-x86_64.so.1"

OLD_GLIBC = """\
GNU C Library (Debian GLIBC 2.31-13+deb11u11) stable release version 2.31.
Copyright (C) 2020 Free Software Foundation, Inc.
Compiled by GNU CC version 10.2.1 20210110.
"""

LISTED = """\
wg: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.34' not found (required by wg)
wg: /lib/x86_64-linux-gnu/libstdc++.so.6: version `GLIBCXX_3.4.30' not found (required by wg)
\tlinux-vdso.so.1 (0x00007fe1f3e02000)
\tlibgone.so => not found
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007fe1f3c1f000)
"""

LISTED_BY_MUSL = """\
\t/lib/ld-musl-x86_64.so.1 (0x7f9813057000)
Error loading shared library libgone.so: No such file or directory (needed by ./wg)
Error loading shared library libssl.so.3: No such file or directory (needed by ./wg)
"""


@pytest.mark.parametrize(
    ("output", "library"),
    [
        (OLD_GLIBC, "glibc 2.31"),
        ("ld.so (Ubuntu GLIBC 2.39-0ubuntu8) stable release version 2.39.\n", "glibc 2.39"),
        ("musl libc (x86_64)\nVersion 1.2.3\nDynamic Program Loader\n", "musl 1.2.3"),
        ("", ""),
        ("version 2.31", ""),
    ],
)
def test_c_library_is_identified(output: str, library: str) -> None:
    """Name and version are found, and other output is not mistaken for them."""
    assert loader_diagnosis.parse_libc(output) == library


@pytest.mark.parametrize(
    "error",
    [
        "wg: error while loading shared libraries: libgone.so: cannot open shared object file",
        "wg: /lib/libc.so.6: version `GLIBC_2.34' not found (required by wg)",
        "Error loading shared library libgone.so: No such file or directory (needed by ./wg)",
        "Error relocating ./wg: __res_init: symbol not found",
    ],
)
def test_loader_error_is_found_in_output(error: str) -> None:
    """The loader's error is found after other output of the program."""
    assert loader_diagnosis.find_loader_error(f"hello\n{error}\n") == error


@pytest.mark.parametrize(
    "output", ["", "wg 0.1.0", "error: config file not found", "GLIBC_TUNABLES"]
)
def test_program_output_is_not_a_loader_error(output: str) -> None:
    """The program's own output and errors are not loader errors."""
    assert loader_diagnosis.find_loader_error(output) == ""


def test_every_incompatibility_is_reported() -> None:
    """The C library's version, missing libraries and versions of other libraries are reported."""
    reason = loader_diagnosis.explain_misfit(
        ElfRequirements(GLIBC, (), (2, 34)), "glibc 2.31", LISTED
    )
    assert reason == (
        "it needs glibc 2.34, the image has 2.31; the image lacks libgone.so; "
        "/lib/x86_64-linux-gnu/libstdc++.so.6 of the image has no GLIBCXX_3.4.30"
    )
    reason = loader_diagnosis.explain_misfit(
        ElfRequirements(MUSL, (), ()), "musl 1.2.3", LISTED_BY_MUSL
    )
    assert reason == "the image lacks libgone.so, libssl.so.3"


@pytest.mark.parametrize("present", ["glibc 2.34", "glibc 2.41", "glibc 2.100", ""])
def test_recent_c_library_is_compatible(present: str) -> None:
    """Versions are compared as numbers, and an unknown version is not a reason."""
    assert loader_diagnosis.explain_misfit(ElfRequirements(GLIBC, (), (2, 34)), present, "") == ""


@pytest.mark.parametrize(
    ("loader", "present", "expected"),
    [
        (
            MUSL,
            "glibc 2.41",
            f"linked for musl, whose loader {MUSL} does not exist; the image has glibc",
        ),
        (
            GLIBC,
            "musl 1.2.3",
            f"linked for glibc, whose loader {GLIBC} does not exist; the image has musl",
        ),
        (GLIBC, "", "the image has no C library"),
    ],
)
def test_foreign_c_library_is_reported(loader: str, present: str, expected: str) -> None:
    """The message names the required and the present C library."""
    assert expected in loader_diagnosis.explain_missing_loader(
        ElfRequirements(loader, (), ()), present
    )
