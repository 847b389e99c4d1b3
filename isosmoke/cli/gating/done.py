"""Mark a task done with wg, once its scenarios let it."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import click

from isosmoke.cli.gating.gate import conclude
from isosmoke.cli.reporting import Reporting, chosen, report_option
from isosmoke.cli.running import progress
from isosmoke.errors import BinaryError, UsageError
from isosmoke.gate import gate_run
from isosmoke.gate.gate_run import Answer, Ask
from isosmoke.host import binary, state, system_programs
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import interruptible
from isosmoke.manifest import loader
from isosmoke.manifest.discovery import located
from isosmoke.results import repeat_command
from isosmoke.results.run_results import RunResult
from isosmoke.wg_bridge import mirror_manifest, scenario_shim, wg_call, wg_replies
from isosmoke.wg_bridge.wg_call import Announced

_RUN_BY_WG = ("bash", "timeout")
"""What wg starts a script with, by its PATH."""

_FOR_WG = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.command(context_settings=_FOR_WG, options_metavar="")
@click.argument(
    "words",
    nargs=-1,
    required=True,
    type=click.UNPROCESSED,
    metavar="[--report KIND=FILE] TASK [OPTION OF WG]...",
)
@report_option
@click.pass_context
def command(ctx: click.Context, words: tuple[str, ...], reports: tuple[str, ...]) -> None:
    """Run what guards TASK in sandboxes; where the gate opens, become `wg done TASK`.

    wg's own gate is answered from the same run; its options, output and exit code are wg's. Where
    the gate stays shut wg is not run, and the exit code is that of `isosmoke gate`. A report that
    cannot be written changes no exit code here.
    """
    caller = Caller.here()
    wg = _wg(caller.environment)
    announced = wg_call.announced(("wg", "done", *words))
    if announced is None:
        raise UsageError("no task", hint="isosmoke done TASK")
    skip = "--skip-smoke" in words
    reporting = Reporting(chosen(reports), caller.environment)
    answer = (
        gate_run.bypass(announced.task, caller) if skip else _answer(announced, caller, reporting)
    )
    reporting.finish(answer.run)
    conclude(answer)
    if not answer.verdict.open:
        ctx.exit(answer.verdict.exit_code)
    served = {} if answer.run is None else _served(caller, answer.run)
    _become(wg, ("done", *words), {**caller.environment, **served})


def _wg(environment: Mapping[str, str]) -> Path:
    found = binary.find(None, environment)
    if found is None:
        raise BinaryError("there is no wg", hint="put it on PATH, or set ISOSMOKE_WG")
    return found


def _answer(announced: Announced, caller: Caller, reporting: Reporting) -> Answer:
    ask = Ask(task=announced.task, full=announced.everything)
    shown = progress(repeat_command.command, stderr=True)
    with interruptible() as interrupt:
        notify = reporting.beside(shown)
        return gate_run.answer(ask, caller, notify=notify, interrupt=interrupt)


def _served(caller: Caller, result: RunResult) -> Mapping[str, str]:
    """Begin a leader that has these verdicts, for the wg that this process is about to become."""
    source = loader.load(located(caller.working, caller.environment))
    scratch = state.kept("scratch")
    folder = Path(scenario_shim.folder_for(str(scratch), os.getpid()))
    shown = folder / "bridge.toml"
    mirror_manifest.write(source, shown, scratch)
    known = {one.name: wg_replies.of(one, source.path, result.warnings) for one in result.scenarios}
    (folder / wg_replies.KNOWN).write_text(wg_replies.dumped(known))
    with scenario_shim.listening(str(folder)) as listener:
        scenario_shim.begin(str(folder), str(shown), listener)
    return {
        "WG_SMOKE_MANIFEST": str(shown),
        "PATH": f"{_system_programs(folder)}:{caller.environment.get('PATH', os.defpath)}",
    }


def _system_programs(folder: Path) -> Path:
    """Make the directory by which wg runs its scripts with the system's programs.

    Raises:
        BinaryError: if the system has one of them not.
    """
    beside = folder / "programs"
    beside.mkdir()
    for name in _RUN_BY_WG:
        found = system_programs.find(name)
        if found is None:
            where = ":".join(system_programs.DIRECTORIES)
            raise BinaryError(f"wg needs {name}, which is not in {where}", hint=f"install {name}")
        (beside / name).symlink_to(found)
    return beside


def _become(wg: Path, words: tuple[str, ...], environment: Mapping[str, str]) -> NoReturn:
    """Signals, terminal and exit code are wg's own from here: the process is the same."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and so would wg
    try:
        os.execve(wg, (wg.name, *words), environment)  # noqa: S606 - no shell is wanted
    except OSError as error:
        raise BinaryError(f"{wg} cannot be run: {error.strerror}") from error
