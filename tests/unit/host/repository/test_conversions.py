"""Files that git converts between the work tree and a commit."""

import hashlib
from pathlib import Path

import pytest

from isosmoke.host.repository import conversions
from support.git_repositories import Git

CONTENT = b"large\n"
POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"ext-0-x sha256:00\n"
    b"oid sha256:" + hashlib.sha256(CONTENT).hexdigest().encode() + b"\nsize 6\n"
)


def test_attributes_name_the_converted_files(tmp_path: Path) -> None:
    """A filter and a line end count; the other attributes convert nothing."""
    git = Git(tmp_path)
    git.write(_gitattributes="*.bin filter=lfs\n*.bat eol=crlf\n*.sh eol=lf -filter\n")

    found = conversions.find_converted(tmp_path, ["a.bin", "\udcff.bat", "a.sh", "a b"])

    assert found == {"a.bin": "filter", "\udcff.bat": "eol"}


@pytest.mark.parametrize(
    ("content", "committed", "attribute", "is_unchanged"),
    [
        (CONTENT, POINTER, "filter", True),
        (POINTER, POINTER, "filter", True),
        (b"other", POINTER, "filter", False),
        (b"plain", b"\0GITCRYPT\0", "filter", True),
        (b"a\r\nb\r\n", b"a\nb\n", "eol", True),
        (b"a\r\n", b"b\n", "eol", False),
    ],
)
def test_converted_file_is_compared_as_far_as_possible(
    content: bytes,
    committed: bytes,
    attribute: str,
    is_unchanged: bool,  # noqa: FBT001
) -> None:
    """Git LFS commits a hash, and a line end is known; another filter is not run."""
    assert conversions.is_unchanged(content, committed, attribute) == is_unchanged
