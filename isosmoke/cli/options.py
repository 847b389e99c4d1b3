"""What several commands share: the manifest's options, and signals that stop a run in order."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from isosmoke import manifest, selection
from isosmoke.caller import Caller
from isosmoke.discovery import located
from isosmoke.interrupt import Interrupt
from isosmoke.scenario import Manifest, Scenario

_STOPPING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}

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


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """The first SIGINT, SIGTERM or SIGHUP ends the run in order; a second one ends it at once.

    At once is safe as well: a sandbox ends with the process that made it. Under nohup SIGHUP stays
    ignored.
    """
    interrupt = Interrupt()

    def stop(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        interrupt.raise_for(signal.Signals(number).name)

    deaf = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else set()
    before = {number: signal.signal(number, stop) for number in _STOPPING - deaf}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
