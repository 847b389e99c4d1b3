"""Create a report of a past run."""

import click

from isosmoke.cli.document_kinds import DocumentKind
from isosmoke.cli.report_files import STDOUT, render, write
from isosmoke.cli.reporting import GITHUB, show_github
from isosmoke.errors import IsosmokeError, suggest_remedy
from isosmoke.history import reader
from isosmoke.host.caller_process import Caller
from isosmoke.reports import REPORTS
from isosmoke.reports.jsonl import AnyLine

DOCUMENTS = {
    "event": DocumentKind("a line of --report jsonl", AnyLine),
}
"""The kinds of JSON documents that this command reads or writes."""


@click.command()
@click.argument("run", required=False, metavar="[RUN]")
@click.option(
    "--as",
    "kind",
    type=click.Choice([*REPORTS, GITHUB]),
    required=True,
    help="Select the kind of report.",
)
@click.option(
    "-o",
    "--output",
    default=STDOUT,
    metavar="FILE",
    help="Write the report to FILE, atomically.  [default: stdout]",
)
def command(run: str | None, kind: str, output: str) -> None:
    """Create a report of a past run.

    RUN is the beginning or the end of a run id; the default is the newest run. `github` prints
    annotations and appends to the step summary.
    """
    caller = Caller.current()
    record = reader.find_run_or_demo(run, caller.working)
    try:
        if kind == GITHUB:
            show_github(record, caller.environment)
        else:
            write(output, render(kind, record))
    except OSError as error:
        name = "stdout" if output == STDOUT else output
        message = f"{name} could not be written: {error.strerror or error}"
        raise IsosmokeError(message, suggest_remedy(error)) from error
