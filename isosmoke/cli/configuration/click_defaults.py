"""The user's defaults for the options of a command, handed to click."""

from collections.abc import Mapping
from typing import Any

import click

from isosmoke.cli.configuration import COLOR, user_file
from isosmoke.cli.configuration.keys import Chosen

_WITH_JOBS = ("run", "watch")


def apply(ctx: click.Context, name: str, environment: Mapping[str, str]) -> None:
    """Set the defaults of the command `name`, and the colour.

    Raises:
        UsageError: if the configuration has a mistake.
    """
    chosen = user_file.load(environment)
    ctx.default_map = {name: _list_defaults(name, chosen)}
    ctx.meta[COLOR] = next(item.value for item in chosen if item.key.name == "color")


def _list_defaults(name: str, chosen: tuple[Chosen, ...]) -> dict[str, Any]:
    """Return the values that are not defaults, by the names of their parameters.

    The jobs of other commands are builds or repetitions, and not the scenarios of a run.
    """
    given = {item.key.name: item.value for item in chosen if item.origin != "default"}
    if name not in _WITH_JOBS:
        given.pop("jobs", None)
    return given
