"""The runs of a test session: one for each manifest, and one for the commands of tests.

A run begins with its first scenario or command, and ends with the session.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path

from isosmoke.api import sandbox_options
from isosmoke.dataclass import dataclass
from isosmoke.engines import AUTO, ENGINES
from isosmoke.errors import IsosmokeError, UsageError
from isosmoke.execution import session
from isosmoke.execution.request import Request
from isosmoke.execution.session import Session
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt, interruptible
from isosmoke.manifest.models import Manifest, Retention, Scenario
from isosmoke.reports import wording
from isosmoke.results.events import Event
from isosmoke.results.outcome import Exited, Outcome
from isosmoke.results.records import creation
from isosmoke.results.run_results import CapturedOutput, ScenarioResult
from isosmoke.sandbox.survivors import Process


def build_scenario(name: str, argv: Sequence[str], options: Mapping[str, object]) -> Scenario:
    """Return a scenario for a command of a test; `timeout` is in seconds.

    Raises:
        UsageError: If an option is unknown, or its value is invalid.
    """
    named = {"name": name, "script": argv[0] if argv else ""}
    return sandbox_options.build_scenario(
        "sandbox", options, lambda keys: Scenario.validate({**keys, **named})
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """The result of a command in its own sandbox.

    `exit_code` is None if the command did not exit by itself. `output` is both streams in order of
    arrival; only the beginning and the end of a long output are included. `log` has all of it.
    """

    outcome: Outcome
    reason: str
    exit_code: int | None
    output: str
    leaks: tuple[Process, ...]
    log: Path | None

    @classmethod
    def from_result(cls, result: ScenarioResult) -> "CommandResult":
        """Return the result of a command from that of its scenario."""
        attempt = result.reported_attempt
        return cls(
            outcome=result.outcome,
            reason=attempt.reason,
            exit_code=attempt.ending.code if isinstance(attempt.ending, Exited) else None,
            output=_join_output(attempt.output),
            leaks=attempt.leaks,
            log=attempt.log,
        )


def _join_output(output: CapturedOutput) -> str:
    gap = b"\n[isosmoke: %d bytes left out]\n" % output.left_out if output.left_out else b""
    return (output.head + gap + output.tail).decode(errors="replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioReport:
    """A result with the directory of its record and the text to report."""

    result: ScenarioResult
    record: Path
    text: str


@dataclass(slots=True)
class _Run:
    """A run in progress and its results so far; `broken` is the error that prevented its start."""

    session: Session | None = None
    broken: IsosmokeError | None = None
    results: list[ScenarioResult] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class SessionRuns:
    """The runs of a test session, which share a binary and a choice of engine."""

    binary: str | None = None
    engine: str = AUTO
    _interrupt: Interrupt = field(default_factory=Interrupt)
    _runs: dict[Path | None, _Run] = field(default_factory=dict)

    def begin(self, manifest: Manifest | None, scenarios: Sequence[Scenario] = ()) -> Session:
        """Begin the run of a manifest, or of commands, once; repeat the error of a failed start."""
        run = self._get_run(manifest)
        if run.broken:
            raise run.broken
        if run.session is None:
            try:
                run.session = self._begin_session(manifest, tuple(scenarios))
            except IsosmokeError as error:
                run.broken = error
                raise
        return run.session

    def run(
        self, manifest: Manifest | None, scenario: Scenario, argv: tuple[str, ...] = ()
    ) -> ScenarioReport:
        """Run a scenario, or `argv` in its place, in isolation in this process.

        Raises:
            KeyboardInterrupt: If a signal arrived; the scenario is NOT_RUN then.
        """
        session = self.begin(manifest)
        with interruptible(self._interrupt):
            (result,) = session.run((scenario,), argv)
        self._get_run(manifest).results.append(result)
        if self._interrupt.is_raised:
            raise KeyboardInterrupt(self._interrupt.reason)
        return ScenarioReport(
            result=result,
            record=session.attempts.record,
            text=_format_report(session, result, argv),
        )

    def end(self) -> None:
        """Complete the record of each run."""
        for run in self._runs.values():
            if run.session is not None:
                run.session.end(tuple(run.results))

    def _get_run(self, manifest: Manifest | None) -> _Run:
        return self._runs.setdefault(_path(manifest), _Run())

    def _begin_session(self, manifest: Manifest | None, scenarios: tuple[Scenario, ...]) -> Session:
        if self.engine not in (AUTO, *ENGINES):
            known = ", ".join((AUTO, *ENGINES))
            raise UsageError(f"unknown engine '{self.engine}'", f"pass one of {known}")
        request = Request(
            scenarios=scenarios,
            manifest=_path(manifest),
            binary=self.binary,
            engine=self.engine,
            retention=manifest.record if manifest else Retention(),
            recalls=True,
        )
        with interruptible(self._interrupt):
            return session.begin(
                request, Caller.current(), notify=_ignore_event, interrupt=self._interrupt
            )


def _path(manifest: Manifest | None) -> Path | None:
    return None if manifest is None else manifest.path


def _ignore_event(event: Event) -> None:
    """Ignore an event; pytest itself reports on its tests."""


def _format_report(session: Session, result: ScenarioResult, argv: tuple[str, ...]) -> str:
    """Return the reason, the evidence, a command that repeats it, and the last lines of output."""
    record = creation.record_run(replace(session.result((result,)), command=argv))
    (scenario,) = record.scenarios
    rows = [("means", _explain_error(result)), *wording.list_facts(record, scenario)]
    details = (f"  {label:<8}{value}" for label, value in rows if value and label != "because")
    output = (f"  │ {line}" for line in wording.list_last_lines(scenario.output))
    return "\n".join([f"{scenario.outcome}: {wording.format_reason(scenario)}", *details, *output])


def _explain_error(result: ScenarioResult) -> str:
    """Return what an ERROR says about the scenario; an empty text for other outcomes."""
    if result.outcome is not Outcome.ERROR:
        return ""
    subject = "the engine" if result.is_infrastructure else "the scenario's own preparation"
    return f"{subject} failed, so the scenario has no verdict"
