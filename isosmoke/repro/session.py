"""Somebody sits in a scenario's own sandbox: before its script, or after it beside what it left."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import PurePosixPath

from isosmoke.engines.base import START_SECONDS, Engine
from isosmoke.errors import UsageError
from isosmoke.execution import session
from isosmoke.execution.requirements import Requirements
from isosmoke.host import state
from isosmoke.host.system_programs import DIRECTORIES
from isosmoke.interrupt import Interrupt
from isosmoke.keeper import interactive_shell
from isosmoke.keeper.client import Conversation
from isosmoke.keeper.interactive_shell import User
from isosmoke.keeper.protocol import Output
from isosmoke.repro import typed_script
from isosmoke.repro.target import SCRIPT, Case, outcome
from isosmoke.results.leaks import tell_apart
from isosmoke.results.run_results import Attempt
from isosmoke.rootfs_images import store
from isosmoke.runner import job_builder, sandbox_run
from isosmoke.runner.job_builder import RunContext
from isosmoke.runner.output import Capture
from isosmoke.sandbox import user_files
from isosmoke.sandbox.processes import Process, described
from isosmoke.sandbox.spec import PRIVATE, Job, Mount, ReadOnly
from isosmoke.text import printable

_RC = PRIVATE / "bashrc"
_HISTORY = ".bash_history"
_HISTORY_SECONDS = 30.0

_PROMPT = r"""PS1='(isosmoke {name}) \w \$ '
HISTCONTROL= HISTIGNORE= HISTSIZE=-1 HISTFILESIZE=-1 HISTTIMEFORMAT='%T '
shopt -s cmdhist lithist histappend
PROMPT_COMMAND='history -a'
"""
"""Bash in front of a user: what is typed is kept as it was typed, each command with its time."""

_SHELL = "/bin/sh"
_BASH_OR_SHELL = (
    f"for one in {' '.join(f'{one}/bash' for one in DIRECTORIES)}; do\n"
    f'[ -x "$one" ] && exec "$one" "$@"\ndone\nexec {_SHELL}'
)
"""Bash with these options, by no PATH: what comes first there may be anything."""


INDENT = 11
"""Where the facts begin that are said about a sandbox, after their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How somebody wants to sit there.

    `after` the script has run, and what it left stands still unless it is to `thaw`. `seat` is who
    sits there; `say` shows a line about the sandbox, and `echo` what the script prints.
    """

    after: bool
    thaw: bool
    seat: Callable[[], AbstractContextManager[User]]
    say: Callable[[str], object]
    echo: Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Sat:
    """What came of it: the shell's raw wait status, and what was typed, command by command.

    At a terminal that is what bash kept; another shell keeps nothing.
    """

    status: int
    typed: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """As a shell tells it: 128 and more for a signal."""
        code = os.waitstatus_to_exitcode(self.status)
        return code if code >= 0 else 128 - code


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """Everything that stands around the shell."""

    case: Case
    around: RunContext
    engine: Engine
    manner: Manner
    interrupt: Interrupt

    def job(self, services: Mapping[str, str]) -> Job:
        """What would run, or just a sandbox, with what a shell needs besides."""
        scenario, argv = self.case.scenario, self.case.argv
        job = (
            job_builder.build_script_job(scenario, self.around, services)
            if self.case.script
            else job_builder.build_job(scenario, argv, self.around, services)
        )
        mounts = (*job.spec.mounts, *self._own_mounts())
        return replace(job, spec=replace(job.spec, mounts=mounts))

    def _own_mounts(self) -> Iterator[Mount]:
        yield ReadOnly(user_files.stored(_PROMPT.format(name=self.case.scenario.name)), _RC)
        script = self.case.script
        seen = (*self.around.workspace.folders, *self.around.workspace.borrowed)
        if script and not any(script.resolve().is_relative_to(one) for one in seen):
            yield ReadOnly(script, PurePosixPath(script))

    def shell(self, job: Job, *, at_a_terminal: bool) -> Job:
        """The shell in place of the script."""
        script = {SCRIPT: str(self.case.script)} if self.case.script else {}
        options = ("--rcfile", str(_RC), "-i") if at_a_terminal else ()
        argv = (_SHELL, "-c", _BASH_OR_SHELL, "sh", *options)
        return replace(job, argv=argv, environment={**job.environment, **script})

    @property
    def typed(self) -> str:
        """What to type in the sandbox to run what is run there, by the same interpreter."""
        if not self.case.script:
            return self.case.typed
        return f'{self.around.interpreter(self.case.scenario).path} "${SCRIPT}"'


def sit(case: Case, manner: Manner, interrupt: Interrupt) -> Sat:
    """Make the sandbox, let the script run first if that is meant, and then the user in.

    `StoppedError` when it was interrupted, `IsosmokeError` when nothing came of it.
    """
    if case.script and not case.script.is_file():
        raise UsageError(f"{case.scenario.name}: there is no script {case.script}")
    if manner.after and not case.argv:
        raise UsageError("--after what? no script and no command was named")
    with store.held([case.scenario.image]):
        made = session.run_preflight(case.request, case.caller, interrupt)
        engine = made.engines.engine_for(case.scenario)
        return _sit(
            _Scene(
                case=case, around=made.context, engine=engine, manner=manner, interrupt=interrupt
            )
        )


def _sit(scene: _Scene) -> Sat:
    manner = scene.manner
    redactor = scene.around.redactor(scene.case.scenario)
    ended: list[Attempt] = []

    def hear(output: Output) -> None:
        """What is left may print for ever, over what the user types: nobody hears that."""
        if not ended:
            capture.take(output)

    with ExitStack() as stack:
        capture = stack.enter_context(Capture(None, 0, redactor=redactor, on_output=manner.echo))
        job = scene.job(stack.enter_context(_services(scene)))
        sandbox = stack.enter_context(scene.engine.sandbox(job.spec))
        keeper = Conversation(sandbox.channel, sink=hear, interrupt=scene.interrupt)
        if manner.after:
            manner.say(f"isosmoke: {scene.case.scenario.name} runs first, then comes your shell")
            ended.append(_ran(scene, job, keeper, capture))
        else:
            keeper.ready(START_SECONDS)
        for line in banner(scene, ended[0] if ended else None):
            manner.say(line)
        if ended and manner.thaw:
            keeper.thaw()
        return _shown_in(scene, job, keeper)


@contextmanager
def _services(scene: _Scene) -> Iterator[Mapping[str, str]]:
    """The scenario's services, as an attempt would have them; yields where they are."""
    scenario = scene.case.scenario
    if not scenario.services:
        yield {}
        return
    from isosmoke.execution.services import ServiceAttempt, Services

    with state.scratch() as record:
        attempt = ServiceAttempt(
            scenario=scenario,
            number=1,
            record=record,
            caller=scene.case.caller,
            redactor=scene.around.redactor(scenario),
            interrupt=scene.interrupt,
        )
        with Services(scene.engine).running(attempt) as places:
            yield places


def _shown_in(scene: _Scene, job: Job, keeper: Conversation) -> Sat:
    with scene.manner.seat() as user:
        at_a_terminal = user.size is not None
        noted = _Noted(user)
        status = interactive_shell.attend(
            keeper, scene.shell(job, at_a_terminal=at_a_terminal), noted
        )
    words = scene.around.redactor(scene.case.scenario).text
    if at_a_terminal:
        return Sat(status, typed_script.commands(words(_history(keeper, job))))
    return Sat(status, typed_script.lines(words(noted.all.decode(errors="replace"))))


class _Noted:
    """A user of whom all that is typed is noted."""

    def __init__(self, user: User) -> None:
        self._user = user
        self.all = bytearray()
        self.size, self.keyboard, self.resizes = user.size, user.keyboard, user.resizes
        self.resized, self.show = user.resized, user.show

    def typed(self, most: int) -> bytes:
        content = self._user.typed(most)
        self.all += content
        return content


def _ran(scene: _Scene, job: Job, keeper: Conversation, capture: Capture) -> Attempt:
    run = sandbox_run.run_until_frozen(job, keeper)
    today = date.today()  # noqa: DTZ011 - an allowance ends with the user's own day
    leaks = scene.case.scenario.leaks
    return Attempt(
        ending=run.ending,
        verdict=tell_apart(run.survivors, leaks.allow, today),
        leak_blocks=leaks.policy == "fail",
        output=capture.output,
        stderr=capture.stderr,
    )


def _history(keeper: Conversation, job: Job) -> str:
    """What bash wrote down of the session; nothing where there is no bash, or no history."""
    line = f'cat "$HOME/{_HISTORY}" 2>/dev/null'
    _, content = keeper.probe((_SHELL, "-c", line), job.folder, job.environment, _HISTORY_SECONDS)
    return content.decode(errors="replace")


def banner(scene: _Scene, attempt: Attempt | None) -> Iterator[str]:
    """Where one is, in a few lines: what is tested, how it is run, and what is left."""
    case = scene.case
    when = (" after its script" if attempt else " before its script") if case.argv else ""
    yield f"isosmoke: {case.scenario.name}{when}, in a fresh sandbox"
    rows = [*_facts(scene), *(("NOTE", note) for note in case.notes)]
    if attempt is None or outcome(attempt) != case.before:
        rows.append(("was", case.before))
    if attempt:
        rows += _ending(attempt, thawed=scene.manner.thaw)
    rows.append(("exit", "ends everything in here"))
    yield from (f"{f'  {name}':{INDENT}}{printable(fact)}" for name, fact in rows if fact)


def _facts(scene: _Scene) -> Iterator[tuple[str, str]]:
    case, around = scene.case, scene.around
    yield "engine", f"{scene.engine.name}, image {case.scenario.image}"
    yield "binary", _binary(around)
    yield "script", str(case.script) if case.script else ""
    yield "run it", scene.typed
    yield "asserts", case.scenario.assertion
    yield "folder", f"{around.workspace.working} (a copy: what you change ends with this shell)"
    yield "unmet", _unmet(case, around)


def _binary(around: RunContext) -> str:
    if around.binary is None:
        return "none: name one with --binary, or $ISOSMOKE_WG"
    return f"$WG_BIN, and wg: {around.binary.source} ({around.binary.sha256[:12]})"


def _unmet(case: Case, around: RunContext) -> str:
    requirements = Requirements(case.caller.environment, has_binary=around.binary is not None)
    return requirements.find_missing(case.scenario)


def _ending(attempt: Attempt, *, thawed: bool) -> list[tuple[str, str]]:
    verdict = attempt.verdict
    left = (*verdict.leaked, *(one.process for one in verdict.tolerated))
    rows = [("outcome", outcome(attempt)), *map(_left, left)]
    if left and not thawed:
        pids = " ".join(str(one.pid) for one in left)
        rows.append(("frozen", f"what is left stands still; to let it go on: kill -CONT {pids}"))
    return rows if left else [*rows, ("left", "nothing")]


def _left(process: Process) -> tuple[str, str]:
    return "left", described(process)
