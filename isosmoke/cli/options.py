"""Options shared by several commands, and the scenarios that they select."""

import inspect
import re
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from isosmoke.dataclass import dataclass
from isosmoke.errors import UsageError
from isosmoke.host.caller_process import Caller
from isosmoke.manifest import filters, loader, selection
from isosmoke.manifest.discovery import locate_manifest
from isosmoke.manifest.filters import Expression
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.text import suggest_match

if TYPE_CHECKING:
    from isosmoke.manifest.partition import Shard

Command = TypeVar("Command", bound=Callable[..., Any])

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)(s|m|h)")
_UNITS = {"s": 1, "m": 60, "h": 3600}


def gather(
    parameter: str, kind: Callable[..., object], options: Iterable[Callable[[Command], Command]]
) -> Callable[[Command], Command]:
    """Return a decorator that adds options to a command, which gets their values as one object.

    `kind` is a dataclass whose fields have the names of the options. The object is passed to the
    command as `parameter`.
    """
    names = tuple(inspect.signature(kind).parameters)

    def decorate(command: Command) -> Command:
        @wraps(command)
        def call(*arguments: object, **values: object) -> object:
            gathered = kind(**{name: values.pop(name) for name in names})
            return command(*arguments, **{parameter: gathered}, **values)

        return add_options(cast("Command", call), options)

    return decorate


def add_options(command: Command, options: Iterable[Callable[[Command], Command]]) -> Command:
    """Add options to a command; `--help` lists the last of them first."""
    for decorate in options:
        command = decorate(command)
    return command


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioSelection:
    """A selection of scenarios by `[NAME]...`, `--owner`, `-E` and `--manifest`.

    An empty selection means all scenarios of the manifest that wg would find.
    """

    names: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    expression: Expression | None = None
    manifest_path: Path | None = None


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


def _create_json_option(help_text: str) -> Callable[[Command], Command]:
    return click.option("--json", "as_json", is_flag=True, help=help_text)


json_option = _create_json_option("Print one JSON document on stdout.")


def json_form_options(command: Command) -> Command:
    """Add `--json`, and the hidden option of `--json=summary`, to a command."""
    hidden = click.option("--json-summary", is_flag=True, hidden=True)
    decorate = _create_json_option(
        "Print one JSON document on stdout; --json=summary prints a short one."
    )
    return decorate(hidden(command))


def split_json_form(arguments: list[str]) -> list[str]:
    """Return a command line with `--json=summary` as the option that click knows.

    click's optional values would take a name after `--json` as its value.

    Raises:
        UsageError: For another form.
    """
    return [_JSON_FORMS.get(item, item) for item in map(_check_json_form, arguments)]


_JSON_FORMS = {"--json=summary": "--json-summary", "--json=record": "--json"}


def _check_json_form(argument: str) -> str:
    if argument.startswith("--json=") and argument not in _JSON_FORMS:
        form = argument.partition("=")[2]
        suggestion = suggest_match(form, ["summary", "record"])
        raise UsageError(
            f"--json={form} is unknown{suggestion}", hint="--json=summary, or --json for the record"
        )
    return argument


def selection_options(command: Command) -> Command:
    """Add the options of a `ScenarioSelection` to a command."""
    options = (
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
    )
    return gather("selection", ScenarioSelection, options)(command)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardOptions:
    """The values of `--shard`, `--durations` and `--output`; None if they are not given."""

    shard: "Shard | None" = None
    durations: Path | None = None
    output: Path | None = None

    def __post_init__(self) -> None:
        if self.durations is not None and self.shard is None:
            raise UsageError("--durations balances shards", hint="pass --shard NUMBER/TOTAL, too")


def shard_options(command: Command) -> Command:
    """Add the options of `ShardOptions` to a command."""
    options = (
        click.option(
            "--output",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="Also write the record to DIR, for isosmoke merge.",
        ),
        click.option(
            "--durations",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Balance the shards by FILE, which isosmoke durations wrote.",
        ),
        click.option(
            "--shard",
            metavar="K/N",
            callback=_parse_shard,
            help="Run only part K of N; every scenario is in one part.",
        ),
    )
    return gather("sharding", ShardOptions, options)(command)


def _parse_shard(ctx: click.Context, _: click.Parameter, text: str | None) -> "Shard | None":
    if text is None or ctx.resilient_parsing:
        return None
    from isosmoke.manifest import partition

    return partition.parse_shard(text)


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
    manifest = loader.load_again(find_manifest(selected.manifest_path))
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
    loaded, scenarios = select_scenarios(ScenarioSelection(names=(name,), manifest_path=manifest))
    if len(scenarios) > 1:
        names = ", ".join(scenario.name for scenario in scenarios[:3])
        raise UsageError(
            f"{name!r} selects {len(scenarios)} scenarios: {names}...", hint="name one of them"
        )
    return loaded, scenarios[0]


def parse_duration(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    """Return the seconds of an option such as `90s`; None if it is not given.

    Raises:
        click.BadParameter: if it is no positive number with a unit.
    """
    if text is None:
        return None
    match = _DURATION.fullmatch(text)
    if match is None or not float(match[1]):
        raise click.BadParameter(f"{text!r} is not a duration: write 30s, 10m or 2h")
    return float(match[1]) * _UNITS[match[2]]
