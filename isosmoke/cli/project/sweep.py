"""Remove leftovers of dead runs."""

from collections.abc import Sequence
from shlex import quote

import click

from isosmoke.engines import ENGINES
from isosmoke.errors import EngineUnavailableError, LeftBehindError, raise_left_behind
from isosmoke.host import state


@click.command()
def command() -> None:
    """Remove leftovers of dead runs; resources of live runs are never touched.

    If something cannot be removed, name it and exit with 125.
    """
    removed: list[str] = []
    errors: list[LeftBehindError] = []
    for name, make in ENGINES.items():
        try:
            removed += make().sweep()
        except LeftBehindError as error:
            removed += error.removed
            errors.append(error)
        except EngineUnavailableError as error:
            click.echo(f"{name}: not swept: {error.message}", err=True)
    errors += _find_scratch_errors(errors)
    for name in removed:
        click.echo(f"removed {name}")
    raise_left_behind(errors)
    click.echo(f"{len(removed)} removed")


def _find_scratch_errors(errors: Sequence[LeftBehindError]) -> list[LeftBehindError]:
    """Return an error for each remaining scratch directory that no other error names."""
    known = " ".join(error.hint for error in errors).split()
    return [
        LeftBehindError(
            f"{directory} could not be removed", hint=f"sudo rm -rf {quote(str(directory))}"
        )
        for directory in state.find_dead_scratch()[0]
        if str(directory) not in known
    ]
