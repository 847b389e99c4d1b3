"""The arguments of wg, read by the rules of its own parser.

The options are those of `struct Cli` and `Commands::Done` in wg's `src/cli.rs`. They are the same
at b0892ea7 and at ab615900. wg uses clap 4, which abbreviates neither commands nor options.
"""

from collections.abc import Iterator, Sequence
from dataclasses import field

from isosmoke.dataclass import dataclass
from isosmoke.errors import UsageError
from isosmoke.text import shorten, suggest_match

DONE = "done"
"""The command of wg that completes a task; it has no other name."""


@dataclass(frozen=True, slots=True)
class WgOption:
    """An option of wg by its long name, and its letter if it has one."""

    name: str
    letter: str = ""
    takes_value: bool = False


GLOBAL_OPTIONS = (
    WgOption("--dir", takes_value=True),
    WgOption("--json"),
    WgOption("--help", "h"),
    WgOption("--help-all"),
    WgOption("--alphabetical", "a"),
)
"""The options that wg accepts before and after a command."""

TOP_OPTIONS = (*GLOBAL_OPTIONS, WgOption("--version", "V"))
"""The options that wg accepts before a command."""

DONE_OPTIONS = (
    *GLOBAL_OPTIONS,
    WgOption("--converged"),
    WgOption("--skip-verify"),
    WgOption("--ignore-unmerged-worktree"),
    WgOption("--full-smoke"),
    WgOption("--skip-smoke"),
)
"""The options that wg accepts after `done`."""

_HELP = frozenset({"--help", "--help-all", "--version"})
"""The options with which wg prints a text and completes nothing."""

_MISPRINTED = {"-d": "--dir"}
"""Options that wg's help mentions, but its parser refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneCall:
    """A call of `wg done`; `directory` is the value of `--dir`, or None without it.

    If `asks_for_help` is true, wg prints a text and completes nothing; `task` may then be empty.
    """

    task: str
    directory: str | None = None
    full: bool = False
    skip: bool = False
    asks_for_help: bool = False


@dataclass(slots=True)
class _Level:
    """The options and words before a command, or after it."""

    flags: list[str] = field(default_factory=list)
    directory: str | None = None
    words: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    unknown_first: str = ""

    def add_unknown(self, option: str) -> None:
        self.unknown.append(option)
        if not self.words:
            self.unknown_first = self.unknown_first or option


def parse(arguments: Sequence[str]) -> DoneCall | None:
    """Parse the arguments of a wg, without its name; return None if they do not call `wg done`.

    Options that are unknown here are left to wg if they follow the task.

    Raises:
        UsageError: if the task or the graph directory cannot be known for certain, or if wg
            would refuse the arguments.
    """
    remaining = iter(arguments)
    top = _read_level(remaining, TOP_OPTIONS, command=True)
    if top.words[:1] != [DONE]:
        if top.unknown and DONE in arguments:
            raise _refuse_unknown(top.unknown[0], TOP_OPTIONS)
        return None
    level = _read_level(remaining, DONE_OPTIONS)
    if unknown := top.unknown_first or level.unknown_first:
        raise _refuse_unknown(unknown, DONE_OPTIONS)
    flags = {*top.flags, *level.flags}
    return DoneCall(
        task=_select_task(level, is_optional=not flags.isdisjoint(_HELP)),
        directory=top.directory if level.directory is None else level.directory,
        full="--full-smoke" in flags,
        skip="--skip-smoke" in flags,
        asks_for_help=not flags.isdisjoint(_HELP),
    )


def _select_task(level: _Level, *, is_optional: bool) -> str:
    if not level.words:
        if is_optional:
            return ""
        raise UsageError("no task given", hint="isosmoke done TASK")
    task, *others = level.words
    if others and not level.unknown:
        raise UsageError(
            f"wg done takes one task, but {shorten(others[0])!r} follows {shorten(task)!r}",
            hint="isosmoke done TASK, once for each task",
        )
    return task


def _read_level(
    arguments: Iterator[str], options: Sequence[WgOption], *, command: bool = False
) -> _Level:
    """Read options and words; if `command`, stop after the first word, which is the command."""
    level = _Level()
    for argument in arguments:
        if argument == "--":
            level.words += [] if command else arguments  # wg reads no command after it
            break
        if _is_word(argument):
            level.words.append(argument)
            if command:
                break
        elif argument.startswith("--"):
            _read_long(level, argument, arguments, options)
        else:
            _read_letters(level, argument, options)
    return level


def _is_word(argument: str) -> bool:
    """Return whether an argument is a word or a value; clap reads a single dash as one."""
    return not argument.startswith("-") or argument == "-"


def _read_long(
    level: _Level, argument: str, arguments: Iterator[str], options: Sequence[WgOption]
) -> None:
    name, equals, value = argument.partition("=")
    option = next((option for option in options if option.name == name), None)
    if option is None:
        level.add_unknown(name)
    elif option.takes_value:
        _set_directory(level, value if equals else next(arguments, ""), is_attached=bool(equals))
    elif equals:
        raise UsageError(f"{name} takes no value", hint=f"write {name} alone")
    else:
        _add_flag(level, name)


def _set_directory(level: _Level, value: str, *, is_attached: bool) -> None:
    if not value or not (is_attached or _is_word(value)):
        raise UsageError("--dir has no value", hint="--dir DIRECTORY, or --dir=DIRECTORY")
    if level.directory is not None:
        raise UsageError("wg accepts --dir only once", hint="name one graph directory")
    level.directory = value


def _read_letters(level: _Level, argument: str, options: Sequence[WgOption]) -> None:
    """Read a cluster of letters, such as `-ah`."""
    for letter in argument[1:]:
        if intended := _MISPRINTED.get(f"-{letter}"):
            raise UsageError(
                f"wg's parser refuses -{letter}, although its help mentions it",
                hint=f"write {intended}",
            )
        option = next((option for option in options if option.letter == letter), None)
        if option is None:
            level.add_unknown(argument)
            return
        _add_flag(level, option.name)


def _add_flag(level: _Level, name: str) -> None:
    if name in level.flags:
        raise UsageError(f"wg accepts {name} only once", hint=f"write {name} once")
    level.flags.append(name)


def _refuse_unknown(option: str, known: Sequence[WgOption]) -> UsageError:
    suggestion = suggest_match(option, [option.name for option in known])
    return UsageError(
        f"{shorten(option)} is no option of wg that is known here, so its value could be taken "
        f"for the task{suggestion}",
        hint=f"put the task first: isosmoke done TASK {shorten(option)}",
    )
