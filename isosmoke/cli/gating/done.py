"""Gate a task, then mark it done with wg."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import click

from isosmoke.cli.gating.gate import print_verdict
from isosmoke.cli.reporting import Reporting, parse_reports, report_option
from isosmoke.cli.running import create_progress
from isosmoke.errors import BinaryError, UsageError
from isosmoke.gate import gate_run
from isosmoke.gate.gate_run import GateRequest, GateResult
from isosmoke.host import binary, state, system_programs
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import interruptible
from isosmoke.manifest import loader
from isosmoke.manifest.discovery import locate_manifest
from isosmoke.results import repeat_command
from isosmoke.results.run_results import RunResult
from isosmoke.wg_bridge import mirror_manifest, scenario_shim, wg_call, wg_replies
from isosmoke.wg_bridge.wg_call import Announcement

_RUN_BY_WG = ("bash", "timeout")
"""The programs that wg looks up on PATH to run a script."""

_CONTEXT_SETTINGS = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.command(context_settings=_CONTEXT_SETTINGS, options_metavar="")
@click.argument(
    "arguments",
    nargs=-1,
    required=True,
    type=click.UNPROCESSED,
    metavar="[--report KIND=FILE] TASK [WG OPTION]...",
)
@report_option
@click.pass_context
def command(ctx: click.Context, arguments: tuple[str, ...], reports: tuple[str, ...]) -> None:
    """Run the scenarios that TASK owns; if the gate opens, exec `wg done TASK`.

    wg's own gate is answered from the same run; options, output and exit code are those of wg. If
    the gate is shut, wg is not run and the exit code is that of `isosmoke gate`. A report that
    cannot be written does not change the exit code here.
    """
    caller = Caller.current()
    wg = _find_wg(caller.environment)
    announced = wg_call.parse_announcement(("wg", "done", *arguments))
    if announced is None:
        raise UsageError("no task given", hint="isosmoke done TASK")
    skip = "--skip-smoke" in arguments
    reporting = Reporting(parse_reports(reports), caller.environment)
    answer = (
        gate_run.bypass_gate(announced.task, caller)
        if skip
        else _run_gate(announced, caller, reporting)
    )
    reporting.finish(answer.run)
    print_verdict(answer)
    if not answer.verdict.open:
        ctx.exit(answer.verdict.exit_code)
    changes = {} if answer.run is None else _serve_verdicts(caller, answer.run)
    _exec_wg(wg, ("done", *arguments), {**caller.environment, **changes})


def _find_wg(environment: Mapping[str, str]) -> Path:
    wg = binary.find(None, environment)
    if wg is None:
        raise BinaryError("wg not found", hint="put it on PATH, or set ISOSMOKE_WG")
    return wg


def _run_gate(announced: Announcement, caller: Caller, reporting: Reporting) -> GateResult:
    ask = GateRequest(task=announced.task, full=announced.everything)
    progress = create_progress(repeat_command.build_run_command, stderr=True)
    with interruptible() as interrupt:
        notify = reporting.create_notifier(progress)
        return gate_run.run_gate(ask, caller, notify=notify, interrupt=interrupt)


def _serve_verdicts(caller: Caller, result: RunResult) -> Mapping[str, str]:
    """Start a leader that serves these verdicts; return the variables by which wg finds it."""
    source = loader.load(locate_manifest(caller.working, caller.environment))
    scratch = state.ensure_directory("scratch")
    directory = Path(scenario_shim.create_directory(str(scratch), os.getpid()))
    mirror = directory / "bridge.toml"
    mirror_manifest.write_mirror(source, mirror, scratch)
    replies = {
        scenario.name: wg_replies.create_reply(scenario, source.path, result.warnings)
        for scenario in result.scenarios
    }
    (directory / wg_replies.KNOWN).write_text(wg_replies.dump_replies(replies))
    with scenario_shim.open_listener(str(directory)) as listener:
        scenario_shim.start_leader(str(directory), str(mirror), listener)
    return {
        "WG_SMOKE_MANIFEST": str(mirror),
        "PATH": f"{_link_system_programs(directory)}:{caller.environment.get('PATH', os.defpath)}",
    }


def _link_system_programs(directory: Path) -> Path:
    """Create and return a directory of links that makes wg run scripts with system programs.

    Raises:
        BinaryError: If the system lacks one of the programs.
    """
    programs = directory / "programs"
    programs.mkdir()
    for name in _RUN_BY_WG:
        program = system_programs.find(name)
        if program is None:
            path = ":".join(system_programs.DIRECTORIES)
            raise BinaryError(f"wg requires {name}, which is not in {path}", hint=f"install {name}")
        (programs / name).symlink_to(program)
    return programs


def _exec_wg(wg: Path, arguments: tuple[str, ...], environment: Mapping[str, str]) -> NoReturn:
    """Replace this process with wg, so that signals, terminal and exit code are its own."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and wg would inherit that
    try:
        os.execve(wg, (wg.name, *arguments), environment)  # noqa: S606 - no shell wanted
    except OSError as error:
        raise BinaryError(f"{wg} cannot be run: {error.strerror}") from error
