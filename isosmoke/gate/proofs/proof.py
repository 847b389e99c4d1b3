"""Proof receipts: in-toto statements that bind a proof to a scenario and two binaries (pure).

A proof is valid as long as the scenario's entry, its script and the files that the script reads
have the same hash. It is not signed: it detects changes, not forgery.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from isosmoke import __version__
from isosmoke.gate import in_toto
from isosmoke.gate.in_toto import InTotoModel, Resource, ResultPredicate, ResultStatement
from isosmoke.host.git import Checkout
from isosmoke.results.outcome import Broke, Exited, Outcome, Signaled
from isosmoke.results.records.document_base import Text
from isosmoke.results.run_results import Attempt

Accepted = Literal["timeout", "leak", "error", "signal"]
"""A way to fail that is a proof only on request, as no assertion of the script failed."""

ACCEPTED: Mapping[Accepted, Outcome | None] = {
    "timeout": Outcome.TIMEOUT,
    "leak": Outcome.LEAK,
    "error": Outcome.ERROR,
    "signal": None,
}
"""The outcome of each such way; a script that a signal ended has the outcome FAIL."""

BOUND = ("scenario ", "script ", "file ")
"""The kinds of inputs that a proof is bound to; it holds for other images and interpreters too."""

_NOT_EXECUTED = (126, 127)
"""The exit codes of a shell whose program could not be executed (POSIX.1-2024, 2.8.2)."""


class ProvenBinary(InTotoModel):
    """A binary of a proof, with the outcome and the id of its run."""

    path: Text
    sha256: str
    outcome: Outcome
    reason: Text
    run: Text


class ProofCircumstances(InTotoModel):
    """The fields of a proof that in-toto does not define; `tested_at` is in UTC (RFC 3339).

    The scenario ran `count` times with each binary. `accepted` are the ways to fail that were
    requested.
    """

    scenario: Text
    tested_at: str
    manifest: Text
    broken: ProvenBinary
    fixed: ProvenBinary
    count: int
    accepted: tuple[str, ...] = ()
    repository: Checkout | None = None
    engine: str
    version: str = __version__


class ProofPredicate(ResultPredicate):
    """The result of the scenario with the fixed binary, which is always PASSED."""

    isosmoke: ProofCircumstances


class ProofStatement(ResultStatement):
    """A proof; its subject is the fixed binary, and the broken one is among the inputs."""

    predicate: ProofPredicate

    @property
    def circumstances(self) -> ProofCircumstances:
        """The fields that are isosmoke's own."""
        return self.predicate.isosmoke


def create_proof(circumstances: ProofCircumstances, inputs: Sequence[Resource]) -> ProofStatement:
    """Return the proof for these circumstances, bound to both binaries and the inputs."""
    fixed, broken = circumstances.fixed, circumstances.broken
    predicate = ProofPredicate(
        configuration=(
            in_toto.create_hashed_resource("broken-binary", broken.path, broken.sha256),
            *inputs,
            in_toto.create_named_resource("engine", circumstances.engine),
        ),
        result="PASSED",
        passed_tests=(circumstances.scenario,),
        warned_tests=(),
        failed_tests=(),
        isosmoke=circumstances,
    )
    subject = in_toto.create_hashed_resource("binary", fixed.path, fixed.sha256)
    return ProofStatement(subject=(subject,), predicate=predicate)


def parse(text: bytes, origin: str) -> ProofStatement:
    """Parse a proof; `origin` names it in errors.

    Raises:
        RecordError: if `text` is not a proof, or has an unknown version.
    """
    return in_toto.parse(
        ProofStatement, text, kind=f"{origin}: not a proof", hint="remove it, and prove again"
    )


def find_differences(proof: ProofStatement, current: Sequence[Resource]) -> tuple[str, ...]:
    """Describe each input of a proof that differs from the `current` ones of its scenario."""
    about = proof.circumstances
    return in_toto.find_bound_differences(
        proof.predicate.configuration,
        current,
        BOUND,
        binaries=(about.fixed.sha256, about.broken.sha256),
    )


def find_objection_to_broken(attempt: Attempt, accepted: Sequence[str]) -> str:
    """Return why an attempt with the broken binary is no proof; empty if it is one."""
    outcome = attempt.outcome
    if isinstance(attempt.ending, Broke):
        return f"the engine failed, so the scenario was not tried: {attempt.reason}"
    if outcome in (Outcome.PASS, Outcome.FLAKY):
        return "the scenario passes with the broken binary: it does not notice"
    if outcome is Outcome.FAIL:
        return _find_objection_to_failure(attempt, accepted)
    way = next((name for name, item in ACCEPTED.items() if item is outcome), "")
    if way and way in accepted:
        return ""
    hint = f" (--accept {way} accepts that)" if way else ""
    return f"{outcome} with the broken binary is no failed assertion: {attempt.reason}{hint}"


def _find_objection_to_failure(attempt: Attempt, accepted: Sequence[str]) -> str:
    ending = attempt.ending
    if isinstance(ending, Exited) and ending.code in _NOT_EXECUTED:
        return f"a program could not be executed, which is no failed assertion: {attempt.reason}"
    if isinstance(ending, Signaled) and "signal" not in accepted:
        return (
            f"a signal ended the script, which is no failed assertion: {attempt.reason} "
            "(--accept signal accepts that)"
        )
    return ""


def find_objection_to_fixed(attempt: Attempt) -> str:
    """Return why an attempt with the fixed binary is no proof; empty if it passed."""
    if attempt.outcome is Outcome.PASS:
        return ""
    return f"{attempt.outcome} with the fixed binary, which must pass: {attempt.reason}"
