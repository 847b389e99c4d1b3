"""A run as JSON lines."""

import json
from typing import Any

from hypothesis import given

from isosmoke.reports import jsonl
from isosmoke.results import run_record
from isosmoke.results.events import (
    Event,
    RunFinished,
    RunStarted,
    ScenarioFinished,
    ScenarioPostponed,
    ScenarioStarted,
)
from isosmoke.results.outcome import Exited, Stopped, Unmet
from isosmoke.results.run_record import RunRecord
from isosmoke.results.run_results import Attempt, RunResult, ScenarioResult
from support import records, result_factories


def lines(text: str) -> list[Any]:
    """The documents, each of which is one line."""
    assert text.endswith("\n")
    return [json.loads(one) for one in text[:-1].split("\n")]


def later(run: RunRecord) -> list[Any]:
    """The lines that are made of a record."""
    return lines(jsonl.render(run))


CROWDED = Attempt(
    ending=Exited(1), alone=False, postponed=True, phases={"create": 0.25, "run": 1.0}, begun=0.5
)
ALONE = Attempt(ending=Exited(0), phases={"create": 0.25, "run": 0.5}, begun=3.0)
FLAKY = result_factories.result(CROWDED, ALONE, name="flaky")
HINDERED = result_factories.result(Attempt(ending=Unmet("no tmux"), begun=0.75), name="skipped")
GOOD = records.passed()


def events(run: RunResult) -> list[Event]:
    """What a schedule would have told of such a run, as it happened."""
    return [
        RunStarted(("flaky", "skipped", "good"), result_factories.run(seconds=0.0)),
        ScenarioStarted("good", 1, 0.125),
        ScenarioStarted("flaky", 1, 0.5),
        ScenarioFinished(HINDERED),
        ScenarioFinished(GOOD),
        ScenarioPostponed(ScenarioResult(scenario=FLAKY.scenario, attempts=(CROWDED,))),
        ScenarioStarted("flaky", 2, 3.0),
        ScenarioFinished(FLAKY),
        RunFinished(run),
    ]


def test_lines_of_a_run_are_the_same_now_and_later() -> None:
    """What is written as it happens is what its record makes, line for line."""
    run = result_factories.run(FLAKY, HINDERED, GOOD, seconds=4.0)
    streamed: list[str] = []
    stream = jsonl.Stream(streamed.append)
    for event in events(run):
        stream(event)

    assert "".join(streamed) == jsonl.render(run_record.of(run))
    assert all(one.count("\n") == 1 for one in streamed)


def test_lines_tell_what_happened_in_order() -> None:
    """Each line says what it is, of which run and scenario, and when."""
    found = later(run_record.of(result_factories.run(FLAKY, HINDERED, GOOD, seconds=4.0)))

    assert [
        (one["event"], one.get("scenario"), one["at"])
        for one in found
        if "started" in one["event"] or "postponed" in one["event"]
    ] == [
        ("run_started", None, 0.0),
        ("scenario_started", "good", 0.125),
        ("scenario_started", "flaky", 0.5),
        ("scenario_postponed", "flaky", 1.75),
        ("scenario_started", "flaky", 3.0),
    ]
    finished = [one for one in found if one["event"] == "scenario_finished"]
    assert [(one["scenario"]["name"], one["at"]) for one in finished] == [
        ("skipped", 0.75),
        ("good", 1.375),
        ("flaky", 3.75),
    ]
    assert {(one["schema_version"], one["run"]) for one in found} == {(1, "1")}


def test_first_and_last_line_hold_what_the_run_is() -> None:
    """The first says what will run on what, the last how it came out."""
    found = later(records.of(records.passed(), stopped="SIGINT", notes=("it is late",)))

    assert found[0]["scenarios"] == ["good"]
    assert found[0]["binary"]["sha256"] == "0123456789abcdef" * 4
    assert found[-1] == {
        "schema_version": 1,
        "run": "1",
        "at": 2.54,
        "event": "run_finished",
        "seconds": 2.54,
        "stopped": "SIGINT",
        "notes": ["it is late"],
        "dirty": [],
        "counts": {"PASS": 1},
    }
    assert later(records.dirty())[-1]["dirty"] == ["box (remove it: docker rm box)"]


def test_finished_line_holds_the_whole_record_of_its_scenario() -> None:
    """Nothing of a scenario is in the record alone."""
    run = records.of(records.failed())
    (found,) = [one for one in later(run) if one["event"] == "scenario_finished"]

    assert found["scenario"] == run.scenarios[0].model_dump(mode="json")


def test_run_without_an_end_has_no_last_line() -> None:
    """Whoever waits for it is not told that the run is over."""
    unfinished = records.of(records.passed()).model_copy(update={"finished": False})

    assert later(unfinished)[-1]["event"] == "scenario_finished"


def test_what_never_began_did_not_start() -> None:
    """A scenario that an interrupt kept from running is only finished; one that it ended began."""
    never = result_factories.result(Attempt(ending=Stopped("SIGINT")), name="never")
    ended = result_factories.result(
        Attempt(ending=Stopped("SIGINT"), phases={"create": 0.1}), name="ended"
    )
    started = [
        one["scenario"]
        for one in later(records.of(never, ended))
        if one["event"] == "scenario_started"
    ]

    assert started == ["ended"]


@given(records.ANY_TEXT)
def test_any_run_is_lines_of_json(text: str) -> None:
    """Whatever a script prints, a line ends where its document does, also for `splitlines`."""
    rendered = jsonl.render(records.hostile_run(text + records.HOSTILE))

    assert rendered.splitlines() == rendered.removesuffix("\n").split("\n")
    assert [one["event"] for one in lines(rendered.encode().decode())] == [
        *("run_started", "scenario_started", "scenario_started", "scenario_finished"),
        "run_finished",
    ]
