"""The trial of a binary: the scenario runs with it, and the outcome becomes a verdict."""

from dataclasses import replace
from pathlib import Path

from isosmoke.dataclass import dataclass
from isosmoke.errors import BinaryError
from isosmoke.execution import session
from isosmoke.execution.preflight import run_preflight
from isosmoke.execution.request import Request
from isosmoke.host import binary
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.investigation.bisection.search import Verdict
from isosmoke.results.outcome import Outcome, Stopped
from isosmoke.results.run_results import Attempt


@dataclass(frozen=True, slots=True)
class Trial:
    """The verdict on a binary; `outcome` is None if the scenario did not run."""

    verdict: Verdict
    outcome: Outcome | None
    reason: str
    binary_sha256: str | None = None
    is_stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """Trials of one scenario. It runs `count` times with each binary, and must pass each time."""

    request: Request
    caller: Caller
    count: int = 1

    def run(self, path: Path, record: Path, interrupt: Interrupt) -> Trial:
        """Run the scenario with the binary at `path`, with logs below `record`."""
        request = replace(self.request, binary=str(path))
        try:
            preflight = run_preflight(request, self.caller, interrupt)
        except BinaryError as error:
            return Trial("skip", None, error.message)
        tested = preflight.context.binary
        attempts = session.create_attempt_runner(preflight, request, record)
        (scenario,) = request.scenarios
        if missing := attempts.find_missing(scenario):
            return Trial("skip", Outcome.SKIP, missing)
        attempt = attempts.run(scenario, 1)
        for number in range(2, self.count + 1):
            if attempt.outcome is not Outcome.PASS:
                break
            attempt = attempts.run(scenario, number)
        return _judge(attempt, tested.sha256 if tested else None)

    def run_again(self, sha256: str, name: str, record: Path, interrupt: Interrupt) -> Trial | None:
        """Run the scenario with a stored copy of a binary; None if there is none any more.

        `name` is that of the binary, under which the scenario may call it.
        """
        copy = binary.find_copy(sha256)
        if copy is None or not copy.with_name(name).exists():
            return None
        return self.run(copy.with_name(name), record, interrupt)


def _judge(attempt: Attempt, sha256: str | None) -> Trial:
    """Return the verdict: a skip and an error say nothing about the binary."""
    outcome = attempt.outcome
    if outcome is Outcome.PASS:
        return Trial("good", outcome, "", sha256)
    says_nothing = outcome in (Outcome.SKIP, Outcome.ERROR, Outcome.NOT_RUN)
    return Trial(
        "skip" if says_nothing else "bad",
        outcome,
        attempt.reason,
        sha256,
        isinstance(attempt.ending, Stopped),
    )
