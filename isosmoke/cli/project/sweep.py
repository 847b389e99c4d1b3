"""Remove what dead runs left behind."""

import click

from isosmoke.engines import ENGINES
from isosmoke.errors import EngineUnavailableError


@click.command()
def command() -> None:
    """Remove what dead runs left behind; what a live run uses is never touched."""
    removed: list[str] = []
    for name, make in ENGINES.items():
        try:
            removed += make().sweep()
        except EngineUnavailableError as error:
            click.echo(f"{name}: not swept: {error.message}", err=True)
    for one in removed:
        click.echo(f"removed {one}")
    click.echo(f"{len(removed)} removed")
