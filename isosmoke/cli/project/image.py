"""Keep clean environments, by name."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from isosmoke.cli.documents import Written
from isosmoke.cli.running import binary_option, engine_option
from isosmoke.errors import EngineError, ExitCode, ManifestError
from isosmoke.execution import binary_check, session
from isosmoke.execution.binary_check import Trial
from isosmoke.execution.session import Request
from isosmoke.host.caller import Caller
from isosmoke.interrupt import interruptible
from isosmoke.manifest import loader
from isosmoke.manifest.discovery import located
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.results import record
from isosmoke.results.record import RecordModel
from isosmoke.rootfs_images import dockerfiles, importer, store
from isosmoke.rootfs_images.store import Image
from isosmoke.text import printable

if TYPE_CHECKING:
    from isosmoke.engines.docker.engine import Built

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
@click.argument("source", type=click.Path(path_type=Path), metavar="ARCHIVE|FOLDER")
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
    recipe = dockerfiles.recipe(name, base)
    from isosmoke.engines.docker.engine import DockerEngine

    for words in DockerEngine().build(recipe):
        click.echo(words, nl=False)
    click.echo(" ".join(recipe.tags))


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def list_(*, as_json: bool) -> None:
    """List the images that were imported, and those that were built."""
    imported, built = store.kept(), _built()
    if as_json:
        document = Document(images=imported, built=tuple(map(_row_of, built)))
        click.echo(record.render(document), nl=False)
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
        return DockerEngine().images()
    except EngineError as error:
        click.echo(printable(f"docker was not asked: {error.message}"), err=True)
        return ()


@command.command()
@click.argument("name")
def remove(name: str) -> None:
    """Keep an imported image no more."""
    click.echo(printable(f"removed {_line(importer.remove(name))}"))


@command.command()
@click.argument("image")
@click.option(
    "--manifest",
    "manifest_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Whose scenarios say what is needed; by default the one that wg would find, if any.",
)
@binary_option
@engine_option
@click.pass_context
def check(ctx: click.Context, /, image: str, **options: Any) -> None:
    """Say whether the live binary runs in IMAGE, and which commands scenarios would miss there.

    The scenarios are those of the manifest that have this image; if none has, all of them.

    \b
    Exit codes: 0 nothing is missing · 1 something is
    """  # noqa: D301 - click's marker for a paragraph that is not to be wrapped
    caller = Caller.here()
    loaded = _manifest(options["manifest_path"], caller)
    folder = loaded.path.absolute().parent if loaded else caller.working
    scenario = Scenario.model_validate(
        {"name": "check", "script": "check", "image": image}, context=folder
    )
    request = Request(scenarios=(scenario,), binary=options["binary"], engine=options["engine"])
    with interruptible() as interrupt, store.held([image]):
        looked = session.trial(request, caller, interrupt)
        good = [_check_binary(looked, image), _check_commands(looked, image, loaded)]
    ctx.exit(ExitCode.OK if all(good) else ExitCode.BLOCKED)


def _manifest(path: Path | None, caller: Caller) -> Manifest | None:
    """None where there is none to be found: an image can be looked at without."""
    try:
        path = path or located(caller.working, caller.environment)
    except ManifestError:
        return None
    return loader.load(path)


def _check_binary(looked: Trial, image: str) -> bool:
    """Print what the image has, and whether the binary runs there."""
    libc = looked.libc() or "no C library"
    click.echo(printable(f"{image} on {looked.engine.name}: {libc}"))
    tested = looked.around.binary
    if tested is None:
        click.echo("  no live binary to try: --binary PATH")
        return True
    refusal = looked.refusal()
    words = f"cannot run: {refusal}" if refusal else f"runs: {looked.version()}"
    click.echo(printable(f"  {tested.source} {words}"))
    return not refusal


def _check_commands(looked: Trial, image: str, loaded: Manifest | None) -> bool:
    """Print which commands are missing there, of those that scenarios need."""
    scenarios = loaded.scenarios if loaded else ()
    chosen = [one for one in scenarios if one.image == image] or scenarios
    needed = tuple(dict.fromkeys(binary_check.commands(chosen)))
    lacks = looked.lacks(needed)
    words = f"lacks {', '.join(lacks)}" if lacks else f"has {', '.join(needed)}"
    count = f"{len(chosen)} scenario{'s' if len(chosen) != 1 else ''}"
    click.echo(
        printable(f"  {words} (what {count} of {loaded.path} need)" if loaded else f"  {words}")
    )
    return not lacks


def _line(image: Image) -> str:
    return _row(image.name, image.digest, image.size)


def _row(name: str, digest: str, size: int) -> str:
    return f"{name}  {digest[:_DIGEST_SHOWN]}  {size / _MEGABYTE:.1f} MB"


def _date(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M}"


def _left_out(image: Image) -> str:
    more = ", ..." if len(image.left_out) > _LEFT_OUT_SHOWN else ""
    return ", ".join(image.left_out[:_LEFT_OUT_SHOWN]) + more
