"""What is made of a loader's words; those here were printed by real ones."""

import pytest

from isosmoke.rootfs_images import loader_diagnosis
from isosmoke.rootfs_images.elf import Needs

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
    ("said", "library"),
    [
        (OLD_GLIBC, "glibc 2.31"),
        ("ld.so (Ubuntu GLIBC 2.39-0ubuntu8) stable release version 2.39.\n", "glibc 2.39"),
        ("musl libc (x86_64)\nVersion 1.2.3\nDynamic Program Loader\n", "musl 1.2.3"),
        ("", ""),
        ("version 2.31", ""),
    ],
)
def test_library_introduces_itself(said: str, library: str) -> None:
    """By name and version, and nothing else is taken for one."""
    assert loader_diagnosis.libc(said) == library


@pytest.mark.parametrize(
    "said",
    [
        "wg: error while loading shared libraries: libgone.so: cannot open shared object file",
        "wg: /lib/libc.so.6: version `GLIBC_2.34' not found (required by wg)",
        "Error loading shared library libgone.so: No such file or directory (needed by ./wg)",
        "Error relocating ./wg: __res_init: symbol not found",
    ],
)
def test_loader_is_told_from_the_program(said: str) -> None:
    """Its complaint is found among what the program printed before."""
    assert loader_diagnosis.loader_complaint(f"hello\n{said}\n") == said


@pytest.mark.parametrize("said", ["", "wg 0.1.0", "error: config file not found", "GLIBC_TUNABLES"])
def test_program_that_speaks_has_started(said: str) -> None:
    """Its own errors are its own affair."""
    assert loader_diagnosis.loader_complaint(said) == ""


def test_everything_that_does_not_fit_is_named() -> None:
    """The C library's version, each missing library, and versions of other libraries."""
    words = loader_diagnosis.misfit(Needs(GLIBC, (), (2, 34)), "glibc 2.31", LISTED)
    assert words == (
        "it needs glibc 2.34, the image has 2.31; the image lacks libgone.so; "
        "/lib/x86_64-linux-gnu/libstdc++.so.6 of the image has no GLIBCXX_3.4.30"
    )
    words = loader_diagnosis.misfit(Needs(MUSL, (), ()), "musl 1.2.3", LISTED_BY_MUSL)
    assert words == "the image lacks libgone.so, libssl.so.3"


@pytest.mark.parametrize("has", ["glibc 2.34", "glibc 2.41", "glibc 2.100", ""])
def test_new_enough_is_no_misfit(has: str) -> None:
    """Versions count as numbers, and what is not known is not claimed."""
    assert loader_diagnosis.misfit(Needs(GLIBC, (), (2, 34)), has, "") == ""


@pytest.mark.parametrize(
    ("loader", "has", "words"),
    [
        (
            MUSL,
            "glibc 2.41",
            f"linked for musl, whose loader {MUSL} is not there; the image has glibc",
        ),
        (
            GLIBC,
            "musl 1.2.3",
            f"linked for glibc, whose loader {GLIBC} is not there; the image has musl",
        ),
        (GLIBC, "", "the image has no C library"),
    ],
)
def test_other_c_library_is_named(loader: str, has: str, words: str) -> None:
    """Both the one that is wanted and the one that is there."""
    assert words in loader_diagnosis.foreign(Needs(loader, (), ()), has)
