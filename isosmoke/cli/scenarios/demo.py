"""Demonstrate every kind of outcome; needs no setup."""

from functools import partial
from pathlib import Path

import click

import isosmoke
from isosmoke.cli.console import create_printer
from isosmoke.cli.reporting import warn_if_unrecorded
from isosmoke.cli.running import engine_option
from isosmoke.errors import ExitCode
from isosmoke.execution import session
from isosmoke.execution.request import Request
from isosmoke.history import layout
from isosmoke.host.caller_process import Caller
from isosmoke.host.state import ensure_directory
from isosmoke.interrupt import interruptible
from isosmoke.manifest import loader
from isosmoke.manifest.models import Manifest
from isosmoke.reports.progress.display import Progress
from isosmoke.results import repeat_command
from isosmoke.results.run_results import RunResult

MANIFEST = Path(isosmoke.__file__).parent / "demo" / "manifest.toml"

_EXPECTED = "comes-out-"
_LEAKING = "leaves_a_supervisor"


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
        recalls=True,
    )
    console = create_printer()
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
    for line in mismatches or ["demo: every scenario ended as expected", *_list_next(result)]:
        console.print(line)
    ctx.exit(interrupt.exit_code if result.stopped else ExitCode(bool(mismatches)))


def _list_next(result: RunResult) -> list[str]:
    """Return commands that continue from this run; none if it has no record."""
    if result.record is None or result.stopped:
        return []
    run = result.record.name
    commands = {
        f"isosmoke show {run}/{_LEAKING}": "the process that it left, and other evidence",
        f"isosmoke repro {run}/{_LEAKING} --after": "a shell next to that process",
        f"isosmoke report {run} --as html -o demo.html": "the whole run as a page",
    }
    width = max(map(len, commands))
    return ["next:", *(f"  {text:<{width}}  {purpose}" for text, purpose in commands.items())]


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
