"""Merged records for an audit: those whose shards pinned keys have signed count as receipts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from isosmoke.dataclass import dataclass
from isosmoke.errors import ManifestError, RecordError
from isosmoke.gate import receipt_inputs, receipt_writer
from isosmoke.gate.receipt import Statement
from isosmoke.gate.signatures.dsse import PublicKey
from isosmoke.host import git
from isosmoke.host.git import GitError
from isosmoke.host.repository.file_versions import FileVersions
from isosmoke.manifest import parser
from isosmoke.results.records.finding import GateFinding
from isosmoke.results.run_record import RunRecord
from isosmoke.shards import loaded_shards, merge_signatures
from isosmoke.text import escape_bytes

REFUSED = "merged-refused"
"""The kind of a finding about a merged record that does not count."""

SHUT = "merged-shut"
"""The kind of a finding about a merged record whose shards are signed, and keep the gate shut."""


@dataclass(frozen=True)
class MergedRecords:
    """Judges merged records of the project of a manifest; `keys` are the pinned ones."""

    manifest: Path
    environment: Mapping[str, str]
    keys: Sequence[PublicKey]

    def judge(self, directories: Iterable[Path]) -> Iterator[Statement | GateFinding]:
        """Yield a receipt for each record that is signed, and a finding for each problem.

        Raises:
            UsageError: if a directory or a key cannot be used.
            GitError: if git cannot read the repository.
        """
        for directory in loaded_shards.find_records(directories):
            yield from self._judge(directory)

    def _judge(self, directory: Path) -> Iterator[Statement | GateFinding]:
        place = escape_bytes(str(directory))
        run = loaded_shards.load_merged(directory)
        if not isinstance(run, RunRecord):
            yield GateFinding(kind=REFUSED, place=place, message=f"cannot be used: {run.reason}")
            return
        try:
            statement, reason = merge_signatures.combine(run, self.keys)
            self._check_commit(statement)
        except RecordError as error:
            yield GateFinding(kind=REFUSED, place=place, message=f"is no receipt: {error.message}")
            return
        yield statement
        if reason:
            yield GateFinding(kind=SHUT, place=place, message=f"keeps the gate shut: {reason}")

    def _check_commit(self, statement: Statement) -> None:
        base = receipt_inputs.find_base(self.manifest)
        checkout = statement.circumstances.repository
        is_known = (
            (base / ".git").exists()
            and checkout is not None
            and FileVersions(base, self.environment).has_commit(checkout.commit)
        )
        if not is_known:
            name = checkout.commit[:12] if checkout else "none"
            raise RecordError(
                f"its commit {name} is of no branch or tag of this repository",
                hint="fetch the whole history",
            )


def read_pinned_keys(manifest: Path, environment: Mapping[str, str]) -> tuple[PublicKey, ...]:
    """Return the keys that the committed manifest pins: an edit that is not committed adds none."""
    base = receipt_inputs.find_base(manifest)
    if not (base / ".git").exists():
        return ()
    name = receipt_writer.name_manifest(manifest)
    try:
        content = git.run(base, "cat-file", "blob", f"HEAD:{name}", environment=environment)
        committed = parser.parse_past(content.decode("utf-8-sig"), manifest)
    except (GitError, ManifestError, UnicodeDecodeError):
        return ()
    origin = "[gate] shard_keys of the committed manifest"
    return tuple(PublicKey(text.encode(), origin) for text in committed.gate.shard_keys)
