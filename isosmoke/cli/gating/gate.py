"""Decide whether a task may be marked done by running its scenarios."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from isosmoke.cli.document_kinds import DocumentKind
from isosmoke.cli.options import ShardOptions, json_option, manifest_option, shard_options
from isosmoke.cli.reporting import Reporting, parse_reports, report_option, warn_if_unrecorded
from isosmoke.cli.running import (
    EngineOptions,
    build_repeat_command,
    create_progress,
    engine_options,
    gate_place_option,
    jobs_option,
    show_notes,
)
from isosmoke.errors import UsageError
from isosmoke.gate import gate_run
from isosmoke.gate.gate_run import GateRequest, GateResult
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import interruptible
from isosmoke.reports import agent
from isosmoke.results.events import Event
from isosmoke.results.records import creation
from isosmoke.results.records.document_base import RecordModel, Text
from isosmoke.results.records.finding import GateFinding
from isosmoke.results.records.record_base import render_json
from isosmoke.results.run_record import RunRecord
from isosmoke.text import escape_controls

if TYPE_CHECKING:  # only a shard needs them
    from isosmoke.shards.gated_shard import ShardRequest


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
@shard_options
@click.option(
    "--run-id",
    "run_id",
    metavar="ID",
    help="Name the run, with --shard: the same for all shards, and never used before.",
)
@manifest_option()
@engine_options
@jobs_option()
@click.option(
    "--confirm",
    type=click.Choice(["always", "auto"]),
    default="auto",
    show_default=True,
    help="Run all failures again alone, or those that other scenarios may have caused.",
)
@gate_place_option
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
    sharding: ShardOptions,
    run_id: str | None,
    manifest_path: Path | None,
    tested: EngineOptions,
    jobs: int | None,
    confirm: Literal["always", "auto"],
    place: str | None,
    reports: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run every scenario that TASK owns; exit 0 only if none of them blocks.

    The last lines on stderr, at most twelve, are the verdict. A receipt records what was tested.

    With --shard, only part K of N of the scenarios is run, and DIR gets its record and receipt.
    The gate stays shut; isosmoke audit accepts the merge of all shards if each is signed.

    \b
    Exit codes: 0 gate open, or nothing in the part blocks · 1 gate shut
    2 usage or manifest error · 125 engine or infrastructure error
    """  # noqa: D301 - click's marker for an unwrapped paragraph
    caller = Caller.current()
    ask = GateRequest(
        task=task,
        full=full,
        manifest=manifest_path,
        binary=tested.binary,
        engine=tested.engine,
        jobs=jobs,
        confirm=confirm,
        place=place,
    )
    part = _create_shard_request(ask, sharding, run_id, skip=skip)
    reporting = Reporting(parse_reports(reports, stdout_taken=as_json), caller.environment)
    answer = gate_run.bypass_gate(task, caller) if skip else _run_gate(ask, part, caller, reporting)
    reporting.finish(answer.run)
    if as_json:
        sys.stdout.write(_render_document(task, answer))
        sys.stdout.flush()
    print_verdict(answer)
    ctx.exit(reporting.exit_code(answer.verdict.exit_code))


def print_verdict(answer: GateResult) -> None:
    """Print the notes about workers, the verdict and the path of its receipt to stderr."""
    show_notes(answer.place_notes)
    if answer.run is not None:
        warn_if_unrecorded(answer.run)
    for line in answer.verdict.lines:
        click.echo(line, err=True)
    if answer.receipt is not None:
        click.echo(escape_controls(f"receipt: {answer.receipt}"), err=True)


def _create_shard_request(
    ask: GateRequest, sharding: ShardOptions, run_id: str | None, *, skip: bool
) -> "ShardRequest | None":
    """Return the request for a shard; None without `--shard`.

    Raises:
        UsageError: if an option is missing, does not fit the others, or has an invalid value.
    """
    given = {"--output": sharding.output, "--run-id": run_id}
    if sharding.shard is None:
        if names := [name for name, value in given.items() if value is not None]:
            raise UsageError(f"{names[0]} is of a shard", hint="pass --shard NUMBER/TOTAL, too")
        return None
    if skip or ask.place is not None:
        other = "--skip-smoke" if skip else "--place"
        raise UsageError(f"--shard and {other} cannot be combined", hint="pass only one of them")
    if sharding.output is None or not (run_id and run_id.strip()):
        raise UsageError(
            "a shard of a gate requires --output DIR and --run-id ID",
            hint="the ID is the same for all shards, such as $GITHUB_RUN_ID-$GITHUB_RUN_ATTEMPT",
        )
    from isosmoke.history import record_copies
    from isosmoke.shards import durations, gated_shard, plan

    record_copies.check_target(sharding.output)
    seconds = None if sharding.durations is None else durations.load(sharding.durations)
    division = plan.Division(shard=sharding.shard, seconds=seconds)
    shard_ask = replace(ask, way="shard")
    return gated_shard.ShardRequest(
        ask=shard_ask, division=division, run=run_id.strip(), output=sharding.output
    )


def _run_gate(
    ask: GateRequest, part: "ShardRequest | None", caller: Caller, reporting: Reporting
) -> GateResult:
    tested = EngineOptions(binary=ask.binary, engine=ask.engine)
    repeat = partial(build_repeat_command, ask.manifest, tested)
    terse = (reporting.choice.screen or agent.select_report(caller.environment)) == "agent"
    show = _ignore if terse else create_progress(repeat, stderr=True)
    with interruptible() as interrupt:
        notify = reporting.create_notifier(show)
        if part is None:
            answer = gate_run.run_gate(
                ask, caller, notify=notify, interrupt=interrupt, repeat=repeat
            )
        else:
            from isosmoke.shards import gated_shard

            answer = gated_shard.run_shard(
                part, caller, notify=notify, interrupt=interrupt, repeat=repeat
            )
    if terse and answer.run and not answer.verdict.is_complete:
        click.echo(agent.render(creation.record_run(answer.run), repeat), err=True, nl=False)
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
        run=creation.record_run(answer.run) if answer.run else None,
        losses=answer.findings.losses,
        notes=answer.findings.notes,
    )
    return render_json(document)
