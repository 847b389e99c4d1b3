"""One job in one fresh sandbox: run → settle → freeze → list → destroy, in that order, once."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from time import monotonic

from isosmoke.capture import Capture
from isosmoke.engines.base import START_SECONDS, Engine, Sandbox
from isosmoke.errors import EngineError
from isosmoke.interrupt import Interrupt
from isosmoke.keeper.conversation import Conversation, StoppedError
from isosmoke.leaks import Process
from isosmoke.outcome import Broke, Ending, Exited, Signaled, Stopped, TimedOut
from isosmoke.spec import Job

KILL_SECONDS = 30.0
"""How long a killed script may take to be reaped, what it printed included."""


@dataclass(slots=True)
class Observed:
    """What one sandbox showed; `phases` in seconds, each step once it is over."""

    ending: Ending = field(default_factory=lambda: Broke("nothing was tried"))
    survivors: tuple[Process, ...] = ()
    phases: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time one step."""
        begun = monotonic()
        try:
            yield
        finally:
            self.phases[name] = monotonic() - begun


def observe(job: Job, engine: Engine, *, capture: Capture, interrupt: Interrupt) -> Observed:
    """Run `job` and say what happened; an interrupt is data too, and so is what could not be tried.

    That is a broken engine, and a machine without room, memory or processes (`OSError`).
    """
    observed = Observed()

    def talk(sandbox: Sandbox) -> Conversation:
        return Conversation(sandbox.channel, sink=capture.take, interrupt=interrupt)

    try:
        _live(job, engine, observed, talk)
    except EngineError as error:
        observed.ending = Broke(f"{error} (try: {error.hint})" if error.hint else str(error))
    except OSError as error:
        observed.ending = Broke(str(error))
    except StoppedError as stopped:
        observed.ending = Stopped(str(stopped))
    return observed


def _live(
    job: Job, engine: Engine, observed: Observed, talk: Callable[[Sandbox], Conversation]
) -> None:
    with ExitStack() as stack:
        with observed.phase("create"):
            sandbox = stack.enter_context(engine.sandbox(job.spec))
        try:
            _judge(job, talk(sandbox), observed)
        finally:
            with observed.phase("destroy"):
                stack.close()


def _judge(job: Job, keeper: Conversation, observed: Observed) -> None:
    with observed.phase("start"):
        keeper.ready(START_SECONDS)
        _go(job, keeper)
    with observed.phase("run"):
        observed.ending = _ending(job, keeper)
    with observed.phase("settle"):
        empty = keeper.empty(job.settle)
    if not empty:
        with observed.phase("list"):
            observed.survivors = keeper.survivors()


def _go(job: Job, keeper: Conversation) -> None:
    keeper.go(
        job.argv,
        job.folder,
        job.environment,
        processes=job.spec.limits.processes,
        open_files=job.spec.limits.open_files,
    )


def _ending(job: Job, keeper: Conversation) -> Ending:
    status = keeper.exited(job.timeout)
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
