"""Data of a run: attempts, and the results of scenarios and of the whole."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from isosmoke.manifest.models import Scenario
from isosmoke.results.evidence import Evidence
from isosmoke.results.leaks import Verdict
from isosmoke.results.outcome import (
    Broke,
    Ending,
    Exited,
    Outcome,
    count,
    describe,
    judge,
    told_by,
)
from isosmoke.sandbox.interpreter_data import Interpreter
from isosmoke.sandbox.processes import Process
from isosmoke.text import cut

_LONGEST_CALLED = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """What was kept of an output: its beginning and its end, and how long it was in all.

    `head` and `tail` do not overlap; `size` counts every byte that was printed, where a secret was
    the name that replaced it.
    """

    head: bytes = b""
    tail: bytes = b""
    size: int = 0

    @property
    def left_out(self) -> int:
        """How many bytes are missing between head and tail."""
        return self.size - len(self.head) - len(self.tail)

    @property
    def end(self) -> bytes:
        """As much of the end as was kept without a gap."""
        return self.tail if self.left_out else self.head + self.tail

    def last_lines(self, most: int) -> tuple[str, ...]:
        """The last lines, as text whatever the bytes were."""
        return tuple(self.end.decode(errors="replace").splitlines()[-most:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One run of a scenario in one sandbox.

    `output` is both streams in order of arrival, `phases` the seconds of each step, `begun` when
    the first of them began, in seconds since the run did, and `alone` says that nothing else of the
    same run was going on beside it. `postponed`: it failed beside others, and was to be confirmed
    alone. `unlogged` says why the log is not whole, empty if it is.
    `waited` is how long it could have begun before, in seconds: for a lock, or for others to end.
    `evidence` is None where none was wanted. `left_behind` is what could not be proved to be gone
    of its sandbox, each with the command that removes it.
    """

    ending: Ending
    verdict: Verdict = field(default_factory=Verdict)
    leak_blocks: bool = True
    output: Captured = field(default_factory=Captured)
    stderr: Captured = field(default_factory=Captured)
    log: Path | None = None
    unlogged: str = ""
    phases: Mapping[str, float] = field(default_factory=dict)
    alone: bool = True
    begun: float = 0.0
    postponed: bool = False
    waited: float = 0.0
    environment: Mapping[str, str] = field(default_factory=dict)
    evidence: Evidence | None = None
    left_behind: tuple[str, ...] = ()

    def told_by(self, words: Callable[[str], str]) -> "Attempt":
        """The same attempt, each of its texts but the output as `words` has it."""
        return replace(
            self,
            ending=told_by(self.ending, words),
            verdict=self.verdict.told_by(words),
            environment={name: words(value) for name, value in self.environment.items()},
            evidence=self.evidence and self.evidence.told_by(words),
        )

    @property
    def outcome(self) -> Outcome:
        return judge(self.ending, leaked=bool(self.leaks) and self.leak_blocks)

    @property
    def leaks(self) -> tuple[Process, ...]:
        return self.verdict.leaked

    @property
    def seconds(self) -> float:
        """How long it took, its sandbox included."""
        return sum(self.phases.values())

    @property
    def reason(self) -> str:
        """Why the outcome is what it is, in one line; empty for a plain pass."""
        ended = "" if self.ending == Exited(0) else describe(self.ending)
        said = "" if self.ending == Exited(0) else last_words(self.stderr.last_lines(12))
        why = ": ".join(part for part in (ended, said) if part)
        told = ", ".join(part for part in (why, _left(self.leaks)) if part)
        return " ".join(told.splitlines())


_STATED_REASON = re.compile(r"^\W*reason:\s*(?P<words>\S.*?)\s*$", re.IGNORECASE)


def last_words(lines: tuple[str, ...]) -> str:
    """What the end of a script's stderr says: a line `reason: …`, else the last with words."""
    for line in reversed(lines):
        stated = _STATED_REASON.match(line)
        if stated:
            return stated["words"]
    spoken = (line.strip() for line in reversed(lines) if re.search(r"\w", line))
    return next(spoken, "")


def _left(leaks: tuple[Process, ...]) -> str:
    if not leaks:
        return ""
    names = list(dict.fromkeys(map(_called, leaks)))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""  # noqa: PLR2004 - three fit a line
    count = "1 process" if len(leaks) == 1 else f"{len(leaks)} processes"
    return f"left {count}: {'; '.join(names[:3])}{more}"


def _called(process: Process) -> str:
    """A process in half a line: its program without the folder, and what fits of its arguments."""
    program, *arguments = process.argv or ("",)
    if program.startswith("/"):
        process = replace(process, argv=(program.rpartition("/")[2], *arguments))
    return cut(process.command_line, _LONGEST_CALLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioResult:
    """All attempts at one scenario, in order; there is at least one."""

    scenario: Scenario
    attempts: tuple[Attempt, ...]

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
    def telling(self) -> Attempt:
        """The attempt that reports show: the first that did not pass, else the last."""
        failed = (one for one in self.attempts if one.outcome.blocks)
        return next(failed, self.attempts[-1])

    @property
    def outcome(self) -> Outcome:
        """The last attempt's; but a pass after a failure is FLAKY, and a skip undoes none."""
        last = self.attempts[-1].outcome
        if last is Outcome.SKIP:
            return self.telling.outcome
        return Outcome.FLAKY if last is Outcome.PASS and len(self.attempts) > 1 else last

    @property
    def load_sensitive(self) -> bool:
        """It failed beside others and passed alone."""
        return self.outcome is Outcome.FLAKY and self.attempts[-1].alone and not self.telling.alone

    @property
    def infrastructure(self) -> bool:
        """Nothing is known of the scenario, because the engine broke."""
        return all(isinstance(attempt.ending, Broke) for attempt in self.attempts)

    @property
    def seconds(self) -> float:
        return sum(attempt.seconds for attempt in self.attempts)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A whole run: what it was made with, and what came of each scenario, in manifest order.

    `binary` is the path and sha256 of the live binary, None where there was none; `command` is what
    ran in place of the scripts; `stopped` says why the run was cut short; `host` is the machine;
    `unrecorded` says why the record on disk is not whole; `notes` are what the user should know
    beside the outcomes, and `warnings` what outside the scenarios may have changed them;
    `interpreters` are what ran the scripts; `rerun_of` is the id of the run whose rest it does;
    `daemon` are the options that named the one to talk to.
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

    @property
    def dirty(self) -> tuple[str, ...]:
        """What it could not prove to have removed; empty for a run that left the host as it was."""
        attempts = (attempt for one in self.scenarios for attempt in one.attempts)
        return tuple(left for attempt in attempts for left in attempt.left_behind)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many scenarios came out how, in the order of the outcomes."""
        return count(one.outcome for one in self.scenarios)

    @property
    def skipped(self) -> int:
        """How many scenarios were skipped."""
        return sum(one.outcome.facts.is_skip for one in self.scenarios)
