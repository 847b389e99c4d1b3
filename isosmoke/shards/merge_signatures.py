"""Judgement of a merged record by the signed receipts of its shards.

The receipts decide, and the record must agree with them: nothing else in the record is believed.
A record is refused with a reason that names the shard. What a signature cannot show is whether a
later run of the same shards had another result: its receipts may have been withheld.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain

from isosmoke.dataclass import dataclass
from isosmoke.errors import RecordError, UsageError
from isosmoke.gate import receipt
from isosmoke.gate.audits.graph_tasks import parse_time
from isosmoke.gate.in_toto import Resource
from isosmoke.gate.receipt import Circumstances, ShardPart, Statement
from isosmoke.gate.signatures import dsse
from isosmoke.gate.signatures.dsse import PublicKey, SignatureError
from isosmoke.manifest.partition import MAX_SHARDS
from isosmoke.results.outcome import Outcome
from isosmoke.results.records.result_digest import digest_results
from isosmoke.results.records.shard import (
    MergedShardRecord,
    digest_names,
    digest_partition,
)
from isosmoke.results.run_record import RunRecord

_SEPARATOR = "+"
"""The separator between the names of engines, as in the record of one run."""


@dataclass(frozen=True, slots=True)
class _Signed:
    """A shard's receipt, whose signature was verified."""

    statement: Statement
    part: ShardPart

    @property
    def label(self) -> str:
        return f"shard {self.part.number} of {self.part.total}"

    @property
    def plan(self) -> Mapping[str, object]:
        """The properties that all shards of one run have in common, by their names in messages."""
        about, part = self.statement.circumstances, self.part
        subject = self.statement.subject[0]
        return {
            "run": part.run,
            "number of shards": part.total,
            "task": about.task,
            "commit": part.commit,
            "binary": (subject.name, subject.sha256),
            "manifest": (about.manifest, part.manifest),
            "selection of scenarios": part.selection,
            "division into shards": part.partition,
            "scripts, or files that they read": part.inputs,
            "options": part.options,
            "limit of skips": part.max_skips,
            "version of isosmoke": about.version,
        }


def combine(run: RunRecord, keys: Sequence[PublicKey]) -> tuple[Statement, str]:
    """Return the receipt that the shards of a merged record make together, and why it is shut.

    The reason names the shard, if there is one; it is empty if the gate is open.

    Raises:
        RecordError: if the record is not that of the shards whose receipts a key has signed.
        UsageError: if a key is invalid, or the library that verifies is missing.
    """
    shards = tuple(_open_all(run, keys))
    for problem in (*_find_differences(shards), *_check_plan(shards), *_check_record(run, shards)):
        raise RecordError(problem, hint="merge the shards of one run again")
    reason = next(_find_objections(shards), "")
    return _create_statement(run, shards, is_open=not reason), reason


def _open_all(run: RunRecord, keys: Sequence[PublicKey]) -> Iterator[_Signed]:
    """Yield the signed receipt of each shard, in the order of their numbers.

    Raises:
        RecordError: if one is missing, or is not signed by any of the keys.
    """
    total = len(run.shards)
    if total > MAX_SHARDS:
        raise RecordError(f"it has {total} shards", hint="merge the shards of one run")
    for number, shard in enumerate(run.shards, start=1):
        if shard.problem:
            raise RecordError(shard.problem, hint="run the shard again, and merge all of them")
        signed = _open(shard, f"shard {number} of {total}", keys)
        if (signed.part.number, signed.part.total) != (number, total):
            raise RecordError(
                f"shard {number} of {total} has the receipt of {signed.label}",
                hint="merge each shard once",
            )
        yield signed


def _open(shard: MergedShardRecord, label: str, keys: Sequence[PublicKey]) -> _Signed:
    if not shard.envelope:
        raise RecordError(
            f"{label} has no signed receipt", hint="isosmoke receipt sign, before the merge"
        )
    try:
        content = dsse.open_signed(shard.envelope.encode(errors="surrogateescape"), keys)
    except SignatureError as error:
        raise RecordError(f"{label}: {error.message}", "pin the key of the shard") from error
    try:
        statement = receipt.parse(content, label)
    except UsageError as error:
        raise RecordError(error.message, error.hint) from error
    part = statement.circumstances.shard
    if part is None or statement.circumstances.open:
        raise RecordError(
            f"{label}: what was signed is the receipt of no shard", "isosmoke gate --shard"
        )
    return _Signed(statement, part)


def _find_differences(shards: Sequence[_Signed]) -> Iterator[str]:
    """Yield in what a shard is foreign to the first one: another run, or another tested file."""
    first, hashes = shards[0], dict[str, str]()
    for shard in shards:
        names = [name for name, value in shard.plan.items() if value != first.plan[name]]
        if names:
            yield f"{shard.label} is foreign to {first.label}: another {', another '.join(names)}"
        for resource in _list_inputs(shard.statement):
            digest = resource.digest.model_dump_json() if resource.digest else ""
            if hashes.setdefault(resource.name, digest) != digest:
                yield f"{shard.label} is foreign: another state of {resource.name}"


def _list_inputs(statement: Statement) -> tuple[Resource, ...]:
    """Return everything that a shard tested, without the engine, which may differ."""
    inputs = statement.predicate.configuration
    return tuple(each for each in inputs if not each.name.startswith("engine "))


def _check_plan(shards: Sequence[_Signed]) -> Iterator[str]:
    """Yield in what the receipts are not those of all scenarios that were divided."""
    part, numbers = shards[0].part, dict[str, int]()
    for shard in shards:
        for name in shard.statement.circumstances.outcomes:
            if name in numbers:
                yield f"{shard.label} has {name}, which shard {numbers[name]} has as well"
            numbers[name] = shard.part.number
        if parse_time(shard.statement.circumstances.tested_at) is None:
            yield f"{shard.label} has no time"
    if digest_names(numbers) != part.selection:
        yield "the shards have other scenarios than those that were selected"
    if digest_partition(numbers) != part.partition:
        yield "the shards have other scenarios than the division gave them"
    if not part.commit:
        yield "the shards were run outside of a repository, and are of no commit"


def _check_record(run: RunRecord, shards: Sequence[_Signed]) -> Iterator[str]:
    """Yield in what a record differs from what was signed."""
    names = [scenario.name for scenario in run.scenarios]
    signed = [name for shard in shards for name in shard.statement.circumstances.outcomes]
    if sorted(names) != sorted(signed):
        yield "its scenarios are not those that were signed"
    for shard in shards:
        own = shard.statement.circumstances.outcomes
        results = [scenario for scenario in run.scenarios if scenario.name in own]
        if digest_results(results) != shard.part.results:
            yield f"{shard.label}: its results are not those that were signed"
    binary = shards[0].statement.subject[0]
    tested = run.binary.sha256 if run.binary else None
    if binary.name.startswith("binary ") and tested != binary.sha256:
        yield "its binary is not the one that was signed"


def _find_objections(shards: Sequence[_Signed]) -> Iterator[str]:
    """Yield each reason to keep the gate shut, by the rules of a gate that is not divided."""
    yield from (f"{shard.label}: {shard.part.problem}" for shard in shards if shard.part.problem)
    skips = 0
    for shard in shards:
        for name, outcome in shard.statement.circumstances.outcomes.items():
            skips += outcome.facts.is_skip
            if outcome.blocks:
                yield f"{shard.label}: {outcome} {name}"
    most = shards[0].part.max_skips
    if most is not None and skips > most:
        yield f"skipped scenarios: {skips}, more than [gate] max_skips = {most}"


def _create_statement(run: RunRecord, shards: Sequence[_Signed], *, is_open: bool) -> Statement:
    """Return the receipt of all shards, in the order of the scenarios in the record."""
    abouts = [shard.statement.circumstances for shard in shards]
    times = sorted((about.tested_at for about in abouts), key=_read_time)
    outcomes = {name: value for about in abouts for name, value in about.outcomes.items()}
    first = abouts[0]
    circumstances = Circumstances(
        task=first.task,
        open=is_open,
        tested_at=times[-1],
        first_tested_at=times[0],
        manifest=first.manifest,
        binary=first.binary,
        repository=first.repository,
        outcomes=_sort(outcomes, run),
        engine=_SEPARATOR.join(_list_engines(abouts)),
        warnings=tuple(dict.fromkeys(chain(*(about.warnings or () for about in abouts)))) or None,
        way="shard",
        losses=tuple(dict.fromkeys(chain(*(about.losses or () for about in abouts)))) or None,
        version=first.version,
    )
    inputs = {item.name: item for shard in shards for item in _list_inputs(shard.statement)}
    subject = shards[0].statement.subject[0]
    return receipt.create_statement(circumstances, subject, tuple(inputs.values()))


def _sort(outcomes: Mapping[str, Outcome], run: RunRecord) -> Mapping[str, Outcome]:
    return {scenario.name: outcomes[scenario.name] for scenario in run.scenarios}


def _list_engines(abouts: Iterable[Circumstances]) -> Iterator[str]:
    names = chain(*(about.engine.split(_SEPARATOR) for about in abouts))
    return iter(dict.fromkeys(filter(None, names)))


def _read_time(text: str) -> datetime:
    return parse_time(text) or datetime.min.replace(tzinfo=UTC)
