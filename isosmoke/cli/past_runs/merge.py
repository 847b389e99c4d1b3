"""Merge the records of shards into one run."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

import click

from isosmoke.cli.console import create_printer
from isosmoke.cli.options import json_option
from isosmoke.cli.report_files import STDOUT, render, write
from isosmoke.cli.reporting import GITHUB, ReportChoice, parse_reports, report_option, show_github
from isosmoke.errors import IsosmokeError, RecordError, suggest_remedy
from isosmoke.history import layout, record_copies
from isosmoke.host.caller_process import Caller
from isosmoke.host.state import RECORDS_DIRECTORY
from isosmoke.reports import agent, summary
from isosmoke.results import repeat_command
from isosmoke.results.run_record import RunRecord
from isosmoke.shards import loaded_shards, merged_record, merging
from isosmoke.shards.loaded_shards import Part, Unusable
from isosmoke.text import escape_controls


@click.command()
@click.argument(
    "directories",
    nargs=-1,
    required=True,
    metavar="DIR...",
    type=click.Path(path_type=Path),
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Also write the merged record to DIR.",
)
@report_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    directories: tuple[Path, ...],
    output: Path | None,
    reports: tuple[str, ...],
    as_json: bool,
) -> None:
    """Merge the records that `isosmoke run --shard` wrote into one run, and record it.

    DIR is a record, or contains records. A scenario is NOT_RUN if the record of its shard is
    missing, is given twice, or does not fit the others: the commit, the binary, the manifest, the
    selection and the options must be the same.

    \b
    Exit codes: as for `isosmoke run`; 1 if any record is missing or cannot be used
    """  # noqa: D301 - click's marker for an unwrapped paragraph
    caller = Caller.current()
    choice = parse_reports((*reports, *(["json=-"] if as_json else [])))
    records = loaded_shards.find_records(directories)
    loaded_shards.check_targets(_list_targets(choice, output, caller), records)
    if output is not None:
        record_copies.check_target(output)
    usable = _load(records)
    merged = merging.merge(*usable)
    run = merged_record.save(merged, usable[0], caller.working)
    _show(run, choice, caller.environment)
    if output is not None:
        record_copies.copy_record(Path(run.record or ""), output)
    _write_reports(run, choice, caller.environment)
    ctx.exit(merging.select_exit_code(run))


def _list_targets(choice: ReportChoice, output: Path | None, caller: Caller) -> Iterator[Path]:
    """Yield all places to which a merge writes."""
    yield layout.find_top(caller.working) / RECORDS_DIRECTORY
    if output is not None:
        yield output
    yield from (Path(report.file) for report in choice.reports if report.file not in ("", STDOUT))


def _load(records: Iterable[Path]) -> tuple[list[Part], list[Unusable]]:
    """Return the records that can be used, and those that cannot.

    Raises:
        RecordError: if none can be used.
    """
    loaded = [loaded_shards.load(directory) for directory in records]
    usable = [part for part in loaded if isinstance(part, Part)]
    unusable = [part for part in loaded if isinstance(part, Unusable)]
    if not usable:
        reasons = [f"{item.directory} cannot be used: {item.reason}" for item in unusable]
        raise RecordError(
            "\n".join(map(escape_controls, reasons)),
            hint="name the directories that `isosmoke run --shard --output DIR` wrote",
        )
    return usable, unusable


def _show(run: RunRecord, choice: ReportChoice, environment: Mapping[str, str]) -> None:
    if (choice.screen or agent.select_report(environment)) == "agent":
        repeat = partial(repeat_command.build_repeat_command, run)
        click.echo(agent.render(run, repeat), nl=False, err=choice.stdout_taken)
        return
    printer = create_printer(stderr=choice.stdout_taken)
    for line in summary.render_run(run):
        printer.print(line)


def _write_reports(run: RunRecord, choice: ReportChoice, environment: Mapping[str, str]) -> None:
    """Write all requested reports.

    Raises:
        IsosmokeError: if one cannot be written.
    """
    for report in choice.reports:
        try:
            if report.kind == GITHUB:
                show_github(run, environment, err=choice.stdout_taken)
            else:
                write(report.file, render(report.kind, run))
        except OSError as error:
            message = f"the report {report.option_value} could not be written"
            reason = error.strerror or str(error)
            raise IsosmokeError(f"{message}: {reason}", suggest_remedy(error)) from error
