"""The line of a script that makes a call, as bash itself reports it."""

import os
import subprocess
from pathlib import Path

from isosmoke.teeth.calls import script_lines
from isosmoke.teeth.calls.script_lines import CommandPlace, Frame

LIBRARY = """call() {
    program "$@"
}
"""

SCRIPT = """set -euo pipefail
. ./library.sh
program one
said=$(program two)
call three
( call four ) | cat
end() {
    program "${1:-five}"
}
trap end EXIT
trap -p >/dev/null
end six
true kept
echo "$_" >last
"""

PROGRAM = """#!/bin/sh
printf '%s' "$ISOSMOKE_PLACE" >"place-$1"
"""


def trace(directory: Path) -> dict[str, tuple[Frame, ...]]:
    """Run the script with traced lines; return the place of each call."""
    for name, text in (
        ("library.sh", LIBRARY),
        ("script.sh", SCRIPT),
        ("program", PROGRAM),
        ("trace.sh", script_lines.TRACE),
    ):
        (directory / name).write_text(text)
    (directory / "program").chmod(0o755)
    path = f"{directory}:{os.environ['PATH']}"
    environment = {"PATH": path, "BASH_ENV": str(directory / "trace.sh")}
    subprocess.run(["bash", "script.sh"], cwd=directory, env=environment, check=True)
    found = sorted(directory.glob("place-*"))
    return {
        file.name.removeprefix("place-"): script_lines.parse(file.read_text()) for file in found
    }


def test_bash_names_the_line_of_each_call(tmp_path: Path) -> None:
    """Calls in substitutions, functions, pipelines and traps have the line in the script."""
    traced = trace(tmp_path)

    library = (Frame("./library.sh", 2),)
    assert {name: script_lines.locate(frames) for name, frames in traced.items()} == {
        "one": CommandPlace(3),
        "two": CommandPlace(4),
        "three": CommandPlace(5, inner=library),
        "four": CommandPlace(6, inner=library),
        "five": CommandPlace(8),
        "six": CommandPlace(8, outer=(Frame("script.sh", 12),)),
    }


def test_last_argument_is_kept(tmp_path: Path) -> None:
    """The trace changes nothing that the script reads about its last command."""
    trace(tmp_path)

    assert (tmp_path / "last").read_text() == "kept\n"


def test_unknown_place_has_no_line() -> None:
    """A call without a place, or with one that a script has made up, has no line."""
    for place in ("", "x", "1\n2\n", "a\n0\nscript.sh\n"):
        assert script_lines.locate(script_lines.parse(place)) is None
