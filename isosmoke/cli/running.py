"""Options, progress display and repeat commands shared by the commands that run scenarios."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from isosmoke.cli.console import create_printer
from isosmoke.cli.options import Command, add_options, gather
from isosmoke.dataclass import dataclass
from isosmoke.engines import AUTO, ENGINES, daemon_options
from isosmoke.errors import UsageError
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.manifest.models import Scenario
from isosmoke.manifest.table_base import InvalidTableError
from isosmoke.reports.progress.display import Progress
from isosmoke.results import repeat_command
from isosmoke.results.repeat_command import Repeat
from isosmoke.sandbox.spec import CACHES, HOST_IMAGE
from isosmoke.text import escape_controls

if TYPE_CHECKING:
    from isosmoke.cluster.pool import Pool


class WithCommand(click.Command):
    """A click command that takes everything after `--` as a command line, not as names."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own, has_dashes, argv = split_command(args)
        if has_dashes and not argv:
            raise UsageError("no command after --", hint=f"{ctx.command_path} -- cargo test")
        if argv and not argv[0]:
            raise UsageError(
                "the command after -- is an empty text", hint=f"{ctx.command_path} -- cargo test"
            )
        ctx.obj = tuple(argv)
        return super().parse_args(ctx, own)


def split_command(args: list[str]) -> tuple[list[str], bool, list[str]]:
    """Return the arguments before `--`, whether there is one, and those after it."""
    if "--" not in args:
        return args, False, []
    index = args.index("--")
    return args[:index], True, args[index + 1 :]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """The values of `--binary` and `--engine`.

    If `binary` is None, $ISOSMOKE_WG and PATH decide.
    """

    binary: str | None = None
    engine: str = AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOptions:
    """The options that only a command after `--` has; None and empty values are not given."""

    timeout: int | None = None
    env: tuple[str, ...] = ()
    pass_env: tuple[str, ...] = ()
    pass_files: tuple[Path, ...] = ()
    image: str | None = None
    network: str | None = None
    memory: str | None = None
    processes: int | None = None
    no_cache: bool = False
    keep_cache: bool = False

    @property
    def first_given(self) -> str:
        """The name of the first option that is given; empty if none is."""
        given = (name for name, (field, _) in COMMAND_OPTIONS.items() if getattr(self, field))
        return next(given, "")

    @property
    def keys(self) -> Mapping[str, Any]:
        """The manifest keys that the options stand for.

        Raises:
            UsageError: if `--env` has no value, or two options exclude each other.
        """
        single = {"timeout_seconds": self.timeout, "image": self.image, "network": self.network}
        if self.no_cache and self.keep_cache:
            raise UsageError(
                "--no-cache and --keep-cache cannot be combined", hint="pass only one of them"
            )
        sees_caches = self.image in (None, HOST_IMAGE) and not self.no_cache
        limits = {"memory": self.memory, "processes": self.processes}
        return {
            **_drop_missing(single),
            "cache": CACHES if sees_caches else (),
            "limits": _drop_missing(limits),
            "env": dict(map(_split_variable, self.env)),
            "pass_env": self.pass_env,
            "pass_files": tuple(str(path.absolute()) for path in self.pass_files),
        }


COMMAND_OPTIONS = {
    "--timeout": ("timeout", "timeout_seconds"),
    "--env": ("env", "env"),
    "--pass-env": ("pass_env", "pass_env"),
    "--pass-file": ("pass_files", "pass_files"),
    "--image": ("image", "image"),
    "--network": ("network", "network"),
    "--memory": ("memory", "limits.memory"),
    "--processes": ("processes", "limits.processes"),
    "--no-cache": ("no_cache", "cache"),
    "--keep-cache": ("keep_cache", "cache"),
}
"""The options of a command, with their fields of `CommandOptions` and their manifest keys."""


def _find_option(location: Sequence[object]) -> str:
    """Return the option for the manifest key at the location of an error; `--` for the command."""
    options = {key.rpartition(".")[2]: option for option, (_, key) in COMMAND_OPTIONS.items()}
    return next((options[str(part)] for part in location if str(part) in options), "--")


def create_command_scenario(
    argv: tuple[str, ...], options: CommandOptions, caller: Caller
) -> Scenario:
    """Return the scenario of a command after `--`.

    Raises:
        UsageError: if an option is invalid, or a variable to pass is not set.
    """
    for name in options.pass_env:
        if name not in caller.environment:
            raise UsageError(f"--pass-env {name}: the variable is not set", hint=f"export {name}")
    from isosmoke.repro import target

    try:
        return target.create_scenario(argv, keys=options.keys)
    except InvalidTableError as error:
        first = error.details[0]
        option, hint = _find_option(first["loc"]), str(first.get("ctx", {}).get("hint", ""))
        raise UsageError(f"{option} {first['msg']}", hint=hint) from error


def _drop_missing(values: Mapping[str, str | int | None]) -> Mapping[str, str | int]:
    return {name: value for name, value in values.items() if value is not None}


def _split_variable(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise UsageError(
            f"--env {text} has no value",
            hint=f"write --env {text}=VALUE, or pass your own variable: --pass-env {text}",
        )
    return name, value


def command_options(command: Command) -> Command:
    """Add the options of a `CommandOptions` to a command."""
    options = (
        click.option(
            "--keep-cache",
            is_flag=True,
            help="Keep what a command adds to caches, for this project and not in your caches.",
        ),
        click.option("--no-cache", is_flag=True, help="Hide your caches from a command."),
        click.option(
            "--processes",
            type=click.IntRange(min=1),
            metavar="N",
            help="Limit the processes of a command.",
        ),
        click.option(
            "--memory", metavar="SIZE", help="Limit the memory of a command, such as 512M or 2G."
        ),
        click.option(
            "--network",
            type=click.Choice(["host", "isolated"]),
            help="Select the network of a command.  [default: host]",
        ),
        click.option("--image", help="Run a command in this image.  [default: host]"),
        click.option(
            "--pass-file",
            "pass_files",
            multiple=True,
            type=click.Path(path_type=Path, exists=True),
            metavar="PATH",
            help="Pass your file or directory to a command, read-only and redacted; repeatable.",
        ),
        click.option(
            "--pass-env",
            multiple=True,
            metavar="NAME",
            help="Pass your variable to a command, redacted; repeatable.",
        ),
        click.option(
            "--env",
            multiple=True,
            metavar="NAME=VALUE",
            help="Set a variable of a command; repeatable.",
        ),
        click.option(
            "--timeout",
            type=click.IntRange(min=1),
            metavar="SECONDS",
            help="Set the timeout of a command after --.  [default: 3600]",
        ),
    )
    return gather("given", CommandOptions, options)(command)


_MAX_REPETITIONS = 1000
"""The maximum of `--repeat`, as every attempt is recorded; `isosmoke stress` has no maximum."""

_MAX_RETRIES = 100


def repetition_options(command: Command) -> Command:
    """Add the options of this module to a command."""
    options = (
        click.option(
            "--repeat",
            type=click.IntRange(1, _MAX_REPETITIONS),
            default=1,
            metavar="N",
            help="Run each scenario N times; it passes only if all of them pass.",
        ),
        click.option(
            "--retries",
            type=click.IntRange(0, _MAX_RETRIES),
            metavar="N",
            help="Run a scenario that fails up to N more times; a later pass is FLAKY.  "
            "[default: the manifest's retries]",
        ),
        click.option(
            "--max-fail",
            type=click.IntRange(min=1),
            metavar="N",
            help="Stop starting scenarios after N failures.",
        ),
    )
    return add_options(command, options)


def limit_failures(max_fail: int | None, *, fail_fast: bool) -> int | None:
    """Return the number of failures after which no scenario starts; None is no limit.

    Raises:
        UsageError: if `--fail-fast` and `--max-fail` are both given.
    """
    if fail_fast and max_fail is not None:
        raise UsageError(
            "--fail-fast and --max-fail cannot be combined", hint="--fail-fast is --max-fail 1"
        )
    return 1 if fail_fast else max_fail


_ENGINE_HELP = (
    "Select the engine; auto is bubblewrap for the host and for imported images, else docker."
)


def engine_option(
    help_text: str = _ENGINE_HELP,
) -> Callable[[Command], Command]:
    """Return a decorator that adds `--engine` to a command, with this help text."""
    choice = click.Choice([AUTO, *ENGINES])
    return click.option("--engine", type=choice, default=AUTO, help=help_text)


def engine_options(command: Command) -> Command:
    """Add the options of an `EngineOptions` to a command."""
    binary = click.option(
        "--binary",
        metavar="PATH",
        help="Test this live binary.  [default: $ISOSMOKE_WG, else wg on PATH]",
    )
    return gather("tested", EngineOptions, (engine_option(), binary))(command)


def jobs_option(
    help_text: str = "Run this many scenarios at once.  [default: as many as the machine bears]",
    maximum: int | None = None,
    default: int | None = None,
) -> Callable[[Command], Command]:
    """Return a decorator that adds `--jobs` to a command, with this help text."""
    number = click.IntRange(1, maximum)
    shows_default = default is not None
    return click.option(
        "-j", "--jobs", type=number, default=default, show_default=shows_default, help=help_text
    )


place_option = click.option(
    "--place",
    metavar="PLACE",
    help="Run on the workers of a cluster: local:N or tls://HOST:PORT.  [default: this process]",
)


gate_place_option = click.option(
    "--place",
    metavar="PLACE",
    help="Run on the workers that a reviewed [gate] places pins.  [default: this process]",
)


@contextmanager
def open_place(
    name: str | None, manifest: Path | None, caller: Caller, interrupt: Interrupt
) -> "Iterator[Pool | None]":
    """Yield the place that `--place` names; None without the option.

    The workers that the manifest pins may receive secrets, as far as it was reviewed.
    """
    if name is None:
        yield None
        return
    from isosmoke.cluster import opened_place
    from isosmoke.gate import trusted_workers
    from isosmoke.manifest import loader

    pins = trusted_workers.find_pins(loader.load(manifest), name, caller) if manifest else ()
    with opened_place(name, interrupt, show_notes, pins) as place:
        yield place


def show_notes(notes: Iterable[str]) -> None:
    """Print notes about a place or a bundle to stderr."""
    for note in notes:
        click.echo(escape_controls(f"NOTE {note}"), err=True)


def build_repeat_command(
    manifest: Path | None, options: EngineOptions, *arguments: str
) -> tuple[str, ...]:
    """Return `isosmoke run` with this manifest, binary, engine and daemon, then `arguments`."""
    return repeat_command.build_run_command(
        *arguments,
        manifest=str(manifest or ""),
        binary=options.binary or "",
        engine="" if options.engine == AUTO else options.engine,
        daemon=daemon_options.build_arguments(os.environ),
    )


def create_progress(repeat: Repeat, *, stderr: bool = False) -> Progress:
    """Return a display of run events on stdout or stderr."""
    console = create_printer(stderr=stderr)
    return Progress(console, live=console.is_live, repeat=repeat)
