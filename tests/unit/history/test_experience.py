"""The experience of earlier runs: what is learned, kept, and rebuilt from the records."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from isosmoke.history import experience
from isosmoke.history.experience import ROOM_RUNS, Experience, KnownFailure, PastScenario
from isosmoke.results.outcome import Broke, Exited, Signaled, Stopped
from isosmoke.results.run_results import Attempt, ScenarioResult
from support import past_runs, result_factories
from support.result_factories import STARTED

PASSED = Attempt(ending=Exited(0), phases={"run": 1.5})
CROWDED = Attempt(ending=Exited(1), alone=False, phases={"run": 9.0}, postponed=True)
FAILED = Attempt(ending=Exited(3), phases={"run": 0.5}, basis="alone", inputs="0123")


def learn(*results: ScenarioResult, known: Experience | None = None) -> Experience:
    """Return the experience after each of these results, one run after the other."""
    result = known or Experience()
    for each in results:
        result = result.learn([each], STARTED)
    return result


def one(*attempts: Attempt) -> ScenarioResult:
    """Return a result of the scenario `one`."""
    return result_factories.make_result(*attempts)


def test_duration_is_that_of_the_last_attempt() -> None:
    """A newer run replaces an older one."""
    assert learn(one(FAILED), one(PASSED)).seconds == {"one": 1.5}


def test_attempt_that_did_not_run_the_script_teaches_nothing() -> None:
    """A lost order or a sandbox that did not start says nothing about the usual time."""
    lost = Attempt(ending=Broke("the worker is lost"))
    early = replace(lost, phases={"create": 0.2})

    assert learn(one(lost)) == Experience()
    assert learn(one(PASSED), one(lost), one(early)) == learn(one(PASSED))


def test_scenario_that_failed_only_next_to_others_gets_room_for_some_runs() -> None:
    """The room ends when it has passed often enough, and begins anew with the next failure."""
    sensitive = learn(one(CROWDED, PASSED))
    later = learn(*[one(PASSED)] * (ROOM_RUNS - 1), known=sensitive)

    assert sensitive.needs_room("one")
    assert later.needs_room("one")
    assert not learn(one(PASSED), known=later).needs_room("one")
    assert not learn(one(CROWDED, FAILED)).needs_room("one")
    assert not Experience().needs_room("one")


def test_failure_alone_is_known_until_the_scenario_passes() -> None:
    """A pass or other inputs end the knowledge; a repetition keeps it."""
    failed = learn(one(FAILED))
    repeated = replace(FAILED, alone=False, basis="known")
    then = STARTED + timedelta(hours=1)

    assert failed.is_known("one", repeated, then)
    assert learn(one(repeated), known=failed).scenarios["one"].failure == KnownFailure(
        inputs="0123", ending="FAIL 3 None", at=STARTED.timestamp()
    )
    assert not failed.is_known("one", replace(repeated, inputs="other"), then)
    assert not failed.is_known("one", replace(repeated, ending=Exited(4)), then)
    assert not failed.is_known("one", replace(repeated, ending=Signaled(3)), then)
    assert not failed.is_known("two", repeated, then)
    assert not failed.is_known("one", repeated, then + timedelta(days=1))
    assert not learn(one(PASSED), known=failed).is_known("one", repeated, then)


@pytest.mark.parametrize(
    "attempt",
    [replace(FAILED, inputs=""), replace(FAILED, alone=False, basis="measured")],
    ids=["unknown inputs", "next to others"],
)
def test_only_a_failure_alone_with_known_inputs_is_remembered(attempt: Attempt) -> None:
    """Anything else proves nothing about a later failure."""
    assert learn(one(attempt)).scenarios["one"].failure is None


@pytest.mark.parametrize("ending", [Exited(77), Stopped("SIGINT")])
def test_scenario_that_was_not_tried_teaches_nothing(ending: Any) -> None:
    """A skip or an interrupt says nothing about duration and failures."""
    known = learn(one(FAILED))

    assert learn(one(Attempt(ending=ending)), known=known) == known


def test_file_survives_round_trip(tmp_path: Path) -> None:
    """A saved experience is loaded again."""
    known = Experience(
        {
            "a": PastScenario(seconds=1.0, room=2),
            "b": PastScenario(seconds=0.0, failure=KnownFailure(inputs="1", ending="x", at=2.5)),
        }
    )
    experience.save(tmp_path, known)

    assert experience.load(tmp_path) == known


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", "null"),
        '{"schema_version": 2, "scenarios": {}}',
        '{"schema_version": 1}',
        '{"schema_version": 1, "scenarios": {"one": {"seconds": "x", "room": 1, "failure": 3}}}',
    ],
)
def test_invalid_file_is_rebuilt_from_the_records(tmp_path: Path, text: str) -> None:
    """A damaged or missing file costs some reading, and no knowledge."""
    results = (one(CROWDED, PASSED), result_factories.make_result(FAILED, name="two"))
    home = past_runs.record_run(tmp_path, *results).parents[1]
    expected = Experience().learn(results, STARTED)
    missing = experience.load(home)
    (home / experience.FILE).write_text(text)

    assert missing == experience.load(home) == expected
    assert expected.needs_room("one")
    assert expected.is_known("two", FAILED, STARTED)


def test_current_run_is_not_learned_twice(tmp_path: Path) -> None:
    """The record of a run in progress is left out: its results are learned at its end."""
    record = past_runs.record_run(tmp_path, one(CROWDED, PASSED))

    assert experience.load(record.parents[1], record) == Experience()


def test_damaged_record_is_passed_over(tmp_path: Path) -> None:
    """One unreadable run does not take the others with it."""
    home = past_runs.record_run(tmp_path, one(PASSED)).parents[1]
    damaged = past_runs.record_run(tmp_path, one(FAILED))
    (damaged / "run.json").write_text("{")

    assert experience.load(home).seconds == {"one": 1.5}


def test_unwritable_home_loses_only_the_experience(tmp_path: Path) -> None:
    """A file that cannot be written is no error of the run."""
    experience.save(tmp_path / "missing", Experience())

    assert experience.load(tmp_path / "missing") == Experience()


def test_file_is_plain_data(tmp_path: Path) -> None:
    """The file has a version, so that a later isosmoke can replace it."""
    experience.save(tmp_path, learn(one(PASSED)))

    assert json.loads((tmp_path / experience.FILE).read_text()) == {
        "schema_version": 1,
        "scenarios": {"one": {"seconds": 1.5, "room": 0, "failure": None}},
    }
