"""Records of shards with the signed receipts of `isosmoke gate --shard` and `receipt sign`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isosmoke.gate import in_toto, receipt
from isosmoke.gate.receipt import Circumstances, ShardPart
from isosmoke.gate.signatures import dsse
from isosmoke.gate.signatures.dsse import PublicKey
from isosmoke.host.git import Checkout
from isosmoke.results.records.result_digest import digest_results
from isosmoke.results.run_record import RunRecord
from isosmoke.results.run_results import ScenarioResult
from isosmoke.shards import loaded_shards, merging
from support import key_pairs, records, shard_records

RESULTS = tuple(records.make_passed(name) for name in ("a", "b", "c", "d"))
HASH = "5" * 64


@dataclass(frozen=True, slots=True)
class Shard:
    """Differences of a shard from what it would be: in its record, and in what is signed."""

    part: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    subject: str | None = None
    policy: str = HASH
    run: Mapping[str, Any] = field(default_factory=dict)


class SignedShards:
    """A factory of merged records in a directory, whose shards are signed with one key."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.private, self.public = key_pairs.write(directory / "keys")

    @property
    def keys(self) -> list[PublicKey]:
        """The key that is pinned."""
        return [dsse.read_public_key(self.public)]

    def write(
        self,
        number: int,
        total: int = 2,
        shard: Shard | None = None,
        results: tuple[ScenarioResult, ...] = RESULTS,
    ) -> Path:
        """Write the record of a shard with its signed receipt; return its directory."""
        given = shard or Shard()
        directory = shard_records.write(
            self.directory / f"shard-{number}", number, total, results, **given.run
        )
        (directory / loaded_shards.ENVELOPE).write_text(self.sign(directory, given))
        return directory

    def sign(self, directory: Path, shard: Shard) -> str:
        """Return the signed receipt of the shard in a directory."""
        loaded = shard_records.load(directory)
        fields = {
            **loaded.shard.to_json(),
            "run": "7",
            "results": digest_results(loaded.run.scenarios),
        }
        about: dict[str, Any] = {
            "task": "task-a",
            "open": False,
            "tested_at": "2026-11-22T12:31:00.000Z",
            "manifest": "manifest.toml",
            "binary": "wg",
            "repository": Checkout(loaded.shard.commit, dirty=False),
            "outcomes": {each.name: each.outcome for each in loaded.run.scenarios},
            "engine": "bubblewrap",
            "way": "shard",
            "shard": ShardPart(**{**fields, **shard.part}),
        }
        sha256 = shard.subject or (loaded.run.binary.sha256 if loaded.run.binary else HASH)
        statement = receipt.create_statement(
            Circumstances(**{**about, **shard.about}),
            in_toto.create_hashed_resource("binary", "wg", sha256),
            (in_toto.create_hashed_resource("policy", "[gate]", shard.policy),),
        )
        return dsse.sign(in_toto.render(statement).encode(), self.private)

    def merge(self, *shards: Shard, results: tuple[ScenarioResult, ...] = RESULTS) -> RunRecord:
        """Return the merge of two shards; `shards` are the differences of the first and second."""
        given = (*shards, Shard(), Shard())[:2]
        directories = [
            self.write(number, 2, shard, results) for number, shard in enumerate(given, start=1)
        ]
        return merging.merge([shard_records.load(each) for each in directories], [])
