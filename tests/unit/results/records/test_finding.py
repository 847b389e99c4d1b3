"""Findings, and the exit code that they cause."""

import pytest

from isosmoke.errors import ExitCode
from isosmoke.results.records.finding import FindingsDocument, GateFinding

FINDING = GateFinding(kind="owner-lost", place="scenario 'one'", message="lost owner 'a'")


@pytest.mark.parametrize(
    ("document", "normal", "strict"),
    [
        (FindingsDocument(), ExitCode.OK, ExitCode.OK),
        (FindingsDocument(notes=(FINDING,)), ExitCode.OK, ExitCode.BLOCKED),
        (FindingsDocument(losses=(FINDING,)), ExitCode.BLOCKED, ExitCode.BLOCKED),
    ],
)
def test_exit_code_depends_on_losses_and_strict(
    document: FindingsDocument, normal: ExitCode, strict: ExitCode
) -> None:
    """A loss always blocks, a note only with `strict`."""
    assert document.select_exit_code() is normal
    assert document.select_exit_code(strict=True) is strict


def test_finding_names_place_message_and_commit() -> None:
    """The text of a finding is one line with its place, its message and its commit, if known."""
    blamed = FINDING.model_copy(update={"commit": "commit unknown"})

    assert str(FINDING) == "scenario 'one': lost owner 'a'"
    assert str(blamed) == "scenario 'one': lost owner 'a' (commit unknown)"


def test_repeated_finding_is_collected_once() -> None:
    """A finding that two comparisons make is listed once."""
    assert FindingsDocument.collect([FINDING, FINDING]).losses == (FINDING,)
