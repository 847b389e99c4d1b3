"""Receipts: in-toto statements that bind a gate's verdict to the inputs that were tested.

A receipt is valid as long as everything that it names has the same hash as when it was written.
It is not signed: it detects changes, not forgery. `isosmoke receipt sign` signs a copy.
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Literal

from isosmoke import __version__
from isosmoke.errors import RecordError, UsageError
from isosmoke.gate import in_toto
from isosmoke.gate.in_toto import (
    InTotoModel,
    Resource,
    Result,
    ResultPredicate,
    ResultStatement,
)
from isosmoke.host.git import Checkout
from isosmoke.results.outcome import Effect, Outcome
from isosmoke.results.records.document_base import Text
from isosmoke.results.records.finding import GateFinding
from isosmoke.text import restore_bytes

Way = Literal["gate", "done", "bridge", "shard"]
"""The command that wrote a receipt; `gate` and `shard` (`gate --shard`) mark no task as done."""


class Surroundings(InTotoModel):
    """Facts about the caller of a gate, for a reader only; nothing compares them.

    `overrides` are the variables that select what is gated or bypassed, as `NAME=value`. `origin`
    says where the binary was found. Secrets are replaced, and HOME is `~`.
    """

    path: Text
    overrides: tuple[Text, ...] = ()
    agent: Text | None = None
    user: Text
    origin: Text | None = None


class ShardPart(InTotoModel):
    """The shard of a gate that a receipt is of, and hashes by which all shards fit together.

    `run` names the run, and differs from that of any other run. `commit` to `options` are those of
    `isosmoke.results.records.shard.ShardRecord`. `results` is a hash of the results in the record
    of the shard. `problem` says what in this part keeps the gate shut; it is empty if nothing does.
    `max_skips` is the limit for all shards together, by the manifest that was tested.
    """

    number: int
    total: int
    run: Text
    commit: str
    manifest: str
    selection: str
    partition: str
    inputs: str
    options: Text
    results: str
    problem: Text = ""
    max_skips: int | None = None


class ReceiptWorker(InTotoModel):
    """A worker that made attempts; `certificate` is the SHA-256 of its certificate."""

    name: Text
    host: Text
    system: Text
    certificate: str


class Circumstances(InTotoModel):
    """The fields of a receipt that in-toto does not define; `tested_at` is in UTC (RFC 3339).

    `manifest` and `binary` are relative to the repository if they are in it. `graph` is wg's graph
    directory, or the place for one, and `way` the command that wrote the receipt; both are omitted
    in receipts of former versions. `losses` are reasons to doubt that the manifest was the
    project's. `warnings` name conditions outside the scenarios that may have changed an outcome.
    The fields are omitted if there are none. `caches` are the tools whose caches on the host each
    scenario saw. With a `shard`, the gate is not open, and `outcomes` are those of the shard. If
    the receipts of all shards were combined, `first_tested_at` is the time of the first one.
    `place` is that of the gate, and `workers` are those that made the attempts of each scenario,
    whose answers their keys signed; both are omitted for a gate on this machine.
    """

    task: Text
    open: bool
    tested_at: str
    manifest: Text
    binary: Text | None = None
    repository: Checkout | None = None
    outcomes: Mapping[str, Outcome]
    engine: str
    warnings: tuple[Text, ...] | None = None
    way: Way | None = None
    graph: Text | None = None
    surroundings: Surroundings | None = None
    losses: tuple[GateFinding, ...] | None = None
    caches: Mapping[str, tuple[str, ...]] | None = None
    shard: ShardPart | None = None
    first_tested_at: str | None = None
    place: Text | None = None
    workers: Mapping[str, tuple[ReceiptWorker, ...]] | None = None
    version: str = __version__


class Predicate(ResultPredicate):
    """The results of the scenarios; `result` is WARNED if the gate is open but not all passed.

    A warned test has passed, with warnings. A skipped scenario is therefore in none of the lists,
    and if no scenario passed, `result` is FAILED, although a gate opens for skipped scenarios.
    """

    isosmoke: Circumstances


class Statement(ResultStatement):
    """A receipt; its subject is the binary, or the manifest if no binary was tested."""

    predicate: Predicate

    @property
    def manifest_path(self) -> PurePath:
        """The path of the manifest, from the top of its repository if it is in one."""
        return PurePath(restore_bytes(self.circumstances.manifest))

    @property
    def has_relative_paths(self) -> bool:
        """True if paths are relative to the repository; formerly they were to the manifest."""
        return not self.manifest_path.is_absolute()

    @property
    def circumstances(self) -> Circumstances:
        """The fields that are isosmoke's own."""
        return self.predicate.isosmoke


def create_statement(
    circumstances: Circumstances, subject: Resource, inputs: Sequence[Resource]
) -> Statement:
    """Return the receipt for these circumstances, bound to the subject and the inputs."""
    engine = in_toto.create_named_resource("engine", circumstances.engine)
    predicate = Predicate(
        result=_summarize(circumstances),
        configuration=(*inputs, engine),
        passed_tests=_select_names(circumstances, "passed"),
        warned_tests=_select_names(circumstances, "warned"),
        failed_tests=_select_names(circumstances, "failed"),
        isosmoke=circumstances,
    )
    return Statement(subject=(subject,), predicate=predicate)


def parse(text: str | bytes, origin: str) -> Statement:
    """Parse a receipt; `origin` names it in errors.

    Raises:
        UsageError: if `text` is not a receipt, or has an unknown version.
    """
    hint = "pass a file from .isosmoke/receipts"
    try:
        return in_toto.parse(Statement, text, kind=f"{origin}: not a receipt", hint=hint)
    except RecordError as error:
        raise UsageError(error.message, error.hint) from error


def describe_checkout_change(previous: Checkout | None, current: Checkout | None) -> str:
    """Describe how the checkout differs from the receipt's; empty if it does not.

    A difference does not invalidate a receipt, because everything that was tested is hashed.
    """
    if previous == current:
        return ""
    return f"repository was {_describe_checkout(previous)}, is {_describe_checkout(current)}"


def _describe_checkout(checkout: Checkout | None) -> str:
    if checkout is None:
        return "none"
    commit = checkout.commit[:12] or "without a commit"
    return f"{commit} with changes" if checkout.dirty else commit


def _summarize(circumstances: Circumstances) -> Result:
    outcomes = circumstances.outcomes.values()
    if not circumstances.open or all(outcome.facts.is_skip for outcome in outcomes):
        return "FAILED"
    return "PASSED" if all(outcome.facts.effect == "passed" for outcome in outcomes) else "WARNED"


def _select_names(circumstances: Circumstances, effect: Effect) -> tuple[str, ...]:
    return tuple(
        name
        for name, outcome in circumstances.outcomes.items()
        if outcome.facts.effect == effect and not outcome.facts.is_skip
    )
