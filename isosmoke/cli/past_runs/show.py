"""Show a run again, or all that is known of a scenario."""

import sys
from collections.abc import Iterable

import click
from rich.console import RenderableType

from isosmoke.cli.console import Printer
from isosmoke.cli.json_documents import Written
from isosmoke.cli.options import json_option
from isosmoke.errors import NothingSelectedError, UsageError
from isosmoke.history import reader
from isosmoke.host.caller_process import Caller
from isosmoke.reports import summary
from isosmoke.results import run_record
from isosmoke.results.run_record import RunRecord, ScenarioRecord

DOCUMENTS = {
    "result": Written("NAME/result.json beside it", ScenarioRecord),
}
"""The kinds of JSON documents that this command is about."""


@click.command()
@click.argument("named", metavar="[RUN|NAME|RUN/NAME]", required=False)
@click.option("--file", "pattern", metavar="PATTERN", help="What is kept of the files it wrote.")
@json_option
def command(named: str | None, pattern: str | None, *, as_json: bool) -> None:
    """Show a run as it ended (none named: the newest), or a scenario whole.

    RUN is the beginning or the end of an id that `isosmoke runs` lists, or `latest`. NAME alone is
    the scenario in the newest run that had it. PATTERN is the end of a path, as in a shell.
    """
    run, scenario = reader.find_run_or_scenario(named, Caller.here().working)
    if as_json:
        told = run.model_copy(update={"scenarios": (scenario,)}) if scenario else run
        sys.stdout.write(run_record.render(told))
        return
    printer = Printer()
    for part in _told(run, scenario, pattern):
        printer.print(part)


def _told(
    run: RunRecord, scenario: ScenarioRecord | None, pattern: str | None
) -> Iterable[RenderableType]:
    if pattern is None:
        return summary.whole(run, scenario) if scenario else summary.replay(run)
    if scenario is None:
        raise UsageError("--file is about one scenario", hint="isosmoke show NAME --file PATTERN")
    found = tuple(summary.files(scenario, pattern))
    if not found:
        raise NothingSelectedError(
            f"nothing that is kept of what '{scenario.name}' wrote matches '{pattern}'",
            hint=f"isosmoke show {run.id}/{scenario.name} lists it",
        )
    return found
