"""Demonstrate every kind of outcome; needs no setup."""

from functools import partial
from pathlib import Path

import click

import isosmoke
from isosmoke.cli.console import Printer
from isosmoke.cli.reporting import warn_if_unrecorded
from isosmoke.cli.running import engine_option
from isosmoke.errors import ExitCode
from isosmoke.execution import session
from isosmoke.execution.session import Request
from isosmoke.history import layout
from isosmoke.host.caller_process import Caller
from isosmoke.host.state import ensure_directory
from isosmoke.interrupt import interruptible
from isosmoke.manifest import loader
from isosmoke.manifest.models import Manifest
from isosmoke.reports.progress import Progress
from isosmoke.results import repeat_command
from isosmoke.results.run_results import RunResult

MANIFEST = Path(isosmoke.__file__).parent / "demo" / "manifest.toml"

_EXPECTED = "comes-out-"


@click.command()
@engine_option()
@click.pass_context
def command(ctx: click.Context, engine: str) -> None:
    """Run five small scenarios that pass, fail, skip, time out and leak; exit 0 if they do."""
    manifest = loader.load(MANIFEST)
    request = Request(
        scenarios=manifest.scenarios,
        manifest=manifest.path,
        engine=engine,
        record_in=ensure_directory(layout.DEMO),
    )
    console = Printer()
    progress = Progress(
        console,
        live=console.is_live,
        repeat=partial(repeat_command.build_run_command, manifest=str(MANIFEST)),
    )
    with interruptible() as interrupt:
        result = session.execute(request, Caller.current(), notify=progress, interrupt=interrupt)
    warn_if_unrecorded(result)
    mismatches = _find_mismatches(manifest, result)
    console.print()
    for line in mismatches or ["demo: every scenario ended as expected"]:
        console.print(line)
    ctx.exit(session.determine_exit_code(result) if result.stopped else ExitCode(bool(mismatches)))


def _find_mismatches(manifest: Manifest, result: RunResult) -> list[str]:
    """Return a message for each scenario with an unexpected outcome."""
    expected = {scenario.name: _read_expected(scenario.tags) for scenario in manifest.scenarios}
    return [
        f"demo: {scenario.name} ended as {scenario.outcome}, expected {expected[scenario.name]}"
        for scenario in result.scenarios
        if scenario.outcome != expected[scenario.name]
    ]


def _read_expected(tags: tuple[str, ...]) -> str:
    return next(tag.removeprefix(_EXPECTED) for tag in tags if tag.startswith(_EXPECTED))
