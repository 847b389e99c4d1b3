"""The runs of a test session: one for each manifest, and one for the commands of tests.

Each is begun when something is first run in it, and ended with the session.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from isosmoke.engines import AUTO, ENGINES
from isosmoke.errors import IsosmokeError, UsageError
from isosmoke.execution import session
from isosmoke.execution.session import Request, Session
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt, interruptible
from isosmoke.manifest.diagnostics import mistake_of
from isosmoke.manifest.key_meaning import sandbox_keys
from isosmoke.manifest.models import Manifest, Retention, Scenario, Settings
from isosmoke.reports import wording
from isosmoke.results import run_record
from isosmoke.results.events import Event
from isosmoke.results.outcome import Exited, Outcome
from isosmoke.results.run_results import Captured, ScenarioResult
from isosmoke.sandbox.processes import Process
from isosmoke.text import meant

_TERMS = {
    "timeout" if key == "timeout_seconds" else key: key
    for key in (*sandbox_keys(Settings), "leaks")
}
"""The key of the manifest that each term of a command is: those that make a sandbox, and `leaks`,
because a command may leave what its test ends."""


def scenario_of(name: str, argv: Sequence[str], terms: Mapping[str, object]) -> Scenario:
    """Return the scenario that a command of a test is; `timeout` is in seconds.

    Raises:
        UsageError: for a term that is none, or a value that cannot be.
    """
    for term in terms:
        if term not in _TERMS:
            known = f"there are {', '.join(_TERMS)}"
            raise UsageError(f"sandbox: no term {term!r}{meant(term, _TERMS)}", known)
    keys = {_TERMS[term]: value for term, value in terms.items()}
    entry = {**keys, "name": name, "script": argv[0] if argv else ""}
    try:
        return Scenario.model_validate(entry)
    except ValidationError as error:
        mistake = mistake_of(error.errors()[0])
        where = ".".join(map(str, mistake.loc))
        raise UsageError(f"sandbox: {where} {mistake.text}", mistake.hint) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What came of a command in a sandbox of its own.

    `exit_code` is None where it did not exit by itself; `output` is both streams in order of
    arrival, and of a long one its beginning and end; `log` has all of it.
    """

    outcome: Outcome
    reason: str
    exit_code: int | None
    output: str
    leaks: tuple[Process, ...]
    log: Path | None

    @classmethod
    def of(cls, result: ScenarioResult) -> "Ran":
        """What a result says to a test."""
        attempt = result.telling
        return cls(
            outcome=result.outcome,
            reason=attempt.reason,
            exit_code=attempt.ending.code if isinstance(attempt.ending, Exited) else None,
            output=_text(attempt.output),
            leaks=attempt.leaks,
            log=attempt.log,
        )


def _text(output: Captured) -> str:
    gap = b"\n[isosmoke: %d bytes left out]\n" % output.left_out if output.left_out else b""
    return (output.head + gap + output.tail).decode(errors="replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One result, and what is to be said of it."""

    result: ScenarioResult
    record: Path
    text: str


@dataclass(slots=True)
class _Run:
    """A run under way and its results so far; `broken` is why it could not even begin."""

    session: Session | None = None
    broken: IsosmokeError | None = None
    results: list[ScenarioResult] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Stage:
    """All runs of a test session, with one binary and one choice of engine."""

    binary: str | None = None
    engine: str = AUTO
    _interrupt: Interrupt = field(default_factory=Interrupt)
    _runs: dict[Path | None, _Run] = field(default_factory=dict)

    def begin(self, manifest: Manifest | None, scenarios: Sequence[Scenario] = ()) -> Session:
        """The run of a manifest, or of commands; an error that it met once it meets for good."""
        found = self._run_of(manifest)
        if found.broken:
            raise found.broken
        if found.session is None:
            try:
                found.session = self._begun(manifest, tuple(scenarios))
            except IsosmokeError as error:
                found.broken = error
                raise
        return found.session

    def run(
        self, manifest: Manifest | None, scenario: Scenario, argv: tuple[str, ...] = ()
    ) -> Told:
        """Run a scenario, or `argv` in its place, alone in this process.

        Raises:
            KeyboardInterrupt: if a signal came; what ran is NOT_RUN then.
        """
        session = self.begin(manifest)
        with interruptible(self._interrupt):
            (result,) = session.run((scenario,), argv)
        self._run_of(manifest).results.append(result)
        if self._interrupt.raised:
            raise KeyboardInterrupt(self._interrupt.reason)
        return Told(
            result=result, record=session.attempts.record, text=_told(session, result, argv)
        )

    def end(self) -> None:
        """Complete the record of each run."""
        for one in self._runs.values():
            if one.session is not None:
                one.session.end(tuple(one.results))

    def _run_of(self, manifest: Manifest | None) -> _Run:
        return self._runs.setdefault(_path(manifest), _Run())

    def _begun(self, manifest: Manifest | None, scenarios: tuple[Scenario, ...]) -> Session:
        if self.engine not in (AUTO, *ENGINES):
            known = ", ".join((AUTO, *ENGINES))
            raise UsageError(f"no engine '{self.engine}'", f"--isosmoke-engine takes {known}")
        request = Request(
            scenarios=scenarios,
            manifest=_path(manifest),
            binary=self.binary,
            engine=self.engine,
            retention=manifest.record if manifest else Retention(),
        )
        with interruptible(self._interrupt):
            return session.begin(request, Caller.here(), notify=_silent, interrupt=self._interrupt)


def _path(manifest: Manifest | None) -> Path | None:
    return None if manifest is None else manifest.path


def _silent(event: Event) -> None:
    """The test session tells of its tests itself."""


def _told(session: Session, result: ScenarioResult, argv: tuple[str, ...]) -> str:
    """Why, the evidence, how to repeat it, and the last lines of the output."""
    whole = run_record.of(replace(session.result((result,)), command=argv))
    (one,) = whole.scenarios
    told = [("means", _meaning(result)), *wording.of(whole, one)]
    said = (f"  {name:<8}{value}" for name, value in told if value and name != "because")
    output = (f"  │ {line}" for line in wording.last_lines(one.output))
    return "\n".join([f"{one.outcome}: {wording.reason(one)}", *said, *output])


def _meaning(result: ScenarioResult) -> str:
    """What an error says of the scenario, which is nothing; empty for any other outcome."""
    if result.outcome is not Outcome.ERROR:
        return ""
    broken = "the engine" if result.infrastructure else "the scenario's own preparation"
    return f"{broken} broke, so nothing is known of what the scenario tests"
