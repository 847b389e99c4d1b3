"""The options `--last-failed` and `--rerun`, which select scenarios by their past outcomes."""

import click

from isosmoke.cli.options import Command, gather
from isosmoke.dataclass import dataclass
from isosmoke.errors import UsageError
from isosmoke.host.caller_process import Caller
from isosmoke.manifest.models import Manifest, Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class PastSelection:
    """A selection by past outcomes: `--last-failed`, or the rest of `--rerun RUN`.

    `rerun` is None or empty if no run is to be continued.
    """

    last_failed: bool = False
    rerun: str | None = None

    @property
    def is_given(self) -> bool:
        """True if either option was given."""
        return self.last_failed or bool(self.rerun)


def past_options(command: Command) -> Command:
    """Add the options of a `PastSelection` to a command."""
    options = (
        click.option(
            "--rerun",
            metavar="RUN",
            help="Select scenarios that failed or did not run in RUN, or are new since.",
        ),
        click.option("--last-failed", is_flag=True, help="Select scenarios whose last run failed."),
    )
    return gather("past", PastSelection, options)(command)


def narrow(
    manifest: Manifest, scenarios: tuple[Scenario, ...], past: PastSelection
) -> tuple[tuple[Scenario, ...], str]:
    """Return the scenarios that match `past`, and the id of the run given to `--rerun`.

    The id is empty without `--rerun`. If no scenario remains, the command exits with code 0.

    Raises:
        NothingSelectedError: If there is no such run; a scenario that never ran did not pass.
        RecordError: If a run cannot be read that could change the selection.
    """
    if past.last_failed and past.rerun:
        raise UsageError(
            "--last-failed and --rerun cannot be combined", hint="pass only one of them"
        )
    if not past.is_given:
        return scenarios, ""
    from isosmoke.history import reader, rerun
    from isosmoke.host import workspace_directories

    caller = Caller.current()
    workspace = workspace_directories.find_workspace(
        caller.working, manifest.path.resolve().parent, home=caller.home
    )
    if not past.rerun:
        reader.find_run(None, workspace.working)
        past_runs = reader.load_runs(workspace.working, reader.fail)
        runs = (run for run in past_runs if not run.command)
        failed = rerun.select_failed(scenarios, runs)
        return _exit_if_empty(failed, "no selected scenario failed in its last run"), ""
    chain = reader.find_rerun_chain(past.rerun, workspace.working)
    run_id = chain[0].id
    if chain[0].command:
        raise UsageError(
            f"run {run_id} ran a command, not scenarios", hint="name a run of scenarios"
        )
    remaining = rerun.select_remaining(scenarios, chain)
    message = f"nothing remains to rerun from run {run_id}: all scenarios ran and passed"
    return _exit_if_empty(remaining, message), run_id


def _exit_if_empty(scenarios: tuple[Scenario, ...], message: str) -> tuple[Scenario, ...]:
    if not scenarios:
        click.echo(f"isosmoke: {message}", err=True)
        raise click.exceptions.Exit(0)
    return scenarios
