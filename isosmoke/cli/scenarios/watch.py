"""Run scenarios again when a change affects them."""

from functools import partial
from pathlib import Path

import click

from isosmoke.cli import print_error
from isosmoke.cli.interaction.run_display import (
    choose_level,
    create_screen,
    quiet_option,
    status_level_option,
)
from isosmoke.cli.interaction.watch_loop import WatchLoop
from isosmoke.cli.interaction.watched_files import WatchedFiles
from isosmoke.cli.options import ScenarioSelection, select_scenarios, selection_options
from isosmoke.cli.reporting import ReportChoice, Reporting, warn_if_unrecorded
from isosmoke.cli.running import EngineOptions, build_repeat_command, engine_options, jobs_option
from isosmoke.dataclass import dataclass
from isosmoke.execution import session
from isosmoke.execution.request import Request
from isosmoke.execution.scheduler import Policy
from isosmoke.gate import script_inputs
from isosmoke.host import binary as binaries
from isosmoke.host.caller_process import Caller
from isosmoke.host.workspace_directories import git_top
from isosmoke.interrupt import Interrupt, interruptible
from isosmoke.manifest.models import Scenario
from isosmoke.reports.progress.status_level import StatusLevel
from isosmoke.text import escape_controls


@click.command()
@selection_options
@engine_options
@jobs_option()
@status_level_option
@quiet_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    selection: ScenarioSelection,
    tested: EngineOptions,
    jobs: int | None,
    status_level: StatusLevel,
    quiet: bool,
) -> None:
    """Run scenarios by name or glob (default: all), and again those that a change affects.

    The manifest, each script with the files that it sources or names, and the binary are watched.
    A change of the binary affects all. Ctrl-C ends the watch and any run.
    """
    watch = _Watch(
        selection=selection,
        tested=tested,
        policy=Policy(jobs=jobs),
        level=choose_level(ctx, status_level, quiet=quiet),
    )
    with interruptible() as interrupt:
        WatchLoop(
            load=watch.find_files,
            run=partial(watch.run, interrupt),
            say=_say,
            warn=print_error,
            pause=interrupt,
        ).watch()
    ctx.exit(interrupt.exit_code)


def _say(line: str) -> None:
    click.echo(escape_controls(line), err=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Watch:
    """The options of a watch."""

    selection: ScenarioSelection
    tested: EngineOptions
    policy: Policy
    level: StatusLevel

    def find_files(self) -> WatchedFiles:
        """Return the files that the selected scenarios depend on, as they are now."""
        caller = Caller.current()
        manifest, scenarios = select_scenarios(self.selection)
        top = git_top(manifest.path.parent) or manifest.path.parent
        return WatchedFiles(
            manifest=manifest.path,
            binary=binaries.find(self.tested.binary, caller.environment),
            scenarios=scenarios,
            inputs={
                scenario.name: _list_inputs(scenario, (manifest.path.parent, top), manifest.path)
                for scenario in scenarios
            },
        )

    def run(self, interrupt: Interrupt, scenarios: tuple[Scenario, ...]) -> frozenset[str]:
        """Run scenarios, and return the names of those that block."""
        caller = Caller.current()
        manifest, _ = select_scenarios(
            ScenarioSelection(manifest_path=self.selection.manifest_path)
        )
        request = Request(
            scenarios=scenarios,
            manifest=manifest.path,
            binary=self.tested.binary,
            engine=self.tested.engine,
            policy=self.policy,
            retention=manifest.record,
            recalls=True,
        )
        choice = ReportChoice()
        repeat = partial(build_repeat_command, self.selection.manifest_path, self.tested)
        screen = create_screen(choice, caller, repeat, outputs=request.outputs, level=self.level)
        reporting = Reporting(choice, caller.environment)
        notify = reporting.create_notifier(screen.notify)
        with screen.offering_glances(interrupt):
            result = session.execute(request, caller, notify=notify, interrupt=interrupt)
        warn_if_unrecorded(result)
        return frozenset(item.name for item in result.scenarios if item.outcome.blocks)


def _list_inputs(
    scenario: Scenario, directories: tuple[Path, ...], manifest: Path
) -> frozenset[Path]:
    """Return the script with the files that it sources or names."""
    script = scenario.script_path
    named = script_inputs.list_paths([script], directories, exclude=[manifest])
    return frozenset({script, *named, *named.values()})
