"""Files whose content in a work tree is not what is committed, because git converts it.

See gitattributes(5), "filter" and "eol". A filter is a program of the configuration, which is not
run here.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from isosmoke.host.git import run

_UNSET = (b"unspecified", b"unset")
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n"
    rb"(?:[a-z0-9.-]+ .*\n)*?oid sha256:([0-9a-f]{64})\n"
)
"""The content that is committed in place of a file of Git LFS (git-lfs, docs/spec.md)."""


def find_converted(
    top: Path, paths: Iterable[str], environment: Mapping[str, str] | None = None
) -> Mapping[str, str]:
    """Map each of the `paths` that git converts to the attribute that says so.

    Raises:
        GitError: if git cannot read the attributes.
    """
    names = "".join(f"{path}\0" for path in paths).encode(errors="surrogateescape")
    query = ("check-attr", "-z", "--stdin", "filter", "eol")
    fields = run(top, *query, stdin=names, environment=environment).split(b"\0")
    triples = zip(*(iter(fields[:-1]),) * 3, strict=True)
    return {
        path.decode(errors="surrogateescape"): attribute.decode()
        for path, attribute, value in triples
        if (value == b"crlf" if attribute == b"eol" else value not in _UNSET)
    }


def is_unchanged(content: bytes, committed: bytes, attribute: str) -> bool:
    """Return whether a converted file may be unchanged.

    Only the filter itself knows that, except of Git LFS, which commits a hash of the content.
    """
    if attribute == "eol":
        return content.replace(b"\r\n", b"\n") == committed
    pointer = _POINTER.match(committed)
    if pointer is None or content == committed:
        return True
    return hashlib.sha256(content).hexdigest().encode() == pointer[1]
