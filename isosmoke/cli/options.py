"""Which scenarios of which manifest: the options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from isosmoke.host.caller import Caller
from isosmoke.manifest import filters, loader, selection
from isosmoke.manifest.discovery import located
from isosmoke.manifest.filters import Expression
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.results.attempts import RunResult
from isosmoke.text import printable

Command = TypeVar("Command", bound=Callable[..., Any])


manifest_option = click.option(
    "--manifest",
    "manifest_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The manifest; by default the one that wg would find, else ./manifest.toml.",
)


def manifest_options(command: Command) -> Command:
    """`[NAME…]`, `--manifest`, `--owner` and `-E`: which scenarios, of which manifest."""
    for decorate in (
        click.option(
            "-E",
            "meaning",
            metavar="EXPR",
            callback=_parsed,
            help="Only what EXPR means, such as 'owner(fix-chat) and not tag(slow)'.",
        ),
        click.option(
            "--owner", "owners", multiple=True, metavar="TASK", help="Only what TASK owns."
        ),
        manifest_option,
        click.argument("names", nargs=-1, metavar="[NAME]..."),
    ):
        command = decorate(command)
    return command


def _parsed(ctx: click.Context, _: click.Parameter, text: str | None) -> Expression | None:
    return None if text is None or ctx.resilient_parsing else filters.parse(text)


def selected(
    names: tuple[str, ...],
    owners: tuple[str, ...],
    path: Path | None,
    meaning: Expression | None = None,
) -> tuple[Manifest, tuple[Scenario, ...]]:
    """The manifest and the scenarios of it that were asked for."""
    caller = Caller.here()
    loaded = loader.load(path or located(caller.working, caller.environment))
    return loaded, selection.select(loaded.scenarios, names, owners, meaning)


def warn(run: RunResult) -> None:
    """Say loudly, on stderr, what of a run could not be kept."""
    if run.unrecorded:
        click.echo(
            printable(f"WARNING: the record of this run is not whole: {run.unrecorded}"), err=True
        )
