"""Show every kind of outcome, with nothing to install."""

from functools import partial
from pathlib import Path

import click

import isosmoke
from isosmoke.cli.console import Printer
from isosmoke.cli.options import warn
from isosmoke.cli.running import engine_option
from isosmoke.errors import ExitCode
from isosmoke.execution import session
from isosmoke.execution.session import Request
from isosmoke.host.caller_process import Caller
from isosmoke.host.state import kept
from isosmoke.interrupt import interruptible
from isosmoke.manifest import loader
from isosmoke.manifest.models import Manifest
from isosmoke.reports.progress import Progress
from isosmoke.results import repeat_command
from isosmoke.results.run_results import RunResult

MANIFEST = Path(isosmoke.__file__).parent / "demo" / "manifest.toml"

_DECLARED = "comes-out-"


@click.command()
@engine_option(None)
@click.pass_context
def command(ctx: click.Context, engine: str) -> None:
    """Run five small scenarios that pass, fail, skip, time out and leak; exit 0 when they do."""
    loaded = loader.load(MANIFEST)
    request = Request(
        scenarios=loaded.scenarios,
        manifest=loaded.path,
        engine=engine,
        record_in=kept("demo"),
    )
    console = Printer()
    progress = Progress(
        console,
        live=console.is_terminal,
        repeat=partial(repeat_command.command, manifest=str(MANIFEST)),
    )
    with interruptible() as interrupt:
        result = session.execute(request, Caller.here(), notify=progress, interrupt=interrupt)
    warn(result)
    wrong = _unexpected(loaded, result)
    console.print()
    for line in wrong or ["demo: every scenario came out as declared"]:
        console.print(line)
    ctx.exit(session.exit_code(result) if result.stopped else ExitCode(bool(wrong)))


def _unexpected(loaded: Manifest, result: RunResult) -> list[str]:
    """The scenarios whose outcome is not the declared one, in words."""
    declared = {one.name: _declared(one.tags) for one in loaded.scenarios}
    return [
        f"demo: {one.name} came out {one.outcome}, declared {declared[one.name]}"
        for one in result.scenarios
        if one.outcome != declared[one.name]
    ]


def _declared(tags: tuple[str, ...]) -> str:
    return next(tag.removeprefix(_DECLARED) for tag in tags if tag.startswith(_DECLARED))
