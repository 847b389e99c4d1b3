"""An interactive shell in a scenario's sandbox, before its script or after it."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from datetime import date
from pathlib import PurePosixPath

from isosmoke.dataclass import dataclass
from isosmoke.engines.base import START_SECONDS, Engine
from isosmoke.errors import UsageError
from isosmoke.execution.preflight import run_preflight
from isosmoke.execution.requirements import Requirements
from isosmoke.host import state
from isosmoke.host.system_programs import DIRECTORIES
from isosmoke.interrupt import Interrupt
from isosmoke.keeper import interactive_shell
from isosmoke.keeper.client import Conversation
from isosmoke.keeper.events import Output
from isosmoke.keeper.interactive_shell import User
from isosmoke.repro import script_from_shell
from isosmoke.repro.target import SCRIPT, Case, describe_outcome
from isosmoke.results.leaks import classify_survivors
from isosmoke.results.run_results import Attempt
from isosmoke.rootfs_images import image_kinds
from isosmoke.runner import job_builder, sandbox_run
from isosmoke.runner.job_builder import RunContext
from isosmoke.runner.output import Capture
from isosmoke.sandbox.added import user_files
from isosmoke.sandbox.spec import PRIVATE, Job, Mount, ReadOnly
from isosmoke.sandbox.survivors import Process, describe_process
from isosmoke.text import escape_controls

_RC = PRIVATE / "bashrc"
_HISTORY = ".bash_history"
_HISTORY_SECONDS = 30.0

_PROMPT = r"""PS1='(isosmoke {name}) \w \$ '
HISTCONTROL= HISTIGNORE= HISTSIZE=-1 HISTFILESIZE=-1 HISTTIMEFORMAT='%T '
shopt -s cmdhist lithist histappend
PROMPT_COMMAND='history -a'
"""
"""The startup file of bash, which records every command as typed, with its time."""

_SHELL = "/bin/sh"
_BASH_OR_SHELL = (
    f"for bash in {' '.join(f'{directory}/bash' for directory in DIRECTORIES)}; do\n"
    f'[ -x "$bash" ] && exec "$bash" "$@"\ndone\nexec {_SHELL}'
)
"""A script that runs bash with its arguments, found without PATH, on which any program may be."""


LABEL_WIDTH = 11
"""The column of the banner at which its values begin, after their labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellOptions:
    """The options of a shell.

    With `after` the script runs first, and its survivors stay frozen unless `thaw` is set.
    `open_user` opens the user's terminal or stdin. `print_line` prints a line about the sandbox.
    `echo` prints the script's output.
    """

    after: bool
    thaw: bool
    open_user: Callable[[], AbstractContextManager[User]]
    print_line: Callable[[str], object]
    echo: Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class ShellResult:
    """The result of a shell: its raw wait status, and the typed commands.

    At a terminal these are the commands in bash's history; another shell has none.
    """

    status: int
    typed: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """The exit code; 128 plus the number of a signal that ended the shell."""
        code = os.waitstatus_to_exitcode(self.status)
        return code if code >= 0 else 128 - code


@dataclass(frozen=True, slots=True, kw_only=True)
class _ShellSession:
    """A shell's scenario, engine and options."""

    case: Case
    context: RunContext
    engine: Engine
    options: ShellOptions
    interrupt: Interrupt

    def build_job(self, services: Mapping[str, str]) -> Job:
        """Return the job of the scenario, with the mounts that a shell needs."""
        scenario, argv = self.case.scenario, self.case.argv
        job = (
            job_builder.build_script_job(scenario, self.context, services)
            if self.case.script
            else job_builder.build_command_job(scenario, argv, self.context, services)
        )
        mounts = (*job.spec.mounts, *self._list_own_mounts())
        return replace(job, spec=replace(job.spec, mounts=mounts))

    def _list_own_mounts(self) -> Iterator[Mount]:
        yield ReadOnly(user_files.store_text(_PROMPT.format(name=self.case.scenario.name)), _RC)
        script = self.case.script
        visible = (*self.context.workspace.directories, *self.context.workspace.borrowed_objects)
        if script and not any(script.resolve().is_relative_to(path) for path in visible):
            yield ReadOnly(script, PurePosixPath(script))

    def build_shell_job(self, job: Job, *, has_terminal: bool) -> Job:
        """Return the job with the shell instead of the script."""
        script = {SCRIPT: str(self.case.script)} if self.case.script else {}
        options = ("--rcfile", str(_RC), "-i") if has_terminal else ()
        argv = (_SHELL, "-c", _BASH_OR_SHELL, "sh", *options)
        return replace(job, argv=argv, environment={**job.environment, **script})

    @property
    def command_line(self) -> str:
        """The command line that runs the scenario in the sandbox, with the same interpreter."""
        if not self.case.script:
            return self.case.command_line
        return f'{self.context.interpreter(self.case.scenario).path} "${SCRIPT}"'


def open_shell(case: Case, options: ShellOptions, interrupt: Interrupt) -> ShellResult:
    """Create the sandbox, run the script first if `after` is set, and run a shell for the user.

    Raises:
        StoppedError: if the shell is interrupted.
        IsosmokeError: if the shell cannot be run.
    """
    if case.script and not case.script.is_file():
        raise UsageError(f"{case.scenario.name}: script {case.script} does not exist")
    if options.after and not case.argv:
        raise UsageError("--after requires a script or a command")
    with image_kinds.images_in_use([case.scenario.image]):
        preflight = run_preflight(case.request, case.caller, interrupt)
        engine = preflight.engines.engine_for(case.scenario)
        return _run_shell(
            _ShellSession(
                case=case,
                context=preflight.context,
                engine=engine,
                options=options,
                interrupt=interrupt,
            )
        )


def _run_shell(shell: _ShellSession) -> ShellResult:
    options = shell.options
    redactor = shell.context.redactor(shell.case.scenario)
    attempts: list[Attempt] = []

    def take_output(output: Output) -> None:
        """Drop the output of survivors, which would otherwise disturb the user's terminal."""
        if not attempts:
            capture.take(output)

    with ExitStack() as stack:
        capture = stack.enter_context(
            Capture(
                None, 0, redactor=redactor, on_output=lambda output: options.echo(output.content)
            )
        )
        job = shell.build_job(stack.enter_context(_running_services(shell)))
        sandbox = stack.enter_context(shell.engine.sandbox(job.spec))
        keeper = Conversation(sandbox.channel, sink=take_output, interrupt=shell.interrupt)
        if options.after:
            options.print_line(
                f"isosmoke: running {shell.case.scenario.name} before opening the shell"
            )
            attempts.append(_run_script(shell, job, keeper, capture))
        else:
            keeper.wait_until_ready(START_SECONDS)
        for line in _render_banner(shell, attempts[0] if attempts else None):
            options.print_line(line)
        if attempts and options.thaw:
            keeper.thaw()
        return _attend_shell(shell, job, keeper)


@contextmanager
def _running_services(shell: _ShellSession) -> Iterator[Mapping[str, str]]:
    """Start the scenario's services as for an attempt, and yield the variables with addresses."""
    scenario = shell.case.scenario
    if not scenario.services:
        yield {}
        return
    from isosmoke.execution.services import ServiceAttempt, Services

    with state.scratch() as record:
        attempt = ServiceAttempt(
            scenario=scenario,
            number=1,
            record=record,
            caller=shell.case.caller,
            redactor=shell.context.redactor(scenario),
            interrupt=shell.interrupt,
        )
        with Services(shell.engine).running(attempt) as variables:
            yield variables


def _attend_shell(shell: _ShellSession, job: Job, keeper: Conversation) -> ShellResult:
    with shell.options.open_user() as user:
        has_terminal = user.size is not None
        recorder = _InputRecorder(user)
        status = interactive_shell.run_shell(
            keeper, shell.build_shell_job(job, has_terminal=has_terminal), recorder
        )
    redact = shell.context.redactor(shell.case.scenario).text
    if has_terminal:
        return ShellResult(
            status, script_from_shell.parse_history(redact(_read_history(keeper, job)))
        )
    content = recorder.content.decode(errors="replace")
    return ShellResult(status, script_from_shell.parse_piped(redact(content)))


class _InputRecorder:
    """A user whose whole input is recorded."""

    def __init__(self, user: User) -> None:
        self._user = user
        self.content = bytearray()
        self.size, self.keyboard, self.resizes = user.size, user.keyboard, user.resizes
        self.read_size, self.show = user.read_size, user.show

    def typed(self, most: int) -> bytes:
        content = self._user.typed(most)
        self.content += content
        return content


def _run_script(shell: _ShellSession, job: Job, keeper: Conversation, capture: Capture) -> Attempt:
    run = sandbox_run.run_until_frozen(job, keeper)
    today = date.today()  # noqa: DTZ011 - an allowance expires at the end of the user's local day
    leaks = shell.case.scenario.leaks
    return Attempt(
        ending=run.ending,
        verdict=classify_survivors(run.survivors, leaks.allow, today),
        leak_blocks=leaks.policy == "fail",
        output=capture.output,
        stderr=capture.stderr,
    )


def _read_history(keeper: Conversation, job: Job) -> str:
    """Return bash's history of the session; empty without bash or without a history."""
    line = f'cat "$HOME/{_HISTORY}" 2>/dev/null'
    _, content = keeper.probe((_SHELL, "-c", line), job.folder, job.environment, _HISTORY_SECONDS)
    return content.decode(errors="replace")


def _render_banner(shell: _ShellSession, attempt: Attempt | None) -> Iterator[str]:
    """Yield the lines that describe the sandbox, its scenario and the survivors."""
    case = shell.case
    when = (" after its script" if attempt else " before its script") if case.argv else ""
    yield f"isosmoke: {case.scenario.name}{when}, in a fresh sandbox"
    rows = [*_list_facts(shell), *(("NOTE", note) for note in case.notes)]
    if attempt is None or describe_outcome(attempt) != case.before:
        rows.append(("recorded", case.before))
    if attempt:
        rows += _list_results(attempt, thawed=shell.options.thaw)
    rows.append(("exit", "ends this shell and every process in the sandbox"))
    yield from (
        f"{f'  {label}':{LABEL_WIDTH}}{escape_controls(value)}" for label, value in rows if value
    )


def _list_facts(shell: _ShellSession) -> Iterator[tuple[str, str]]:
    case, context = shell.case, shell.context
    yield "engine", f"{shell.engine.name}, image {case.scenario.image}"
    yield "binary", _describe_binary(context)
    yield "script", str(case.script) if case.script else ""
    yield "run it", shell.command_line
    yield "asserts", case.scenario.assertion
    yield "cwd", f"{context.workspace.working} (a copy: your changes are discarded at exit)"
    yield "missing", _find_missing(case, context)


def _describe_binary(context: RunContext) -> str:
    if context.binary is None:
        return "none: choose one with --binary or $ISOSMOKE_WG"
    return f"$WG_BIN, and wg: {context.binary.source} ({context.binary.sha256[:12]})"


def _find_missing(case: Case, context: RunContext) -> str:
    requirements = Requirements(case.caller.environment, has_binary=context.binary is not None)
    return requirements.find_missing(case.scenario)


def _list_results(attempt: Attempt, *, thawed: bool) -> list[tuple[str, str]]:
    verdict = attempt.verdict
    survivors = (*verdict.leaked, *(survivor.process for survivor in verdict.tolerated))
    rows = [("outcome", describe_outcome(attempt)), *map(_create_survivor_row, survivors)]
    if survivors and not thawed:
        pids = " ".join(str(process.pid) for process in survivors)
        rows.append(("frozen", f"the survivors are stopped; to resume them: kill -CONT {pids}"))
    return rows if survivors else [*rows, ("survivor", "none")]


def _create_survivor_row(process: Process) -> tuple[str, str]:
    return "survivor", describe_process(process)
