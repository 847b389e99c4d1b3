"""Make any report of a past run."""

import click

from isosmoke.cli.json_documents import Written
from isosmoke.cli.report_files import STDOUT, put
from isosmoke.cli.reporting import GITHUB, show_github
from isosmoke.errors import IsosmokeError
from isosmoke.history import reader
from isosmoke.host.caller_process import Caller
from isosmoke.reports import REPORTS
from isosmoke.reports.jsonl import AnyLine

DOCUMENTS = {
    "event": Written("a line of --report jsonl", AnyLine),
}
"""The kinds of JSON documents that this command is about."""


@click.command()
@click.argument("run", required=False, metavar="[RUN]")
@click.option("--as", "kind", type=click.Choice([*REPORTS, GITHUB]), required=True)
@click.option("-o", "--output", default=STDOUT, metavar="FILE", help="Written whole or not at all.")
def command(run: str | None, kind: str, output: str) -> None:
    """Make a report of a past run: the newest, or the one whose name begins or ends so.

    `github` prints annotations, and appends to the summary of the step.
    """
    caller = Caller.here()
    found = reader.find_run(run, caller.working)
    try:
        if kind == GITHUB:
            show_github(found, caller.environment)
        else:
            put(output, REPORTS[kind](found))
    except OSError as error:
        place = "stdout" if output == STDOUT else output
        raise IsosmokeError(f"{place} could not be written: {error.strerror or error}") from error
