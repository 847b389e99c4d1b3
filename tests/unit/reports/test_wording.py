"""What a record says, in words."""

from pathlib import Path

import pytest
from hypothesis import given

from isosmoke.reports import wording
from isosmoke.results.leaks import Verdict
from isosmoke.results.outcome import Exited
from isosmoke.results.run_record import ScenarioRecord
from isosmoke.results.run_results import Attempt
from support import records, result_factories


def printing(text: str) -> ScenarioRecord:
    """A scenario whose script `one.sh` in /p/smoke printed this."""
    failed = result_factories.result(Attempt(ending=Exited(1), output=records.words(text)))
    record = records.of(failed).scenarios[0]
    return record.model_copy(update={"script": "/p/smoke/one.sh"})


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
def test_line_is_the_one_that_bash_named_last(text: str, line: int) -> None:
    """Complaints of other files, and what only looks like one, do not count."""
    assert wording.line_of(printing(text)) == line


def test_many_leaks_are_counted() -> None:
    """A hundred processes left are fifty lines and a number."""
    many = Verdict(tuple(records.left("sleep", str(one)) for one in range(100)))
    run = records.of(result_factories.result(Attempt(ending=Exited(0), verdict=many)))
    left = [value for name, value in wording.of(run, run.scenarios[0]) if name == "left"]

    assert len(left) == 51
    assert left[-1] == "and 50 more"


def test_summary_says_what_is_not_so_yet() -> None:
    """A run that goes on, or was stopped before anything, does not look like a finished one."""
    run = records.of(stopped="SIGINT", binary=None).model_copy(update={"finished": False})

    assert wording.summary(run) == (
        "nothing in 2.5 s on bubblewrap, stopped by SIGINT, not finished"
    )


@pytest.mark.parametrize(
    ("path", "seen"), [("/p/a/b.sh", "a/b.sh"), ("/pp/b.sh", "/pp/b.sh"), ("b.sh", "b.sh")]
)
def test_paths_are_short_where_they_can_be(path: str, seen: str) -> None:
    """Inside the folder they are relative to it, elsewhere they stay as they are."""
    assert wording.seen_from(str(Path("/p")), path) == seen


@given(records.ANY_TEXT)
def test_every_fact_is_one_printable_line_of_bounded_length(text: str) -> None:
    """Whatever was printed, facts can be shown in any place that takes a line."""
    run = records.hostile_run(text + "x" * 5000)
    scenario = run.scenarios[0]
    values = [value for name, value in wording.of(run, scenario) if name not in ("log", "repeat")]
    told_so = [*values, *wording.last_lines(scenario.output), wording.reason(scenario)]

    assert all(len(one) <= 1000 for one in told_so)
    for one in (*told_so, wording.summary(run), *dict(wording.of(run, scenario)).values()):
        assert one.replace("\t", "").isprintable()
