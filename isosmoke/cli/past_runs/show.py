"""Show a past run, or everything recorded about a scenario."""

import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from io import StringIO

import click

from isosmoke.cli.console import PlainPrinter, create_printer
from isosmoke.cli.document_kinds import DocumentKind
from isosmoke.cli.options import json_option
from isosmoke.errors import NothingSelectedError, UsageError
from isosmoke.history import reader
from isosmoke.host.caller_process import Caller, is_agent
from isosmoke.reports import agent, summary
from isosmoke.results import repeat_command
from isosmoke.results.records.record_base import render_json
from isosmoke.results.run_record import RunRecord, ScenarioRecord

DOCUMENTS = {
    "result": DocumentKind("NAME/result.json beside it", ScenarioRecord),
}
"""The kinds of JSON documents that this command reads or writes."""


@click.command()
@click.argument("target", metavar="[RUN|NAME|RUN/NAME]", required=False)
@click.option(
    "--file",
    "pattern",
    metavar="PATTERN",
    help="Show recorded files of the scenario that match PATTERN.",
)
@click.option("--full", is_flag=True, help="Show everything, even if a coding agent is detected.")
@json_option
def command(target: str | None, pattern: str | None, *, full: bool, as_json: bool) -> None:
    """Show a run (default: the newest) or one of its scenarios.

    RUN is the beginning or the end of an id that `isosmoke runs` lists, or `latest`. NAME without
    RUN selects the newest run that includes the scenario. PATTERN is a shell pattern for the end of
    a path. If a coding agent is detected, the output is short.
    """
    caller = Caller.current()
    run, scenario = reader.find_run_or_scenario(target, caller.working)
    if as_json:
        record = replace(run, scenarios=(scenario,)) if scenario else run
        sys.stdout.write(render_json(record))
        return
    if pattern is None and not full and is_agent(caller.environment):
        click.echo(_render_for_agent(run, scenario), nl=False)
        return
    printer = create_printer()
    for part in _render(run, scenario, pattern):
        printer.print(part)


def _render_for_agent(run: RunRecord, scenario: ScenarioRecord | None) -> str:
    if scenario is None:
        return agent.render(run, partial(repeat_command.build_repeat_command, run))
    text = StringIO()
    plain = PlainPrinter(text)
    for part in summary.render_scenario(run, scenario):
        plain.print(part)
    command = agent.build_show_command(f"{run.id}/{scenario.name}")
    return agent.shorten_text(text.getvalue(), command)


def _render(
    run: RunRecord, scenario: ScenarioRecord | None, pattern: str | None
) -> Iterable[summary.Printable]:
    if pattern is None:
        return summary.render_scenario(run, scenario) if scenario else summary.render_run(run)
    if scenario is None:
        raise UsageError("--file requires a scenario", hint="isosmoke show NAME --file PATTERN")
    files = tuple(summary.render_files(scenario, pattern))
    if not files:
        raise NothingSelectedError(
            f"no recorded file of '{scenario.name}' matches '{pattern}'",
            hint=f"list recorded files with `isosmoke show {run.id}/{scenario.name}`",
        )
    return files
