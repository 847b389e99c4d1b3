"""Run a command or scenarios, from any thread and without changes to the calling process.

A run has a thread, so that an exception in the caller, such as KeyboardInterrupt, can end it: its
sandboxes are removed, and its record is complete, before the exception goes on. No signal handler
is installed.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Literal, TypeVar, Unpack, get_args

from isosmoke.api.sandbox_options import SandboxOptions, build_scenario
from isosmoke.engines import AUTO, ENGINES
from isosmoke.errors import UsageError, convert_os_error
from isosmoke.execution import session
from isosmoke.execution.request import Request
from isosmoke.execution.scheduler import Confirm, Policy
from isosmoke.host.caller_process import Caller, without_own_environment
from isosmoke.interrupt import Interrupt
from isosmoke.manifest import filters, loader, selection
from isosmoke.manifest.discovery import locate_manifest
from isosmoke.reports.jsonl import AnyLine, LineFactory
from isosmoke.repro import target
from isosmoke.results.records import creation
from isosmoke.results.run_record import RunRecord, ScenarioRecord
from isosmoke.results.run_results import RunResult
from isosmoke.text import suggest_match
from isosmoke.worker_threads import Workers

FilePath = str | os.PathLike[str]
T = TypeVar("T")
OnEvent = Callable[[AnyLine], object]


def run(
    command: Sequence[str],
    *,
    working: FilePath | None = None,
    engine: str = AUTO,
    binary: FilePath | None = None,
    on_event: OnEvent | None = None,
    interrupt: Interrupt | None = None,
    **options: Unpack[SandboxOptions],
) -> ScenarioRecord:
    """Run a command in a fresh sandbox, as `isosmoke run -- COMMAND` does, without its input.

    `working` is the directory that the sandbox has a copy of; None is the current one. `engine`
    and `binary` are as on the command line. `on_event` is called in this thread with each event.
    Another thread may end the run by `interrupt.raise_for(reason)`; the outcome is NOT_RUN then.

    Raises:
        IsosmokeError: if the command could not be run. A command that fails is an outcome.
    """
    argv = _check_command(command)
    caller = without_own_environment(_find_caller(working))
    scenario = build_scenario(
        "isosmoke.run", options, lambda keys: target.create_scenario(argv, keys=keys)
    )
    request = Request(
        scenarios=(scenario,),
        argv=argv,
        engine=_check_engine(engine),
        binary=_text(binary),
        recalls=True,
    )
    return _execute(request, caller, on_event, interrupt).scenarios[0]


def run_scenarios(
    manifest: FilePath | None = None,
    *,
    names: Sequence[str] = (),
    owners: Sequence[str] = (),
    select: str = "",
    working: FilePath | None = None,
    engine: str = AUTO,
    binary: FilePath | None = None,
    jobs: int | None = None,
    retries: int | None = None,
    repeat: int = 1,
    max_fail: int | None = None,
    confirm: Confirm = "auto",
    leaks: Literal["fail", "report"] | None = None,
    on_event: OnEvent | None = None,
    interrupt: Interrupt | None = None,
) -> RunRecord:
    """Run scenarios of a manifest, by default of the one that `isosmoke run` would find.

    `names` (globs too), `owners` and the expression `select` narrow the selection, and all other
    parameters are as in `run` and as the options of the command line with these names.

    Raises:
        IsosmokeError: if no scenario was started. A scenario that fails is an outcome.
    """
    caller = _find_caller(working)
    policy = Policy(
        jobs=_check_minimum("jobs", jobs, 1),
        retries=_check_minimum("retries", retries, 0),
        repeat=_check_minimum("repeat", repeat, 1) or 1,
        max_fail=_check_minimum("max_fail", max_fail, 1),
        confirm=_check_choice("confirm", confirm, get_args(Confirm)),
        leaks=_check_choice("leaks", leaks, ("fail", "report", None)),
    )
    selected = (_check_texts("names", names), _check_texts("owners", owners))
    path = Path(manifest) if manifest else locate_manifest(caller.working, caller.environment)
    loaded = loader.load(path)
    expression = filters.parse(select) if select else None
    request = Request(
        scenarios=selection.select(loaded.scenarios, *selected, expression),
        manifest=loaded.path,
        retention=loaded.record,
        policy=policy,
        engine=_check_engine(engine),
        binary=_text(binary),
        recalls=True,
    )
    return _execute(request, caller, on_event, interrupt)


def _execute(
    request: Request, caller: Caller, on_event: OnEvent | None, interrupt: Interrupt | None
) -> RunRecord:
    """Run a request in a thread, and pass its events to `on_event` in this one."""
    interrupt = interrupt or Interrupt()
    events = SimpleQueue[AnyLine | None]()
    lines = LineFactory()

    def perform() -> RunResult:
        notify = lines.create_consumer(events.put)
        return session.execute(request, caller, notify=notify, interrupt=interrupt)

    with Workers(1, thread_name_prefix="isosmoke") as pool, _ended_by_exceptions(interrupt):
        future = pool.submit(perform)
        future.add_done_callback(lambda _: events.put(None))
        while (event := events.get()) is not None:
            if on_event is not None:
                on_event(event)
    try:
        return creation.record_run(future.result())
    except OSError as error:
        raise convert_os_error(error) from error


@contextmanager
def _ended_by_exceptions(interrupt: Interrupt) -> Iterator[None]:
    """Let the run end if the caller's block ends with an exception, which then goes on."""
    try:
        yield
    except BaseException as error:
        interrupt.raise_for(f"ended by {type(error).__name__}")
        raise


def _find_caller(working: FilePath | None) -> Caller:
    caller = Caller.current()
    if working is None:
        return caller
    directory = Path(working).absolute()
    if not directory.is_dir():
        raise UsageError(f"working: {directory} is not a directory", "name an existing directory")
    return replace(caller, working=directory)


def _check_command(command: Sequence[str]) -> tuple[str, ...]:
    if isinstance(command, str) or not command:
        raise UsageError(
            f"isosmoke.run: {command!r} is not a command: it is a sequence of arguments",
            hint="pass a list, such as shlex.split(text) or ['bash', '-c', text]",
        )
    return tuple(map(os.fspath, command))


def _check_texts(name: str, values: Sequence[str]) -> tuple[str, ...]:
    """Return texts that select scenarios; one text is refused, since it is a sequence of letters.

    Raises:
        UsageError: if `values` is one text, or has anything else in it.
    """
    if isinstance(values, str | bytes):
        raise UsageError(f"{name}: {values!r} is one text, not a sequence", f"pass [{values!r}]")
    texts = tuple(values)
    for text in texts:
        if not isinstance(text, str):
            raise UsageError(f"{name}: {text!r} is no text", hint="pass a list of texts")
    return texts


def _check_engine(engine: str) -> str:
    return _check_choice("engine", engine, (AUTO, *ENGINES))


def _check_choice(name: str, value: T, choices: Sequence[T]) -> T:
    if value not in choices:
        known = [str(choice) for choice in choices]
        raise UsageError(
            f"{name}: {value!r} is unknown{suggest_match(str(value), known)}",
            hint=f"pass one of {', '.join(known)}",
        )
    return value


def _check_minimum(name: str, value: int | None, least: int) -> int | None:
    if value is not None and value < least:
        raise UsageError(f"{name}: {value} is too low", hint=f"pass at least {least}")
    return value


def _text(path: FilePath | None) -> str | None:
    return None if path is None else os.fspath(path)
