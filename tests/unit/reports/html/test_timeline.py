"""The timeline of the HTML report."""

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from isosmoke.reports.html import timeline
from isosmoke.results.machine_load import Load
from isosmoke.results.outcome import Exited
from isosmoke.results.run_record import RunRecord
from isosmoke.results.run_results import Attempt
from support import records, result_factories


def make_run(*spans: tuple[float, float], seconds: float = 10.0) -> RunRecord:
    """Return a run with an attempt for each start and duration."""
    return records.make_record(
        *(
            result_factories.make_result(
                Attempt(
                    ending=Exited(0),
                    begun=begun,
                    phases={"create": length / 4, "run": length / 2, "settle": length / 4},
                ),
                name=f"s{number}",
            )
            for number, (begun, length) in enumerate(spans)
        ),
        seconds=seconds,
    )


def test_bar_has_the_time_of_the_attempt_and_of_its_script() -> None:
    """All numbers are percentages: of the run, and within the bar."""
    chart = timeline.build_timeline(make_run((0, 4), (2, 4), (5, 5)))

    assert chart
    assert [(bar.name, bar.lane, bar.x, bar.width) for bar in chart.bars] == [
        ("s0", 0, "0%", "40%"),
        ("s2", 0, "50%", "50%"),
        ("s1", 1, "20%", "40%"),
    ]
    assert {(bar.script_x, bar.script_width) for bar in chart.bars} == {("25%", "50%")}
    assert chart.bars[0].label == "s0 4.00 s"
    assert chart.bars[0].title == (
        "s0  PASS in isolation, 4.00 s: create 1.00, run 2.00, settle 1.00"
    )
    assert (chart.lanes, chart.most_running) == (2, 2)


def test_failure_is_marked_and_short_bars_have_no_label() -> None:
    """A bar of less than 3% has no room for a text; what blocks has its own class."""
    failed = Attempt(ending=Exited(1), phases={"run": 0.2})
    run = records.make_record(result_factories.make_result(failed, name="bad"), seconds=10.0)
    chart = timeline.build_timeline(run)

    assert chart
    assert [(bar.classes, bar.label) for bar in chart.bars] == [("FAIL blocks", "")]


def test_ticks_are_round() -> None:
    """There are at most nine, and none at the edge, where its text would be cut off."""
    chart = timeline.build_timeline(make_run((0, 9.9)))
    short = timeline.build_timeline(make_run((0, 0.03), seconds=0.04))

    assert chart
    assert short
    assert [text for _, text in chart.ticks] == ["0 s", "2 s", "4 s", "6 s", "8 s"]
    assert [text for _, text in short.ticks][:3] == ["0.000 s", "0.005 s", "0.010 s"]


def test_running_is_a_path_of_steps() -> None:
    """It counts attempts that run at the same time, and ends at zero."""
    chart = timeline.build_timeline(make_run((0, 4), (2, 4), (6, 1)))

    assert chart
    assert chart.running == "M0 0H0V-1H2000V-2H4000V-1H6000V-1H7000V0V0Z"


def test_waiting_is_shown_where_it_was_measured() -> None:
    """Each resource has a bar; an attempt without a measurement has none."""
    load = Load(seconds=2.0, cpu_wait=1.0, memory_wait=0.0, io_wait=9.0)
    attempts = (Attempt(ending=Exited(1), load=load, phases={"run": 2.0}, alone=False),)
    run = records.make_record(
        result_factories.make_result(*attempts, name="busy"), records.make_passed(), seconds=4.0
    )
    chart = timeline.build_timeline(run)

    assert chart
    assert [(wait.resource, wait.width, wait.top) for wait in chart.waiting] == [
        ("CPU", "50%", "50%"),
        ("disk", "50%", "0%"),
    ]
    assert chart.most_waiting == "100%"
    assert "while busy ran, processes waited for CPU up to 50% of the time" in [
        wait.title for wait in chart.waiting
    ]


def test_run_without_attempts_has_no_chart() -> None:
    """Nothing was tried, so there is nothing to draw."""
    assert timeline.build_timeline(records.make_record()) is None


def test_long_run_names_only_the_longest_attempts() -> None:
    """All others are in one path for each outcome, of a few bytes each."""
    spans = [(number * 0.01, 0.009 + 0.001 * (number % 2)) for number in range(1500)]
    chart = timeline.build_timeline(make_run(*spans, seconds=15.0))

    assert chart
    assert (len(chart.bars), chart.unnamed_count) == (1000, 500)
    ((outcome, path),) = chart.unnamed
    assert outcome == "PASS"
    assert re.fullmatch(r"(M\d+ \d+h\d+)+", path)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), min_size=1, max_size=30))
def test_bars_of_a_lane_do_not_overlap(spans: list[tuple[float, float]]) -> None:
    """Every bar begins where the one before has ended, for any times of a record."""
    chart = timeline.build_timeline(make_run(*spans, seconds=1.0))

    assert chart
    for one, other in pairwise(chart.bars):
        if one.lane == other.lane:
            end = float(one.x[:-1]) + float(one.width[:-1])
            assert float(other.x[:-1]) >= end - 0.12
