"""Descriptions of recorded facts."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from isosmoke.host.git import RepositoryState
from isosmoke.reports import wording
from isosmoke.results.leaks import LeakVerdict
from isosmoke.results.outcome import Exited
from isosmoke.results.records.attempt import OutputRecord
from isosmoke.results.run_record import ScenarioRecord
from isosmoke.results.run_results import Attempt, Worker
from support import records, result_factories


def create_record(text: str) -> ScenarioRecord:
    """Return the record of a scenario whose script `one.sh` in /p/smoke printed this text."""
    failed = result_factories.make_result(
        Attempt(ending=Exited(1), output=records.make_output(text))
    )
    record = records.make_record(failed).scenarios[0]
    return replace(record, script="/p/smoke/one.sh")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("/p/smoke/one.sh: line 7: wgg: command not found\n", 7),
        ("one.sh: line 7: a\nsmoke/one.sh: line 12: b\n", 12),
        ("bash: /p/smoke/one.sh: line 3: syntax error\n", 3),
        ("another-one.sh: line 7: x\n", 1),
        ("oneXsh: line 7: x\n", 1),
        ("one.sh: line 99999999999: x\n", 1),
        ("one.sh: line 7, as it were\n", 1),
        ("", 1),
    ],
)
def test_line_is_from_last_bash_error(text: str, line: int) -> None:
    """Errors of other files, and text that is only similar, do not count."""
    assert wording.find_error_line(create_record(text)) == line


def test_worker_of_an_attempt_is_named() -> None:
    """An attempt names its worker, a single one as well; one on this machine names none."""
    worker = Worker(name="alpha:77", host="alpha", pid=77)
    placed = Attempt(ending=Exited(1), worker=worker, alone=True)
    local = records.make_record(result_factories.make_result(Attempt(ending=Exited(1))))
    run = records.make_record(result_factories.make_result(placed))

    assert ("tries", "FAIL in isolation on alpha:77") in wording.list_facts(run, run.scenarios[0])
    assert "tries" not in dict(wording.list_facts(local, local.scenarios[0]))


def test_many_leaks_are_counted() -> None:
    """Of a hundred leaked processes fifty are listed, and the rest counted."""
    many = LeakVerdict(tuple(records.make_process("sleep", str(number)) for number in range(100)))
    run = records.make_record(result_factories.make_result(Attempt(ending=Exited(0), verdict=many)))
    leaks = [value for name, value in wording.list_facts(run, run.scenarios[0]) if name == "leaked"]

    assert len(leaks) == 51
    assert leaks[-1] == "and 50 more"


def test_summary_of_unfinished_run_says_so() -> None:
    """A run that is in progress or was stopped does not look finished."""
    run = replace(records.make_record(stopped="SIGINT", binary=None), finished=False)

    assert wording.summarize_run(run) == (
        "nothing in 2.5 s on bubblewrap, stopped by SIGINT, not finished"
    )


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (RepositoryState("a" * 40, "main", dirty=False), "aaaaaaaaaaaa on main"),
        (RepositoryState("a" * 40, "", dirty=True), "aaaaaaaaaaaa, with changes"),
        (RepositoryState("", "main", dirty=True), "none on main, with changes"),
    ],
)
def test_summary_names_binary_and_commit(state: RepositoryState, text: str) -> None:
    """The version comes first, because a hash says nothing to a reader."""
    run = records.make_record(
        binary=(Path("/b/wg"), "0" * 64), binary_version="wg 1.2", repository=state
    )

    assert wording.summarize_run(run) == (
        f"nothing in 2.5 s on bubblewrap of /b/wg (wg 1.2, sha256 000000000000), commit {text}"
    )


@pytest.mark.parametrize(
    ("path", "seen"), [("/p/a/b.sh", "a/b.sh"), ("/pp/b.sh", "/pp/b.sh"), ("b.sh", "b.sh")]
)
def test_paths_inside_directory_are_relative(path: str, seen: str) -> None:
    """Paths elsewhere are unchanged."""
    assert wording.shorten_path(str(Path("/p")), path) == seen


@given(records.ANY_TEXT)
def test_every_fact_is_one_printable_line_of_bounded_length(text: str) -> None:
    """With any output, a fact can be shown wherever a line can."""
    run = records.make_hostile_record(text + "x" * 5000)
    scenario = run.scenarios[0]
    values = [
        value for name, value in wording.list_facts(run, scenario) if name not in ("log", "repeat")
    ]
    texts = [*values, *wording.list_last_lines(scenario.output), wording.format_reason(scenario)]

    assert all(len(value) <= 1000 for value in texts)
    for value in (
        *texts,
        wording.summarize_run(run),
        *dict(wording.list_facts(run, scenario)).values(),
    ):
        assert value.replace("\t", "").isprintable()


def test_last_lines_have_no_colours() -> None:
    """A line in red is the line without what makes it red; other controls are visible."""
    output = OutputRecord(size=9, last_lines=("\x1b[1;31m\x1b[Klost\x1b[m\x1b[K\x07",), log=None)

    assert wording.list_last_lines(output) == ("lost\\x07",)
