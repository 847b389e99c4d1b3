"""Comparison of what a gate tested with what was ever committed.

A script can be weakened, tested, and restored. The receipt then has a hash that no commit has.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import field
from functools import cached_property
from pathlib import Path

from isosmoke.authoring.mentioned_files import SUFFIXES
from isosmoke.dataclass import dataclass
from isosmoke.errors import ManifestError
from isosmoke.gate import receipt_inputs
from isosmoke.gate.audits.audit import Uncommitted
from isosmoke.gate.in_toto import Resource
from isosmoke.gate.receipt import Statement
from isosmoke.host import files
from isosmoke.host.repository.file_versions import FileVersions
from isosmoke.manifest import parser
from isosmoke.manifest.models import Manifest
from isosmoke.text import restore_bytes


@dataclass(frozen=True)
class CommittedInputs:
    """Compares receipts with the history of the repository around the manifest at `path`."""

    path: Path
    environment: Mapping[str, str]
    _digests: dict[bytes, Mapping[str, str]] = field(default_factory=dict)

    @cached_property
    def _base(self) -> Path:
        return receipt_inputs.find_base(self.path)

    @cached_property
    def _versions(self) -> FileVersions:
        return FileVersions(self._base, self.environment)

    def find_uncommitted(self, statement: Statement) -> Uncommitted:
        """Return what was tested and is neither in a commit nor in the work tree.

        A receipt of a former version, whose paths start elsewhere, is not judged. A file that no
        commit ever had, such as a program that was built, is not judged either.

        Raises:
            GitError: if git cannot read the history.
        """
        if not statement.has_relative_paths or not (self._base / ".git").exists():
            return Uncommitted()
        replaced: list[str] = []
        drafts: list[str] = []
        for resource in statement.predicate.configuration:
            kind, _, name = resource.name.partition(" ")
            if kind in ("script", "file") and self._is_lost_file(resource, name):
                is_script = kind == "script" or name.endswith(SUFFIXES)
                is_replaced = is_script and self._had_other_state(statement, name)
                (replaced if is_replaced else drafts).append(resource.name)
            elif kind in ("scenario", "policy") and self._is_lost_entry(resource, statement):
                drafts.append(resource.name)
        return Uncommitted(tuple(replaced), tuple(drafts))

    def _is_lost_file(self, resource: Resource, name: str) -> bool:
        path = restore_bytes(name)
        if Path(path).is_absolute() or resource.sha256 == self._hash_present(path):
            return False
        versions = self._versions.list_all(path)
        if not versions or self._versions.is_converted(path):
            return False
        return resource.sha256 not in {hashlib.sha256(each).hexdigest() for each in versions}

    def _hash_present(self, path: str) -> str:
        try:
            return files.sha256(self._base / path)
        except OSError:
            return ""

    def _had_other_state(self, statement: Statement, name: str) -> bool:
        checkout = statement.circumstances.repository
        path = restore_bytes(name)
        return checkout is not None and self._versions.has_file(checkout.commit, path)

    def _is_lost_entry(self, resource: Resource, statement: Statement) -> bool:
        path = str(statement.manifest_path)
        versions = [*self._versions.list_all(path), *self._list_present(path)]
        known = [digests for digests in map(self._read_digests, versions) if digests]
        return bool(known) and all(
            digests.get(resource.name) != resource.sha256 for digests in known
        )

    def _list_present(self, path: str) -> Iterator[bytes]:
        try:
            yield files.read(self._base / path)
        except OSError:
            return

    def _read_digests(self, content: bytes) -> Mapping[str, str]:
        """Return the hash of each entry of a manifest; empty if it is invalid."""
        if content not in self._digests:
            self._digests[content] = dict(self._compute_digests(content))
        return self._digests[content]

    def _compute_digests(self, content: bytes) -> Iterator[tuple[str, str]]:
        try:
            manifest = parser.parse_past(content.decode("utf-8-sig"), self.path)
        except (ManifestError, UnicodeDecodeError):
            return
        yield from _list_digests(manifest)


def _list_digests(manifest: Manifest) -> Iterator[tuple[str, str]]:
    for resource in receipt_inputs.describe_entries(manifest, manifest.scenarios):
        yield resource.name, resource.sha256
