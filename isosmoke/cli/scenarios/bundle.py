"""Write a bundle that reproduces a scenario on another machine."""

from pathlib import Path

import click

from isosmoke.cli.document_kinds import DocumentKind
from isosmoke.history import reader
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import exit_on_signal, interruptible
from isosmoke.repro import bundle_writer
from isosmoke.repro.bundle import Index
from isosmoke.text import escape_controls

DOCUMENTS = {
    "bundle": DocumentKind("bundle.json in a bundle", Index),
}
"""The kinds of JSON documents that this command reads or writes."""


@click.command()
@click.argument("name")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the bundle to FILE.  [default: NAME.isosmoke.tar.gz]",
)
def command(name: str, output: Path | None) -> None:
    """Write one file that reproduces a scenario of a past run on another machine.

    NAME is a scenario in its newest run, or RUN/NAME. The bundle contains the workspace's files,
    the tested binary, the manifest entry and the record. Of variables and files passed to the
    scenario it contains only the names. Open it with `isosmoke repro FILE` or
    `isosmoke run --bundle FILE`.
    """
    caller = Caller.current()
    run, scenario = reader.find_scenario(name, caller.working)
    file = output or caller.working / f"{scenario.name}.isosmoke.tar.gz"
    with interruptible() as interrupt, exit_on_signal(interrupt):
        index = bundle_writer.create(run, scenario, caller, file)
    for omitted in index.left_out:
        click.echo(escape_controls(f"omitted {omitted}"), err=True)
    click.echo(f"{file}: {scenario.name} of run {run.id}, {file.stat().st_size >> 10} KiB")
