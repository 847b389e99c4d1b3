"""The experience of earlier runs of a project: durations, room and known failures.

It is a summary of the records in one small file, so that a run need not read them. It is rebuilt
from the records if it is lost, and changes no verdict but the need to confirm a failure.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isosmoke.dataclass import dataclass
from isosmoke.errors import RecordError, UsageError
from isosmoke.history import layout
from isosmoke.history.layout import RUNS
from isosmoke.host import files
from isosmoke.results.machine_load import Basis
from isosmoke.results.outcome import Exited, Outcome, Signaled, name_signal
from isosmoke.results.run_results import Attempt, ScenarioResult

if TYPE_CHECKING:
    from isosmoke.results.run_record import ScenarioRecord

FILE = "experience.json"
"""The file in the home of a project's records."""

ROOM_RUNS = 5
"""The number of runs in which a scenario gets room after it failed only next to others."""

KNOWN_SECONDS = 24 * 3600.0
"""The age in seconds after which a known failure is no longer believed: the world changes too."""

_RUN = "run"
"""The phase in which the script of an attempt runs."""

_VERSION = 1
_MOST_NAMES = 20_000
_REBUILT_RUNS = 5
_INVALID = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFailure:
    """A failure with no other scenario running; `at` is in seconds since 1970."""

    inputs: str
    ending: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PastScenario:
    """The experience of the last runs of a scenario.

    `seconds` is the duration of its last attempt. `room` is the number of further runs in which it
    gets room. `failure` is None unless it last failed.
    """

    seconds: float
    room: int = 0
    failure: KnownFailure | None = None


@dataclass(frozen=True, slots=True)
class Experience:
    """The experience of the last runs, by the name of the scenario."""

    scenarios: Mapping[str, PastScenario] = field(default_factory=dict)

    @property
    def seconds(self) -> Mapping[str, float]:
        """The duration of each known scenario in seconds."""
        return {name: past.seconds for name, past in self.scenarios.items()}

    def needs_room(self, name: str) -> bool:
        """Return whether a scenario failed lately next to others, and passed later."""
        return name in self.scenarios and self.scenarios[name].room > 0

    def is_known(self, name: str, attempt: Attempt, now: datetime) -> bool:
        """Return whether a failed attempt repeats a recent failure alone with the same inputs."""
        failure = self.scenarios[name].failure if name in self.scenarios else None
        return (
            failure is not None
            and bool(attempt.inputs)
            and failure.inputs == attempt.inputs
            and failure.ending == _describe_failure(attempt)
            and 0 <= now.timestamp() - failure.at < KNOWN_SECONDS
        )

    def learn(self, results: Iterable[ScenarioResult], then: datetime) -> "Experience":
        """Return the experience after further results of that time."""
        return self._learn(map(_observe_result, results), then)

    def learn_records(self, records: Iterable["ScenarioRecord"], then: datetime) -> "Experience":
        """Return the experience after recorded results of that time."""
        return self._learn(map(_observe_record, records), then)

    def _learn(self, observations: Iterable["_Observation"], then: datetime) -> "Experience":
        scenarios = dict(self.scenarios)
        for seen in observations:
            facts = seen.outcome.facts
            if facts.was_tried and not facts.is_skip and seen.ran:
                past = scenarios.pop(seen.name, None)
                scenarios[seen.name] = _update(past, seen, then.timestamp())
        return Experience(dict(list(scenarios.items())[-_MOST_NAMES:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Observation:
    """A result, or its record: `failed_in_company` is about the reported attempt.

    `ran` is false if the last attempt ended before its script began.
    """

    name: str
    outcome: Outcome
    ran: bool
    failed_in_company: bool
    seconds: float
    alone: bool
    basis: Basis
    inputs: str
    ending: str


def _observe_result(result: ScenarioResult) -> _Observation:
    last = result.attempts[-1]
    return _Observation(
        name=result.name,
        outcome=result.outcome,
        ran=_RUN in last.phases,
        failed_in_company=not result.reported_attempt.alone,
        seconds=round(last.seconds, 3),
        alone=last.alone,
        basis=last.basis,
        inputs=last.inputs,
        ending=_describe_failure(last),
    )


def _observe_record(record: "ScenarioRecord") -> _Observation:
    last = record.attempts[-1]
    reported = next((attempt for attempt in record.attempts if attempt.outcome.blocks), last)
    return _Observation(
        name=record.name,
        outcome=record.outcome,
        ran=_RUN in last.phases,
        failed_in_company=not reported.alone,
        seconds=last.seconds,
        alone=last.alone,
        basis=last.basis,
        inputs=last.inputs,
        ending=f"{last.outcome} {last.exit_code} {last.signal}",
    )


def _describe_failure(attempt: Attempt) -> str:
    """Return the outcome and the ending of an attempt, which a repeated failure has again."""
    ending = attempt.ending
    code = ending.code if isinstance(ending, Exited) else None
    signal = name_signal(ending.number) if isinstance(ending, Signaled) else None
    return f"{attempt.outcome} {code} {signal}"


def _update(past: PastScenario | None, seen: _Observation, now: float) -> PastScenario:
    is_sensitive = seen.outcome is Outcome.FLAKY and seen.failed_in_company
    room = ROOM_RUNS if is_sensitive else max(0, past.room - 1 if past else 0)
    return PastScenario(seconds=seen.seconds, room=room, failure=_find_failure(past, seen, now))


def _find_failure(past: PastScenario | None, seen: _Observation, now: float) -> KnownFailure | None:
    """Return the failure to remember: a new one, or the one that was just repeated."""
    if seen.basis == "known" and past:
        return past.failure
    if seen.outcome.blocks and seen.alone and seen.inputs:
        return KnownFailure(inputs=seen.inputs, ending=seen.ending, at=now)
    return None


def load(home: Path, current: Path | None = None) -> Experience:
    """Return the experience of the project whose records are in `home`.

    It is rebuilt from the last runs if its file is missing or invalid, but not from the record of
    the `current` run, whose results are learned later.
    """
    try:
        return parse(json.loads(files.read(home / FILE, follow=False)))
    except (OSError, UsageError, *_INVALID):
        return _rebuild(home, current)


def parse(document: Any) -> Experience:
    """Return the experience in a JSON document.

    Raises:
        ValueError, TypeError, LookupError: if it is not valid.
    """
    if document["schema_version"] != _VERSION:
        raise ValueError("another version")
    return Experience({name: _parse(past) for name, past in dict(document["scenarios"]).items()})


def _parse(past: Mapping[str, Any]) -> PastScenario:
    failure = past["failure"]
    return PastScenario(
        seconds=float(past["seconds"]),
        room=int(past["room"]),
        failure=failure
        and KnownFailure(
            inputs=str(failure["inputs"]), ending=str(failure["ending"]), at=float(failure["at"])
        ),
    )


def _rebuild(home: Path, current: Path | None) -> Experience:
    directories: list[Path] = []
    with suppress(OSError):
        directories = sorted({*layout.iter_run_directories(home / RUNS)} - {current})
    experience = Experience()
    for directory in directories[-_REBUILT_RUNS:]:
        experience = _learn_run(experience, directory)
    return experience


def _learn_run(experience: Experience, directory: Path) -> Experience:
    from isosmoke.history import reader

    with suppress(RecordError, OSError):
        run = reader.load_run(directory)
        if not run.command and not run.shards:  # other machines had those
            return experience.learn_records(run.scenarios, run.started_at)
    return experience


def save(home: Path, experience: Experience) -> None:
    """Write the experience of a project; one that cannot be written is lost."""
    fields = {name: asdict(past) for name, past in experience.scenarios.items()}
    document = {"schema_version": _VERSION, "scenarios": fields}
    with suppress(OSError):
        files.write(home / FILE, json.dumps(document, separators=(",", ":")), durable=False)
