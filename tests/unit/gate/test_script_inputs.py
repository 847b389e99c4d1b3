"""Discovery of the files that a script reads."""

from pathlib import Path

import pytest

from isosmoke.gate import script_inputs


def find_inputs(directory: Path, script: str, *files: str, exclude: str = "none") -> list[str]:
    """Return the inputs of `scenarios/s.sh` with this text, in a directory with these files."""
    for name in files:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text("true\n")
    path = directory / "scenarios/s.sh"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    inputs = script_inputs.list_paths([path], [directory], exclude=(path, directory / exclude))
    return [str(path.relative_to(directory)) for path in sorted(set(inputs.values()))]


@pytest.mark.parametrize(
    "script",
    [
        "source lib.sh",
        ". ./lib.sh",
        '. "$(dirname "$0")/lib.sh"',
        'source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh" || exit 99',
        'source "$(cd "$(dirname "$0")" && pwd)/lib.sh"',
        'HERE=$(dirname "$0")\n. "$HERE/lib.sh"',
        '. "${HERE:-.}"/lib.sh; true',
        ". `dirname $0`/lib.sh",
        "command . lib.sh",
        "builtin source lib.sh",
        "  if true; then . $HERE/lib.sh; fi",
        "[ -e x ] && { . ../scenarios/lib.sh; }",
        "bash $HERE/lib.sh",
        'LIB=scenarios/lib.sh\n. "$LIB"',
        "# shellcheck source=lib.sh",
        "cp scenarios/lib.sh /tmp",
    ],
)
def test_library_is_found_by_any_path_to_it(script: str, tmp_path: Path) -> None:
    """Any expansion may precede the name; the name is sufficient."""
    assert find_inputs(tmp_path, script, "scenarios/lib.sh", "scenarios/other.sh") == [
        "scenarios/lib.sh"
    ]


def test_sourced_file_is_followed_outside_the_directory(tmp_path: Path) -> None:
    """A sourced file is executed wherever it is."""
    directory = tmp_path / "manifest"
    directory.mkdir()
    (tmp_path / "lib one.sh").write_text(f". {tmp_path}/two.sh\n")
    (tmp_path / "two.sh").write_text("true\n")
    script = directory / "s.sh"
    script.write_text('. "$(dirname "$0")/../lib one.sh"\n')

    inputs = script_inputs.list_paths([script], [directory], exclude=())
    assert tuple(sorted(set(inputs.values()))) == (
        tmp_path / "lib one.sh",
        tmp_path / "two.sh",
    )


@pytest.mark.parametrize("command", ["command .", "builtin source", "! ."])
def test_file_is_sourced_by_any_command(command: str, tmp_path: Path) -> None:
    """A sourced file outside the directory is found whatever precedes `source`."""
    (tmp_path / "lib.sh").write_text("true\n")
    script = tmp_path / "manifest/s.sh"
    script.parent.mkdir()
    script.write_text(f"{command} {tmp_path}/lib.sh\n")

    found = script_inputs.list_paths([script], [script.parent], exclude=())

    assert list(found) == [tmp_path / "lib.sh"]


def test_named_file_outside_the_directory_is_ignored(tmp_path: Path) -> None:
    """`cat /etc/passwd` reads the sandbox's system, which is not part of the manifest."""
    (tmp_path / "outside.txt").write_text("")

    assert find_inputs(tmp_path / "manifest", f"cat {tmp_path}/outside.txt ../../outside.txt") == []


def test_scripts_are_followed_and_text_files_are_not(tmp_path: Path) -> None:
    """A named script may source more files; a named note cannot."""
    (tmp_path / "scenarios").mkdir(parents=True)
    (tmp_path / "scenarios/run").write_text("#!/bin/sh\ncat three.txt\n")
    (tmp_path / "notes.txt").write_text("four.txt\n")

    inputs = find_inputs(tmp_path, "$HERE/run; cat notes.txt.\n", "scenarios/three.txt", "four.txt")

    assert inputs == ["notes.txt", "scenarios/run", "scenarios/three.txt"]


def test_cycle_is_followed_once(tmp_path: Path) -> None:
    """Files that source each other are each listed once."""
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios/a.sh").write_text(". b.sh\n")
    (tmp_path / "scenarios/b.sh").write_text(". a.sh\n. s.sh\n")

    assert find_inputs(tmp_path, ". ./a.sh") == ["scenarios/a.sh", "scenarios/b.sh"]


@pytest.mark.parametrize("name", [".wg/graph.jsonl", ".git/HEAD", ".isosmoke/runs/1/log"])
def test_volatile_file_is_ignored(name: str, tmp_path: Path) -> None:
    """A graph changes with every task, so a receipt that included it would never be valid."""
    assert find_inputs(tmp_path, f"cat {name}", name) == []


def test_excluded_file_is_ignored(tmp_path: Path) -> None:
    """The manifest is not hashed as a file, because its entries are hashed one by one."""
    assert (
        find_inputs(tmp_path, "cat manifest.toml", "manifest.toml", exclude="manifest.toml") == []
    )


@pytest.mark.parametrize("script", ["", "\0", ". ", 'source "', "source $(", ". \0/x", "a" * 9000])
def test_malformed_script_has_no_inputs(script: str, tmp_path: Path) -> None:
    """No text raises an error."""
    assert find_inputs(tmp_path, script) == []
