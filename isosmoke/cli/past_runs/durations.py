"""Print how long each scenario took, to balance the shards of a run."""

import click

from isosmoke.cli.console import print_unreadable
from isosmoke.cli.document_kinds import DocumentKind
from isosmoke.cli.report_files import STDOUT, write
from isosmoke.errors import NothingSelectedError
from isosmoke.history import reader
from isosmoke.host.caller_process import Caller
from isosmoke.results.records.record_base import render_json
from isosmoke.shards import durations
from isosmoke.shards.durations import DurationsDocument

DOCUMENTS = {
    "durations": DocumentKind("durations, run --durations", DurationsDocument),
}
"""The kinds of JSON documents that this command reads or writes."""


@click.command()
@click.argument("run", required=False, metavar="[RUN]")
@click.option(
    "-o",
    "--output",
    default=STDOUT,
    metavar="FILE",
    help="Write the durations to FILE, atomically.  [default: stdout]",
)
def command(run: str | None, output: str) -> None:
    """Print the duration of each scenario as JSON, for `isosmoke run --shard --durations FILE`.

    RUN is the beginning or the end of a run id; by default, each scenario has the duration of its
    newest run. Commit the file, or give the same file to all machines.
    """
    working = Caller.current().working
    if run is not None:
        document = durations.collect([reader.find_run(run, working)])
    else:
        document = durations.collect(reader.load_runs(working, print_unreadable))
    if not document.seconds:
        raise NothingSelectedError(
            "no recorded run has a duration", hint="record one with `isosmoke run`"
        )
    write(output, render_json(document))
