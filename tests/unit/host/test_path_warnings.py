"""Warnings about PATH entries: one line for each kind of risky entry, none for a plain PATH."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.host import path_warnings, system_programs
from isosmoke.host.path_warnings import Entry

SYSTEM = Entry("/usr/bin", True, False, frozenset({"bash", "grep", "sed", "python3", "node"}))  # noqa: FBT003


def entry(text: str, *programs: str, inside: bool = False) -> Entry:
    """Return an entry outside the system with these names of system programs."""
    return Entry(text, is_system=False, is_in_workspace=inside, programs=frozenset(programs))


CASES: dict[str, tuple[tuple[Entry, ...], tuple[str, ...]]] = {
    "the system alone": ((SYSTEM,), ()),
    "after the system": ((SYSTEM, entry("/x", "bash")), ()),
    "nothing shared": ((entry("/x"), SYSTEM), ()),
    "before the system": (
        (entry("/x", "sed", "bash", "grep"), SYSTEM),
        ("PATH entry /x shadows system programs: bash, grep, sed",),
    ),
    "without the system": (
        (entry("/x", "bash"),),
        ("PATH entry /x shadows system programs: bash",),
    ),
    "many programs": (
        (entry("/x", *"abcdef", "bash"),),
        ("PATH entry /x shadows system programs: bash, a, b, c (+3 more)",),
    ),
    "several entries": (
        (entry("/x", "bash"), entry("/y", "grep"), entry("/z", "sed"), SYSTEM),
        ("PATH entries shadow system programs: /x: bash; /y: grep (+1 more)",),
    ),
    "interpreters of languages": (
        (entry("/h/.pyenv/shims", "python3", "python3.11"), entry("/h/n", "node"), SYSTEM),
        (
            (
                "PATH puts language tools before the system's:"
                " python3, python3.11 from /h/.pyenv/shims; node from /h/n"
            ),
        ),
    ),
    "inside the workspace": (
        (entry("/p/.venv/bin", "python3", inside=True), SYSTEM),
        ("PATH entry /p/.venv/bin lies inside the workspace and can replace system programs",),
    ),
    "the current directory": (
        (entry("", inside=True), entry(".", "bash", inside=True), SYSTEM),
        (
            (
                "PATH entries '' (the current directory), . lie inside the workspace"
                " and can replace system programs"
            ),
            "PATH entry . shadows system programs: bash",
        ),
    ),
}


@pytest.mark.parametrize(("entries", "lines"), CASES.values(), ids=CASES)
def test_each_kind_of_risky_entry_has_one_line(
    entries: tuple[Entry, ...], lines: tuple[str, ...]
) -> None:
    """Only entries that may change a verdict are named."""
    assert path_warnings.find_warnings(entries) == lines


ENTRIES = st.lists(
    st.builds(
        Entry, st.text(), st.booleans(), st.booleans(), st.frozensets(st.text(), max_size=30)
    ),
    max_size=30,
)


@given(ENTRIES)
def test_any_path_has_at_most_three_warnings(entries: list[Entry]) -> None:
    """A PATH of any length has at most three lines of warnings."""
    lines = path_warnings.find_warnings(entries)

    assert len(lines) <= 3
    assert all("\n" not in line for line in lines)


def test_link_to_system_program_shadows_nothing(tmp_path: Path) -> None:
    """A link to the system's program does not shadow it, but a copy does."""
    (tmp_path / "links").mkdir()
    (tmp_path / "links/bash").symlink_to("/bin/bash")
    (tmp_path / "copies").mkdir()
    (tmp_path / "copies/bash").write_bytes(Path("/bin/bash").read_bytes())
    (tmp_path / "copies/bash").chmod(0o755)
    (tmp_path / "copies/grep").write_text("not executable")
    path = f"{tmp_path}/links:{tmp_path}/copies:/usr/bin"

    links, copies, system = system_programs.read_entries(path, tmp_path, [])
    assert links.programs == frozenset()
    assert copies.programs == {"bash"}
    assert system.is_system


def test_linked_directory_in_workspace_is_inside(tmp_path: Path) -> None:
    """Links of the entry and of the workspace are followed."""
    (tmp_path / "work/bin").mkdir(parents=True)
    (tmp_path / "elsewhere").symlink_to("work/bin")
    (tmp_path / "alias").symlink_to("work")
    path = f"{tmp_path}/elsewhere:{tmp_path}/alias/bin:/usr/bin"

    entries = system_programs.read_entries(path, tmp_path, [tmp_path / "work"])
    assert [entry.is_in_workspace for entry in entries] == [True, True, False]


def test_programs_of_unlistable_directory_count(tmp_path: Path) -> None:
    """Programs of a directory that can be searched but not listed can run, so they count."""
    (tmp_path / "bash").write_text("#!/bin/sh\n")
    (tmp_path / "bash").chmod(0o755)
    tmp_path.chmod(0o311)
    try:
        (unlistable,) = system_programs.read_entries(str(tmp_path), Path("/"), [])
    finally:
        tmp_path.chmod(0o700)

    assert unlistable.programs == {"bash"}


def test_missing_directory_is_an_entry_without_programs() -> None:
    """A missing directory shadows nothing."""
    (missing,) = system_programs.read_entries(f"{os.devnull}/x", Path("/"), [])

    assert missing == Entry(
        f"{os.devnull}/x", is_system=False, is_in_workspace=False, programs=frozenset()
    )


def test_programs_are_not_looked_up_in_a_missing_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PATH often names directories that do not exist, and the system has thousands of programs."""
    asked: list[Path] = []
    access = os.access

    def count(path: Path, mode: int) -> bool:
        asked.append(path)
        return access(path, mode)

    monkeypatch.setattr(os, "access", count)
    system_programs.read_entries("/nowhere/bin", Path("/"), [])

    assert {path for path in asked if path.is_relative_to("/nowhere")} == {Path("/nowhere/bin")}
