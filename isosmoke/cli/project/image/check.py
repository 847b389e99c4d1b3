"""Say what the live binary and the scenarios would miss in an image."""

from pathlib import Path

import click

from isosmoke.cli.options import manifest_file, manifest_option
from isosmoke.cli.running import engine_options
from isosmoke.errors import ExitCode, ManifestError
from isosmoke.execution import binary_trial, session
from isosmoke.execution.binary_trial import BinaryCheck
from isosmoke.execution.session import Request
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import interruptible
from isosmoke.manifest import loader
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.rootfs_images import store
from isosmoke.text import printable


@click.command("check")
@click.argument("image")
@manifest_option(
    "Whose scenarios say what is needed; by default the one that wg would find, if any."
)
@engine_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    image: str,
    manifest_path: Path | None,
    binary: str | None,
    engine: str,
) -> None:
    """Say whether the live binary runs in IMAGE, and which commands scenarios would miss there.

    The scenarios are those of the manifest that have this image; if none has, all of them.

    \b
    Exit codes: 0 nothing is missing · 1 something is
    """  # noqa: D301 - click's marker for a paragraph that is not to be wrapped
    caller = Caller.here()
    loaded = _manifest(manifest_path)
    folder = loaded.path.absolute().parent if loaded else caller.working
    scenario = Scenario.model_validate(
        {"name": "check", "script": "check", "image": image}, context=folder
    )
    request = Request(scenarios=(scenario,), binary=binary, engine=engine)
    with interruptible() as interrupt, store.held([image]):
        looked = session.prepare_binary_check(request, caller, interrupt)
        good = [_check_binary(looked, image), _check_commands(looked, image, loaded)]
    ctx.exit(ExitCode.OK if all(good) else ExitCode.BLOCKED)


def _manifest(given: Path | None) -> Manifest | None:
    """None where there is none to be found: an image can be looked at without."""
    try:
        path = manifest_file(given)
    except ManifestError:
        return None
    return loader.load(path)


def _check_binary(looked: BinaryCheck, image: str) -> bool:
    """Print what the image has, and whether the binary runs there."""
    libc = looked.libc() or "no C library"
    click.echo(printable(f"{image} on {looked.engine.name}: {libc}"))
    tested = looked.context.binary
    if tested is None:
        click.echo("  no live binary to try: --binary PATH")
        return True
    refusal = looked.incompatibility()
    words = f"cannot run: {refusal}" if refusal else f"runs: {looked.version()}"
    click.echo(printable(f"  {tested.source} {words}"))
    return not refusal


def _check_commands(looked: BinaryCheck, image: str, loaded: Manifest | None) -> bool:
    """Print which commands are missing there, of those that scenarios need."""
    scenarios = loaded.scenarios if loaded else ()
    chosen = [one for one in scenarios if one.image == image] or scenarios
    needed = tuple(dict.fromkeys(binary_trial.required_commands(chosen)))
    lacks = looked.find_missing(needed)
    words = f"lacks {', '.join(lacks)}" if lacks else f"has {', '.join(needed)}"
    count = f"{len(chosen)} scenario{'s' if len(chosen) != 1 else ''}"
    click.echo(
        printable(f"  {words} (what {count} of {loaded.path} need)" if loaded else f"  {words}")
    )
    return not lacks
