"""Cached outlines of commands, which complete a command without importing its implementation."""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import click

from isosmoke import __version__
from isosmoke.cli import completion_words
from isosmoke.errors import IsosmokeError
from isosmoke.host import files, state

_REGISTRIES = ("engines/__init__.py", "reports/__init__.py")


class OptionOutline(TypedDict):
    """The properties that an option has in addition to those of an argument."""

    names: list[str]
    flag: bool
    multiple: bool
    help: str | None


class ParamOutline(TypedDict):
    """An argument, or an option if `option` is present; empty `choices` allow any text."""

    name: str
    nargs: int
    choices: list[str]
    path: bool
    option: NotRequired[OptionOutline]


class Outline(TypedDict):
    """The data of a command or group that completion needs."""

    params: list[ParamOutline]
    commands: dict[str, "Outline"]
    help: str


def load_command(name: str, load: Callable[[], click.Command]) -> click.Command:
    """Return a command for completion only; call `load` once for each edition of isosmoke."""
    edition, file = _read_edition(), _find_file(name)
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        cached = json.loads(files.read(file, follow=False)) if file else {}
        if cached.get("edition") == edition:
            return build_command(name, cached["outline"])
    outline = outline_command(load())
    with suppress(OSError):
        if file:
            files.write(file, json.dumps({"edition": edition, "outline": outline}))
    return build_command(name, outline)


@cache
def _read_edition() -> str:
    """Return the version and the newest modification time of all commands and registries."""
    package = Path(__file__).parent.parent
    sources = [*package.glob("cli/**/*.py"), *(package / registry for registry in _REGISTRIES)]
    newest = max(source.stat().st_mtime_ns for source in sources)
    return f"{__version__} {newest}"


def _find_file(name: str) -> Path | None:
    """Return the cache file of a command; None if there can be no cache."""
    with suppress(IsosmokeError):
        return state.ensure_directory("completion") / f"{name}.json"
    return None


def outline_command(command: click.Command) -> Outline:
    """Return the outline of a command or group."""
    inner = command.commands if isinstance(command, click.Group) else {}
    return {
        "params": [_outline_param(param) for param in command.params],
        "commands": {name: outline_command(subcommand) for name, subcommand in inner.items()},
        "help": command.get_short_help_str(),
    }


def _outline_param(param: click.Parameter) -> ParamOutline:
    choices = param.type.choices if isinstance(param.type, click.Choice) else ()
    outline: ParamOutline = {
        "name": param.name or "",
        "nargs": param.nargs,
        "choices": list(map(str, choices)),
        "path": isinstance(param.type, click.Path),
    }
    if isinstance(param, click.Option):
        outline["option"] = _outline_option(param)
    return outline


def _outline_option(option: click.Option) -> OptionOutline:
    switch = "/".join(names[0] for names in (option.opts, option.secondary_opts) if names)
    return {
        "names": [switch, *option.opts[1:]],
        "flag": option.is_flag,
        "multiple": option.multiple,
        "help": option.help,
    }


def build_command(name: str, outline: Outline) -> click.Command:
    """Return a command that can be completed and does nothing."""
    params = [_build_param(name, param) for param in outline["params"]]
    if not outline["commands"]:
        return click.Command(name, params=params, short_help=outline["help"])
    inner = {
        inner_name: build_command(f"{name} {inner_name}", inner_outline)
        for inner_name, inner_outline in outline["commands"].items()
    }
    return click.Group(name, params=params, commands=inner, short_help=outline["help"])


def _build_param(command: str, outline: ParamOutline) -> click.Parameter:
    name, nargs = outline["name"], outline["nargs"]
    kind = _param_type(outline)
    complete = None if kind else completion_words.find_completer(command, name)
    option = outline.get("option")
    if option is None:
        return click.Argument(
            [name], nargs=nargs, type=kind, required=False, shell_complete=complete
        )
    return click.Option(
        [name, *option["names"]],
        is_flag=option["flag"],
        multiple=option["multiple"],
        nargs=nargs,
        type=None if option["flag"] else kind,
        help=option["help"],
        shell_complete=complete,
    )


def _param_type(outline: ParamOutline) -> "click.ParamType[Any] | None":
    if outline["choices"]:
        return click.Choice(outline["choices"])
    return click.Path() if outline["path"] else None
