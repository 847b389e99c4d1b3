"""Decide whether a task may be marked done by running its scenarios."""

import sys
from functools import partial
from pathlib import Path
from typing import Literal

import click

from isosmoke.cli.json_documents import DocumentKind
from isosmoke.cli.options import json_option, manifest_option
from isosmoke.cli.reporting import Reporting, parse_reports, report_option, warn_if_unrecorded
from isosmoke.cli.running import (
    EngineOptions,
    build_repeat_command,
    create_progress,
    engine_options,
)
from isosmoke.gate import gate_run
from isosmoke.gate.gate_run import GateRequest, GateResult
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import interruptible
from isosmoke.reports import agent
from isosmoke.results import run_record
from isosmoke.results.events import Event
from isosmoke.results.finding import GateFinding
from isosmoke.results.run_record import RecordModel, RunRecord, Text
from isosmoke.text import escape_controls


class GateDocument(RecordModel):
    """The output of `isosmoke gate --json`: the verdict and the run that it is based on.

    `receipt` and `run` are null if nothing was run. `losses` and `notes` are findings about the
    manifest; they do not change the verdict.
    """

    schema_version: Literal[1] = 1
    task: Text
    open: bool
    exit_code: int
    lines: tuple[Text, ...]
    receipt: Text | None
    run: RunRecord | None
    losses: tuple[GateFinding, ...] = ()
    notes: tuple[GateFinding, ...] = ()


DOCUMENTS = {
    "gate": DocumentKind("gate --json", GateDocument),
}
"""The kinds of JSON documents that this command reads or writes."""


@click.command()
@click.argument("task")
@click.option(
    "--full-smoke", "full", is_flag=True, help="Run every scenario, not only those that TASK owns."
)
@click.option(
    "--skip-smoke",
    "skip",
    is_flag=True,
    help="Bypass the gate without running a scenario (humans only).",
)
@manifest_option()
@engine_options
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    help="Run this many scenarios at once.  [default: as many as the machine bears]",
)
@click.option(
    "--confirm",
    type=click.Choice(["always", "auto"]),
    default="auto",
    show_default=True,
    help="Run all failures again alone, or those that other scenarios may have caused.",
)
@report_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    task: str,
    full: bool,
    skip: bool,
    manifest_path: Path | None,
    binary: str | None,
    engine: str,
    jobs: int | None,
    confirm: Literal["always", "auto"],
    reports: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run every scenario that TASK owns; exit 0 only if none of them blocks.

    The last lines on stderr, at most twelve, are the verdict. A receipt records what was tested.

    \b
    Exit codes: 0 gate open · 1 gate shut · 2 usage or manifest error
    125 engine or infrastructure error
    """  # noqa: D301 - click's marker for an unwrapped paragraph
    caller = Caller.current()
    ask = GateRequest(
        task=task,
        full=full,
        manifest=manifest_path,
        binary=binary,
        engine=engine,
        jobs=jobs,
        confirm=confirm,
    )
    reporting = Reporting(parse_reports(reports, stdout_taken=as_json), caller.environment)
    answer = gate_run.bypass_gate(task, caller) if skip else _run_gate(ask, caller, reporting)
    reporting.finish(answer.run)
    if as_json:
        sys.stdout.write(_render_document(task, answer))
        sys.stdout.flush()
    print_verdict(answer)
    ctx.exit(reporting.exit_code(answer.verdict.exit_code))


def print_verdict(answer: GateResult) -> None:
    """Print the verdict and the path of its receipt to stderr."""
    if answer.run is not None:
        warn_if_unrecorded(answer.run)
    for line in answer.verdict.lines:
        click.echo(line, err=True)
    if answer.receipt is not None:
        click.echo(escape_controls(f"receipt: {answer.receipt}"), err=True)


def _run_gate(ask: GateRequest, caller: Caller, reporting: Reporting) -> GateResult:
    tested = EngineOptions(binary=ask.binary, engine=ask.engine)
    repeat = partial(build_repeat_command, ask.manifest, tested)
    terse = (reporting.choice.screen or agent.select_report(caller.environment)) == "agent"
    show = _ignore if terse else create_progress(repeat, stderr=True)
    with interruptible() as interrupt:
        answer = gate_run.run_gate(
            ask,
            caller,
            notify=reporting.create_notifier(show),
            interrupt=interrupt,
            repeat=repeat,
        )
    if terse and answer.run and not answer.verdict.is_complete:
        click.echo(agent.render(run_record.record_run(answer.run), repeat), err=True, nl=False)
    return answer


def _ignore(event: Event) -> None:
    """Ignore an event: the verdict is all that an agent needs."""


def _render_document(task: str, answer: GateResult) -> str:
    verdict = answer.verdict
    document = GateDocument(
        task=task,
        open=verdict.open,
        exit_code=int(verdict.exit_code),
        lines=verdict.lines,
        receipt=str(answer.receipt) if answer.receipt else None,
        run=run_record.record_run(answer.run) if answer.run else None,
        losses=answer.findings.losses,
        notes=answer.findings.notes,
    )
    return run_record.render(document)
