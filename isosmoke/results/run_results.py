"""Results of attempts, scenarios and runs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime
from itertools import groupby
from pathlib import Path

from isosmoke.dataclass import dataclass
from isosmoke.host.git import RepositoryState
from isosmoke.manifest.models import Scenario
from isosmoke.results.cause import MAX_LINES, find_cause
from isosmoke.results.evidence import Evidence
from isosmoke.results.leaks import LeakVerdict
from isosmoke.results.machine_load import Basis, Doubt, Load
from isosmoke.results.outcome import (
    Broke,
    Ending,
    Exited,
    Outcome,
    count,
    describe,
    find_reported,
    judge,
    judge_attempts,
    judge_repetition,
    transform_texts,
)
from isosmoke.results.records.shard import ShardRecord
from isosmoke.sandbox.script_interpreter import Interpreter
from isosmoke.sandbox.survivors import Process
from isosmoke.text import truncate

_MAX_COMMAND_LENGTH = 60
_NAMED_LEAKS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedOutput:
    """The kept beginning and end of an output, and its total size.

    `head` and `tail` do not overlap. `size` counts every printed byte; a redacted secret counts
    with the length of its replacement.
    """

    head: bytes = b""
    tail: bytes = b""
    size: int = 0

    @property
    def left_out(self) -> int:
        """The number of bytes missing between head and tail."""
        return self.size - len(self.head) - len(self.tail)

    @property
    def end(self) -> bytes:
        """The kept end of the output, without a gap."""
        return self.tail if self.left_out else self.head + self.tail

    def last_lines(self, limit: int) -> tuple[str, ...]:
        """Return at most `limit` last lines; invalid bytes are replaced."""
        return tuple(self.end.decode(errors="replace").splitlines()[-limit:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """The worker that made an attempt: its address, host, kernel and operating system.

    `certificate` is the SHA-256 of its certificate, whose key signed the record of the attempt.
    """

    name: str
    host: str
    pid: int
    system: str = ""
    certificate: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LostOrder:
    """An attempt without a complete record: its worker, the reason, and how far it came.

    `phase` is `sent` if the worker never reported a start, else `started`.
    """

    worker: str
    reason: str
    phase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One run of a scenario in one sandbox.

    `output` combines stdout and stderr in order of arrival. `phases` has the duration of each step.
    `begun` is the start of the first step, relative to the start of the run. `waited` is the delay
    before that, caused by a lock or other scenarios. All three are in seconds.

    `alone` is true if no other scenario of the run was running concurrently. `postponed` is true if
    the attempt failed concurrently with others and has to be confirmed by another. `unlogged`
    says why the log is incomplete; it is empty if the log is complete. `evidence` is None if none
    was requested. `leftovers` lists items of the sandbox whose removal could not be confirmed,
    each with the command that removes it. `reached_limits` describes the limits that it reached.
    `missing_program` says why the sandbox does not have a program that was not found; it is empty
    if that is not the case or not known. `repetition` counts from 1; the attempts of one repetition
    are retries and confirmations. `script_sha256` is the hash of the script; empty for a command.

    `load` was measured while a failed attempt ran next to others, and `doubts` are the ways in
    which these may have caused the failure. `basis` says why a failure counts nevertheless:
    `alone` if no other scenario was running, `measured` if there are no doubts, `known` if the
    same inputs failed alone in the same way before, and `option` if the user wanted no
    confirmation; it is empty for any other attempt. `inputs` is a digest of everything that the
    failure depended on as far as isosmoke knows it, empty if unknown.

    `worker` made the attempt; None is this machine. `losses` are the orders for the same attempt
    before, whose workers were lost: nothing is known about their results.
    """

    ending: Ending
    verdict: LeakVerdict = field(default_factory=LeakVerdict)
    leak_blocks: bool = True
    output: CapturedOutput = field(default_factory=CapturedOutput)
    stderr: CapturedOutput = field(default_factory=CapturedOutput)
    log: Path | None = None
    unlogged: str = ""
    phases: Mapping[str, float] = field(default_factory=dict)
    alone: bool = True
    begun: float = 0.0
    postponed: bool = False
    waited: float = 0.0
    environment: Mapping[str, str] = field(default_factory=dict)
    evidence: Evidence | None = None
    leftovers: tuple[str, ...] = ()
    reached_limits: tuple[str, ...] = ()
    missing_program: str = ""
    repetition: int = 1
    load: Load | None = None
    doubts: tuple[Doubt, ...] = ()
    basis: Basis = ""
    inputs: str = ""
    script_sha256: str = ""
    worker: Worker | None = None
    losses: tuple[LostOrder, ...] = ()

    def transform_texts(self, transform: Callable[[str], str]) -> "Attempt":
        """Return a copy with `transform` applied to each text except the output."""
        return replace(
            self,
            ending=transform_texts(self.ending, transform),
            verdict=self.verdict.transform_texts(transform),
            environment={name: transform(value) for name, value in self.environment.items()},
            evidence=self.evidence and self.evidence.transform_texts(transform),
            missing_program=transform(self.missing_program),
        )

    @property
    def outcome(self) -> Outcome:
        return judge(self.ending, leaked=bool(self.leaks) and self.leak_blocks)

    @property
    def leaks(self) -> tuple[Process, ...]:
        return self.verdict.leaked

    @property
    def seconds(self) -> float:
        """The duration in seconds, including the sandbox."""
        return sum(self.phases.values(), 0.0)

    @property
    def reason(self) -> str:
        """The reason for the outcome, in one line; empty for a pass without leaks."""
        ending = "" if self.ending == Exited(0) else describe(self.ending)
        stderr = "" if self.ending == Exited(0) else find_cause(self.stderr.last_lines(MAX_LINES))
        cause = ": ".join(part for part in (ending, *self.reached_limits, stderr) if part)
        cause += f" ({self.missing_program})" if self.missing_program else ""
        reason = ", ".join(part for part in (cause, _describe_leaks(self.leaks)) if part)
        return " ".join(reason.splitlines())


def _describe_leaks(leaks: tuple[Process, ...]) -> str:
    if not leaks:
        return ""
    names = list(dict.fromkeys(map(_shorten_command, leaks)))
    more = f" and {len(names) - _NAMED_LEAKS} more" if len(names) > _NAMED_LEAKS else ""
    count = "1 process" if len(leaks) == 1 else f"{len(leaks)} processes"
    return f"left {count}: {'; '.join(names[:_NAMED_LEAKS])}{more}"


def _shorten_command(process: Process) -> str:
    """Return the name of the program, without its directory, and truncated arguments."""
    program, *arguments = process.argv or ("",)
    if program.startswith("/"):
        process = replace(process, argv=(program.rpartition("/")[2], *arguments))
    return truncate(process.command_line, _MAX_COMMAND_LENGTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioResult:
    """The attempts at one scenario, in order of their repetitions; there is at least one."""

    scenario: Scenario
    attempts: tuple[Attempt, ...]

    def add_repetition(self, number: int, attempts: Iterable[Attempt]) -> "ScenarioResult":
        """Return a copy with the attempts of a further repetition."""
        further = tuple(replace(attempt, repetition=number) for attempt in attempts)
        return replace(self, attempts=(*self.attempts, *further))

    @property
    def repetitions(self) -> tuple[tuple[Attempt, ...], ...]:
        """The attempts of each repetition."""
        grouped = groupby(self.attempts, key=lambda attempt: attempt.repetition)
        return tuple(tuple(attempts) for _, attempts in grouped)

    @property
    def name(self) -> str:
        return self.scenario.name

    @property
    def assertion(self) -> str:
        return self.scenario.assertion

    @property
    def owners(self) -> tuple[str, ...]:
        return self.scenario.owners

    @property
    def failures(self) -> int:
        """The number of repetitions that block."""
        return sum(judge_repetition(_list_outcomes(each)).blocks for each in self.repetitions)

    @property
    def reported_attempt(self) -> Attempt:
        """The attempt shown in reports: the first that failed, else was skipped, else the last."""
        return self.attempts[find_reported(_list_outcomes(self.attempts))]

    @property
    def outcome(self) -> Outcome:
        """The outcome of the scenario; see `isosmoke.results.outcome.judge_attempts`."""
        return judge_attempts(map(_list_outcomes, self.repetitions))

    @property
    def load_sensitive(self) -> bool:
        """True if the scenario failed concurrently with others and passed in isolation."""
        return self.outcome is Outcome.FLAKY and any(map(_is_load_sensitive, self.repetitions))

    @property
    def is_infrastructure(self) -> bool:
        """True if the engine failed in every attempt, so that the scenario was not tested."""
        return all(isinstance(attempt.ending, Broke) for attempt in self.attempts)

    @property
    def seconds(self) -> float:
        return sum((attempt.seconds for attempt in self.attempts), 0.0)

    def without_inputs(self) -> "ScenarioResult":
        """Return the result with unknown inputs, because they changed."""
        attempts = tuple(replace(attempt, inputs="") for attempt in self.attempts)
        return replace(self, attempts=attempts)


def _list_outcomes(attempts: Iterable[Attempt]) -> list[Outcome]:
    return [attempt.outcome for attempt in attempts]


def _is_load_sensitive(attempts: Sequence[Attempt]) -> bool:
    """Return whether a repetition passed in isolation after it failed next to others."""
    last = attempts[-1]
    failed = next((attempt for attempt in attempts if attempt.outcome.blocks), last)
    return last.outcome is Outcome.PASS and last.alone and not failed.alone


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """The shard that a run is, and all selected scenarios, each with the number of its shard."""

    record: ShardRecord
    selection: tuple[tuple[Scenario, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The result of a run, with its scenarios in manifest order.

    `binary` is the path and sha256 of the live binary, or None, and `binary_version` its version,
    or empty. `repository` is None if it is unknown. `command` ran instead of the scripts; `working`
    is the working directory of the caller, `host` the machine. `stopped` says why the run was cut
    short, and `unrecorded` why the record on disk is incomplete; both are usually empty. `notes`
    are messages to the user, and `warnings` describe external influences on outcomes.
    `interpreters` ran the scripts. `rerun_of` is the id of the run that this one completes.
    `daemon` has the options that select a container daemon. `recording` is the time that it took to
    write the result of each scenario, in seconds. `shard` is None unless the run is one of several
    shards.
    """

    started: datetime
    working: Path
    engine: str
    manifest: Path | None
    binary: tuple[Path, str] | None
    record: Path | None
    scenarios: tuple[ScenarioResult, ...]
    seconds: float
    command: tuple[str, ...] = ()
    stopped: str = ""
    host: str = ""
    unrecorded: str = ""
    notes: tuple[str, ...] = ()
    rerun_of: str = ""
    daemon: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    interpreters: tuple[Interpreter, ...] = ()
    recording: Mapping[str, float] = field(default_factory=dict)
    shard: ShardPlan | None = None
    binary_version: str = ""
    repository: RepositoryState | None = None

    @property
    def dirty(self) -> tuple[str, ...]:
        """The items whose removal could not be confirmed; empty for a clean run."""
        attempts = (attempt for scenario in self.scenarios for attempt in scenario.attempts)
        return tuple(item for attempt in attempts for item in attempt.leftovers)

    @property
    def counts(self) -> Mapping[str, int]:
        """The number of scenarios with each outcome, in the order of the outcomes."""
        return count(scenario.outcome for scenario in self.scenarios)

    @property
    def skipped(self) -> int:
        """The number of skipped scenarios."""
        return sum(scenario.outcome.facts.is_skip for scenario in self.scenarios)
