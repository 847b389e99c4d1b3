"""The files that a script runs as its own code, found in its text."""

import pytest

from isosmoke.authoring.mentioned_files import find_mentions

SOURCED = {
    ". lib.sh": "lib.sh",
    "source ./a/lib.sh": "./a/lib.sh",
    '. "$(dirname "$0")/lib.sh"': "lib.sh",
    'source "${BASH_SOURCE%/*}/../lib/x.sh"': "../lib/x.sh",
    "set -e; . 'a b.sh'; wg": "a b.sh",
    "if true; then . lib.sh; fi": "lib.sh",
    "builtin source lib.sh": "lib.sh",
    "command . lib.sh || exit 77": "lib.sh",
    "builtin command . lib.sh": "lib.sh",
    "wg && . lib.sh": "lib.sh",
    "f() { . lib.sh; }": "lib.sh",
    '. "unbalanced.sh': "unbalanced.sh",
}


@pytest.mark.parametrize(("text", "path"), SOURCED.items())
def test_sourced_file_is_found(text: str, path: str) -> None:
    """A sourced file is found by its path after the last expansion."""
    assert find_mentions(text).sourced == {path}


@pytest.mark.parametrize("text", ["ls .", "wg .", "# a . in a comment", "cd . ", '. "$LIB"'])
def test_other_dots_source_nothing(text: str) -> None:
    """A dot that is no command, and a path that is computed, name no file."""
    assert not find_mentions(text).sourced


def test_names_start_after_any_expansion() -> None:
    """A name is found with each of its tails; a pattern names a directory."""
    text = 'bash run.sh\nfor file in a/lib/*.sh; do . "$file"; done\ncat "$HERE/data/one.txt"\n'

    found = find_mentions(text)

    assert {"run.sh", "data/one.txt", "one.txt"} <= found.named
    assert found.directories == {"a/lib", "lib"}
