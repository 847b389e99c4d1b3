"""The JSON lines report."""

import json
from dataclasses import replace
from typing import Any

from hypothesis import given

from isosmoke.reports import jsonl
from isosmoke.results.events import (
    Event,
    RunFinished,
    RunStarted,
    ScenarioFinished,
    ScenarioPostponed,
    ScenarioStarted,
)
from isosmoke.results.outcome import Exited, MissingRequirement, Stopped
from isosmoke.results.records import creation
from isosmoke.results.run_record import RunRecord
from isosmoke.results.run_results import Attempt, RunResult, ScenarioResult
from support import records, result_factories


def parse_lines(text: str) -> list[Any]:
    """Return the documents in a text with one per line."""
    assert text.endswith("\n")
    return [json.loads(line) for line in text[:-1].split("\n")]


def render_lines(run: RunRecord) -> list[Any]:
    """Return the lines that are rendered from a record."""
    return parse_lines(jsonl.render(run))


CROWDED = Attempt(
    ending=Exited(1), alone=False, postponed=True, phases={"create": 0.25, "run": 1.0}, begun=0.5
)
ALONE = Attempt(ending=Exited(0), phases={"create": 0.25, "run": 0.5}, begun=3.0)
FLAKY = result_factories.make_result(CROWDED, ALONE, name="flaky")
HINDERED = result_factories.make_result(
    Attempt(ending=MissingRequirement("no tmux"), begun=0.75), name="skipped"
)
GOOD = records.make_passed()


def list_events(run: RunResult) -> list[Event]:
    """Return the events that a scheduler would send during such a run."""
    return [
        RunStarted(("flaky", "skipped", "good"), result_factories.make_run(seconds=0.0)),
        ScenarioStarted("good", 1, 0.125),
        ScenarioStarted("flaky", 1, 0.5),
        ScenarioFinished(HINDERED),
        ScenarioFinished(GOOD),
        ScenarioPostponed(ScenarioResult(scenario=FLAKY.scenario, attempts=(CROWDED,))),
        ScenarioStarted("flaky", 2, 3.0),
        ScenarioFinished(FLAKY),
        RunFinished(run),
    ]


def test_streamed_and_rendered_lines_are_equal() -> None:
    """Lines written during a run equal those rendered from its record."""
    run = result_factories.make_run(FLAKY, HINDERED, GOOD, seconds=4.0)
    streamed: list[str] = []
    stream = jsonl.write_events(streamed.append)
    for event in list_events(run):
        stream(event)

    assert "".join(streamed) == jsonl.render(creation.record_run(run))
    assert all(line.count("\n") == 1 for line in streamed)


def test_lines_are_in_order_of_time() -> None:
    """Each line has its event, run, scenario and time."""
    documents = render_lines(
        creation.record_run(result_factories.make_run(FLAKY, HINDERED, GOOD, seconds=4.0))
    )

    assert [
        (document["event"], document.get("scenario"), document["at"])
        for document in documents
        if "started" in document["event"] or "postponed" in document["event"]
    ] == [
        ("run_started", None, 0.0),
        ("scenario_started", "good", 0.125),
        ("scenario_started", "flaky", 0.5),
        ("scenario_postponed", "flaky", 1.75),
        ("scenario_started", "flaky", 3.0),
    ]
    finished = [document for document in documents if document["event"] == "scenario_finished"]
    assert [(line["scenario"]["name"], line["at"]) for line in finished] == [
        ("skipped", 0.75),
        ("good", 1.375),
        ("flaky", 3.75),
    ]
    assert {(document["schema_version"], document["run"]) for document in documents} == {(1, "1")}


def test_first_and_last_line_describe_the_run() -> None:
    """The first has the binary and scenarios, the last the result."""
    documents = render_lines(
        records.make_record(records.make_passed(), stopped="SIGINT", notes=("it is late",))
    )

    assert documents[0]["scenarios"] == ["good"]
    assert documents[0]["binary"]["sha256"] == "0123456789abcdef" * 4
    assert documents[-1] == {
        "schema_version": 1,
        "run": "1",
        "at": 2.54,
        "event": "run_finished",
        "seconds": 2.54,
        "stopped": "SIGINT",
        "notes": ["it is late"],
        "dirty": [],
        "repository": None,
        "counts": {"PASS": 1},
    }
    assert render_lines(records.make_dirty_record())[-1]["dirty"] == [
        "box (remove it: docker rm box)"
    ]


def test_finished_line_has_full_record_of_scenario() -> None:
    """No field of a scenario is missing."""
    run = records.make_record(records.make_failed())
    (line,) = [
        document for document in render_lines(run) if document["event"] == "scenario_finished"
    ]

    assert line["scenario"] == run.scenarios[0].to_json()


def test_unfinished_run_has_no_last_line() -> None:
    """A reader that waits for it does not take the run as finished."""
    unfinished = replace(records.make_record(records.make_passed()), finished=False)

    assert render_lines(unfinished)[-1]["event"] == "scenario_finished"


def test_scenario_without_attempt_has_no_start() -> None:
    """A scenario stopped before its start is only finished; one stopped later was started."""
    never = result_factories.make_result(Attempt(ending=Stopped("SIGINT")), name="never")
    ended = result_factories.make_result(
        Attempt(ending=Stopped("SIGINT"), phases={"create": 0.1}), name="ended"
    )
    started = [
        line["scenario"]
        for line in render_lines(records.make_record(never, ended))
        if line["event"] == "scenario_started"
    ]

    assert started == ["ended"]


@given(records.ANY_TEXT)
def test_any_output_is_one_json_document_per_line(text: str) -> None:
    """With any output, a line ends where its document does, also for `splitlines`."""
    rendered = jsonl.render(records.make_hostile_record(text + records.HOSTILE))

    assert rendered.splitlines() == rendered.removesuffix("\n").split("\n")
    assert [line["event"] for line in parse_lines(rendered.encode().decode())] == [
        *("run_started", "scenario_started", "scenario_started", "scenario_finished"),
        "run_finished",
    ]
