"""`--last-failed` and `--rerun`: which scenarios, by what past runs say of them."""

from dataclasses import dataclass

import click

from isosmoke.cli.options import Command
from isosmoke.errors import UsageError
from isosmoke.history import reader, rerun
from isosmoke.host import workspace_directories
from isosmoke.host.caller_process import Caller
from isosmoke.manifest.models import Manifest, Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class PastSelection:
    """Which scenarios by their past: `--last-failed`, or what `--rerun RUN` left.

    `rerun` is None, or empty, where no run is done again.
    """

    last_failed: bool = False
    rerun: str | None = None

    @property
    def is_given(self) -> bool:
        """Whether the past narrows anything."""
        return self.last_failed or bool(self.rerun)


def past_options(command: Command) -> Command:
    """Give a command the options of a `PastSelection`."""
    for decorate in (
        click.option(
            "--rerun", metavar="RUN", help="Only what RUN left: failed, not run, or new since."
        ),
        click.option("--last-failed", is_flag=True, help="Only what failed when it last ran."),
    ):
        command = decorate(command)
    return command


def narrowed(
    manifest: Manifest, scenarios: tuple[Scenario, ...], past: PastSelection
) -> tuple[tuple[Scenario, ...], str]:
    """Return those of the scenarios that past runs leave, and the id of the run that is done again.

    The id is empty where none is. Where no scenario is left, the command ends with exit code 0.

    Raises:
        NothingSelectedError: if there is no such run: what was never tried did not pass.
    """
    if past.last_failed and past.rerun:
        raise UsageError("--last-failed and --rerun are two questions", hint="ask one of them")
    if not past.is_given:
        return scenarios, ""
    caller = Caller.here()
    place = workspace_directories.find(
        caller.working, manifest.path.resolve().parent, home=caller.home
    )
    if not past.rerun:
        reader.find_run(None, place.working)
        runs = [one for one in reader.list_runs(place.working) if not one.command]
        return _some(rerun.failed(scenarios, runs), "nothing of that failed when it last ran"), ""
    chain = reader.find_rerun_chain(past.rerun, place.working)
    if chain[0].command:
        raise UsageError(f"run {chain[0].id} was of a command", hint="name a run of scenarios")
    left = rerun.left(scenarios, chain)
    return _some(left, f"run {chain[0].id} leaves nothing: all was run and passed"), chain[0].id


def _some(scenarios: tuple[Scenario, ...], otherwise: str) -> tuple[Scenario, ...]:
    if not scenarios:
        click.echo(f"isosmoke: {otherwise}", err=True)
        raise click.exceptions.Exit(0)
    return scenarios
