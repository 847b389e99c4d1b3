"""The table of the time that each step took."""

from isosmoke.reports import timings
from isosmoke.results.outcome import Exited, Stopped
from isosmoke.results.records.creation import record_run
from isosmoke.results.run_results import Attempt, RunResult
from support.result_factories import make_result, make_run

FIRST = Attempt(
    ending=Exited(1),
    phases={"create": 0.25, "start": 0.125, "run": 1.0, "settle": 0.5, "panes": 0.25},
    begun=0.5,
    waited=0.25,
)
SECOND = Attempt(ending=Exited(0), phases={"create": 0.25, "run": 2.0}, begun=4.0, waited=2.0)


def render(run: RunResult) -> list[list[str]]:
    """Return the words of each line of the table."""
    return [line.split() for line in timings.render(record_run(run)).splitlines()]


def test_each_step_has_a_column_and_each_scenario_a_row() -> None:
    """The longest scenario is first, attempts are added up, and a step without time is omitted."""
    run = make_run(
        make_result(Attempt(ending=Exited(0), phases={"run": 1.5}, begun=1.0), name="short"),
        make_result(FIRST, SECOND, name="long"),
        seconds=7.0,
        recording={"long": 0.0625},
    )
    lines = render(run)

    assert lines[:4] == [
        [*("seconds", "wait", "create", "start", "script", "settle", "collect", "total", "record")],
        [*("long", "2.250", "0.500", "0.125", "3.000", "0.500", "0.250", "4.375", "0.062")],
        [*("short", "0.000", "0.000", "0.000", "1.500", "0.000", "0.000", "1.500", "0.000")],
        [*("all", "2.250", "0.500", "0.125", "4.500", "0.500", "0.250", "5.875", "0.062")],
    ]
    assert " ".join(lines[4]) == (
        "the run took 7.000 s: 0.500 s before the first attempt, 5.750 s with attempts, "
        "0.750 s after the last"
    )


def test_phase_of_another_version_has_its_own_column() -> None:
    """A step that this version does not know is shown all the same."""
    result = make_result(Attempt(ending=Exited(0), phases={"run": 1.0, "verify": 2.0}))

    assert render(make_run(result))[0] == ["seconds", "script", "verify", "total"]


def test_run_without_attempts_has_only_its_duration() -> None:
    """An interrupted run shows how long it took."""
    lines = render(make_run(make_result(Attempt(ending=Stopped("SIGINT"))), seconds=1.0))

    assert lines == [["seconds"], ["one"], ["all"], ["the", "run", "took", "1.000", "s"]]
