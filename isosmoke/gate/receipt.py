"""What a verdict is bound to, as an in-toto statement: written after a gate, and compared later.

A receipt holds where everything that it names has the same hash as then. It is not signed: it
finds what changed, not who lied.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from isosmoke import __version__
from isosmoke.errors import UsageError
from isosmoke.host.git import Checkout
from isosmoke.results.outcome import Effect, Outcome

STATEMENT: Final = "https://in-toto.io/Statement/v1"
TEST_RESULT: Final = "https://in-toto.io/attestation/test-result/v0.1"

Result = Literal["PASSED", "WARNED", "FAILED"]

_Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class _Object(BaseModel):
    # The framework's parsing rules: a consumer ignores fields that it does not know.
    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        populate_by_name=True,
    )


class Digest(_Object):
    """The one hash that we use."""

    sha256: _Sha256


class Resource(_Object):
    """Something that a verdict is bound to (in-toto's ResourceDescriptor)."""

    name: str
    uri: str | None = None
    digest: Digest | None = None

    @property
    def sha256(self) -> str:
        """Its hash; empty for what has a name only."""
        return self.digest.sha256 if self.digest else ""


class Circumstances(_Object):
    """Our own part of a receipt, beyond what in-toto defines; `tested_at` in UTC (RFC 3339).

    `warnings` name what outside the scenarios may have changed an outcome, and are
    left out where there is nothing to name.
    """

    task: str
    open: bool
    tested_at: str
    manifest: str
    binary: str | None = None
    repository: Checkout | None = None
    outcomes: Mapping[str, Outcome]
    engine: str
    warnings: tuple[str, ...] | None = None
    version: str = __version__


class Predicate(_Object):
    """What came of the scenarios; `result` is WARNED where the gate is open and some did not pass.

    in-toto knows no skip: skipped scenarios are among the warned ones.
    """

    result: Result
    configuration: tuple[Resource, ...]
    passed_tests: tuple[str, ...]
    warned_tests: tuple[str, ...]
    failed_tests: tuple[str, ...]
    isosmoke: Circumstances


class Statement(_Object):
    """A receipt: the subject is the binary, or the manifest where there was no binary."""

    type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type", default=STATEMENT)
    subject: Annotated[tuple[Resource, ...], Field(min_length=1)]
    predicate_type: Literal["https://in-toto.io/attestation/test-result/v0.1"] = TEST_RESULT
    predicate: Predicate

    @property
    def circumstances(self) -> Circumstances:
        return self.predicate.isosmoke


def statement(
    circumstances: Circumstances, subject: Resource, inputs: Sequence[Resource]
) -> Statement:
    """The receipt of a gate that was passed through so, with what it was bound to."""
    engine = named("engine", circumstances.engine)
    predicate = Predicate(
        result=_result(circumstances),
        configuration=(*inputs, engine),
        passed_tests=_having(circumstances, "passed"),
        warned_tests=_having(circumstances, "warned"),
        failed_tests=_having(circumstances, "failed"),
        isosmoke=circumstances,
    )
    return Statement(subject=(subject,), predicate=predicate)


def hashed(kind: str, name: str, sha256: str) -> Resource:
    """Something that is known by its content."""
    return Resource(name=f"{kind} {name}", digest=Digest(sha256=sha256))


def named(kind: str, name: str) -> Resource:
    """Something that is known by its name only."""
    return Resource(name=f"{kind} {name}", uri=f"isosmoke:{kind}/{quote(name, safe='/:')}")


def render(receipt: Statement) -> str:
    """The receipt as JSON, one line feed at its end."""
    return receipt.model_dump_json(indent=2, by_alias=True, exclude_none=True) + "\n"


def parse(text: str | bytes, origin: str) -> Statement:
    """The receipt that `text` is; `origin` names it.

    Raises:
        UsageError: if it is none, or one of a version that is not known here.
    """
    try:
        return Statement.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        reason = f"{place}: {first['msg']}" if place else first["msg"]
        raise UsageError(f"{origin}: not a receipt: {reason}", hint="name one of ours") from error


def differences(then: Sequence[Resource], now: Sequence[Resource]) -> tuple[str, ...]:
    """What has another hash than then, is gone, or is new, by name."""
    before = {one.name: one.sha256 for one in then}
    after = {one.name: one.sha256 for one in now}
    gone = [f"{name} is gone" for name in before if name not in after]
    changed = [
        f"{name} changed" for name in before if after.get(name, before[name]) != before[name]
    ]
    new = [f"{name} is new" for name in after if name not in before]
    return (*changed, *gone, *new)


def moved_on(then: Checkout | None, now: Checkout | None) -> str:
    """How the repository differs, in words. It breaks no receipt: what was tested is hashed."""
    if then == now:
        return ""
    return f"repository was {_told(then)}, is {_told(now)}"


def _told(checkout: Checkout | None) -> str:
    if checkout is None:
        return "none"
    commit = checkout.commit[:12] or "without a commit"
    return f"{commit} with changes" if checkout.dirty else commit


def _result(circumstances: Circumstances) -> Result:
    if not circumstances.open:
        return "FAILED"
    return "WARNED" if _having(circumstances, "warned") else "PASSED"


def _having(circumstances: Circumstances, effect: Effect) -> tuple[str, ...]:
    return tuple(name for name, one in circumstances.outcomes.items() if one.facts.effect == effect)
