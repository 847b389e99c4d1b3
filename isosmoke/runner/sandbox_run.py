"""One job in one fresh sandbox: run → settle → freeze → list → collect → destroy, once.

Only what terminals show is taken before the freeze, when somebody still answers for them.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from time import monotonic

from isosmoke.engines.base import START_SECONDS, Engine, Sandbox
from isosmoke.errors import EngineError, LeftBehindError
from isosmoke.interrupt import Interrupt
from isosmoke.keeper.client import Conversation, StoppedError
from isosmoke.results import evidence
from isosmoke.results.evidence import Evidence
from isosmoke.results.outcome import Broke, Ending, Exited, Signaled, Stopped, TimedOut
from isosmoke.runner import tmux
from isosmoke.runner.evidence_collection import collected
from isosmoke.runner.output import Capture
from isosmoke.sandbox.processes import Process
from isosmoke.sandbox.spec import Job

COLLECT_SECONDS = 5.0
"""How long it may take to look at what a sandbox changed; a deadline of its own."""

EMPTY_SECONDS = 5.0
"""How long a keeper may take to tell that the last process has ended, once nobody is listed."""

KILL_SECONDS = 30.0
"""How long a killed script may take to be reaped, what it printed included."""


@dataclass(slots=True)
class Observed:
    """What one sandbox showed; `phases` in seconds, each step once it is over."""

    ending: Ending = field(default_factory=lambda: Broke("nothing was tried"))
    survivors: tuple[Process, ...] = ()
    evidence: Evidence | None = None
    left_behind: tuple[str, ...] = ()
    phases: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time one step."""
        begun = monotonic()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + monotonic() - begun

    @contextmanager
    def judged(self) -> Iterator[None]:
        """What keeps the block from its end is the ending; what was left behind is not."""
        try:
            yield
        except LeftBehindError as error:
            self.left_behind += (_with_hint(error, "remove it"),)
            if error.__context__ is not None:
                self.ending = _broken(error.__context__)
        except (EngineError, OSError, StoppedError) as error:
            self.ending = _broken(error)


def _broken(error: BaseException) -> Ending:
    if isinstance(error, EngineError):
        return Broke(_with_hint(error, "try"))
    return Stopped(str(error)) if isinstance(error, StoppedError) else Broke(str(error))


def _with_hint(error: EngineError, word: str) -> str:
    return f"{error} ({word}: {error.hint})" if error.hint else str(error)


Wanted = Callable[[Ending, tuple[Process, ...]], bool]
"""Whether evidence is wanted of a job that ended so and left these processes."""


def never(_ending: Ending, _survivors: tuple[Process, ...]) -> bool:
    """Of no job."""
    return False


def observe(
    job: Job,
    engine: Engine,
    *,
    capture: Capture,
    interrupt: Interrupt,
    wanted: Wanted = never,
    before: Observed | None = None,
) -> Observed:
    """Run `job` and say what happened; an interrupt is data too, and so is what could not be tried.

    That is a broken engine, and a machine without room, memory or processes (`OSError`). Whether
    evidence is `wanted` changes nothing else. What is seen is added to what was `before`.
    """
    observed = before or Observed()

    def talk(sandbox: Sandbox) -> Conversation:
        return Conversation(sandbox.channel, sink=capture.take, interrupt=interrupt)

    with observed.judged():
        _live(_Watch(job, observed, wanted), engine, talk)
    return observed


@dataclass(frozen=True, slots=True)
class _Watch:
    """One job, what is seen of it, and whether more of it is wanted."""

    job: Job
    observed: Observed
    wanted: Wanted


def _live(watch: _Watch, engine: Engine, talk: Callable[[Sandbox], Conversation]) -> None:
    observed = watch.observed
    with ExitStack() as stack:
        with observed.phase("create"):
            sandbox = stack.enter_context(engine.sandbox(watch.job.spec))
        try:
            keeper = talk(sandbox)
            with observed.judged():
                _judge(watch, keeper)
            if watch.wanted(observed.ending, observed.survivors):
                with observed.phase("collect"):
                    _collect(watch, sandbox, keeper)
        finally:
            with observed.phase("destroy"):
                stack.close()


def judge(job: Job, keeper: Conversation) -> Observed:
    """What happens to `job` by a keeper that comes up; what is left stands still then."""
    observed = Observed()
    _judge(_Watch(job, observed, never), keeper)
    return observed


def _judge(watch: _Watch, keeper: Conversation) -> None:
    job, observed = watch.job, watch.observed
    with observed.phase("start"):
        keeper.ready(START_SECONDS)
        go(job, keeper)
    with observed.phase("run"):
        observed.ending = _ending(job, keeper)
    with observed.phase("settle"):
        empty = keeper.empty(job.settle)
    if not empty:
        _list(watch, keeper)
        _check_list(observed, keeper)


def _check_list(observed: Observed, keeper: Conversation) -> None:
    """Raise `EngineError` where nobody is listed of a sandbox that does not become empty.

    The last process may have ended since, and then the keeper says so. Else it has not seen what
    is there, and that is no proof that nothing was left.
    """
    if not observed.survivors and not keeper.empty(EMPTY_SECONDS):
        raise EngineError("the sandbox is not empty, but no process was listed")


def _list(watch: _Watch, keeper: Conversation) -> None:
    """Who is left counts from before the terminals were looked at, whatever ends meanwhile."""
    observed = watch.observed
    with observed.phase("list"):
        living = keeper.living()
    terminals = tmux.servers(living)
    if terminals and watch.wanted(observed.ending, living):
        with observed.phase("panes"):
            observed.evidence = tmux.shown(keeper, terminals, watch.job.environment)
    with observed.phase("list"):
        frozen = keeper.survivors()
    observed.survivors = _with_the_gone(frozen, living) if observed.evidence else frozen


def _with_the_gone(frozen: tuple[Process, ...], living: tuple[Process, ...]) -> tuple[Process, ...]:
    known = {one.pid for one in frozen}
    return (*frozen, *(one for one in living if one.pid not in known))


def _collect(watch: _Watch, sandbox: Sandbox, keeper: Conversation) -> None:
    """Whatever cannot be collected is said in the evidence, and is nothing else's failure."""
    observed = watch.observed
    parts = (
        observed.evidence or Evidence(),
        Evidence(peaks=sandbox.peaks()),
        _used(observed.ending, keeper),
        collected(watch.job.spec, sandbox.changes, seconds=COLLECT_SECONDS),
    )
    observed.evidence = evidence.joined(*parts)


def _used(ending: Ending, keeper: Conversation) -> Evidence:
    try:
        return Evidence() if isinstance(ending, Broke) else Evidence(usage=keeper.usage())
    except (EngineError, StoppedError) as error:
        return Evidence(missing=(f"what it used: {error}",))


def go(job: Job, keeper: Conversation) -> None:
    """Tell a keeper that is up to start `job`."""
    keeper.go(
        job.argv,
        job.folder,
        job.environment,
        processes=job.spec.limits.processes,
        open_files=job.spec.limits.open_files,
        search=job.search,
    )


def _ending(job: Job, keeper: Conversation) -> Ending:
    try:
        status = keeper.exited(job.timeout)
    except EngineError as error:
        if job.search and ", looked for in " in error.message:  # no other program is searched so
            hint = f"put {job.argv[0]} into one of these directories of image '{job.spec.image}'"
            raise EngineError(error.message, hint) from error
        raise
    if status is None:
        _end(job, keeper)
        return TimedOut(job.timeout)
    code = os.waitstatus_to_exitcode(status)
    return Exited(code) if code >= 0 else Signaled(-code)


def _end(job: Job, keeper: Conversation) -> None:
    keeper.term()
    if keeper.exited(job.grace) is None:
        keeper.kill()
        if keeper.exited(KILL_SECONDS) is None:
            raise EngineError("the script outlived SIGKILL")
