"""Keep clean environments, by name."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from isosmoke.cli.json_documents import Written
from isosmoke.cli.options import json_option
from isosmoke.cli.project.image import check
from isosmoke.errors import EngineError
from isosmoke.results import run_record
from isosmoke.results.run_record import RecordModel
from isosmoke.rootfs_images import importer, shipped_dockerfiles, store
from isosmoke.rootfs_images.store import Image
from isosmoke.text import printable

if TYPE_CHECKING:
    from isosmoke.engines.docker.images import Built

_DIGEST_SHOWN = 12
_LEFT_OUT_SHOWN = 5
_MEGABYTE = 1_000_000


class BuiltRow(RecordModel):
    """An image that Docker has, by one of its tags; `size` in bytes, `created` as of the epoch."""

    tag: str
    digest: str
    size: int
    created: float


class Document(RecordModel):
    """What `isosmoke image list --json` prints: what was imported, and what was built."""

    schema_version: Literal[1] = 1
    images: tuple[Image, ...]
    built: tuple[BuiltRow, ...] = ()


DOCUMENTS = {
    "images": Written("image list --json", Document),
}
"""The kinds of JSON documents that this command is about."""


@click.group()
def command() -> None:
    """Keep clean environments, by name, for `image = "NAME"` in a manifest.

    One that was imported needs no daemon and no root: it runs on bubblewrap.
    """


@command.command("import")
@click.argument("source", type=click.Path(path_type=Path), metavar="ARCHIVE|DIRECTORY")
@click.argument("name")
@click.option("--replace", is_flag=True, help="Also where another image has that name.")
def import_(source: Path, name: str, *, replace: bool) -> None:
    """Keep a root filesystem by NAME: a folder, or an archive, plain or compressed (- is stdin).

    \b
    docker export CONTAINER | isosmoke image import - old-debian
    debootstrap bookworm ./system && isosmoke image import ./system bookworm
    """  # noqa: D301 - click's marker for a paragraph that is not to be wrapped
    image, changes = importer.add(source, name, replace=replace)
    click.echo(printable(_line(image)))
    if image.left_out:
        click.echo(printable(f"  left out {len(image.left_out)}: {_left_out(image)}"))
    if changes:
        click.echo(printable(f"  changed {importer.shortly(changes)}"))


@command.command()
@click.argument("name")
@click.option("--base", metavar="IMAGE", help="What it stands on; else what its Dockerfile names.")
def build(name: str, base: str | None) -> None:
    """Build isosmoke/NAME with Docker, from the Dockerfile that comes with isosmoke.

    The base must be there already: nothing is pulled.
    """
    recipe = shipped_dockerfiles.recipe(name, base)
    from isosmoke.engines.docker.engine import DockerEngine

    for words in DockerEngine().images.build(recipe):
        click.echo(words, nl=False)
    click.echo(" ".join(recipe.tags))


@command.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """List the images that were imported, and those that were built."""
    imported, built = store.kept(), _built()
    if as_json:
        document = Document(images=imported, built=tuple(map(_row_of, built)))
        click.echo(run_record.render(document), nl=False)
        return
    for one in imported:
        click.echo(printable(f"{_line(one)}  {_date(one.imported_at)}  from {one.source}"))
    for other in built:
        created = datetime.fromtimestamp(other.created).astimezone()
        click.echo(f"{_row(other.tag, other.digest, other.size)}  {_date(created)}  in docker")


def _row_of(one: "Built") -> BuiltRow:
    return BuiltRow(**asdict(one))


def _built() -> "tuple[Built, ...]":
    from isosmoke.engines.docker.engine import DockerEngine

    try:
        return DockerEngine().images.built()
    except EngineError as error:
        click.echo(printable(f"docker was not asked: {error.message}"), err=True)
        return ()


@command.command()
@click.argument("name")
def remove(name: str) -> None:
    """Keep an imported image no more."""
    click.echo(printable(f"removed {_line(importer.remove(name))}"))


command.add_command(check.command)


def _line(image: Image) -> str:
    return _row(image.name, image.digest, image.size)


def _row(name: str, digest: str, size: int) -> str:
    return f"{name}  {digest[:_DIGEST_SHOWN]}  {size / _MEGABYTE:.1f} MB"


def _date(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M}"


def _left_out(image: Image) -> str:
    more = ", ..." if len(image.left_out) > _LEFT_OUT_SHOWN else ""
    return ", ".join(image.left_out[:_LEFT_OUT_SHOWN]) + more
