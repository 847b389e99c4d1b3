"""Remove what dead runs left behind."""

import click

from isosmoke.engines import ENGINES
from isosmoke.errors import EngineUnavailableError, LeftBehindError


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
            left.append(error)
        except EngineUnavailableError as error:
            click.echo(f"{name}: not swept: {error.message}", err=True)
    for one in removed:
        click.echo(f"removed {one}")
    if left:
        raise LeftBehindError(
            "; ".join(one.message for one in left), hint="; ".join(one.hint for one in left)
        )
    click.echo(f"{len(removed)} removed")
