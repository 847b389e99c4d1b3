"""Say whether a task may be done: run what guards it."""

import sys
from functools import partial
from pathlib import Path
from typing import Literal

import click

from isosmoke.cli.json_documents import Written
from isosmoke.cli.options import json_option, manifest_option, warn
from isosmoke.cli.reporting import Reporting, chosen, report_option
from isosmoke.cli.running import EngineOptions, engine_options, progress, repeating
from isosmoke.gate import gate_run
from isosmoke.gate.gate_run import Answer, Ask
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import interruptible
from isosmoke.reports import agent
from isosmoke.results import run_record
from isosmoke.results.events import Event
from isosmoke.results.run_record import RecordModel, RunRecord, Text
from isosmoke.text import printable


class Document(RecordModel):
    """What `isosmoke gate --json` prints: the verdict and the run that it judges.

    `receipt` and `run` are null where nothing was run.
    """

    schema_version: Literal[1] = 1
    task: Text
    open: bool
    exit_code: int
    lines: tuple[Text, ...]
    receipt: Text | None
    run: RunRecord | None


DOCUMENTS = {
    "gate": Written("gate --json", Document),
}
"""The kinds of JSON documents that this command is about."""


@click.command()
@click.argument("task")
@click.option("--full-smoke", "full", is_flag=True, help="Every scenario, whoever owns it.")
@click.option("--skip-smoke", "skip", is_flag=True, help="No scenario at all: humans only.")
@manifest_option()
@engine_options
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1), help="How many at once; by default four a core."
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
    reports: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run every scenario that TASK owns, and exit 0 only when none of them blocks.

    The last lines on stderr, twelve at the most, are the verdict. A receipt says what was tested.

    \b
    Exit codes: 0 the gate is open · 1 shut · 2 usage or manifest
    125 engine or infrastructure
    """  # noqa: D301 - click's marker for a paragraph that is not to be wrapped
    caller = Caller.here()
    ask = Ask(task=task, full=full, manifest=manifest_path, binary=binary, engine=engine, jobs=jobs)
    reporting = Reporting(chosen(reports, stdout_taken=as_json), caller.environment)
    answer = gate_run.bypass(task, caller) if skip else _answer(ask, caller, reporting)
    reporting.finish(answer.run)
    if as_json:
        sys.stdout.write(_document(task, answer))
        sys.stdout.flush()
    conclude(answer)
    ctx.exit(reporting.exit_code(answer.verdict.exit_code))


def conclude(answer: Answer) -> None:
    """The verdict, and where its receipt lies, on stderr."""
    if answer.run is not None:
        warn(answer.run)
    for line in answer.verdict.lines:
        click.echo(line, err=True)
    if answer.receipt is not None:
        click.echo(printable(f"receipt: {answer.receipt}"), err=True)


def _answer(ask: Ask, caller: Caller, reporting: Reporting) -> Answer:
    tested = EngineOptions(binary=ask.binary, engine=ask.engine)
    repeat = partial(repeating, ask.manifest, tested)
    terse = (reporting.chosen.screen or agent.preferred(caller.environment)) == "agent"
    with interruptible() as interrupt:
        answer = gate_run.answer(
            ask,
            caller,
            notify=reporting.beside(_silent if terse else progress(repeat, stderr=True)),
            interrupt=interrupt,
            repeat=repeat,
        )
    if terse and answer.run and not answer.verdict.whole:
        click.echo(agent.render(run_record.of(answer.run), repeat), err=True, nl=False)
    return answer


def _silent(event: Event) -> None:
    """The verdict says all that an agent needs."""


def _document(task: str, answer: Answer) -> str:
    verdict = answer.verdict
    document = Document(
        task=task,
        open=verdict.open,
        exit_code=int(verdict.exit_code),
        lines=verdict.lines,
        receipt=str(answer.receipt) if answer.receipt else None,
        run=run_record.of(answer.run) if answer.run else None,
    )
    return run_record.render(document)
