"""A job in a fresh sandbox: create, start, run, settle, freeze, list, collect, destroy.

`run_job` is the whole sequence. Only the panes of terminals are read before the freeze, because
their server must be running to respond.
"""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import field
from pathlib import Path, PurePosixPath
from time import monotonic

from isosmoke.dataclass import dataclass
from isosmoke.engines.base import START_SECONDS, Engine, Sandbox
from isosmoke.errors import EngineError, IsosmokeError, LeftBehindError, convert_os_error
from isosmoke.interrupt import Interrupt
from isosmoke.keeper.client import Conversation
from isosmoke.keeper.exchange import BrokenError, StoppedError
from isosmoke.keeper.input_forwarding import StreamForwarder, Streams
from isosmoke.keeper.protocol import SEPARATE
from isosmoke.results import evidence
from isosmoke.results.evidence import Evidence
from isosmoke.results.outcome import Broke, Ending, Exited, Signaled, Stopped, TimedOut
from isosmoke.runner.evidence import tmux
from isosmoke.runner.evidence.collection import collect_changes
from isosmoke.runner.output import Capture
from isosmoke.sandbox.spec import Job, ResourceLimits
from isosmoke.sandbox.survivors import Process, name_processes
from isosmoke.text import format_size

COLLECT_SECONDS = 5.0
"""The timeout for reading the changes of a sandbox, in seconds."""

EMPTY_SECONDS = 5.0
"""The timeout in seconds for a keeper to report an empty sandbox once no process is listed."""

KILL_SECONDS = 30.0
"""The timeout for reaping a killed script, including its output, in seconds."""


@dataclass(slots=True)
class SandboxRun:
    """The result of a job in a sandbox.

    `phases` maps each finished step to its duration in seconds. `cleanup_failures` names the
    remains that could not be removed, each with the command that removes it. `reached_limits`
    describes the limits that were reached by a job that did not pass, as far as they are known.
    """

    ending: Ending = field(default_factory=lambda: Broke("no sandbox was created"))
    survivors: tuple[Process, ...] = ()
    evidence: Evidence | None = None
    cleanup_failures: tuple[str, ...] = ()
    phases: dict[str, float] = field(default_factory=dict)
    reached_limits: tuple[str, ...] = ()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the duration of the block to a phase."""
        started_at = monotonic()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + monotonic() - started_at

    @contextmanager
    def record_errors(self) -> Iterator[None]:
        """Record an error of the block as the ending, but a failed cleanup separately.

        The recorded errors are those of the engine and of the machine (`OSError`), and interrupts.
        """
        try:
            yield
        except LeftBehindError as error:
            self.cleanup_failures += (_add_hint(error, "remove it"),)
            if error.__context__ is not None:
                self.ending = _create_error_ending(error.__context__)
        except (EngineError, OSError, StoppedError) as error:
            self.ending = _create_error_ending(error)


def _create_error_ending(error: BaseException) -> Ending:
    if isinstance(error, EngineError):
        return Broke(_add_hint(error, "try"))
    if isinstance(error, OSError):
        return Broke(_add_hint(convert_os_error(error), "try"))
    return Stopped(str(error)) if isinstance(error, StoppedError) else Broke(str(error))


def _add_hint(error: IsosmokeError, label: str) -> str:
    return f"{error} ({label}: {error.hint})" if error.hint else str(error)


WantsEvidence = Callable[[Ending, tuple[Process, ...]], bool]
"""A decision to collect evidence, based on the ending of a job and its survivors."""


def want_no_evidence(_ending: Ending, _survivors: tuple[Process, ...]) -> bool:
    """Return False, so that no evidence is collected."""
    return False


def run_job(  # noqa: PLR0913, PLR0915 - one sequence, to be read in order
    job: Job,
    engine: Engine,
    *,
    capture: Capture,
    interrupt: Interrupt,
    wants_evidence: WantsEvidence = want_no_evidence,
    run: SandboxRun | None = None,
    streams: Streams | None = None,
    keep: Callable[[Ending, Mapping[PurePosixPath, Path]], object] | None = None,
) -> SandboxRun:
    """Run `job` in a fresh sandbox of `engine` and return the result.

    Errors and interrupts are recorded in the result. `wants_evidence` has no effect on the ending
    or the survivors. Phases are added to `run` if it is given. The job takes over `streams`;
    without them its stdin is empty, and its stdout and stderr are separate. `keep` receives the
    ending of a job that ran, and the directories with the changes of its mounts.
    """
    run = run or SandboxRun()
    with run.record_errors(), ExitStack() as stack:
        with run.phase("create"):
            sandbox = stack.enter_context(engine.sandbox(job.spec))
        try:
            keeper = Conversation(sandbox.channel, sink=capture.take, interrupt=interrupt)
            with run.record_errors():
                with run.phase("start"):
                    keeper.wait_until_ready(START_SECONDS)
                    start(job, keeper, streams)
                with run.phase("run"):
                    run.ending = wait_for_ending(job, keeper, streams)
                if streams is not None and _is_interrupted(run.ending, streams):
                    interrupt.raise_for("SIGINT")
                    raise StoppedError(interrupt.reason)
                with run.phase("settle"):
                    is_empty = keeper.wait_until_empty(job.settle)
                if not is_empty:
                    with run.phase("list"):
                        living = keeper.list_processes()
                    servers = tmux.find_servers(living)
                    if servers and wants_evidence(run.ending, living):
                        with run.phase("panes"):
                            run.evidence = tmux.capture_panes(keeper, servers, job.environment)
                    with run.phase("list"):
                        frozen = keeper.freeze_survivors()
                    # A process that ended while panes were read outlived the script too.
                    run.survivors = _merge(frozen, living) if run.evidence else frozen
                    check_listed(run.survivors, keeper)
            if wants_evidence(run.ending, run.survivors):
                with run.phase("collect"):
                    run.evidence = _collect_evidence(job, sandbox, keeper, run)
            if keep is not None and not isinstance(run.ending, Broke):
                with run.phase("collect"):
                    keep(run.ending, sandbox.changes)
        finally:
            run.reached_limits = _describe_reached_limits(job.spec.limits, sandbox, run.ending)
            with run.phase("destroy"):
                stack.close()
    if interrupt.is_raised and isinstance(run.ending, Broke) and "run" not in run.phases:
        # A key such as Ctrl-C also ends a program of the engine that creates the sandbox.
        run.ending = Stopped(interrupt.reason)
    return run


def run_until_frozen(job: Job, keeper: Conversation) -> SandboxRun:
    """Run `job` in the sandbox of a new keeper, and leave its survivors frozen.

    No duration and no evidence is recorded.

    Raises:
        EngineError: if the sandbox breaks.
        StoppedError: if the run is interrupted.
    """
    keeper.wait_until_ready(START_SECONDS)
    start(job, keeper)
    run = SandboxRun(ending=wait_for_ending(job, keeper))
    if not keeper.wait_until_empty(job.settle):
        run.survivors = keeper.freeze_survivors()
        check_listed(run.survivors, keeper)
    return run


def start(job: Job, keeper: Conversation, streams: Streams | None = None) -> None:
    """Start `job` with a keeper that is ready."""
    keeper.start_script(
        job.argv,
        job.folder,
        job.environment,
        processes=job.spec.limits.processes,
        open_files=job.spec.limits.open_files,
        search=job.search,
        plan=SEPARATE if streams is None else streams.plan,
    )


def _wait_for_exit(job: Job, keeper: Conversation, streams: Streams | None) -> int | None:
    if streams is None:
        return keeper.wait_for_exit(job.timeout)
    with streams.attached():
        return keeper.wait_for_exit(job.timeout, StreamForwarder(streams, keeper.send))


def _is_interrupted(ending: Ending, streams: Streams) -> bool:
    """Return whether a key interrupted the command, which may report that by its exit code."""
    endings = (Signaled(signal.SIGINT), Exited(128 + signal.SIGINT))
    return streams.has_interrupted and ending in endings


def wait_for_ending(job: Job, keeper: Conversation, streams: Streams | None = None) -> Ending:
    """Return the ending of the script of `job`, which is ended at its timeout (`TimedOut`)."""
    try:
        status = _wait_for_exit(job, keeper, streams)
    except BrokenError as error:
        if job.is_command:
            return Exited(os.waitstatus_to_exitcode(keeper.wait_for_unexecuted(error)))
        # The keeper searches directories only for the interpreter of an image.
        if job.search and ", looked for in " in error.message:
            hint = f"put {job.argv[0]} into one of these directories of image '{job.spec.image}'"
            raise EngineError(error.message, hint) from error
        raise
    if status is None:
        _end_script(job, keeper)
        return TimedOut(job.timeout)
    code = os.waitstatus_to_exitcode(status)
    return Exited(code) if code >= 0 else Signaled(-code)


def _end_script(job: Job, keeper: Conversation) -> None:
    """Send SIGTERM, and SIGKILL after the grace period."""
    keeper.terminate()
    if keeper.wait_for_exit(job.grace) is None:
        keeper.kill()
        if keeper.wait_for_exit(KILL_SECONDS) is None:
            living = name_processes(keeper.list_processes())
            raise EngineError(f"the script outlived SIGKILL: {living}")


def _merge(frozen: tuple[Process, ...], living: tuple[Process, ...]) -> tuple[Process, ...]:
    """Return the frozen processes, then those of `living` that are no longer among them."""
    known = {process.pid for process in frozen}
    return (*frozen, *(process for process in living if process.pid not in known))


def check_listed(survivors: tuple[Process, ...], keeper: Conversation) -> None:
    """Raise an error if the keeper missed a process.

    An empty list is accepted only if the sandbox is empty by now.

    Raises:
        EngineError: if the sandbox is not empty but no process was listed.
    """
    if not survivors and not keeper.wait_until_empty(EMPTY_SECONDS):
        raise EngineError("the sandbox is not empty, but no process was listed")


def _collect_evidence(
    job: Job, sandbox: Sandbox, keeper: Conversation, run: SandboxRun
) -> Evidence:
    """Return all evidence, including the panes of `run` and what could not be collected."""
    return evidence.join_evidence(
        run.evidence or Evidence(),
        Evidence(peaks=sandbox.peaks()),
        _collect_usage(run.ending, keeper),
        collect_changes(job.spec, sandbox.changes, seconds=COLLECT_SECONDS),
    )


def _describe_reached_limits(
    limits: ResourceLimits, sandbox: Sandbox, ending: Ending
) -> tuple[str, ...]:
    texts = {
        "memory": f"the limit of {format_size(limits.memory or 0)} memory was reached",
        "processes": f"the limit of {limits.processes} processes was reached",
    }
    has_limit = limits.memory or limits.processes
    if not has_limit or ending == Exited(0) or isinstance(ending, Stopped):
        return ()
    reached = sandbox.find_reached_limits()
    return tuple(text for resource, text in texts.items() if resource in reached)


def _collect_usage(ending: Ending, keeper: Conversation) -> Evidence:
    try:
        return Evidence() if isinstance(ending, Broke) else Evidence(usage=keeper.read_usage())
    except (EngineError, StoppedError) as error:
        return Evidence(missing=(f"resource usage: {error}",))
