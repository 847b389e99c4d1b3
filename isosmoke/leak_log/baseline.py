"""A baseline of known leaks, which only shrinks (pure)."""

from typing import Literal

from pydantic import ValidationError

from isosmoke.errors import UsageError
from isosmoke.leak_log.leak_summary import KnownLeak, LeaksDocument
from isosmoke.results.records.document_base import RecordModel


class Baseline(RecordModel):
    """The leaks that a project already has."""

    schema_version: Literal[1] = 1
    leaks: tuple[KnownLeak, ...]


def parse(content: bytes, where: str) -> Baseline:
    """Parse a baseline.

    Raises:
        UsageError: if it is not one.
    """
    try:
        return Baseline.model_validate_json(content)
    except ValidationError as error:
        raise UsageError(
            f"{where} is not a baseline of `isosmoke leaks`",
            hint=f"restore it, or write a new one: isosmoke leaks --new-baseline {where}",
        ) from error


def build(document: LeaksDocument) -> Baseline:
    """Return a baseline of all leaks of a log."""
    return Baseline(
        leaks=tuple(
            KnownLeak(test=leak.test, process=leak.process, processes=leak.processes)
            for leak in document.leaks
        )
    )


def compare(document: LeaksDocument, baseline: Baseline) -> tuple[LeaksDocument, Baseline]:
    """Return the summary with its new and its fixed leaks marked, and the smaller baseline.

    A leak is new if the baseline does not have it, or has fewer processes of it. It is fixed if its
    test ran watched and did not leave it. Leaks of tests that did not run stay in the baseline.
    """
    known = {(leak.test, leak.process): leak for leak in baseline.leaks}
    found = {(leak.test, leak.process): leak.processes for leak in document.leaks}
    leaks = tuple(
        leak.model_copy(
            update={
                "is_new": (leak.test, leak.process) not in known
                or leak.processes > known[leak.test, leak.process].processes
            }
        )
        for leak in document.leaks
    )
    ran = [leak for leak in baseline.leaks if document.tests.get(leak.test)]
    fixed = tuple(leak for leak in ran if (leak.test, leak.process) not in found)
    remaining = tuple(
        leak.model_copy(
            update={
                "processes": min(
                    leak.processes, found.get((leak.test, leak.process), leak.processes)
                )
            }
        )
        for leak in baseline.leaks
        if leak not in fixed
    )
    marked = document.model_copy(update={"leaks": leaks, "fixed": fixed})
    return marked, Baseline(leaks=remaining)
