"""Which scenarios of which manifest: the options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from isosmoke import manifest, selection
from isosmoke.caller import Caller
from isosmoke.discovery import located
from isosmoke.printable import printable
from isosmoke.results import RunResult
from isosmoke.scenario import Manifest, Scenario

Command = TypeVar("Command", bound=Callable[..., Any])


def manifest_options(command: Command) -> Command:
    """`[NAME…]`, `--manifest` and `--owner`: which scenarios, of which manifest."""
    for decorate in (
        click.option(
            "--owner", "owners", multiple=True, metavar="TASK", help="Only what TASK owns."
        ),
        click.option(
            "--manifest",
            "manifest_path",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="The manifest; by default the one that wg would find, else ./manifest.toml.",
        ),
        click.argument("names", nargs=-1, metavar="[NAME]..."),
    ):
        command = decorate(command)
    return command


def selected(
    names: tuple[str, ...], owners: tuple[str, ...], path: Path | None
) -> tuple[Manifest, tuple[Scenario, ...]]:
    """The manifest and the scenarios of it that were asked for."""
    caller = Caller.here()
    loaded = manifest.load(path or located(caller.working, caller.environment))
    return loaded, selection.select(loaded.scenarios, names=names, owners=owners)


def warn(run: RunResult) -> None:
    """Say loudly, on stderr, what of a run could not be kept."""
    if run.unrecorded:
        click.echo(
            printable(f"WARNING: the record of this run is not whole: {run.unrecorded}"), err=True
        )
