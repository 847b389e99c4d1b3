"""Run scenarios, or any command as a scenario."""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import click

from isosmoke.cli.document_kinds import DocumentKind
from isosmoke.cli.interaction.run_display import (
    choose_level,
    create_screen,
    quiet_option,
    status_level_option,
)
from isosmoke.cli.options import (
    ScenarioSelection,
    ShardOptions,
    json_form_options,
    selection_options,
    shard_options,
    split_json_form,
)
from isosmoke.cli.reporting import (
    Reporting,
    parse_reports,
    report_option,
    warn_if_unrecorded,
)
from isosmoke.cli.rerun_options import PastSelection, past_options
from isosmoke.cli.running import (
    CommandOptions,
    EngineOptions,
    WithCommand,
    command_options,
    engine_options,
    jobs_option,
    limit_failures,
    open_place,
    place_option,
    repetition_options,
    split_command,
)
from isosmoke.cli.scenarios.run.request import RunOptions, build_repeat, open_request
from isosmoke.execution import session
from isosmoke.execution.scheduler import Confirm, Policy
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import interruptible
from isosmoke.reports.progress.status_level import StatusLevel
from isosmoke.results.exit_code import select_exit_code

DOCUMENTS = {
    "record": DocumentKind(
        "run --json, show --json, merge --json, --report json",
        "isosmoke.results.run_record:RunRecord",
    ),
    "summary": DocumentKind(
        "run --json=summary, --report summary", "isosmoke.reports.json_summary:RunSummary"
    ),
}
"""The kinds of JSON documents that this command reads or writes."""

Evidence = Literal["failed", "always", "never"]
Leaks = Literal["fail", "report"]


class _WithJsonForm(WithCommand):
    """A command that prints the document of the form in `--json=FORM`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own, has_dashes, argv = split_command(args)
        dashes = ["--"] if has_dashes else []
        return super().parse_args(ctx, [*split_json_form(own), *dashes, *argv])


@click.command(cls=_WithJsonForm, options_metavar="[OPTIONS]")
@selection_options
@past_options
@shard_options
@engine_options
@jobs_option()
@click.option(
    "--confirm",
    type=click.Choice(get_args(Confirm)),
    default="auto",
    show_default=True,
    help="Run all failures again alone, those that other scenarios may have caused, or none.",
)
@click.option(
    "--leaks", type=click.Choice(get_args(Leaks)), help="Override the manifest's leak policy."
)
@click.option(
    "--evidence",
    type=click.Choice(get_args(Evidence)),
    default="failed",
    show_default=True,
    help="Select the attempts whose files and screens are recorded.",
)
@click.option(
    "--fail-fast/--keep-going",
    help="Stop starting scenarios after the first failure.  [default: --keep-going]",
)
@repetition_options
@command_options
@report_option
@click.option(
    "--bundle",
    "bundled",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Run the scenario of a bundle written by isosmoke bundle.",
)
@status_level_option
@quiet_option
@click.option(
    "--timings", is_flag=True, help="Print where the time of each scenario went, after the run."
)
@place_option
@json_form_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    selection: ScenarioSelection,
    past: PastSelection,
    sharding: ShardOptions,
    tested: EngineOptions,
    jobs: int | None,
    confirm: Confirm,
    leaks: Leaks | None,
    evidence: Evidence,
    fail_fast: bool,
    max_fail: int | None,
    retries: int | None,
    repeat: int,
    given: CommandOptions,
    reports: tuple[str, ...],
    bundled: Path | None,
    status_level: StatusLevel,
    quiet: bool,
    timings: bool,
    place: str | None,
    as_json: bool,
    json_summary: bool,
) -> None:
    """Run scenarios by name or glob (default: all), or the command given after `--`.

    Each scenario runs in a fresh sandbox. A scenario fails if a process outlives it.
    """
    options = RunOptions(
        selection=selection,
        past=past,
        sharding=sharding,
        argv=ctx.obj,
        command=given,
        bundle=bundled,
        tested=tested,
        policy=Policy(
            jobs=jobs,
            max_fail=limit_failures(max_fail, fail_fast=fail_fast),
            retries=retries,
            repeat=repeat,
            confirm=confirm,
            leaks=leaks,
            evidence=evidence,
        ),
    )
    if sharding.output is not None:
        from isosmoke.history import record_copies

        record_copies.check_target(sharding.output)
    caller = Caller.current()
    documents = _list_documents(as_json=as_json, summary=json_summary)
    choice = parse_reports((*reports, *documents), has_command=bool(options.argv))
    reporting = Reporting(choice, caller.environment)
    level = choose_level(ctx, status_level, quiet=quiet)
    with (
        interruptible() as interrupt,
        open_request(options, reporting, caller, interrupt) as (request, user),
        open_place(place, request.manifest, user, interrupt) as chosen,
    ):
        build = partial(build_repeat, options)
        screen = create_screen(
            choice, caller, build, outputs=request.outputs, level=level, live=not options.argv
        )
        notify = reporting.create_notifier(screen.notify)
        with screen.offering_glances(interrupt) if not options.argv else nullcontext():
            placed = replace(request, place=chosen)
            result = session.execute(placed, user, notify=notify, interrupt=interrupt)
    warn_if_unrecorded(result)
    reporting.finish(result, timings=timings)
    if sharding.output is not None and result.record is not None:
        from isosmoke.history import record_copies

        record_copies.copy_record(result.record, sharding.output)
    ctx.exit(reporting.exit_code(select_exit_code(result)))


def _list_documents(*, as_json: bool, summary: bool) -> list[str]:
    """Return the reports on stdout that `--json` and `--json=summary` stand for."""
    return [*(["json=-"] if as_json else []), *(["summary=-"] if summary else [])]
