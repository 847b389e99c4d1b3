"""Earlier outcomes on the HTML report: squares, the usual time, flaky scenarios."""

from collections.abc import Sequence
from dataclasses import replace

from isosmoke.reports.html import overview
from isosmoke.reports.html.supplement import (
    Supplement,
    build_squares,
    find_usual_seconds,
    is_flaky,
)
from isosmoke.results.outcome import Exited, Outcome
from isosmoke.results.run_record import RunRecord, ScenarioRecord
from isosmoke.results.run_results import Attempt
from support import records, result_factories
from support.html_pages import Earlier, parse_page


def make_run(*outcomes: Outcome, code: int = 0) -> tuple[RunRecord, ScenarioRecord, Supplement]:
    """Return a run of a scenario that exits with a code, and had these outcomes before."""
    attempt = Attempt(ending=Exited(code), script_sha256="script", phases={"run": 1.0})
    run = records.make_record(result_factories.make_result(attempt, name="one"))
    return run, run.scenarios[0], Supplement(past={"one": [*map(Earlier, outcomes)]})


def test_equal_outcomes_are_one_group() -> None:
    """The outcome of the run itself comes last; words say the same."""
    _, scenario, supplement = make_run(Outcome.PASS, Outcome.PASS, Outcome.LEAK)
    squares = build_squares(scenario, supplement)

    assert squares
    assert squares.groups == (
        (Outcome.PASS, 0, 16),
        (Outcome.LEAK, 16, 24),
        (Outcome.PASS, 24, 32),
    )
    assert squares.width == 32
    assert squares.label == "last 4 outcomes: 3 PASS, 1 LEAK"


def test_only_the_last_outcomes_are_shown() -> None:
    """There are at most twenty squares."""
    _, scenario, supplement = make_run(*[Outcome.FAIL] * 5, *[Outcome.PASS] * 19)
    squares = build_squares(scenario, supplement)

    assert squares
    assert squares.groups == ((Outcome.PASS, 0, 160),)


def test_scenario_without_a_past_has_no_squares() -> None:
    """One square says nothing."""
    _, scenario, _ = make_run()

    assert build_squares(scenario, Supplement()) is None


def test_usual_time_is_the_median_of_passes() -> None:
    """Failures, which may be much shorter, do not count."""
    _, scenario, _ = make_run()
    times: Sequence[Earlier] = [
        replace(Earlier(outcome), seconds=seconds)
        for outcome, seconds in (
            (Outcome.PASS, 1.0),
            (Outcome.PASS, 2.0),
            (Outcome.PASS, 9.0),
            (Outcome.FAIL, 0.1),
        )
    ]

    assert find_usual_seconds(scenario, Supplement(past={"one": times})) == 2.0
    assert find_usual_seconds(scenario, Supplement()) is None


def test_flaky_is_what_passed_and_failed_with_the_same_inputs() -> None:
    """Another binary or script, or a skip, makes nothing flaky."""
    failed, same, supplement = make_run(Outcome.PASS, code=1)
    other = [replace(Earlier(Outcome.PASS), inputs=("other", "script"))]
    passed, scenario, skipped = make_run(Outcome.SKIP, Outcome.NOT_RUN)

    assert is_flaky(failed, same, supplement)
    assert not is_flaky(failed, same, Supplement(past={"one": other}))
    assert not is_flaky(passed, scenario, skipped)
    assert is_flaky(passed, scenario, Supplement(past={"one": [Earlier(Outcome.FLAKY)]}))


def test_old_record_without_a_script_hash_is_not_flaky() -> None:
    """Nothing is known about what was tested."""
    run = records.make_record(records.make_failed("one"))
    before = [replace(Earlier(Outcome.PASS), inputs=(Earlier.inputs[0], ""))]

    assert not is_flaky(run, run.scenarios[0], Supplement(past={"one": before}))


def test_page_has_squares_and_flaky_scenarios() -> None:
    """Both name the outcomes, so that colours are not needed."""
    run, _, supplement = make_run(Outcome.PASS, Outcome.PASS, code=1)
    page = parse_page(run, supplement)

    assert "last 3 outcomes: 2 PASS, 1 FAIL" in page.text
    assert "~flaky" in page.ids()
    assert [item.counts for item in overview.list_flaky(run, supplement)] == [
        "2 PASS, 1 FAIL in 3 runs"
    ]
    assert "20261121-000000-0000" in page.text
