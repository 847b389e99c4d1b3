"""Records of shards that contradict themselves: what was altered is found where it can be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isosmoke.results.run_results import ScenarioResult
from isosmoke.shards import loaded_shards
from isosmoke.shards.loaded_shards import Unusable
from support import records, shard_records

RESULTS = records.make_every_outcome()
Result = dict[str, Any]
Change = Callable[[Result], object]


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """Return the record of the only shard of a run with every outcome."""
    return shard_records.write(tmp_path / "shard", 1, 1, RESULTS)


def edit_result(record: Path, name: str, change: Change) -> None:
    """Change the stored result of a scenario."""
    shard_records.edit(record / name / "result.json", change)


def change_all(**values: object) -> Change:
    """Return a function that changes fields of a result, and of each of its attempts."""

    def change(result: Result) -> None:
        for each in (result, *result["attempts"]):
            each.update(values)

    return change


def change_first(**values: object) -> Change:
    """Return a function that changes fields of the first attempt."""
    return lambda result: result["attempts"][0].update(values)


def test_every_outcome_follows_from_its_attempts(record: Path) -> None:
    """A record that was not altered is usable, whatever its outcomes."""
    assert len(shard_records.load(record).run.scenarios) == len(RESULTS)


FROM_ATTEMPTS = "the outcome of {} does not follow from its attempts"
FROM_ENDING = "an attempt at {} has an outcome that does not follow from its end"
ALTERED: dict[str, tuple[str, Change, str]] = {
    "failure passes": ("bad", lambda result: result.update(outcome="PASS"), FROM_ATTEMPTS),
    "failure is flaky": ("bad", lambda result: result.update(outcome="FLAKY"), FROM_ATTEMPTS),
    "flaky passes": ("flaky", lambda result: result.update(outcome="PASS"), FROM_ATTEMPTS),
    "skip passes": ("skipped", lambda result: result.update(outcome="PASS"), FROM_ATTEMPTS),
    "attempt passes with exit 3": ("bad", change_all(outcome="PASS"), FROM_ENDING),
    "attempt passes without an exit": ("slow", change_all(outcome="PASS"), FROM_ENDING),
    "attempt is flaky": ("good", change_all(outcome="FLAKY"), FROM_ENDING),
    "leak passes": ("leaky", change_all(outcome="PASS"), FROM_ENDING),
    "pass leaks": ("good", change_all(outcome="LEAK"), FROM_ENDING),
    "pass by a signal": ("good", change_all(exit_code=None, signal="SIGTERM"), FROM_ENDING),
    "exit and signal": ("bad", change_all(signal="SIGTERM"), FROM_ENDING),
    "failed attempt is cut": (
        "flaky",
        lambda result: result["attempts"].pop(0),
        FROM_ATTEMPTS,
    ),
    "exit code": ("bad", lambda result: result.update(exit_code=1), "{} does not show the attempt"),
    "reason": ("bad", lambda result: result.update(reason="fine"), "{} does not show the attempt"),
    "leaks": ("leaky", lambda result: result.update(leaks=[]), "{} does not show the attempt"),
    "entry": ("good", lambda result: result["entry"].update(retries=3), "{} is not as planned"),
    "script": ("good", lambda result: result.update(script="/x.sh"), "{} is not as planned"),
    "negative duration": ("good", change_first(seconds=-1.0), "a time of {} is negative or"),
    "negative start": ("good", change_first(begun=-0.5), "a time of {} is negative or"),
    "negative wait": ("good", change_first(waited=-0.5), "a time of {} is negative or"),
    "negative phase": ("good", change_first(phases={"run": -9}), "a time of {} is negative or"),
    "huge start": ("good", change_first(begun=1e300), "a time of {} is negative or"),
    "repetition 0": ("good", change_first(repetition=0), "a repetition of {} has no number"),
}


@pytest.mark.parametrize("name", ALTERED)
def test_altered_result_cannot_be_used(name: str, record: Path) -> None:
    """A result that does not follow from its attempts, or from their ends, is refused by name."""
    scenario, change, reason = ALTERED[name]
    edit_result(record, scenario, change)

    part = loaded_shards.load(record)

    assert isinstance(part, Unusable)
    assert reason.format(scenario) in part.reason


@pytest.mark.parametrize(
    "values",
    [
        {"started_at": "0001-01-01T00:00:00Z"},
        {"started_at": "0001-01-01T00:00:00+14:00"},
        {"started_at": "1969-12-31T23:59:59Z"},
        {"started_at": "9999-12-31T23:59:59-14:00"},
    ],
    ids=str,
)
def test_start_in_another_age_cannot_be_used(values: dict[str, object], record: Path) -> None:
    """A start that no run can have is refused, and no time is computed from it."""
    shard_records.edit(record / "run.json", lambda run: run.update(values))

    part = loaded_shards.load(record)

    assert isinstance(part, Unusable)
    assert "its start is not between the years 2000 and 2999" in part.reason


@pytest.mark.parametrize("seconds", [-1, -0.001, 1e12])
def test_impossible_duration_cannot_be_used(seconds: float, record: Path) -> None:
    """A run cannot take a negative time, or longer than a human lives."""
    shard_records.edit(record / "run.json", lambda run: run.update(seconds=seconds))

    part = loaded_shards.load(record)

    assert isinstance(part, Unusable)
    assert "its duration is negative or" in part.reason


def test_reported_leak_is_no_contradiction(tmp_path: Path) -> None:
    """Processes that are only reported let a scenario pass: by its entry, or by the option."""
    reported = records.make_reported_leak("reported")
    by_entry = shard_records.write(tmp_path / "entry", 1, 1, [reported])
    plain = ScenarioResult(
        scenario=records.make_passed("plain").scenario, attempts=reported.attempts
    )
    options = {"options": "--engine auto --leaks report"}
    by_option = shard_records.write(tmp_path / "option", 1, 1, [plain], common=options)
    neither = shard_records.write(tmp_path / "neither", 1, 1, [plain])

    assert str(shard_records.load(by_entry).run.scenarios[0].outcome) == "PASS"
    assert str(shard_records.load(by_option).run.scenarios[0].outcome) == "PASS"
    assert isinstance(loaded_shards.load(neither), Unusable)


def test_what_follows_is_computed_again(record: Path) -> None:
    """The duration of a scenario is that of its attempts."""
    edit_result(record, "flaky", lambda result: result.update(seconds=99.0))

    run = shard_records.load(record).run

    assert {scenario.name: scenario.seconds for scenario in run.scenarios}["flaky"] == 1.0
