"""Options that several commands share, and which scenarios of which manifest they select."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from isosmoke.host.caller_process import Caller
from isosmoke.manifest import filters, loader, selection
from isosmoke.manifest.discovery import located
from isosmoke.manifest.filters import Expression
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.results.run_results import RunResult
from isosmoke.text import printable

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioSelection:
    """Which scenarios of which manifest: `[NAME]...`, `--owner`, `-E` and `--manifest`.

    Without any of them it is all scenarios of the manifest that wg would find.
    """

    names: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    expression: Expression | None = None
    manifest: Path | None = None


def manifest_option(
    meaning: str = "The manifest; by default the one that wg would find, else ./manifest.toml.",
) -> Callable[[Command], Command]:
    """Return the decorator that gives a command `--manifest`, explained by `meaning`."""
    return click.option(
        "--manifest",
        "manifest_path",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help=meaning,
    )


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")


def selection_options(command: Command) -> Command:
    """Give a command the options of a `ScenarioSelection`."""
    for decorate in (
        click.option(
            "-E",
            "expression",
            metavar="EXPR",
            callback=_parsed,
            help="Only what EXPR means, such as 'owner(fix-chat) and not tag(slow)'.",
        ),
        click.option(
            "--owner", "owners", multiple=True, metavar="TASK", help="Only what TASK owns."
        ),
        manifest_option(),
        click.argument("names", nargs=-1, metavar="[NAME]..."),
    ):
        command = decorate(command)
    return command


def _parsed(ctx: click.Context, _: click.Parameter, text: str | None) -> Expression | None:
    return None if text is None or ctx.resilient_parsing else filters.parse(text)


def manifest_file(given: Path | None) -> Path:
    """Return the manifest that `--manifest` names, or else the one that wg would find.

    Raises:
        ManifestError: if none was given and none is found.
    """
    caller = Caller.here()
    return given or located(caller.working, caller.environment)


def selected(wanted: ScenarioSelection) -> tuple[Manifest, tuple[Scenario, ...]]:
    """Load the manifest, and return it with its selected scenarios.

    Raises:
        NothingSelectedError: if a name, an owner or the expression fits no scenario.
    """
    loaded = loader.load(manifest_file(wanted.manifest))
    scenarios = selection.select(loaded.scenarios, wanted.names, wanted.owners, wanted.expression)
    return loaded, scenarios


def warn(run: RunResult) -> None:
    """Say loudly, on stderr, what of a run could not be kept."""
    if run.unrecorded:
        click.echo(
            printable(f"WARNING: the record of this run is not whole: {run.unrecorded}"), err=True
        )
