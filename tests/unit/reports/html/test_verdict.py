"""The verdict of the HTML report, and what identifies the run."""

from dataclasses import replace
from pathlib import Path

import pytest

from isosmoke.host.git import RepositoryState
from isosmoke.reports.html import verdict
from isosmoke.results.outcome import Exited
from isosmoke.results.run_record import RunRecord
from isosmoke.results.run_results import Attempt
from support import records, result_factories

PASSED = records.make_record(records.make_passed())
UNFINISHED = replace(PASSED, finished=False)
SKIPPED = result_factories.make_result(Attempt(ending=Exited(77)), name="s")


def test_identity_has_version_and_commit() -> None:
    """Short forms come first; the whole commit is among what was run, and where."""
    run = records.make_record(
        binary=(Path("/b/wg"), "0" * 64),
        binary_version="wg 1.2",
        repository=RepositoryState("a" * 40, "main", dirty=True),
    )

    assert [*verdict.list_identity(run)][:2] == [
        ("binary", "wg 1.2", "000000000000"),
        ("commit", "aaaaaaaaaaaa", "on main, with changes"),
    ]
    assert ("commit", "a" * 40) in [*verdict.list_origins(run)]
    assert ("version", "wg 1.2") in [*verdict.list_origins(run)]


@pytest.mark.parametrize(
    ("run", "title", "sentence"),
    [
        (PASSED, "Nothing blocking", "The scenario passed."),
        (
            records.make_record(records.make_passed(), records.make_passed("b")),
            "Nothing blocking",
            "All 2 scenarios passed.",
        ),
        (
            records.make_record(records.make_passed(), SKIPPED),
            "Nothing blocking",
            "Nothing blocks: 1 of 2 passed, 1 SKIP.",
        ),
        (records.make_record(), "Nothing was run", "Nothing was run."),
        (
            records.make_record(records.make_failed(), records.make_passed()),
            "1 of 2 blocking",
            "1 of 2 scenarios blocks: 1 FAIL.",
        ),
        (
            records.make_record(*records.make_every_outcome()),
            "5 of 8 blocking",
            "5 of 8 scenarios block: 1 FAIL, 1 LEAK, 1 TIMEOUT, 1 ERROR, 1 NOT_RUN.",
        ),
        (
            records.make_record(records.make_passed(), stopped="SIGINT"),
            "Stopped by SIGINT",
            "Stopped by SIGINT: The scenario passed.",
        ),
        (UNFINISHED, "Not finished", "Not finished: The scenario passed."),
        (
            records.make_dirty_record(),
            "Nothing blocking, but DIRTY",
            "The scenario passed, but its cleanup could not be confirmed.",
        ),
    ],
)
def test_verdict_is_one_sentence(run: RunRecord, title: str, sentence: str) -> None:
    """The title of the tab is shorter."""
    assert verdict.summarize(run) == title
    assert verdict.describe(run) == sentence


def test_identity_says_what_was_tested_where() -> None:
    """The binary has its hash, the engine its host, the times their unit."""
    run = records.make_record(records.make_passed(), rerun_of="20261121-000000-0000")

    assert [*verdict.list_identity(run)] == [
        ("binary", "wg", "0123456789ab"),
        ("engine", "bubblewrap", "on box"),
        ("started", "2026-11-22 12:30:00", "+0000"),
        ("duration", "2.54 s", "1.25 s of attempts"),
        ("run", "1", "rerun of 20261121-000000-0000"),
    ]


def test_origins_are_complete() -> None:
    """They can be copied: the whole hash, and absolute paths."""
    run = records.make_record(records.make_passed(), command=("pytest", "a b"))

    assert dict(verdict.list_origins(run)) == {
        "binary": "/p/wg",
        "sha256": "0123456789abcdef" * 4,
        "manifest": "/p/manifest.toml",
        "directory": "/p",
        "command": "pytest 'a b'",
        "record": "/p/.isosmoke/runs/1",
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "0.50 s"), (59.4, "59.40 s"), (59.9, "1 min 0 s"), (754, "12 min 34 s")],
)
def test_duration_has_a_unit(seconds: float, text: str) -> None:
    """A long one is in minutes."""
    assert verdict.format_duration(seconds) == text
