"""What is said of a PATH: one line for each kind of entry, and nothing of a plain one."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.host import path_warnings, system_programs
from isosmoke.host.path_warnings import Entry

SYSTEM = Entry("/usr/bin", True, False, frozenset({"bash", "grep", "sed", "python3", "node"}))  # noqa: FBT003


def entry(text: str, *programs: str, inside: bool = False) -> Entry:
    """A directory that is not the system's, with these names of system programs."""
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
                "PATH puts before the system's own: python3, python3.11 of /h/.pyenv/shims;"
                " node of /h/n"
            ),
        ),
    ),
    "inside the workspace": (
        (entry("/p/.venv/bin", "python3", inside=True), SYSTEM),
        ("PATH entry /p/.venv/bin lies inside the workspace: its programs are no system's",),
    ),
    "the current directory": (
        (entry("", inside=True), entry(".", "bash", inside=True), SYSTEM),
        (
            (
                "PATH entries '' (the current directory), . lie inside the workspace:"
                " its programs are no system's"
            ),
            "PATH entry . shadows system programs: bash",
        ),
    ),
}


@pytest.mark.parametrize(("entries", "lines"), CASES.values(), ids=CASES)
def test_each_kind_of_entry_is_one_line(entries: tuple[Entry, ...], lines: tuple[str, ...]) -> None:
    """What may change a verdict is named, and no more."""
    assert path_warnings.warnings(entries) == lines


ENTRIES = st.lists(
    st.builds(
        Entry, st.text(), st.booleans(), st.booleans(), st.frozensets(st.text(), max_size=30)
    ),
    max_size=30,
)


@given(ENTRIES)
def test_at_most_three_short_lines(entries: list[Entry]) -> None:
    """However long a PATH is, the lines are few."""
    found = path_warnings.warnings(entries)

    assert len(found) <= 3
    assert all("\n" not in one for one in found)


def test_link_to_the_systems_own_program_shadows_nothing(tmp_path: Path) -> None:
    """The same program by another path is no other program; a copy is."""
    (tmp_path / "links").mkdir()
    (tmp_path / "links/bash").symlink_to("/bin/bash")
    (tmp_path / "copies").mkdir()
    (tmp_path / "copies/bash").write_bytes(Path("/bin/bash").read_bytes())
    (tmp_path / "copies/bash").chmod(0o755)
    (tmp_path / "copies/grep").write_text("not executable")
    path = f"{tmp_path}/links:{tmp_path}/copies:/usr/bin"

    links, copies, system = system_programs.entries(path, tmp_path, [])
    assert links.programs == frozenset()
    assert copies.programs == {"bash"}
    assert system.is_system


def test_directory_that_leads_into_the_workspace_is_inside(tmp_path: Path) -> None:
    """A link from elsewhere is followed, and so is a workspace that is reached by one."""
    (tmp_path / "work/bin").mkdir(parents=True)
    (tmp_path / "elsewhere").symlink_to("work/bin")
    (tmp_path / "alias").symlink_to("work")
    path = f"{tmp_path}/elsewhere:{tmp_path}/alias/bin:/usr/bin"

    found = system_programs.entries(path, tmp_path, [tmp_path / "work"])
    assert [one.is_in_workspace for one in found] == [True, True, False]


def test_directory_that_cannot_be_listed_is_looked_into(tmp_path: Path) -> None:
    """Programs of a directory that is only searchable run all the same, so they count."""
    (tmp_path / "bash").write_text("#!/bin/sh\n")
    (tmp_path / "bash").chmod(0o755)
    tmp_path.chmod(0o311)
    try:
        (found,) = system_programs.entries(str(tmp_path), Path("/"), [])
    finally:
        tmp_path.chmod(0o700)

    assert found.programs == {"bash"}


def test_missing_directory_is_an_entry_without_programs() -> None:
    """What is not there shadows nothing."""
    (found,) = system_programs.entries(f"{os.devnull}/x", Path("/"), [])

    assert found == Entry(
        f"{os.devnull}/x", is_system=False, is_in_workspace=False, programs=frozenset()
    )
