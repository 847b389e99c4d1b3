"""Manage named images for clean environments."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from isosmoke.cli.document_kinds import DocumentKind
from isosmoke.cli.options import json_option
from isosmoke.cli.project.image import check
from isosmoke.errors import EngineError
from isosmoke.interrupt import exit_on_signal, interruptible
from isosmoke.results.records.document_base import RecordModel
from isosmoke.results.records.record_base import render_json
from isosmoke.rootfs_images import image_kinds, importer, shipped_dockerfiles
from isosmoke.rootfs_images.archives.limits import DEFAULT_MAX_SIZE
from isosmoke.rootfs_images.image_kinds import Image
from isosmoke.text import escape_controls

if TYPE_CHECKING:
    from isosmoke.engines.docker.images import BuiltImage

_DIGEST_SHOWN = 12
_MAX_OMITTED_SHOWN = 5
_MEGABYTE = 1_000_000


class BuiltRow(RecordModel):
    """An image in Docker under one tag; `size` in bytes, `created` in seconds since the epoch."""

    tag: str
    digest: str
    size: int
    created: float


class ImagesDocument(RecordModel):
    """The output of `isosmoke image list --json`: imported images and built images."""

    schema_version: Literal[1] = 1
    images: tuple[Image, ...]
    built: tuple[BuiltRow, ...] = ()


DOCUMENTS = {
    "images": DocumentKind("image list --json", ImagesDocument),
}
"""The kinds of JSON documents that this command reads or writes."""


@click.group()
def command() -> None:
    """Manage clean environments that a manifest uses by `image = "NAME"`.

    Imported images run on bubblewrap, without a daemon and without root.
    """


@command.command("import")
@click.argument("source", type=click.Path(path_type=Path), metavar="ARCHIVE|DIRECTORY")
@click.argument("name")
@click.option("--replace", is_flag=True, help="Replace an existing image of that name.")
@click.option(
    "--max-size",
    type=click.IntRange(min=1),
    default=DEFAULT_MAX_SIZE,
    metavar="GIB",
    show_default=True,
    help="Refuse more than this many GiB of files; holes need no space.",
)
def import_(source: Path, name: str, *, replace: bool, max_size: int) -> None:
    """Import a root filesystem as NAME from a directory or an archive (- is stdin).

    \b
    docker export CONTAINER | isosmoke image import - old-debian
    debootstrap bookworm ./system && isosmoke image import ./system bookworm
    """  # noqa: D301 - click's marker for a paragraph that is not to be wrapped
    with interruptible() as interrupt:
        guard = exit_on_signal(interrupt)
        image, changes = importer.add(source, name, replace=replace, max_size=max_size, guard=guard)
    click.echo(escape_controls(_format_image(image)))
    if image.left_out:
        click.echo(escape_controls(f"  omitted {len(image.left_out)}: {_list_omitted(image)}"))
    if changes:
        click.echo(escape_controls(f"  changed {importer.summarize_changes(changes)}"))


@command.command()
@click.argument("name")
@click.option(
    "--base", metavar="IMAGE", help="Build on IMAGE.  [default: the base that the Dockerfile names]"
)
def build(name: str, base: str | None) -> None:
    """Build isosmoke/NAME with Docker from the Dockerfile shipped with isosmoke.

    The base image must be present: nothing is pulled.
    """
    recipe = shipped_dockerfiles.get_recipe(name, base)
    from isosmoke.engines.docker.engine import DockerEngine

    for text in DockerEngine().images.build(recipe):
        click.echo(text, nl=False)
    click.echo(" ".join(recipe.tags))


@command.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """List imported and built images."""
    imported, built = image_kinds.list_images(), _list_built()
    if as_json:
        document = ImagesDocument(images=imported, built=tuple(map(_convert, built)))
        click.echo(render_json(document), nl=False)
        return
    for image in imported:
        date = _format_date(image.imported_at)
        click.echo(escape_controls(f"{_format_image(image)}  {date}  from {image.source}"))
    for built_image in built:
        row = _format_row(built_image.tag, built_image.digest, built_image.size)
        date = _format_date(datetime.fromtimestamp(built_image.created).astimezone())
        click.echo(f"{row}  {date}  in docker")


def _convert(image: "BuiltImage") -> BuiltRow:
    return BuiltRow(**asdict(image))


def _list_built() -> "tuple[BuiltImage, ...]":
    from isosmoke.engines.docker.engine import DockerEngine

    try:
        return DockerEngine().images.built()
    except EngineError as error:
        click.echo(escape_controls(f"images in docker are not listed: {error.message}"), err=True)
        return ()


@command.command()
@click.argument("name")
def remove(name: str) -> None:
    """Remove an imported image."""
    click.echo(escape_controls(f"removed {_format_image(importer.remove(name))}"))


command.add_command(check.command)


def _format_image(image: Image) -> str:
    return _format_row(image.name, image.digest, image.size)


def _format_row(name: str, digest: str, size: int) -> str:
    return f"{name}  {digest[:_DIGEST_SHOWN]}  {size / _MEGABYTE:.1f} MB"


def _format_date(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M}"


def _list_omitted(image: Image) -> str:
    more = ", ..." if len(image.left_out) > _MAX_OMITTED_SHOWN else ""
    return ", ".join(image.left_out[:_MAX_OMITTED_SHOWN]) + more
