"""Options shared by several commands, and the scenarios that they select."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from isosmoke.errors import UsageError
from isosmoke.host.caller_process import Caller
from isosmoke.manifest import filters, loader, selection
from isosmoke.manifest.discovery import locate_manifest
from isosmoke.manifest.filters import Expression
from isosmoke.manifest.models import Manifest, Scenario

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioSelection:
    """A selection of scenarios by `[NAME]...`, `--owner`, `-E` and `--manifest`.

    An empty selection means all scenarios of the manifest that wg would find.
    """

    names: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    expression: Expression | None = None
    manifest: Path | None = None


def manifest_option(
    help_text: str = "Read this manifest.  [default: the one that wg finds, else ./manifest.toml]",
) -> Callable[[Command], Command]:
    """Return a decorator that adds `--manifest` to a command, with this help text."""
    return click.option(
        "--manifest",
        "manifest_path",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help=help_text,
    )


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout."
)


def selection_options(command: Command) -> Command:
    """Add the options of a `ScenarioSelection` to a command."""
    for decorate in (
        click.option(
            "-E",
            "expression",
            metavar="EXPR",
            callback=_parse_expression,
            help="Select scenarios that match EXPR, such as 'owner(fix-chat) and not tag(slow)'.",
        ),
        click.option(
            "--owner",
            "owners",
            multiple=True,
            metavar="TASK",
            help="Select scenarios that TASK owns; repeatable.",
        ),
        manifest_option(),
        click.argument("names", nargs=-1, metavar="[NAME]..."),
    ):
        command = decorate(command)
    return command


def _parse_expression(
    ctx: click.Context, _: click.Parameter, text: str | None
) -> Expression | None:
    return None if text is None or ctx.resilient_parsing else filters.parse(text)


def find_manifest(option: Path | None) -> Path:
    """Return the manifest that `--manifest` names, else the one that wg would find.

    Raises:
        ManifestError: If no manifest is given and none is found.
    """
    caller = Caller.current()
    return option or locate_manifest(caller.working, caller.environment)


def select_scenarios(selected: ScenarioSelection) -> tuple[Manifest, tuple[Scenario, ...]]:
    """Load the manifest and return it with the selected scenarios.

    Raises:
        NothingSelectedError: If a name, an owner or the expression matches no scenario.
    """
    manifest = loader.load_again(find_manifest(selected.manifest))
    scenarios = selection.select(
        manifest.scenarios, selected.names, selected.owners, selected.expression
    )
    return manifest, scenarios


def select_one(name: str, manifest: Path | None) -> tuple[Manifest, Scenario]:
    """Load the manifest and return it with the scenario that `name`, which may be a glob, selects.

    Raises:
        NothingSelectedError: If no scenario has this name.
        UsageError: If several have.
    """
    loaded, scenarios = select_scenarios(ScenarioSelection(names=(name,), manifest=manifest))
    if len(scenarios) > 1:
        names = ", ".join(scenario.name for scenario in scenarios[:3])
        raise UsageError(
            f"{name!r} selects {len(scenarios)} scenarios: {names}...", hint="name one of them"
        )
    return loaded, scenarios[0]
