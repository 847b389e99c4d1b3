"""Remove what dead runs left behind."""

from collections.abc import Sequence
from shlex import quote

import click

from isosmoke.engines import ENGINES
from isosmoke.errors import EngineUnavailableError, LeftBehindError, raise_left_behind
from isosmoke.host import state


@click.command()
def command() -> None:
    """Remove what dead runs left behind; what a live run uses is never touched.

    What cannot be removed is named, and the exit code is 125.
    """
    removed: list[str] = []
    left: list[LeftBehindError] = []
    for name, make in ENGINES.items():
        try:
            removed += make().sweep()
        except LeftBehindError as error:
            removed += error.removed
            left.append(error)
        except EngineUnavailableError as error:
            click.echo(f"{name}: not swept: {error.message}", err=True)
    left += _scratch_left(left)
    for one in removed:
        click.echo(f"removed {one}")
    raise_left_behind(left)
    click.echo(f"{len(removed)} removed")


def _scratch_left(named: Sequence[LeftBehindError]) -> list[LeftBehindError]:
    """Return an error for each scratch folder that no engine could remove and none has named."""
    known = " ".join(one.hint for one in named).split()
    return [
        LeftBehindError(f"{one} could not be removed", hint=f"sudo rm -rf {quote(str(one))}")
        for one in state.find_dead_scratch()[0]
        if str(one) not in known
    ]
