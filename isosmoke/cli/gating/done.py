"""Gate a task, then mark it done with wg."""

import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import click

from isosmoke.cli.gating.gate import print_verdict
from isosmoke.cli.reporting import Reporting, parse_reports, report_option
from isosmoke.cli.running import create_progress, gate_place_option
from isosmoke.errors import BinaryError
from isosmoke.gate import gate_run
from isosmoke.gate.gate_run import GateRequest, GateResult
from isosmoke.host import binary, state, system_programs
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import interruptible
from isosmoke.manifest import loader
from isosmoke.manifest.discovery import locate_manifest
from isosmoke.results import repeat_command
from isosmoke.results.run_results import RunResult
from isosmoke.wg_bridge import mirror_manifest, replies_to_wg, scenario_shim, wg_arguments
from isosmoke.wg_bridge.wg_arguments import DoneCall

_RUN_BY_WG = ("bash", "timeout")
"""The programs that wg looks up on PATH to run a script."""

_VALUED_OPTIONS = ("--report", "--place")
_OWN_OPTIONS = (*_VALUED_OPTIONS, "-h", "--help")


class _ArgumentsOfWg(click.Command):
    """A command that reads its own options first and leaves the other arguments as they are."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        count = 0
        while count < len(args) and args[count].partition("=")[0] in _OWN_OPTIONS:
            count += 2 if args[count] in _VALUED_OPTIONS else 1
        # click drops the first `--`, so that one of wg stays.
        return super().parse_args(ctx, [*args[:count], "--", *args[count:]])


@click.command(cls=_ArgumentsOfWg, options_metavar="")
@click.argument(
    "arguments",
    nargs=-1,
    required=True,
    type=click.UNPROCESSED,
    metavar="[--report KIND=FILE] [--place PLACE] TASK [WG OPTION]...",
)
@report_option
@gate_place_option
@click.pass_context
def command(
    ctx: click.Context, arguments: tuple[str, ...], reports: tuple[str, ...], place: str | None
) -> None:
    """Run the scenarios that TASK owns; if the gate opens, exec `wg done TASK`.

    wg's own gate is answered from the same run; options, output and exit code are those of wg. If
    the gate is shut, wg is not run and the exit code is that of `isosmoke gate`. A report that
    cannot be written does not change the exit code here.
    """
    caller = Caller.current()
    wg = _find_wg(caller.environment)
    call_wg(ctx, wg, ("done", *arguments), reports=reports, place=place)


def call_wg(
    ctx: click.Context,
    wg: Path,
    arguments: tuple[str, ...],
    *,
    reports: tuple[str, ...] = (),
    place: str | None = None,
) -> NoReturn:
    """Become wg with these arguments, which must pass the gate first if they call `wg done`."""
    caller = Caller.current()
    call = wg_arguments.parse(arguments)
    if call is None or call.asks_for_help:
        _exec_wg(wg, arguments, caller.environment)
    caller = _follow_directory(caller, call)
    reporting = Reporting(parse_reports(reports), caller.environment)
    answer = (
        gate_run.bypass_gate(call.task, caller)
        if call.skip
        else _run_gate(call, caller, reporting, place)
    )
    reporting.finish(answer.run)
    print_verdict(answer)
    if not answer.verdict.open:
        ctx.exit(answer.verdict.exit_code)
    changes = {} if answer.run is None else _serve_verdicts(caller, answer.run, answer.receipt)
    _exec_wg(wg, arguments, {**os.environ, **changes})


def _follow_directory(caller: Caller, call: DoneCall) -> Caller:
    """Return the caller whose graph is the one of the call: wg prefers `--dir` to `WG_DIR`."""
    if call.directory is None:
        return caller
    return replace(caller, environment={**caller.environment, "WG_DIR": call.directory})


def _find_wg(environment: Mapping[str, str]) -> Path:
    wg = binary.find(None, environment)
    if wg is None:
        raise BinaryError("wg not found", hint="put it on PATH, or set ISOSMOKE_WG")
    return wg


def _run_gate(
    call: DoneCall, caller: Caller, reporting: Reporting, place: str | None
) -> GateResult:
    ask = GateRequest(task=call.task, full=call.full, way="done", place=place)
    progress = create_progress(repeat_command.build_run_command, stderr=True)
    with interruptible() as interrupt:
        notify = reporting.create_notifier(progress)
        return gate_run.run_gate(ask, caller, notify=notify, interrupt=interrupt)


def _serve_verdicts(caller: Caller, result: RunResult, receipt: Path | None) -> Mapping[str, str]:
    """Start a leader that serves these verdicts; return the variables by which wg finds it.

    The leader also records when wg ended, because a later completion is that of another call.
    """
    source = loader.load(locate_manifest(caller.working, caller.environment))
    scratch = state.ensure_directory("scratch")
    directory = Path(scenario_shim.create_directory(str(scratch), os.getpid()))
    mirror = directory / "bridge.toml"
    mirror_manifest.write_mirror(source, mirror, scratch)
    replies = {
        scenario.name: replies_to_wg.create_reply(scenario, source.path, result.warnings)
        for scenario in result.scenarios
    }
    (directory / replies_to_wg.KNOWN).write_text(replies_to_wg.dump_replies(replies))
    if receipt is not None:
        (directory / replies_to_wg.RECEIPT).write_bytes(os.fsencode(receipt.absolute()))
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
