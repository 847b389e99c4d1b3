"""The words of a command as plain data, kept: completing one need not import what it does."""

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
    """What an option has beyond an argument."""

    words: list[str]
    flag: bool
    multiple: bool
    help: str | None


class ParamOutline(TypedDict):
    """An argument, or an option where `option` is there; no `choices` means any word."""

    name: str
    nargs: int
    choices: list[str]
    path: bool
    option: NotRequired[OptionOutline]


class Outline(TypedDict):
    """A command as completion needs it, or a group of them."""

    params: list[ParamOutline]
    commands: dict[str, "Outline"]
    help: str


def kept(name: str, load: Callable[[], click.Command]) -> click.Command:
    """The command as far as completion goes; it is loaded once for each edition of isosmoke."""
    edition, file = _edition(), _file(name)
    with suppress(OSError, ValueError):
        found = json.loads(file.read_text()) if file else {}
        if found.get("edition") == edition:
            return made(name, found["outline"])
    outline = of(load())
    with suppress(OSError):
        if file:
            files.write(file, json.dumps({"edition": edition, "outline": outline}))
    return made(name, outline)


@cache
def _edition() -> str:
    """The version, and when any command, or a registry that gives options words, last changed."""
    package = Path(__file__).parent.parent
    sources = [*package.glob("cli/**/*.py"), *(package / one for one in _REGISTRIES)]
    newest = max(one.stat().st_mtime_ns for one in sources)
    return f"{__version__} {newest}"


def _file(name: str) -> Path | None:
    """None where nothing can be kept: then a command is loaded each time."""
    with suppress(IsosmokeError):
        return state.kept("completion") / f"{name}.json"
    return None


def of(command: click.Command) -> Outline:
    """A command, or a group of them, as data."""
    inner = command.commands if isinstance(command, click.Group) else {}
    return {
        "params": [_param(one) for one in command.params],
        "commands": {name: of(one) for name, one in inner.items()},
        "help": command.get_short_help_str(),
    }


def _param(param: click.Parameter) -> ParamOutline:
    choices = param.type.choices if isinstance(param.type, click.Choice) else ()
    told: ParamOutline = {
        "name": param.name or "",
        "nargs": param.nargs,
        "choices": list(map(str, choices)),
        "path": isinstance(param.type, click.Path),
    }
    if isinstance(param, click.Option):
        told["option"] = _option(param)
    return told


def _option(option: click.Option) -> OptionOutline:
    switch = "/".join(one[0] for one in (option.opts, option.secondary_opts) if one)
    return {
        "words": [switch, *option.opts[1:]],
        "flag": option.is_flag,
        "multiple": option.multiple,
        "help": option.help,
    }


def made(name: str, outline: Outline) -> click.Command:
    """A command that can be completed, and does nothing."""
    params = [_made_param(name, one) for one in outline["params"]]
    if not outline["commands"]:
        return click.Command(name, params=params, short_help=outline["help"])
    inner = {each: made(f"{name} {each}", one) for each, one in outline["commands"].items()}
    return click.Group(name, params=params, commands=inner, short_help=outline["help"])


def _made_param(command: str, told: ParamOutline) -> click.Parameter:
    kind = _type(told)
    complete = None if kind else completion_words.of(command, told["name"])
    option = told.get("option")
    if option is None:
        return click.Argument(
            [told["name"]], nargs=told["nargs"], type=kind, required=False, shell_complete=complete
        )
    return click.Option(
        [told["name"], *option["words"]],
        is_flag=option["flag"],
        multiple=option["multiple"],
        nargs=told["nargs"],
        type=None if option["flag"] else kind,
        help=option["help"],
        shell_complete=complete,
    )


def _type(told: ParamOutline) -> "click.ParamType[Any] | None":
    if told["choices"]:
        return click.Choice(told["choices"])
    return click.Path() if told["path"] else None
