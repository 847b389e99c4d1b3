"""All versions of a file that a branch or a tag has or had."""

from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path

from isosmoke.dataclass import dataclass
from isosmoke.host.git import decode_line, run
from isosmoke.host.repository import conversions
from isosmoke.host.repository.snapshots import read_objects

_REFERENCES = ("--branches", "--tags", "--remotes", "HEAD")
"""The commits that count as committed: stashes and reflogs are left out."""


@dataclass(frozen=True)
class FileVersions:
    """Reads the versions of files of the repository whose work tree is at `top`."""

    top: Path
    environment: Mapping[str, str]

    @cached_property
    def _known(self) -> dict[str, Collection[bytes]]:
        return {}

    def list_all(self, path: str) -> Collection[bytes]:
        """Return each content that a commit has under `path`, relative to the top.

        Raises:
            GitError: if git cannot read the history.
        """
        if path not in self._known:
            self._known[path] = self._read_all(path)
        return self._known[path]

    def _read_all(self, path: str) -> Collection[bytes]:
        form = ("--format=", "--raw", "-z", "--no-abbrev", "--no-renames", "--full-history", "-m")
        listing = run(
            self.top, "log", *form, *_REFERENCES, "--", path, environment=self.environment
        )
        entries = (entry.split() for entry in listing.split(b"\0") if entry.startswith(b":"))
        changed = {tuple(entry[:4]) for entry in entries}
        blobs = {
            identity.decode()
            for old, new, before, after in changed
            for mode, identity in ((old.lstrip(b":"), before), (new, after))
            if mode.startswith(b"100")
        }
        return {*read_objects(self.top, blobs).values()}

    def has_file(self, commit: str, path: str) -> bool:
        """Return whether a commit that a branch or a tag contains has a file of this path.

        Raises:
            GitError: if git cannot read the commit.
        """
        if not self.has_commit(commit):
            return False
        tree = ("ls-tree", "-z", "--full-tree", commit, "--", path)
        return b" blob " in run(self.top, *tree, environment=self.environment)

    def has_commit(self, commit: str) -> bool:
        """Return whether a branch or a tag contains a commit.

        Raises:
            GitError: if git cannot read the history.
        """
        return commit in self._commits

    @cached_property
    def _commits(self) -> frozenset[str]:
        listing = run(self.top, "rev-list", *_REFERENCES, environment=self.environment)
        return frozenset(decode_line(listing).split())

    def is_converted(self, path: str) -> bool:
        """Return whether git converts a file when it is committed (gitattributes(5)).

        Raises:
            GitError: if git cannot read the attributes.
        """
        return bool(conversions.find_converted(self.top, [path], self.environment))
