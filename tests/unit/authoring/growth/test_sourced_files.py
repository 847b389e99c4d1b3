"""The files that a script runs as its own code, found in its text."""

import pytest

from isosmoke.authoring.growth.sourced_files import find_candidates, find_sourced

SOURCED = {
    ". lib.sh": "lib.sh",
    "source ./a/lib.sh": "./a/lib.sh",
    '. "$(dirname "$0")/lib.sh"': "lib.sh",
    'source "${BASH_SOURCE%/*}/../lib/x.sh"': "../lib/x.sh",
    "set -e; . 'a b.sh'; wg": "a b.sh",
    "if true; then . lib.sh; fi": "lib.sh",
    "builtin source lib.sh": "lib.sh",
    "command . lib.sh || exit 77": "lib.sh",
    "wg && . lib.sh": "lib.sh",
    "f() { . lib.sh; }": "lib.sh",
    '. "unbalanced.sh': "unbalanced.sh",
}


@pytest.mark.parametrize(("text", "path"), SOURCED.items())
def test_sourced_file_is_found(text: str, path: str) -> None:
    """A sourced file is found by its path after the last expansion."""
    assert list(find_sourced(text)) == [path]


@pytest.mark.parametrize("text", ["ls .", "wg .", "# a . in a comment", "cd . ", '. "$LIB"'])
def test_other_dots_source_nothing(text: str) -> None:
    """A dot that is no command, and a path that is computed, name no file."""
    assert list(find_sourced(text)) == []


def test_candidates_are_relative_to_the_script_and_to_the_manifest() -> None:
    """A path may start at either directory; a pattern names a directory."""
    text = 'bash run.sh\nfor file in lib/*.sh; do . "$file"; done\ncat "$HERE/data/expected.txt"\n'

    found = find_candidates("tests/smoke/scenarios/one.sh", text, "tests/smoke")

    assert {"tests/smoke/run.sh", "tests/smoke/scenarios/run.sh"} <= found.named
    assert {"tests/smoke/data/expected.txt"} <= found.named
    assert found.directories == {"tests/smoke/lib", "tests/smoke/scenarios/lib"}
