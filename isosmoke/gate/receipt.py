"""Receipts: in-toto statements that bind a gate's verdict to the inputs that were tested.

A receipt is valid as long as everything that it names has the same hash as when it was written.
It is not signed: it detects changes, not forgery.
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Annotated, Final, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from isosmoke import __version__
from isosmoke.errors import UsageError
from isosmoke.host.git import Checkout
from isosmoke.results.finding import GateFinding
from isosmoke.results.outcome import Effect, Outcome
from isosmoke.results.run_record import Text
from isosmoke.text import restore_bytes

STATEMENT: Final = "https://in-toto.io/Statement/v1"
TEST_RESULT: Final = "https://in-toto.io/attestation/test-result/v0.1"

Result = Literal["PASSED", "WARNED", "FAILED"]

_Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class InTotoModel(BaseModel):
    """An object of an in-toto statement, with field names in camel case."""

    # in-toto's parsing rules: a consumer ignores unknown fields.
    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        populate_by_name=True,
    )


class Digest(InTotoModel):
    """The hashes of a resource in hexadecimal, by in-toto's names of the algorithms."""

    sha256: _Sha256 | None = None
    git_tree: str | None = None


class Resource(InTotoModel):
    """An input that a verdict is bound to (in-toto's ResourceDescriptor)."""

    name: Text
    uri: str | None = None
    digest: Digest | None = None

    @property
    def sha256(self) -> str:
        """The hash of the content; empty for a resource without one."""
        return (self.digest.sha256 if self.digest else None) or ""


Way = Literal["gate", "done", "bridge"]
"""The command that wrote a receipt; `gate` marks no task as done."""


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


class Circumstances(InTotoModel):
    """The fields of a receipt that in-toto does not define; `tested_at` is in UTC (RFC 3339).

    `manifest` and `binary` are relative to the repository if they are in it. `graph` is wg's graph
    directory, or the place for one, and `way` the command that wrote the receipt; both are omitted
    in receipts of former versions. `losses` are reasons to doubt that the manifest was the
    project's. `warnings` name conditions outside the scenarios that may have changed an outcome.
    The fields are omitted if there are none. `caches` are the tools whose caches on the host each
    scenario saw.
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
    version: str = __version__


class Predicate(InTotoModel):
    """The results of the scenarios; `result` is WARNED if the gate is open but not all passed.

    A warned test has passed, with warnings. A skipped scenario is therefore in none of the lists,
    and if no scenario passed, `result` is FAILED, although a gate opens for skipped scenarios.
    """

    result: Result
    configuration: tuple[Resource, ...]
    passed_tests: tuple[str, ...]
    warned_tests: tuple[str, ...]
    failed_tests: tuple[str, ...]
    isosmoke: Circumstances


class Statement(InTotoModel):
    """A receipt; its subject is the binary, or the manifest if no binary was tested."""

    type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type", default=STATEMENT)
    subject: Annotated[tuple[Resource, ...], Field(min_length=1)]
    predicate_type: Literal["https://in-toto.io/attestation/test-result/v0.1"] = TEST_RESULT
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
    engine = create_named_resource("engine", circumstances.engine)
    predicate = Predicate(
        result=_summarize(circumstances),
        configuration=(*inputs, engine),
        passed_tests=_select_names(circumstances, "passed"),
        warned_tests=_select_names(circumstances, "warned"),
        failed_tests=_select_names(circumstances, "failed"),
        isosmoke=circumstances,
    )
    return Statement(subject=(subject,), predicate=predicate)


def create_hashed_resource(kind: str, name: str, sha256: str) -> Resource:
    """Return a resource that is identified by its content."""
    return Resource(name=f"{kind} {name}", digest=Digest(sha256=sha256))


def create_tree_resource(tree: str) -> Resource:
    """Return the resource of a commit's tree, which includes every file of the commit."""
    return Resource(name="tree HEAD", digest=Digest(git_tree=tree))


def create_named_resource(kind: str, name: str) -> Resource:
    """Return a resource that is identified by its name only."""
    quoted = quote(name, safe="/:", errors="surrogateescape")
    return Resource(name=f"{kind} {name}", uri=f"isosmoke:{kind}/{quoted}")


def render(receipt: Statement) -> str:
    """Return the receipt as JSON that ends with a newline."""
    return receipt.model_dump_json(indent=2, by_alias=True, exclude_none=True) + "\n"


def parse(text: str | bytes, origin: str) -> Statement:
    """Parse a receipt; `origin` names it in errors.

    Raises:
        UsageError: if `text` is not a receipt, or has an unknown version.
    """
    try:
        return Statement.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        reason = f"{field}: {first['msg']}" if field else first["msg"]
        hint = "pass a file from .isosmoke/receipts"
        raise UsageError(f"{origin}: not a receipt: {reason}", hint) from error


def list_differences(previous: Sequence[Resource], current: Sequence[Resource]) -> tuple[str, ...]:
    """Describe each resource whose hash changed, that was removed, or that was added."""
    before = {resource.name: resource.sha256 for resource in previous}
    after = {resource.name: resource.sha256 for resource in current}
    removed = [f"{name} was removed" for name in before if name not in after]
    changed = [
        f"{name} changed" for name in before if after.get(name, before[name]) != before[name]
    ]
    added = [f"{name} was added" for name in after if name not in before]
    return (*changed, *removed, *added)


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
