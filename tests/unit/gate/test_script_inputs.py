"""Which files a script is taken to read."""

from pathlib import Path

import pytest

from isosmoke.gate.script_inputs import sources


def found(folder: Path, script: str, *files: str, apart: str = "none") -> list[str]:
    """What `scenarios/s.sh` with this text reads in a manifest's folder that has these files."""
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("true\n")
    path = folder / "scenarios/s.sh"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    read = sources([path], folder, apart=(path, folder / apart))
    return [str(one.relative_to(folder)) for one in read]


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
        "  if true; then . $HERE/lib.sh; fi",
        "[ -e x ] && { . ../scenarios/lib.sh; }",
        "bash $HERE/lib.sh",
        'LIB=scenarios/lib.sh\n. "$LIB"',
        "# shellcheck source=lib.sh",
        "cp scenarios/lib.sh /tmp",
    ],
)
def test_a_library_is_found_however_it_is_named(script: str, tmp_path: Path) -> None:
    """Whatever stands before the name, only the shell could know; the name is enough."""
    assert found(tmp_path, script, "scenarios/lib.sh", "scenarios/other.sh") == ["scenarios/lib.sh"]


def test_a_sourced_file_is_followed_out_of_the_folder(tmp_path: Path) -> None:
    """What is sourced runs, wherever it lies."""
    folder = tmp_path / "manifest"
    folder.mkdir()
    (tmp_path / "lib one.sh").write_text(f". {tmp_path}/two.sh\n")
    (tmp_path / "two.sh").write_text("true\n")
    script = folder / "s.sh"
    script.write_text('. "$(dirname "$0")/../lib one.sh"\n')

    assert sources([script], folder, apart=()) == (tmp_path / "lib one.sh", tmp_path / "two.sh")


def test_a_named_file_outside_the_folder_is_not_the_scripts(tmp_path: Path) -> None:
    """`cat /etc/passwd` reads the sandbox's system, which no manifest holds."""
    (tmp_path / "outside.txt").write_text("")

    assert found(tmp_path / "manifest", f"cat {tmp_path}/outside.txt ../../outside.txt") == []


def test_scripts_are_followed_and_texts_are_not(tmp_path: Path) -> None:
    """A named script may source more; a named note merely has words."""
    (tmp_path / "scenarios").mkdir(parents=True)
    (tmp_path / "scenarios/run").write_text("#!/bin/sh\ncat three.txt\n")
    (tmp_path / "notes.txt").write_text("four.txt\n")

    read = found(tmp_path, "$HERE/run; cat notes.txt.\n", "scenarios/three.txt", "four.txt")

    assert read == ["notes.txt", "scenarios/run", "scenarios/three.txt"]


def test_files_that_name_each_other_end(tmp_path: Path) -> None:
    """A circle is walked once."""
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios/a.sh").write_text(". b.sh\n")
    (tmp_path / "scenarios/b.sh").write_text(". a.sh\n. s.sh\n")

    assert found(tmp_path, ". ./a.sh") == ["scenarios/a.sh", "scenarios/b.sh"]


@pytest.mark.parametrize("name", [".wg/graph.jsonl", ".git/HEAD", ".isosmoke/runs/1/log"])
def test_what_changes_by_itself_is_no_source(name: str, tmp_path: Path) -> None:
    """A graph changes with every task: a receipt that held it would never hold."""
    assert found(tmp_path, f"cat {name}", name) == []


def test_what_is_set_apart_is_not_found(tmp_path: Path) -> None:
    """The manifest's entries are hashed one by one, so it is not hashed as a file."""
    assert found(tmp_path, "cat manifest.toml", "manifest.toml", apart="manifest.toml") == []


@pytest.mark.parametrize("script", ["", "\0", ". ", 'source "', "source $(", ". \0/x", "a" * 9000])
def test_odd_texts_name_nothing(script: str, tmp_path: Path) -> None:
    """No text is an error."""
    assert found(tmp_path, script) == []
