"""Statements in in-toto's format: the common fields of receipts, proofs and bites (pure).

A statement binds a test result to its subject and its inputs, by hash.
"""

from collections.abc import Collection, Sequence
from typing import Annotated, Final, Literal, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from isosmoke.errors import RecordError
from isosmoke.results.records.document_base import Text

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


class ResultPredicate(InTotoModel):
    """The results of scenarios, in the fields of in-toto's predicate for test results."""

    result: Result
    configuration: tuple[Resource, ...]
    passed_tests: tuple[str, ...]
    warned_tests: tuple[str, ...]
    failed_tests: tuple[str, ...]


class ResultStatement(InTotoModel):
    """A statement of a test result; a subclass adds the predicate."""

    type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type", default=STATEMENT)
    subject: Annotated[tuple[Resource, ...], Field(min_length=1)]
    predicate_type: Literal["https://in-toto.io/attestation/test-result/v0.1"] = TEST_RESULT


AnyStatement = TypeVar("AnyStatement", bound=ResultStatement)


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


def render(statement: ResultStatement) -> str:
    """Return a statement as JSON that ends with a newline."""
    return statement.model_dump_json(indent=2, by_alias=True, exclude_none=True) + "\n"


def parse(model: type[AnyStatement], text: str | bytes, *, kind: str, hint: str) -> AnyStatement:
    """Parse a statement; `kind` says in errors what the text should be, and `hint` what to do.

    Raises:
        RecordError: if `text` is no such statement, or has an unknown version.
    """
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        reason = f"{field}: {first['msg']}" if field else first["msg"]
        raise RecordError(f"{kind}: {reason}", hint) from error


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


def find_bound_differences(
    before: Sequence[Resource],
    current: Sequence[Resource],
    kinds: tuple[str, ...],
    binaries: Collection[str],
) -> tuple[str, ...]:
    """Describe each input of these kinds that differs from the current ones.

    A file that was a tested binary, in a project that has one in its tree, is no input. `binaries`
    are their hashes.
    """
    inputs = [item for item in before if item.name.startswith(kinds)]
    excluded = {item.name for item in inputs if item.sha256 in binaries}
    kept = [item for item in inputs if item.name not in excluded]
    now = [item for item in current if item.name.startswith(kinds) and item.name not in excluded]
    return list_differences(kept, now)
