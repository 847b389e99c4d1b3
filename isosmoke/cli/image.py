"""`isosmoke image`: clean environments by name, for `image = "NAME"` in a manifest."""

import json
from pathlib import Path

import click

from isosmoke import images, imports
from isosmoke.images import Image
from isosmoke.printable import printable

_DIGEST_SHOWN = 12
_LEFT_OUT_SHOWN = 5
_MEGABYTE = 1_000_000


@click.group()
def command() -> None:
    """Keep clean environments, by name, for `image = "NAME"` in a manifest.

    One that was imported needs no daemon and no root: it runs on bubblewrap.
    """


@command.command("import")
@click.argument("source", type=click.Path(path_type=Path), metavar="ARCHIVE|FOLDER")
@click.argument("name")
@click.option("--replace", is_flag=True, help="Also where another image has that name.")
def import_(source: Path, name: str, *, replace: bool) -> None:
    """Keep a root filesystem by NAME: a folder, or an archive, plain or compressed (- is stdin).

    \b
    docker export CONTAINER | isosmoke image import - old-debian
    debootstrap bookworm ./system && isosmoke image import ./system bookworm
    """  # noqa: D301 - click's marker for a paragraph that is not to be wrapped
    image, changes = imports.add(source, name, replace=replace)
    click.echo(printable(_line(image)))
    if image.left_out:
        click.echo(printable(f"  left out {len(image.left_out)}: {_left_out(image)}"))
    if changes:
        click.echo(printable(f"  changed {imports.shortly(changes)}"))


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def list_(*, as_json: bool) -> None:
    """List the images that are kept here."""
    found = images.kept()
    if as_json:
        rows = [one.model_dump(mode="json") for one in found]
        click.echo(json.dumps({"schema_version": 1, "images": rows}, indent=2))
        return
    for one in found:
        click.echo(printable(f"{_line(one)}, {one.imported_at:%Y-%m-%d %H:%M}, from {one.source}"))


@command.command()
@click.argument("name")
def remove(name: str) -> None:
    """Keep an imported image no more."""
    click.echo(printable(f"removed {_line(imports.remove(name))}"))


def _line(image: Image) -> str:
    return f"{image.name}  {image.digest[:_DIGEST_SHOWN]}  {image.size / _MEGABYTE:.1f} MB"


def _left_out(image: Image) -> str:
    more = ", ..." if len(image.left_out) > _LEFT_OUT_SHOWN else ""
    return ", ".join(image.left_out[:_LEFT_OUT_SHOWN]) + more
