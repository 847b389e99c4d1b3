"""Check an image for the live binary and the commands that scenarios require."""

from pathlib import Path

import click

from isosmoke.cli.options import find_manifest, manifest_option
from isosmoke.cli.running import EngineOptions, engine_options
from isosmoke.errors import ExitCode, ManifestError
from isosmoke.execution.preflight import prepare_binary_check
from isosmoke.execution.request import Request
from isosmoke.execution.trials import binary_trial
from isosmoke.execution.trials.binary_trial import BinaryCheck
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import interruptible
from isosmoke.manifest import loader
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.rootfs_images import image_kinds
from isosmoke.text import escape_controls


@click.command("check")
@click.argument("image")
@manifest_option(
    "Check for the scenarios of this manifest.  [default: the one that wg finds, if any]"
)
@engine_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    image: str,
    manifest_path: Path | None,
    tested: EngineOptions,
) -> None:
    """Check whether IMAGE runs the live binary and has the commands that scenarios require.

    The scenarios are those of the manifest that use this image; if none does, all of them.

    \b
    Exit codes: 0 nothing is missing · 1 something is missing
    """  # noqa: D301 - click's marker for an unwrapped paragraph
    caller = Caller.current()
    manifest = _load_manifest(manifest_path)
    directory = manifest.path.absolute().parent if manifest else caller.working
    scenario = Scenario.validate({"name": "check", "script": "check", "image": image})
    request = Request(
        scenarios=(scenario.place(directory),), binary=tested.binary, engine=tested.engine
    )
    with interruptible() as interrupt, image_kinds.images_in_use([image]):
        check = prepare_binary_check(request, caller, interrupt)
        passed = [_check_binary(check, image), _check_commands(check, image, manifest)]
    ctx.exit(ExitCode.OK if all(passed) else ExitCode.BLOCKED)


def _load_manifest(option: Path | None) -> Manifest | None:
    """Load the manifest; return None if there is none, as an image can be checked without."""
    try:
        path = find_manifest(option)
    except ManifestError:
        return None
    return loader.load(path)


def _check_binary(check: BinaryCheck, image: str) -> bool:
    """Print the image's C library and the result of the binary; return whether it runs."""
    libc = check.libc() or "no C library"
    click.echo(escape_controls(f"{image} on {check.engine.name}: {libc}"))
    tested = check.context.binary
    if tested is None:
        click.echo("  no live binary to check: pass --binary PATH")
        return True
    answer = check.ask()
    result = f"cannot run: {answer.problem}" if answer.problem else f"runs: {answer.line}"
    click.echo(escape_controls(f"  {tested.source} {result}"))
    return not answer.problem


def _check_commands(check: BinaryCheck, image: str, manifest: Manifest | None) -> bool:
    """Print the required or the missing commands; return True if none is missing."""
    scenarios = manifest.scenarios if manifest else ()
    relevant = [scenario for scenario in scenarios if scenario.image == image] or scenarios
    required = tuple(dict.fromkeys(binary_trial.list_required_commands(relevant)))
    missing = check.find_missing(required)
    result = f"lacks {', '.join(missing)}" if missing else f"has {', '.join(required)}"
    count = f"{len(relevant)} scenario{'s' if len(relevant) != 1 else ''}"
    source = f" (required by {count} of {manifest.path})" if manifest else ""
    click.echo(escape_controls(f"  {result}{source}"))
    return not missing
