"""`isosmoke show`: a run of the past again, or all that it recorded of one scenario."""

import sys

import click
from rich.console import Console

from isosmoke import history, record
from isosmoke.caller import Caller
from isosmoke.reports import account


@click.command()
@click.argument("named", metavar="[RUN|NAME|RUN/NAME]", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(named: str | None, *, as_json: bool) -> None:
    """Show a run as it ended (none named: the newest), or a scenario whole.

    RUN is the beginning or the end of an id that `isosmoke runs` lists, or `latest`. NAME alone is
    the scenario in the newest run that had it.
    """
    run, scenario = history.found(named, Caller.here().working)
    if as_json:
        told = run.model_copy(update={"scenarios": (scenario,)}) if scenario else run
        sys.stdout.write(record.render(told))
        return
    console = Console(highlight=False, soft_wrap=True)
    for part in account.whole(run, scenario) if scenario else account.replay(run):
        console.print(part)
